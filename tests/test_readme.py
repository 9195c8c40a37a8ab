"""What the README says can be called, can be called."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from circuits.finder import find_roles
from circuits.roles import read_roles
from claims.__main__ import main
from models.checkpoint import load_checkpoint
from verdicts.record import read_record

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_name_in_it_exists() -> None:
    """Cells like `circuits.queries.query_parts`, `key_parts`: a bare name belongs to the module named before it."""
    names = 0
    for row in re.findall(r"^\| (?:§|Unused|ablations).*\| (.*) \|$", README, flags=re.MULTILINE):
        module = None
        for name in re.findall(r"`((?:circuits|models)\.[\w.]+|[a-z_]+)(?:\(|`)", row):
            if "." in name:
                parent, _, leaf = name.rpartition(".")
                module = importlib.import_module(parent)
                assert hasattr(module, leaf) or importlib.import_module(name), name
            else:
                assert module is not None
                assert hasattr(module, name), name
            names += 1
    assert names > 20


def test_its_example_runs_and_gives_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "one_path_scores(" in block]
    monkeypatch.chdir(ROOT)
    *setup, first, second = example.splitlines()
    scope: dict[str, Any] = {}
    exec("\n".join(setup), scope)
    assert eval(first, scope)["embed->q"] == pytest.approx(0.913, abs=5e-4)
    best = eval(second, scope)
    assert (round(best.score, 3), best.paths) == (0.617, ("0.3->q", "embed->k"))


def test_its_table_of_seeds_is_that_of_the_shipped_records(capsys: pytest.CaptureFixture[str]) -> None:
    records = [ROOT / "checkpoints" / name / "verdicts.json" for name in ("seed-0", "default", *(f"seed-{seed}" for seed in range(2, 8)))]
    beside = ROOT / "checkpoints" / "transformer_2024-09-05_13-28-07" / "verdicts.json"
    assert main(["table", *map(str, records), "--beside", str(beside)]) == 0
    table, _, _ = capsys.readouterr().out.partition("lowest, median")
    assert table.strip() in README


@pytest.mark.parametrize("name", ["default", *(f"seed-{seed}" for seed in range(2, 8) if seed not in (3, 4))])
def test_shipped_weights_are_those_of_their_roles_and_ledger(name: str) -> None:
    directory = ROOT / "checkpoints" / name
    checkpoint = load_checkpoint(directory)
    roles, _ = find_roles(checkpoint.model)
    ledger = read_record(directory / "verdicts.json")["subjects"][0]
    read = read_roles(directory / "roles.json", cfg=checkpoint.model.cfg, content_hash=checkpoint.content_hash)
    assert roles.to_dict() == read.to_dict() == ledger["roles"]
    assert ledger["content_hash"] == checkpoint.content_hash
