"""Two subjects on the same cases, compared case by case: how a measure changed, whether that is
more than chance, and how small a change would have been seen.

numpy is imported by the functions that need it, and by nothing else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from verdicts.cases import Seen
from verdicts.nulls import LEVEL, holm
from verdicts.statistics import CONFIDENCE, clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import NDArray

POWER = 0.8
RESAMPLES = 2000
FLIPS = 9999  # the smallest p is 1 in 10,000: enough to correct over 500 measures
_CHUNK = 250  # resamples at a time: 10 MB at 5,000 cases
_NORMAL = NormalDist()

Key = tuple[str, str]
"""Claim and measure."""


@dataclasses.dataclass(frozen=True)
class Change:
    """How one measure differs between two subjects that saw the same cases."""

    cases: int
    before: float
    now: float
    low: float
    high: float
    """95 % limits of the difference, now less before."""
    p: float
    """That the difference is negligible."""
    p_corrected: float
    """The same, corrected over all measures that were compared."""
    smallest: float
    """The smallest change that this comparison would have found in four cases of five."""
    newly_wrong: tuple[int, ...] = ()
    newly_right: tuple[int, ...] = ()
    """Cases, where the measure is a share of right answers."""

    @property
    def difference(self) -> float:
        """Now less before."""
        return self.now - self.before

    @property
    def significant(self) -> bool:
        """Whether it is more than negligible: over all measures at once a false alarm is seen in at
        most one run of twenty."""
        return self.p_corrected <= LEVEL


def mcnemar(newly_wrong: int, newly_right: int) -> float:
    """Exact two-sided p that a case is as likely to be newly wrong as newly right."""
    changed = newly_wrong + newly_right
    fewer = min(newly_wrong, newly_right)
    tail = sum(math.comb(changed, count) for count in range(fewer + 1))
    return min(1.0, 2 * tail / 2**changed)


def smallest_of_answers(newly_wrong: int, newly_right: int, cases: int, *, tests: int) -> float:
    """The smallest change of a share that McNemar's test finds four times in five, with so many
    tests corrected together."""
    error = math.sqrt(newly_wrong + newly_right) / cases
    least = 1 + math.ceil(math.log2(tests / LEVEL))  # all of them one way: 2 / 2^least
    return max(least / cases, _reach(tests) * error)


def _reach(tests: int) -> float:
    """How many standard errors from zero a change is found four times in five."""
    return _NORMAL.inv_cdf(1 - LEVEL / (2 * tests)) + _NORMAL.inv_cdf(POWER)


def smallest_unpaired(before: tuple[float, float], now: tuple[float, float]) -> float:
    """The smallest change with which two intervals of 95 % fall apart four times in five."""
    widths = [(high - low) / 2 for low, high in (before, now)]
    errors = [width / _NORMAL.inv_cdf((1 + CONFIDENCE) / 2) for width in widths]
    return sum(widths) + _NORMAL.inv_cdf(POWER) * math.hypot(*errors)


def comparable(before: Seen, now: Seen) -> bool:
    """Whether the two are the same measure of as many cases."""
    return before.kind == now.kind and len(before) == len(now) and len(now) > 1


def changes(
    pairs: Mapping[Key, tuple[Seen, Seen]],
    *,
    negligible: Mapping[Key, float] | None = None,
    seed: int = 0,
) -> dict[Key, Change]:
    """How each measure changed, corrected over all of them (Holm).

    Answers are compared by McNemar's exact test. Of a mean or a ratio the signs of its differences
    are dealt anew: where neither subject is the better one, they are as likely one way as the
    other. A change of no more than `negligible` counts as none.
    """
    margins = negligible or {}
    if not all(comparable(*pair) for pair in pairs.values()):
        raise ValueError("each pair must be of one measure and of the same cases")
    p = {**_answers_p(pairs, margins), **_differences_p(pairs, margins, seed)}
    corrected = dict(zip(p, holm(list(p.values())), strict=True))
    intervals = _intervals(pairs, seed)
    return {
        key: _change(
            pair, intervals[key], (p[key], corrected[key]), margins.get(key, 0.0), tests=len(p)
        )
        for key, pair in pairs.items()
    }


def _change(
    pair: tuple[Seen, Seen],
    interval: tuple[float, float],
    p: tuple[float, float],
    margin: float,
    *,
    tests: int,
) -> Change:
    before, now = pair
    cases = len(now)
    wrong: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    if now.kind == "share":
        then, since = before.columns[0], now.columns[0]
        wrong, right = (
            tuple((one & ~other).nonzero()[0].tolist())
            for one, other in ((then, since), (since, then))
        )
        smallest = smallest_of_answers(len(wrong), len(right), cases, tests=tests)
    else:
        smallest = _reach(tests) * float((linear(now) - linear(before)).std()) / math.sqrt(cases)
    return Change(cases, value(before), value(now), *interval, *p, smallest + margin, wrong, right)


def value(seen: Seen) -> float:
    """The mean, or the ratio of the two means."""
    means = [float(column.mean(dtype="float64")) for column in seen.columns]
    return means[0] / means[1] if seen.kind == "ratio" else means[0]


def linear(seen: Seen) -> NDArray[Any]:
    """What each case adds: its mean is the value, and its spread that of the value to first
    order."""
    first = seen.columns[0].astype("float64")
    if seen.kind != "ratio":
        return first
    second = seen.columns[1].astype("float64")
    at = value(seen)
    return at + (first - at * second) / second.mean()


def _answers_p(
    pairs: Mapping[Key, tuple[Seen, Seen]], margins: Mapping[Key, float]
) -> dict[Key, float]:
    found = {}
    for key, (before, now) in pairs.items():
        if now.kind == "share":
            wrong = int((before.columns[0] & ~now.columns[0]).sum())
            right = int((~before.columns[0] & now.columns[0]).sum())
            beyond = abs(wrong - right) > margins.get(key, 0.0) * len(now)
            found[key] = mcnemar(wrong, right) if beyond else 1.0
    return found


def _differences_p(
    pairs: Mapping[Key, tuple[Seen, Seen]], margins: Mapping[Key, float], seed: int
) -> dict[Key, float]:
    """p of each mean or ratio, all measures of as many cases on the same flips of their signs."""
    import numpy as np

    found: dict[Key, float] = {}
    by_size: dict[int, list[tuple[Key, NDArray[Any]]]] = {}
    for key, (before, now) in pairs.items():
        if now.kind == "share":
            continue
        differences = linear(now) - linear(before)
        mean, margin = differences.mean(), margins.get(key, 0.0)
        if not np.isfinite(mean) or abs(mean) <= margin:
            found[key] = 1.0
            continue
        beyond = differences - math.copysign(margin, mean)
        scaled = beyond / np.abs(beyond).max()
        by_size.setdefault(len(now), []).append((key, scaled.astype(np.float32)))
    flips = max(FLIPS, math.ceil(2 * len(pairs) / LEVEL) - 1)
    for size, measures in by_size.items():
        columns = np.stack([column for _, column in measures], axis=1)
        # a constant difference is reached by no flip but the one that is there: not by rounding
        observed = np.abs(columns.sum(0, dtype=np.float64)) * (1 - 1e-6)
        chance = np.random.default_rng(seed)
        reached = np.zeros(len(measures), dtype=int)
        for start in range(0, flips, _CHUNK):
            count = min(_CHUNK, flips - start)
            signs = chance.integers(0, 2, (count, size), dtype=np.int8).astype(np.float32) * 2 - 1
            reached += (np.abs(signs @ columns) >= observed).sum(0)
        for (key, _), count in zip(measures, reached, strict=True):
            found[key] = (1 + int(count)) / (1 + flips)
    return found


def _intervals(pairs: Mapping[Key, tuple[Seen, Seen]], seed: int) -> dict[Key, tuple[float, float]]:
    """95 % limits of each difference: exact for answers, by the paired bootstrap for the others."""
    found = {}
    by_size: dict[int, list[Key]] = {}
    for key, (before, now) in pairs.items():
        if now.kind == "share":
            found[key] = _limits_of_answers(before, now)
        else:
            by_size.setdefault(len(now), []).append(key)
    for keys in by_size.values():
        found |= dict(zip(keys, _bootstrap([pairs[key] for key in keys], seed), strict=True))
    return found


def _limits_of_answers(before: Seen, now: Seen) -> tuple[float, float]:
    """Both rates of change at half the tail (Bonferroni): honest where nothing changed."""
    then, since = before.columns[0], now.columns[0]
    wrong, right = (
        clopper_pearson(int(changed.sum()), len(now), confidence=(1 + CONFIDENCE) / 2)
        for changed in (then & ~since, since & ~then)
    )
    return right.low - wrong.high, right.high - wrong.low


def _bootstrap(pairs: Sequence[tuple[Seen, Seen]], seed: int) -> list[tuple[float, float]]:
    """The wider of the percentile and the studentised interval, all on the same resamples: either
    alone covers too little where differences are skewed."""
    import numpy as np

    size, count = len(pairs[0][1]), len(pairs)
    # numerator and denominator of either side, then the differences' linear part and its square
    sides = [_both_columns(seen) for pair in pairs for seen in pair]
    parts = np.stack([linear(now) - linear(before) for before, now in pairs], axis=1)
    centre = parts.mean(0)
    parts = parts - centre
    columns = np.concatenate([*sides, parts, parts**2], axis=1)
    chance, drawn = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // _CHUNK):
        draws = chance.integers(0, size, (_CHUNK, size))
        times = np.stack([np.bincount(draw, minlength=size) for draw in draws])
        drawn.append(times @ columns / size)
    means = np.concatenate(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = means[:, : 4 * count].reshape(RESAMPLES, count, 2, 2)
        values = values[..., 0] / values[..., 1]
        differences = values[..., 1] - values[..., 0]
        first, second = np.split(means[:, 4 * count :], 2, axis=1)
        # not of zero: what does not vary in a resample says nothing of its error
        spread = np.where(second > first**2, second - first**2, np.nan)
        studentised = (differences - centre) / np.sqrt(spread)
        error = np.sqrt((parts**2).mean(0))
        tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        low, high = np.nanquantile(differences, tails, axis=0)
        still = error <= 1e-9 * np.abs(centre)
        low_t, high_t = np.nanquantile(np.where(still, 0.0, studentised), tails, axis=0)
    low, high = np.minimum(low, centre - high_t * error), np.maximum(high, centre - low_t * error)
    return [(float(one), float(other)) for one, other in zip(low, high, strict=True)]


def _both_columns(seen: Seen) -> NDArray[Any]:
    import numpy as np

    first = seen.columns[0].astype("float64")
    second = seen.columns[1].astype("float64") if seen.kind == "ratio" else np.ones_like(first)
    return np.stack([first, second], axis=1)
