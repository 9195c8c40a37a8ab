"""What the gate is told of this project."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from circuits.subject import REGISTRY, Subject, load_subject
from figures.cases import pytest_claims_case
from studies.gate import pytest_claims_laws, pytest_claims_retrained
from tests.records import subject_of
from verdicts.gates import gating_laws
from verdicts.record import read_record
from verdicts.schema import SubjectResult

LEDGER = REGISTRY / "default" / "verdicts.json"


@pytest.fixture(scope="module")
def default() -> Subject:
    return load_subject(REGISTRY / "default")


def baseline() -> SubjectResult:
    return read_record(LEDGER).subjects[0]


def test_another_seed_of_the_recipe_is_told_by_its_recipe(tmp_path: Path, default: Subject) -> None:
    config = json.loads((REGISTRY / "default" / "config.json").read_text())

    def trained(**changes: Any) -> str | None:
        recipe = {**config["recipe"], **changes}
        text = json.dumps({**config, "content_hash": "sha256:other", "recipe": recipe})
        (tmp_path / "config.json").write_text(text)
        other = dataclasses.replace(default, directory=tmp_path, content_hash="sha256:other")
        return pytest_claims_retrained(other, baseline(), LEDGER)

    assert trained(seed=3) == "seed 3 of the recipe of which default is seed 1"
    assert trained() is None  # fine-tuned, say: the recipe and the seed are as they were
    assert trained(seed=3, train={"epochs": 3}) is None
    assert pytest_claims_retrained(default, subject_of(content_hash="?"), LEDGER) is None


@pytest.mark.parametrize("seed", [2, 5, 6, 7])
def test_the_shipped_seeds_are_trainings_of_one_recipe(seed: int, default: Subject) -> None:
    directory = REGISTRY / f"seed-{seed}"
    content_hash = json.loads((directory / "config.json").read_text())["content_hash"]
    other = dataclasses.replace(default, directory=directory, content_hash=content_hash)
    why = pytest_claims_retrained(other, baseline(), LEDGER)
    assert why == f"seed {seed} of the recipe of which default is seed 1"


def test_the_laws_are_registered_predictions_with_the_rates_of_unseen_seeds() -> None:
    laws = pytest_claims_laws()
    assert laws["classifies_the_validation_set"] == 1.0
    assert "reader_values_hold_degree" not in gating_laws(laws)
    assert all(0 <= rate <= 1 for rate in laws.values())


def test_a_case_is_its_graph6_and_a_drawing_of_its_edges(default: Subject) -> None:
    case = pytest_claims_case(default, 7)
    edges = nx.from_graph6_bytes(case.name.encode()).edges
    assert {(i, j) for i, j in default.graphs.adjacency[7].nonzero().tolist() if i < j} == set(
        edges
    )
    assert case.drawing is not None
    assert case.mermaid is not None
    assert case.drawing.count("<line") == len(edges) == case.mermaid.count("---")
