"""Which verdicts that change with the seed are more than a 95 % interval may be wrong."""

from __future__ import annotations

import pytest

from tests.steadiness import contradicts, unsteady


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
