from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from circuits.__main__ import main
from circuits.finder import compare, find_roles, finding_graphs
from circuits.gauge import GAUGES, transformed
from circuits.roles import AbsentRole, Head, Roles, parse_roles, read_roles, write_roles
from circuits.subject import load_subject
from models.checkpoint import load_checkpoint, save_checkpoint
from models.config import ModelConfig
from models.randomness import named_generator
from models.transformer import Transformer
from tests import planted
from tests.planted import planted_model

HASH = "sha256:0"
DEFAULT = Path(__file__).parent.parent.parent / "checkpoints" / "default"


def test_heads_are_written_as_in_the_notebook() -> None:
    assert str(Head.parse("1.6")) == "1.6"
    for text in ("1", "a.b", "-1.2", "1.2.3", "12345.0"):
        with pytest.raises(ValueError, match=r"written layer.index"):
            Head.parse(text)


def test_an_absent_role_raises_with_its_reason() -> None:
    roles = Roles({"reader": Head(0, 1)}, {"pointer": "ambiguous: two of them"})
    assert roles.reader == Head(0, 1)
    with pytest.raises(AbsentRole, match="no pointer: ambiguous: two of them"):
        _ = roles.pointer
    with pytest.raises(AbsentRole, match="no target: this checkpoint has none"):
        _ = roles.target


def test_roles_survive_being_written(tmp_path: Path) -> None:
    path = tmp_path / "roles.json"
    write_roles(path, planted.ROLES, content_hash=HASH)
    assert (
        read_roles(path, cfg=planted.CONFIG, content_hash=HASH).to_dict() == planted.ROLES.to_dict()
    )
    with pytest.raises(ValueError, match="belongs to 'sha256:0', but this checkpoint is sha256:1"):
        read_roles(path, cfg=planted.CONFIG, content_hash="sha256:1")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reader": "0.9"}, "reader: got '0.9', but the model has 2 layers of 2 heads"),
        ({"anchors": [1, 1]}, "anchors: expected a list of distinct positions"),
        ({"anchors": [1, 10]}, "anchors: expected an integer from 0 to 9, got 10"),
        ({"anchors": list(range(10))}, "anchors: every position is one"),
        ({"target": 10}, "target: expected an integer from 0 to 9, got 10"),
        ({"dimension": 16}, "dimension: expected an integer from 0 to 15"),
        ({"dimension": True}, "dimension: expected an integer"),
        ({"reasons": 3}, "reasons"),
    ],
)
def test_roles_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_roles(values, cfg=planted.CONFIG, source="roles.json")
    assert str(error.value).startswith("roles.json: ")


