"""Which verdicts that change with the seed are more than a 95 % interval may be wrong, and what the
docs tell of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.records import subject_of
from tests.steadiness import (
    AUTHOR,
    CLAIMS,
    FIRST,
    ROOT,
    SEEDS,
    SEEDS_OF_THE_AUTHORS,
    _gaps,
    contradicts,
    read_runs,
    settled,
    table,
    unsteady,
)
from verdicts.record import read_record


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"holds": 200}, False),
        ({"unresolved": 187, "refuted": 10, "holds": 3}, False),
        ({"unresolved": 100, "holds": 100}, False),
        ({"holds": 185, "refuted": 15}, True),
        ({"holds": 100, "refuted": 100}, True),
        ({"holds": 199, "error": 1}, True),
    ],
)
def test_a_claim_decided_both_ways_contradicts_itself(
    counts: dict[str, int], expected: bool
) -> None:
    assert contradicts(counts) is expected


def test_what_changes_is_shown_with_what_was_behind_it() -> None:
    runs = [
        {
            "seed": 0,
            "claims": {
                "a": {"verdict": "holds", "missed": {}, "reason": None},
                "b": {"verdict": "holds"},
            },
        },
        {
            "seed": 1,
            "claims": {
                "a": {"verdict": "refuted", "missed": {"m": 1}, "reason": None},
                "b": {"verdict": "holds"},
            },
        },
    ]
    assert [(name, dict(counts), behind) for name, counts, behind in unsteady(runs)] == [
        ("a", {"holds": 1, "refuted": 1}, ["seed 0: holds ", "seed 1: refuted {'m': 1}"])
    ]


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([0.5 + 0.01 * seed for seed in range(FIRST)], True),
        ([-0.5 - 0.01 * seed for seed in range(FIRST)], True),
        ([0.25 + 0.01 * seed for seed in range(FIRST)], False),
        ([0.0] * FIRST, False),
        ([-0.5, *[0.5] * (FIRST - 1)], False),
    ],
)
def test_a_claim_is_settled_where_no_limit_is_near_its_bound(
    gaps: list[float], expected: bool
) -> None:
    runs = [
        {
            "claims": {
                claim.id: {"verdict": "holds", "gaps": {"m at_least": gap, "n at_most": 1.0}}
                for claim in CLAIMS
            }
        }
        for gap in gaps
    ]
    found = settled(runs)
    assert ("classifies_the_validation_set" in found) is expected
    assert "adding_an_edge_raises_anchor_attention" not in found  # a search is never settled
    runs[3]["claims"]["classifies_the_validation_set"]["verdict"] = "unresolved"
    assert "classifies_the_validation_set" not in settled(runs)


def test_the_table_in_the_docs_has_a_line_for_each_checkpoint(tmp_path: Path) -> None:
    runs = [
        {
            "seed": seed,
            "claims": {
                "a": {"verdict": "refuted" if seed else "holds", "missed": {}, "reason": None},
                "b": {"verdict": "holds"},
            },
        }
        for seed in (2, 0, 1)  # as they were done
    ]
    (tmp_path / "one.jsonl").write_text("\n".join(map(json.dumps, runs)) + "\n")
    assert list(table(tmp_path))[2:] == [
        "| `one` | 3 | 2 | 0 | 1 | 1 |",
        "",
        "- `one`, `a`: refuted 2, holds 1",
    ]


def test_where_nothing_was_found_to_measure_no_limit_decides() -> None:
    subject = subject_of({"id": "a", "measurements": {"m": {"value": None, "at_least": 0.5}}})
    assert list(_gaps(subject.claims[0].measurements["m"])) == [("at_least", 0.0)]


def test_the_docs_tell_what_was_found_of_the_checkpoints_as_they_are() -> None:
    kept = ROOT / "studies" / "steadiness"
    assert "\n".join(table(kept)) in (ROOT / "docs" / "instrument.md").read_text(encoding="utf-8")
    for path in kept.glob("*.jsonl"):
        (subject,) = read_record(ROOT / "checkpoints" / path.stem / "verdicts.json").subjects
        runs = read_runs(path)
        count = SEEDS_OF_THE_AUTHORS if path.stem == AUTHOR.stem else SEEDS
        assert [run["seed"] for run in runs] == list(range(count))
        for run in runs:
            assert run["content_hash"] == subject.content_hash
            assert run["claims"].keys() <= {claim.id for claim in CLAIMS}


def test_the_readme_tells_which_verdicts_hang_on_chance() -> None:
    found = {
        path.stem: {claim: counts for claim, counts, _ in unsteady(read_runs(path))}
        for path in (ROOT / "studies" / "steadiness").glob("*.jsonl")
    }
    (claim,) = {claim for changing in found.values() for claim in changing}
    both = {
        name: changing[claim]
        for name, changing in found.items()
        if {"holds", "refuted"} <= changing.get(claim, {}).keys()
    }
    assert both.keys() == {AUTHOR.stem}
    counts = both[AUTHOR.stem]
    told = f"both held ({counts['holds']} of {counts.total()}) and refuted ({counts['refuted']})"
    assert told in (ROOT / "README.md").read_text(encoding="utf-8")
