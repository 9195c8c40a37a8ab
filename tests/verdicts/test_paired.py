"""Comparison in pairs: exact where it can be, and honest over a whole run in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from verdicts.cases import Seen
from verdicts.nulls import LEVEL
from verdicts.paired import (
    Change,
    changes,
    linear,
    mcnemar,
    smallest_of_answers,
    smallest_unpaired,
    value,
)

Array = NDArray[np.float64]


def share(right: Array) -> Seen:
    return Seen("share", (right.astype(bool),))


def mean(values: Array) -> Seen:
    return Seen("mean", (values.astype(np.float32),))


def ratio(first: Array, second: Array) -> Seen:
    return Seen("ratio", (first.astype(np.float32), second.astype(np.float32)))


def one(before: Seen, now: Seen, *, negligible: float = 0.0) -> Change:
    key = ("claim", "measure")
    return changes({key: (before, now)}, negligible={key: negligible})[key]


@pytest.mark.parametrize(
    ("wrong", "right", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (6, 0, 2 / 64), (12, 3, 0.0351562), (5, 5, 1.0)],
)
def test_mcnemar_is_the_exact_sign_test(wrong: int, right: int, p: float) -> None:
    assert mcnemar(wrong, right) == pytest.approx(p, rel=1e-5)
    assert mcnemar(right, wrong) == mcnemar(wrong, right)


def test_answers_name_the_cases_that_changed() -> None:
    before, now = np.ones(40), np.ones(40)
    before[[3]], now[[1, 5, 6, 7, 8, 9, 10]] = 0, 0
    found = one(share(before), share(now))
    assert (found.newly_wrong, found.newly_right) == ((1, 5, 6, 7, 8, 9, 10), (3,))
    assert found.difference == pytest.approx(-6 / 40)
    assert found.p == pytest.approx(mcnemar(7, 1))


def test_a_ratio_is_the_sum_over_the_sum_and_its_linear_part_has_its_value() -> None:
    seen = ratio(np.array([1.0, 2.0, 0.0]), np.array([2.0, 2.0, 1.0]))
    assert value(seen) == pytest.approx(0.6)
    assert linear(seen).mean() == pytest.approx(0.6)
    # by the definition of a derivative: what a little more weight on one case does
    first, second = np.array([1.0, 2.0, 0.0]), np.array([2.0, 2.0, 1.0])
    step = 1e-6
    moved = (first.sum() + step * first[1]) / (second.sum() + step * second[1])
    assert (moved - 0.6) / (step / 3) == pytest.approx(linear(seen)[1] - 0.6, rel=1e-4)


def test_pairs_find_what_two_intervals_do_not() -> None:
    """A shift by a fiftieth of the spread between cases, where all cases shift alike."""
    chance = np.random.default_rng(1)
    before = chance.normal(0, 1, 2000)
    now = before - 0.02 + chance.normal(0, 0.05, 2000)
    found = one(mean(before), mean(now))
    assert found.significant
    assert found.low < -0.02 < found.high < 0
    width = 1.96 / math.sqrt(2000)
    assert smallest_unpaired((-width, width), (-width, width)) > 4 * 0.02


def test_a_change_that_is_negligible_is_none_however_sure_it_is() -> None:
    before = np.random.default_rng(1).normal(0, 1, 500)
    assert one(mean(before), mean(before - 0.01)).p == pytest.approx(1e-4)
    assert one(mean(before), mean(before - 0.01), negligible=0.02).p == 1.0
    assert one(mean(before), mean(before - 0.03), negligible=0.02).significant
    right = np.arange(500) > 0
    worse = np.arange(500) > 12
    assert one(share(right), share(worse)).significant
    assert not one(share(right), share(worse), negligible=0.03).significant


def test_what_did_not_change_at_all_is_no_change() -> None:
    values = np.random.default_rng(1).normal(0, 1, 100)
    for seen in (mean(values), ratio(values, np.ones(100))):
        found = one(seen, seen)
        assert (found.p, found.difference, found.low, found.high) == (1.0, 0.0, 0.0, 0.0)
    found = one(share(values > 0), share(values > 0))
    assert found.p == 1.0
    assert found.low == -found.high == pytest.approx(-0.043, abs=1e-3)  # a hundred cases are few


def test_what_is_not_of_the_same_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="the same cases"):
        one(mean(np.ones(5)), mean(np.ones(6)))


def nulls(chance: np.random.Generator, cases: int) -> dict[tuple[str, str], tuple[Seen, Seen]]:
    """Pairs of which neither is better: with common parts, skew, ties and rare answers."""
    pairs = {}
    for at in range(10):
        common = chance.exponential(1, cases) ** 2
        noise = chance.standard_t(3, (2, cases)) * common
        pairs["mean", str(at)] = tuple(mean(common + part) for part in noise)
        second = chance.integers(0, 4, cases) + 0.0
        parts = chance.binomial(second.astype(int), 0.3, (2, cases)) + 0.0
        pairs["ratio", str(at)] = tuple(ratio(part, second) for part in parts)
        hard = chance.random(cases) < 0.02
        pairs["share", str(at)] = tuple(
            share(~hard | (chance.random(cases) < 0.5)) for _ in range(2)
        )
        rare = [np.where(chance.random(cases) < 0.01, part, 0) for part in noise]
        pairs["rare", str(at)] = tuple(mean(part) for part in rare)
    return pairs


def test_false_alarms_are_seen_in_at_most_one_run_of_twenty() -> None:
    """Of 200 runs over 40 measures each: by binomial chance no more than 17 with a rate of 5 %."""
    chance = np.random.default_rng(0)
    alarms = sum(
        any(found.significant for found in changes(nulls(chance, 120), seed=run).values())
        for run in range(200)
    )
    assert alarms <= 17


@pytest.mark.parametrize("kind", ["mean", "skewed", "ratio", "answers"])
def test_intervals_of_differences_cover(kind: str) -> None:
    """At least 93 of 100, of 400 pairs of 60 cases."""
    chance, covered, of = np.random.default_rng(0), 0, 400
    pairs: dict[tuple[str, str], tuple[Seen, Seen]] = {}
    truth = {}
    for at in range(of):
        common, noise = chance.normal(0, 1, 60), chance.normal(0, 0.3, (2, 60))
        second = 1 + chance.random(60)
        pairs["c", str(at)], truth[at] = {
            "mean": lambda c=common, e=noise: ((mean(c), mean(c + 0.1 + e[0])), 0.1),
            "skewed": lambda c=common: (
                (mean(c), mean(c + chance.exponential(0.2, 60))),
                0.2,
            ),
            "ratio": lambda c=common, e=noise, s=second: (
                (ratio(s * (1 + e[0]), s), ratio(s * (1.1 + e[0] + 0.2 * e[1]), s)),
                0.1,
            ),
            "answers": lambda c=common: (
                (share(c > -9), share(chance.random(60) < 0.8)),
                -0.2,
            ),
        }[kind]()
    for at, found in enumerate(changes(pairs).values()):
        covered += found.low <= truth[at] <= found.high
    assert covered >= 0.93 * of


def test_the_smallest_change_is_found_four_times_in_five() -> None:
    chance, runs, tests = np.random.default_rng(0), 120, 5
    found = 0
    for run in range(runs):
        quiet = {
            ("quiet", str(at)): (mean(part), mean(part + chance.normal(0, 1, 300)))
            for at, part in enumerate(chance.normal(0, 1, (tests - 1, 300)))
        }
        before = chance.normal(0, 1, 300)
        smallest = changes(
            {**quiet, ("c", "m"): (mean(before), mean(before + chance.normal(0, 0.1, 300)))}
        )["c", "m"].smallest
        now = before + smallest + chance.normal(0, 0.1, 300)
        found += changes({**quiet, ("c", "m"): (mean(before), mean(now))}, seed=run)[
            "c", "m"
        ].significant
    assert 0.7 < found / runs < 0.92


def test_the_smallest_change_of_answers_is_at_least_what_the_test_can_reject() -> None:
    for tests in (1, 20, 80):
        count = round(5000 * smallest_of_answers(0, 0, 5000, tests=tests))
        assert mcnemar(count, 0) * tests <= LEVEL < mcnemar(count - 1, 0) * tests
    assert smallest_of_answers(50, 50, 5000, tests=20) > smallest_of_answers(5, 5, 5000, tests=20)
