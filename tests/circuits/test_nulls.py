from __future__ import annotations

import math

import pytest
import torch
from msgspec.structs import replace

from tests.records import subject_of
from verdicts.nulls import NullTest, holm, null_complaints, with_corrected
from verdicts.schema import ClaimResult

# p-values


@pytest.mark.parametrize(
    ("observed", "p"),
    [(5.5, 1 / 6), (5.0, 2 / 6), (0.5, 6 / 6), (2.5, 4 / 6), (math.nan, 6 / 6), (math.inf, 1 / 6)],
)
def test_p_is_one_more_than_those_that_reach_it_over_one_more_than_all(
    observed: float, p: float
) -> None:
    assert NullTest.of(observed, [1.0, 2.0, 3.0, 4.0, 5.0], kind="draws").p == pytest.approx(p)


def test_p_values_of_chance_are_no_smaller_than_they_say() -> None:
    draws = torch.randn(2000, 20, generator=torch.Generator().manual_seed(0)).tolist()
    p = [NullTest.of(observed, null, kind="normal").p for observed, *null in draws]
    for level in (0.05, 0.1, 0.5):
        assert sum(value <= level for value in p) / len(p) == pytest.approx(
            level, abs=3 * math.sqrt(level * (1 - level) / 2000)
        )


@pytest.mark.parametrize(
    ("draws", "message"), [([], "must not be empty"), ([1.0, math.nan], "must be finite, got nan")]
)
def test_draws_that_cannot_be_ranked_are_refused(draws: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NullTest.of(1.0, draws, kind="rotations")


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04; each at least the one before."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_the_chance_of_any_false_rejection_below_the_level() -> None:
    p = torch.rand(
        4000, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).tolist()
    rejected = sum(min(holm(row)) <= 0.05 for row in p) / len(p)
    assert 0.035 <= rejected <= 0.06


def claim(name: str, p: float | None, *, verdict: str = "holds", draws: int = 999) -> ClaimResult:
    null = {
        "kind": "rotations",
        "observed": 1.0,
        "draws": draws,
        "as_large": 0,
        "largest": 0.5,
        "p": p,
    }
    nulls = {} if p is None else {"score": null}
    return subject_of({"id": name, "verdict": verdict, "p": p, "nulls": nulls}).claims[0]


def test_claims_without_a_null_do_not_count_towards_the_correction() -> None:
    claims = with_corrected([claim("a", 0.01), claim("b", None), claim("c", 0.04)])
    assert [c.p_corrected for c in claims] == [0.02, None, 0.04]
    assert [c.above_chance for c in claims] == ["yes", "not asked", "yes"]
    assert list(null_complaints(claims)) == []


def test_a_claim_that_holds_and_is_not_told_from_chance_is_complained_of() -> None:
    claims = with_corrected(
        [claim("a", 0.03), claim("b", 0.02), claim("c", 0.9, verdict="refuted")]
    )
    assert [text.split(":")[0] for text in null_complaints(claims)] == [
        "a holds, but chance does as well",
        "b holds, but chance does as well",
    ]


def test_too_few_draws_to_ever_reject_are_complained_of() -> None:
    claims = with_corrected(
        [
            claim("a", 1 / 40, draws=39),
            claim("b", 1 / 40, draws=39),
            claim("c", 0.9, verdict="refuted"),
        ]
    )
    messages = list(null_complaints(claims))
    assert (
        "a: score has 39 draws, but with 3 claims corrected together fewer than 59 can never reject"
        " at 0.05; draw more" in messages
    )


def test_a_claim_that_says_why_it_is_worth_stating_may_be_at_chance() -> None:
    claims = with_corrected([replace(claim("a", 0.5), at_chance="it is compared over seeds")])
    assert claims[0].above_chance == "no"
    assert list(null_complaints(claims)) == []


def test_a_claim_of_which_a_part_was_not_asked_is_not_above_chance() -> None:
    part = "triangles_marked does not exist here"
    claims = with_corrected(
        [replace(claim("a", 0.01), not_asked=part), replace(claim("b", 0.9), not_asked=part)]
    )
    assert [one.above_chance for one in claims] == ["not asked", "no"]


class Summary:
    """Draws of which only so much is kept."""

    largest = 3.0

    def __len__(self) -> int:
        return 200

    def as_large(self, observed: float) -> int:
        return 7


def test_a_summary_of_draws_ranks_for_itself() -> None:
    ranked = NullTest.of(1.0, Summary(), kind="draws")
    assert (ranked.draws, ranked.as_large, ranked.largest) == (200, 7, 3.0)
    assert ranked.p == pytest.approx(8 / 201)
    assert NullTest.of(math.nan, Summary(), kind="draws").p == 1.0
