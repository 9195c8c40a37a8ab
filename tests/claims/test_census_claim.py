"""The claim about every graph of the range: it rests on a census of the same weights and graphs, or
on nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from circuits.subject import Subject, load_subject
from claims.catalogue import all_claims
from claims.census import RESULT, Census, Settings, Tally
from models.checkpoint import save_checkpoint, write_json
from models.config import ModelConfig
from models.randomness import named_generator
from models.transformer import Transformer
from verdicts.judge import Verdict, judge

(CLAIM,) = [claim for claim in all_claims() if claim.evidence == "exhausted"]
WRONG = "EFz_"
"""K₃,₃ in graph6."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    cfg = ModelConfig(n_vertices=6, n_layers=1, n_heads=1, d_model=8, d_head=4, d_mlp=8)
    model = Transformer(cfg).initialise(named_generator(0, "untrained"))
    save_checkpoint(directory, model, recipe={"train": {"min_edges": 9, "max_edges": 10}})
    return directory


@pytest.fixture
def subject(checkpoint: Path, tmp_path: Path) -> Subject:
    return dataclasses.replace(load_subject(checkpoint), directory=tmp_path)


def verdict(subject: Subject, *, wrong: int = 0, **settings: object) -> Verdict:
    """With a census beside it of 36 graphs, so many of them wrong."""
    its = Settings(subject.content_hash, 6, 9, 10, 1, 0, "cpu")
    tallies = [
        Tally(9, False, 1, wrong, 10 * wrong),
        Tally(9, True, 0, 21 - wrong, 210),
        Tally(10, True, 0, 15, 150),
    ]
    census = Census(
        dataclasses.replace(its, **settings),  # type: ignore[arg-type]
        [tally for tally in tallies if tally.graphs],
        WRONG if wrong else None,
        "",
        {},
    )
    write_json(subject.directory / RESULT, census.to_dict())
    return judge(CLAIM, subject)


def test_one_wrong_graph_refutes_it_and_is_shown(subject: Subject) -> None:
    found = verdict(subject, wrong=1)
    assert found.verdict == "refuted"
    values = {name: one.value for name, one in found.expect.measurements.items()}
    assert values == {
        "wrong_graphs": 1,
        "graphs": 36,
        "accuracy": pytest.approx(35 / 36, abs=1e-6),
        "accuracy_of_labelled_graphs": pytest.approx(36 / 37, abs=1e-6),
    }
    assert found.expect.counterexample == {
        "graph6": WRONG,
        "edges": "0-3 0-4 0-5 1-3 1-4 1-5 2-3 2-4 2-5",
        "label": "non-planar",
        "answer": "planar",
    }


def test_it_holds_where_no_graph_is_wrong(subject: Subject) -> None:
    found = verdict(subject)
    assert found.verdict == "holds"
    assert found.expect.counterexample is None


def test_without_a_census_it_is_absent_and_says_how_to_take_one(subject: Subject) -> None:
    found = judge(CLAIM, subject)
    assert (found.verdict, found.reason) == (
        "absent",
        "no census of it was taken: circuit-claims census CHECKPOINT takes one",
    )


def test_the_census_of_other_weights_or_graphs_is_none(subject: Subject) -> None:
    other = verdict(subject, content_hash="sha256:other")
    assert other.verdict == "absent"
    assert other.reason == "the census.json beside it is of other weights, sha256:other"
    found = verdict(subject, max_edges=12)
    assert found.verdict == "absent"
    assert found.reason is not None
    assert "is of 9 to 12 edges, and its range is 9 to 10" in found.reason


def test_a_broken_census_is_an_error_and_no_pass(subject: Subject) -> None:
    (subject.directory / RESULT).write_text("{}")
    assert judge(CLAIM, subject).verdict == "error"


def test_of_other_weights_the_validation_graphs_speak(subject: Subject) -> None:
    """A control has no census, and is broken by any graph that it gets wrong."""
    broken = dataclasses.replace(subject.every(4), content_hash="sha256:broken")
    found = judge(CLAIM, broken)
    assert found.verdict == "refuted"
    wrong = int((~broken.right).sum())
    assert found.expect.measurements["wrong_graphs"].value == wrong > 0
    assert found.expect.measurements["graphs"].value == len(broken.graphs)
