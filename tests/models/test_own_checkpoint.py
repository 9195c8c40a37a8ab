"""What docs/own-checkpoint.md says is so: its example is run as it stands, its tables are true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from circuits.subject import load_subject
from claims.catalogue import all_claims
from models.checkpoint import content_hash, load_checkpoint
from models.config import ModelConfig
from tests.processes import ROOT
from verdicts.judge import judge

TEXT = (ROOT / "docs" / "own-checkpoint.md").read_text(encoding="utf-8")


@pytest.fixture
def mine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Path:
    """The checkpoint that the example writes."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/own-checkpoint.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.startswith("sha256:")
    return tmp_path / "runs" / "mine"


def test_the_example_makes_a_checkpoint_that_can_be_judged(mine: Path) -> None:
    subject = load_subject(mine)
    assert subject.edge_counts == range(15, 21)
    claim = next(claim for claim in all_claims() if claim.id == "classifies_the_validation_set")
    assert judge(claim, subject).verdict == "refuted"  # its weights are chance
    assert load_checkpoint(mine / "model.safetensors").content_hash == subject.content_hash


def test_the_fields_are_those_of_config_json(mine: Path) -> None:
    config = json.loads((mine / "config.json").read_text())
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE))
    assert rows.keys() == config.keys()
    assert int(rows["format_version"]) == config["format_version"]
    assert re.findall(r"`(\w+)`", rows["model"]) == list(ModelConfig().to_dict())
    tensors = load_file(mine / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert config["content_hash"] == content_hash(tensors)


@pytest.mark.parametrize("d_mlp", [7, 0])
def test_the_tensors_are_those_of_the_model(d_mlp: int) -> None:
    cfg = ModelConfig(n_vertices=6, n_layers=3, n_heads=2, d_model=12, d_head=5, d_mlp=d_mlp)
    shapes = {}
    for names, sizes in re.findall(r"^\| (`.*`) \| `\[(.*)\]` \|$", TEXT, re.MULTILINE):
        shape = tuple(getattr(cfg, size) for size in sizes.split(", "))
        for name in re.findall(r"`([\w.]+)`", names):
            for layer in range(cfg.n_layers):
                shapes[name.replace(".L.", f".{layer}.")] = shape
    expected = cfg.parameter_shapes()
    assert {name: shapes[name] for name in shapes if d_mlp or ".mlp." not in name} == expected
