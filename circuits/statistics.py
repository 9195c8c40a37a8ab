"""Estimates with their intervals. The unit that is resampled or counted is the graph, never the vertex."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from scipy.stats import beta, spearmanr
from torch import Tensor

RESAMPLES = 2000
CONFIDENCE = 0.95
_CHUNK = 250  # resamples at a time: 10 MB at 5,000 graphs

Statistic = Callable[[Float[Tensor, "resample quantity"]], Float[Tensor, " resample"]]
"""From the means of each resample to one number each."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with the interval it was estimated with; `low` and `high` are the 95 % limits unless said otherwise."""

    value: float
    low: float
    high: float
    graphs: int | None = None
    """How many graphs it rests on, where its width falls with their square root."""


def clopper_pearson(successes: float | int, trials: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """Exact interval of a rate. A fractional `successes` (a sum of shares in [0, 1]) varies less than a count: conservative."""
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be from 0 to trials = {trials}, got {successes}")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return Estimate(successes / trials, low, high, trials)


def paired_difference(lost: int, gained: int, trials: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """(lost − gained)/trials of paired answers, with a conservative exact interval.

    Each limit takes both rates at half its tail (Bonferroni), so that it stays honest where nothing was lost or gained.
    """
    if lost + gained > trials:
        raise ValueError(f"lost + gained must be at most trials = {trials}, got {lost} + {gained}")
    half = (1 + confidence) / 2
    a, b = (clopper_pearson(count, trials, confidence=half) for count in (lost, gained))
    return Estimate((lost - gained) / trials, a.low - b.high, a.high - b.low, trials)


def rate_upper_bound(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper–Pearson upper bound of a rate: 3/n, nearly, where nothing was seen."""
    return clopper_pearson(successes, trials, confidence=2 * confidence - 1).high


def worst_rate(hits: Bool[Tensor, " batch"], group: Float[Tensor, " batch"]) -> Estimate:
    """Lowest hit rate over the groups; the limits hold for all groups together (Bonferroni)."""
    groups = group.unique()
    confidence = 1 - (1 - CONFIDENCE) / len(groups)
    rates = []
    for value in groups:
        members = hits[group == value]
        rates.append(clopper_pearson(int(members.sum()), len(members), confidence=confidence))
    return Estimate(min(r.value for r in rates), min(r.low for r in rates), min(r.high for r in rates))


def bootstrap(
    per_graph: Float[Tensor, "batch quantity"], statistic: Statistic, *, generator: torch.Generator, confidence: float = CONFIDENCE
) -> Estimate:
    """A statistic of the means of some quantities of each graph, with its percentile interval over 2,000 samples of the graphs.

    The limits are NaN where the statistic of some sample does not exist.
    """
    n = len(per_graph)
    if n < 2:
        raise ValueError(f"per_graph must hold at least 2 graphs to resample, got {n}")
    per_graph = per_graph.double().cpu()
    value = statistic(per_graph.mean(0, keepdim=True)).item()
    one = torch.ones(1, dtype=torch.float64).expand(_CHUNK, n)
    means = []
    for _ in range(RESAMPLES // _CHUNK):
        draws = torch.randint(n, (_CHUNK, n), generator=generator)
        times = torch.zeros(_CHUNK, n, dtype=torch.float64).scatter_add_(1, draws, one)
        means.append(times @ per_graph / n)
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    low, high = statistic(torch.cat(means)).quantile(tails).tolist()
    return Estimate(value, min(low, value), max(high, value), n)


def ratio(means: Float[Tensor, "resample 2"]) -> Float[Tensor, " resample"]:
    """First mean over the second: of a sum over vertices and their number, say."""
    return means[:, 0] / means[:, 1]


def only(means: Float[Tensor, "resample 1"]) -> Float[Tensor, " resample"]:
    """The mean itself."""
    return means[:, 0]


def smallest_rank_correlation(scores: Float[Tensor, "setting item"]) -> float | None:
    """Least Spearman correlation of the items' order between any two settings: 1 where it never changes; `None` for constant scores."""
    if len(scores) < 2:
        raise ValueError(f"scores must have at least 2 settings to compare, got {len(scores)}")
    rows = scores.double().cpu().numpy()
    if scores.shape[1] < 2 or any(row.min() == row.max() for row in rows):
        return None
    return min(float(spearmanr(a, b).statistic) for a, b in combinations(rows, 2))
