"""A value with its interval, and the exact interval of a rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

CONFIDENCE = 0.95
COLUMNS = {"share": 1, "mean": 1, "ratio": 2}
"""How many numbers a case gives to an estimate of each kind."""


@dataclasses.dataclass(frozen=True)
class PerCase:
    """What an estimate is made of, case by case, in an order that depends on the data alone.

    With those of another subject on the same data the two are compared in pairs. A `share` is of
    yes or no for each case, a `mean` of one number, a `ratio` is the sum of the first column over
    that of the second. Any other smooth statistic is, to first order, the mean of its linear part.
    """

    kind: str
    columns: Sequence[Any]
    """Each a sequence, or what has `tolist()`, with one entry a case."""

    def __post_init__(self) -> None:
        if self.kind not in COLUMNS:
            raise ValueError(f"kind must be one of {', '.join(COLUMNS)}, got {self.kind!r}")
        if len(self.columns) != COLUMNS[self.kind]:
            raise ValueError(
                f"a {self.kind} has {COLUMNS[self.kind]} columns, got {len(self.columns)}"
            )
        if len({len(column) for column in self.columns}) > 1:
            raise ValueError(
                f"columns must have an entry for each case, got {[len(c) for c in self.columns]}"
            )


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with the interval it was estimated with; `low` and `high` are the 95 % limits unless
    said otherwise."""

    value: float
    low: float
    high: float
    cases: int | None = None
    """How many cases it rests on, where its width falls with their square root."""
    per_case: PerCase | None = dataclasses.field(default=None, repr=False, compare=False)
    """What it is made of; `None` where another subject would not see the same cases."""
    members: Sequence[float] = dataclasses.field(default=(), repr=False, compare=False)
    """Where it is an extreme, the values of all that it is the extreme of: a bound is on each."""

    def unpaired(self) -> Estimate:
        """The same without its cases, which another subject would not see."""
        return dataclasses.replace(self, per_case=None)


@dataclasses.dataclass(frozen=True)
class Least:
    """The least of some exact numbers, of which a bound from below is a bound on each."""

    members: Sequence[float]
    low: None = None
    high: None = None

    @property
    def value(self) -> float:
        """The least; `ValueError` of none."""
        return min(self.members)


def clopper_pearson(
    successes: float | int, trials: float | int, *, confidence: float = CONFIDENCE
) -> Estimate:
    """Exact interval of a rate. A fractional `successes` (a sum of shares in [0, 1]) varies less
    than a count: conservative.

    `ValueError` where there was no trial, or fewer than there were successes.
    """
    from scipy.stats import beta  # takes a second to import

    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be from 0 to trials = {trials}, got {successes}")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes > 0 else 0.0
    high = (
        float(beta.ppf(1 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    )
    return Estimate(successes / trials, low, high, int(trials))
