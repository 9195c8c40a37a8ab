from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from circuits.__main__ import main
from circuits.finder import compare, find_roles, finding_graphs
from circuits.roles import AbsentRole, Head, Roles, parse_roles, read_roles, write_roles
from circuits.subject import load_subject
from models.checkpoint import save_checkpoint
from models.config import ModelConfig
from models.randomness import named_generator
from models.transformer import Transformer
from tests import planted
from tests.planted import planted_model

HASH = "sha256:0"


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
    assert read_roles(path, cfg=planted.CONFIG, content_hash=HASH).to_dict() == planted.ROLES.to_dict()
    with pytest.raises(ValueError, match="belongs to 'sha256:0', but this checkpoint is sha256:1"):
        read_roles(path, cfg=planted.CONFIG, content_hash="sha256:1")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reader": "0.9"}, "reader: got '0.9', but the model has 2 layers of 2 heads"),
        ({"anchors": [1, 1]}, "anchors: expected a list of distinct positions"),
        ({"anchors": [1, 10]}, "anchors: expected an integer from 0 to 9, got 10"),
        ({"anchors": list(range(10))}, "every position is an anchor"),
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


def test_roles_follow_a_permutation_of_heads() -> None:
    model = planted_model()
    for layer in range(2):
        for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
            weight = getattr(model.attention(layer), name)
            weight.copy_(weight.flip(0).clone())
    roles, _ = find_roles(model)
    assert (roles.reader, roles.pointer) == (Head(0, 0), Head(1, 1))
    assert (roles.anchors, roles.target) == (planted.ANCHORS, planted.TARGET)


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
    with pytest.raises(AbsentRole, match="no target: absent: there is no pointer"):
        _ = roles.target
    assert roles.reader == planted.READER


@pytest.mark.parametrize("seed", range(6))
def test_untrained_models_have_no_roles(seed: int) -> None:
    model = Transformer(ModelConfig()).initialise(named_generator(seed, "untrained"))
    roles, scores = find_roles(model)
    assert set(roles.to_dict().values()) == {None}, scores
    assert all("absent" in reason for reason in roles.reasons.values())


def test_a_model_of_one_layer_has_no_pointer() -> None:
    model = Transformer(ModelConfig(n_layers=1, d_model=16, d_head=4, d_mlp=8)).initialise(named_generator(0, "untrained"))
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


def test_roles_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(tmp_path / "saved", planted_model())
    assert main(["roles", str(tmp_path / "saved"), "--out", str(tmp_path / "saved" / "roles.json")]) == 0
    assert "reader     0.1" in capsys.readouterr().out
    assert load_subject(tmp_path / "saved").roles.to_dict() == planted.ROLES.to_dict()
    assert main(["roles", str(tmp_path / "none")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_checkpoint_in_a_file_finds_its_roles_by_hash(tmp_path: Path) -> None:
    content_hash = save_checkpoint(tmp_path / "elsewhere", planted_model())
    registered = tmp_path / "registry" / "any name"
    registered.mkdir(parents=True)
    write_roles(registered / "roles.json", Roles({"target": 7}), content_hash=content_hash)
    file = tmp_path / "elsewhere" / "model.safetensors"
    subject = load_subject(file, registry=tmp_path / "registry")
    assert (subject.roles.target, subject.home) == (7, registered)
    assert load_subject(file).home == tmp_path / "elsewhere" / "model"


def test_a_subject_keeps_what_it_measures() -> None:
    subject = planted.planted_subject()
    assert subject.pattern(planted.READER) is subject.pattern(planted.READER)
    assert torch.equal(subject.right, subject.logits.argmax(-1) == subject.graphs.labels)
    first, second = (torch.rand(3, generator=subject.generator("a")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(3, generator=subject.generator("b")))
    assert subject.in_float64.W_E.dtype == torch.float64
    assert subject.model.W_E.dtype == torch.float32
