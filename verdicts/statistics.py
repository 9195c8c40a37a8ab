"""A value with its interval, and the exact interval of a rate."""

from __future__ import annotations

import dataclasses

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with the interval it was estimated with; `low` and `high` are the 95 % limits unless
    said otherwise."""

    value: float
    low: float
    high: float
    cases: int | None = None
    """How many cases it rests on, where its width falls with their square root."""


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