def test_a_file_of_roles_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "roles.json"
    for text, message in {
        "{": "not a readable JSON",
        "[]": "expected a JSON object",
        json.dumps({"content_hash": HASH, "hero": 1}): "unknown key 'hero'",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_roles(path, cfg=planted.CONFIG, content_hash=HASH)


def test_the_planted_roles_are_found() -> None:
    roles, scores = find_roles(planted_model())
    assert roles.to_dict() == planted.ROLES.to_dict()
    assert scores["reader"]["name"] == "0.1"
    assert scores["dimension"]["score"] == pytest.approx(1.0)


@pytest.mark.parametrize("gauge", sorted(GAUGES))
def test_the_planted_roles_are_found_in_equivalent_weights(gauge: str) -> None:
    _same_roles(planted_model(), gauge)


@pytest.mark.parametrize("gauge", ["head permutation", "residual rotation", "relabelling"])
def test_the_roles_of_a_trained_model_are_found_in_equivalent_weights(gauge: str) -> None:
    _same_roles(load_checkpoint(DEFAULT).model, gauge)


def _same_roles(model: Transformer, gauge: str) -> None:
    """But for the dimension, of which nothing is left in another basis of the residual stream."""
    graphs = finding_graphs(10, per_edge_count=10)
    roles, _ = find_roles(model, graphs)
    same, renaming = transformed(model, gauge, generator=named_generator(0, gauge))
    found, scores = find_roles(same, graphs)
    expected = roles.renamed(renaming).to_dict()
    assert None not in expected.values()
    if gauge in ("residual rotation", "residual basis"):
        expected["dimension"] = None
        assert "below the floor" in found.reasons["dimension"]
    assert found.to_dict() == expected, scores


def test_the_roles_are_the_same_on_either_half_of_the_graphs() -> None:
    model = load_checkpoint(DEFAULT).model
    roles, _ = find_roles(model)
    for half in range(2):
        assert find_roles(model, finding_graphs(10)[half::2])[0].to_dict() == roles.to_dict()


@pytest.mark.parametrize(
    ("cfg", "reader", "pointer"),
    [
        (dataclasses.replace(planted.CONFIG, n_layers=4), Head(0, 1), Head(3, 0)),
        (dataclasses.replace(planted.CONFIG, n_vertices=14), Head(0, 0), Head(1, 1)),
        (dataclasses.replace(planted.CONFIG, n_heads=5), Head(0, 4), Head(1, 3)),
    ],
    ids=["four layers", "fourteen vertices", "five heads"],
)
def test_roles_are_found_in_other_architectures(
    cfg: ModelConfig, reader: Head, pointer: Head
) -> None:
    roles, scores = find_roles(planted_model(cfg=cfg, reader_head=reader, pointer_head=pointer))
    expected = {
        "reader": str(reader),
        "pointer": str(pointer),
        "anchors": list(planted.ANCHORS),
        "target": planted.TARGET,
        "dimension": 0,
    }
    assert roles.to_dict() == expected, scores


def test_two_alike_are_ambiguous_and_none_is_picked() -> None:
    model = planted_model()
    for name in ("W_Q", "W_K", "b_Q"):
        weight = getattr(model.attention(1), name)
        weight[1] = weight[0]
    model.W_E[:, 12] = -1.0  # a second dimension that follows degree as well
    roles, _ = find_roles(model)
    for role in ("pointer", "dimension"):
        with pytest.raises(AbsentRole, match=f"no {role}: ambiguous: .* within the margin"):
            getattr(roles, role)
    with pytest.raises(AbsentRole, match="no target: there is no pointer"):
        _ = roles.target
    assert roles.reader == planted.READER


@pytest.mark.parametrize(
    "seeds", [range(5), pytest.param(range(5, 100), marks=pytest.mark.long)], ids=str
)
def test_a_hundred_untrained_models_have_no_roles(seeds: range) -> None:
    graphs = finding_graphs(10, per_edge_count=1)
    for seed in seeds:
        model = Transformer(ModelConfig()).initialise(named_generator(seed, "untrained"))
        roles, scores = find_roles(model, graphs)
        assert set(roles.to_dict().values()) == {None}, scores
        assert all("absent" in reason for reason in roles.reasons.values())


def test_a_model_of_one_layer_has_no_pointer() -> None:
    model = Transformer(ModelConfig(n_layers=1, d_model=16, d_head=4, d_mlp=8)).initialise(
        named_generator(0, "untrained")
    )
    with pytest.raises(AbsentRole, match="no layer after the reader's"):
        _ = find_roles(model)[0].pointer


def test_a_candidate_must_clear_floor_and_margin() -> None:
    assert compare({"a": 0.9, "b": 0.2}, floor=0.5, margin=0.1).reason is None
    assert "below the floor" in str(compare({"a": 0.4, "b": 0.2}, floor=0.5, margin=0.1).reason)
    assert "within the margin" in str(compare({"a": 0.9, "b": 0.85}, floor=0.5, margin=0.1).reason)
    assert "below the floor" in str(compare({"a": float("nan")}, floor=0.5, margin=0.1).reason)


def test_the_graphs_that_roles_are_found_on_have_vertices_of_many_degrees() -> None:
    degree = finding_graphs(10).sum(-1)
    assert all((degree == d).sum() >= 30 for d in range(9))


def test_roles_are_printed_and_written_where_claims_read_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "saved", planted_model())
    assert main(["roles", str(tmp_path / "saved")]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"reader     0\.1 +score 0\.\d{3}, floor 0\.5; ahead of 0\.0 \(0\.000\), margin 0\.05\n",
        out,
    ), out
    assert f"wrote {tmp_path / 'saved' / 'roles.json'}" in out
    assert load_subject(tmp_path / "saved").roles.to_dict() == planted.ROLES.to_dict()
    file = tmp_path / "saved" / "model.safetensors"
    assert main(["roles", str(file)]) == 0
    assert (tmp_path / "saved" / "model" / "roles.json").exists()
    assert main(["roles", str(tmp_path / "none")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_roles_that_someone_wrote_are_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content_hash = save_checkpoint(tmp_path, planted_model())
    path = tmp_path / "roles.json"
    write_roles(path, planted.ROLES, content_hash=content_hash)
    assert main(["roles", str(tmp_path)]) == 0
    assert "roles.json says the same" in capsys.readouterr().out
    write_roles(path, Roles({**planted.ROLES.found, "target": 7}), content_hash=content_hash)
    before = path.read_bytes()
    assert main(["roles", str(tmp_path)]) == 2
    assert (
        f"{path}: says that target is 7, not 2; remove it, or name another file with --out"
        in capsys.readouterr().err
    )
    assert path.read_bytes() == before
    assert main(["roles", str(tmp_path), "--out", str(tmp_path / "other.json")]) == 0


def test_roles_that_no_one_has_are_printed_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Transformer(
        ModelConfig(n_layers=1, n_heads=1, d_model=16, d_head=4, d_mlp=8)
    ).initialise(named_generator(0, "untrained"))
    save_checkpoint(tmp_path, model)
    assert main(["roles", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"pointer    absent +there is no layer after the reader's\n", out), out
    assert re.search(
        r"reader     absent +the best candidate, 0\.0, scores 0\.\d+, below the floor of 0\.5\n",
        out,
    ), out


def test_a_checkpoint_in_a_file_finds_its_roles_by_hash(tmp_path: Path) -> None:
    content_hash = save_checkpoint(tmp_path / "elsewhere", planted_model())
    registered = tmp_path / "registry" / "any name"
    registered.mkdir(parents=True)
    write_roles(registered / "roles.json", Roles({"target": 7}), content_hash=content_hash)
    file = tmp_path / "elsewhere" / "model.safetensors"
    subject = load_subject(file, registry=tmp_path / "registry")
    assert (subject.roles.target, subject.directory) == (7, registered)
    assert load_subject(file).directory == tmp_path / "elsewhere" / "model"


def test_a_subject_keeps_what_it_measures() -> None:
    subject = planted.planted_subject()
    assert subject.pattern(planted.READER) is subject.pattern(planted.READER)
    assert torch.equal(subject.right, subject.logits.argmax(-1) == subject.graphs.labels)
    first, second = (torch.rand(3, generator=subject.generator("a")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(3, generator=subject.generator("b")))
    assert subject.in_float64.W_E.dtype == torch.float64
    assert subject.model.W_E.dtype == torch.float32
