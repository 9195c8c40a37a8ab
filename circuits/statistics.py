"""Estimates with their intervals. The unit that is resampled or counted is the graph, never the
vertex."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from scipy.stats import spearmanr
from torch import Tensor

from verdicts.statistics import CONFIDENCE, Estimate, PerCase, clopper_pearson

RESAMPLES = 2000
FEWEST_GRAPHS = 30  # below, an interval covers less than it says whatever one does
_CHUNK = 250  # resamples at a time: 10 MB at 5,000 graphs
_TAIL = 0.005  # of the resamples beyond either limit: skewed data need more than 0.025
# members that are looked at for the lowest limit: one that is far from the lowest has no lower one
_LIKELY = 16

Statistic = Callable[[Float[Tensor, "resample quantity"]], Float[Tensor, " resample"]]
"""From the means of each resample to one number each."""


def share(
    hits: Bool[Tensor, " batch"] | Float[Tensor, " batch"], *, confidence: float = CONFIDENCE
) -> Estimate:
    """Share of the graphs that are hits, or mean of a share of each, with its exact interval."""
    found = clopper_pearson(hits.double().sum().item(), len(hits), confidence=confidence)
    kind = "mean" if hits.is_floating_point() else "share"
    return dataclasses.replace(found, per_case=PerCase(kind, (hits,)))


def share_lost(
    before: Bool[Tensor, " batch"], after: Bool[Tensor, " batch"], *, confidence: float = CONFIDENCE
) -> Estimate:
    """Share of right answers before less after, on the same graphs: `paired_difference`."""
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    found = paired_difference(lost, gained, len(before), confidence=confidence)
    each = PerCase("mean", (before.double() - after.double(),))
    return dataclasses.replace(found, per_case=each)


def paired_difference(
    lost: int, gained: int, trials: int, *, confidence: float = CONFIDENCE
) -> Estimate:
    """(lost − gained)/trials of paired answers, with a conservative exact interval.

    Each limit takes both rates at half its tail (Bonferroni), so that it stays honest where nothing
    was lost or gained.
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
    """Lowest hit rate over the groups.

    The lower limit is the lowest of their one-sided limits: all rates lie above it if the lowest
    one does, so nothing is to be corrected. The upper limit is the lowest of theirs after
    Bonferroni, since any of them might be the lowest.
    """
    groups = [hits[group == value] for value in group.unique()]
    counts = [(int(members.sum()), len(members)) for members in groups]
    alone = [clopper_pearson(*count) for count in counts]
    together = [
        clopper_pearson(*count, confidence=1 - (1 - CONFIDENCE) / len(counts)) for count in counts
    ]
    lowest_of_all = group == group.unique()[min(range(len(alone)), key=lambda i: alone[i].value)]
    each = PerCase("ratio", ((hits & lowest_of_all).double(), lowest_of_all.double()))
    return Estimate(
        min(r.value for r in alone),
        min(r.low for r in alone),
        min(r.high for r in together),
        per_case=each,
        members=[r.value for r in alone],
    )


def vertex_rate(
    hits: Bool[Tensor, "batch vertex"],
    chosen: Bool[Tensor, "batch vertex"],
    *,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Rate of hits among the chosen vertices of all graphs; `ValueError` where none is chosen.

    Clopper–Pearson as if all chosen vertices of a graph were alike: Σk vertices, k of each graph,
    then weigh as much as (Σk)²/Σk² of them (Kish 1965).
    """
    k = chosen.double().sum(1)
    if not k.any():
        raise ValueError("chosen must hold at least one vertex, got none")
    value = ((hits & chosen).double().sum() / k.sum()).item()
    effective = (k.sum() ** 2 / k.square().sum()).item()
    limits = clopper_pearson(value * effective, effective, confidence=confidence)
    each = PerCase("ratio", ((hits & chosen).double().sum(1), k))
    return Estimate(value, limits.low, limits.high, int((k > 0).sum()), each)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First less second, each with limits at half the tail (Bonferroni): however the two depend on
    each other."""
    each = None
    if first.per_case is not None and second.per_case is not None:
        parts = [_linear(per_case) for per_case in (first.per_case, second.per_case)]
        if len(parts[0]) == len(parts[1]):
            each = PerCase("mean", (parts[0] - parts[1],))
    return Estimate(
        first.value - second.value,
        first.low - second.high,
        first.high - second.low,
        first.cases,
        each,
    )


def _linear(per_case: PerCase) -> Float[Tensor, " batch"]:
    """What each graph adds to an estimate, to first order: its mean is the value."""
    columns = [column.double() for column in per_case.columns]
    if per_case.kind != "ratio":
        return columns[0]
    value = columns[0].sum() / columns[1].sum()
    return value + (columns[0] - value * columns[1]) / columns[1].mean()


def _each(per_graph: Float[Tensor, "batch quantity"], statistic: Statistic) -> PerCase:
    """What a statistic of means is made of; its linear part, where it is no mean and no ratio."""
    if statistic is only:
        return PerCase("mean", (per_graph[:, 0],))
    if statistic is ratio:
        return PerCase("ratio", (per_graph[:, 0], per_graph[:, 1]))
    mean = per_graph.double().mean(0)
    value, slope = _with_slope(statistic, mean[None])
    return PerCase("mean", (value + (per_graph.double() - mean) @ slope[0],))


def bootstrap(
    per_graph: Float[Tensor, "batch quantity"], statistic: Statistic, *, generator: torch.Generator
) -> Estimate:
    """A smooth statistic of the means of some quantities of each graph, with its interval over
    2,000 resamples of the graphs.

    Infinite limits, which settle nothing, below 30 graphs, or where the statistic of many resamples
    does not exist.
    """
    value, low, high = _limits(per_graph[None], statistic, generator=generator)
    return Estimate(
        value.item(), low.item(), high.item(), per_graph.shape[0], _each(per_graph, statistic)
    )


def lowest(
    members: Float[Tensor, "member batch quantity"],
    statistic: Statistic,
    *,
    generator: torch.Generator,
) -> Estimate:
    """The lowest of one statistic of several members, which may well be tied.

    A percentile interval of a minimum is wrong by construction where members are tied. So the lower
    limit is the lowest of the members' one-sided limits: all statistics lie above it if the lowest
    one does. The upper limit is that of one member, chosen as the lowest on one half of the graphs
    and measured on the other: the lowest lies below it if that one does.
    """
    value = statistic(members.double().mean(1))
    likely = value.topk(min(_LIKELY, len(value)), largest=False).indices
    _, low, _ = _limits(members[likely], statistic, generator=generator)
    first = int(statistic(members[:, ::2].double().mean(1)).argmin())
    _, _, high = _limits(members[[first], 1::2], statistic, generator=generator)
    each = _each(members[int(value.argmin())], statistic)
    return Estimate(
        value.min().item(), low.min().item(), high.item(), members.shape[1], each, value.tolist()
    )


def highest(
    members: Float[Tensor, "member batch quantity"],
    statistic: Statistic,
    *,
    generator: torch.Generator,
) -> Estimate:
    """The highest of one statistic of several members: `lowest`, turned round."""
    found = lowest(members, lambda means: -statistic(means), generator=generator)
    each = _each(members[int(statistic(members.double().mean(1)).argmax())], statistic)
    turned = [-value for value in found.members]
    return Estimate(-found.value, -found.high, -found.low, found.cases, each, turned)


def second_highest(
    members: Float[Tensor, "member batch quantity"],
    statistic: Statistic,
    *,
    generator: torch.Generator,
) -> Estimate:
    """The second highest of one statistic of several members.

    Two members chosen on one half of the graphs and measured on the other give the lower limit, and
    the second highest of all upper limits the other.
    """
    value = statistic(members.double().mean(1))
    _, _, high = _limits(members, statistic, generator=generator)
    first = statistic(members[:, ::2].double().mean(1)).topk(2).indices
    _, low, _ = _limits(members[first, 1::2], statistic, generator=generator)
    second = value.topk(2)
    return Estimate(
        second.values[1].item(),
        low.min().item(),
        high.topk(2).values[1].item(),
        members.shape[1],
        _each(members[second.indices[1]], statistic),
        value.tolist(),
    )


def _limits(
    members: Float[Tensor, "member batch quantity"],
    statistic: Statistic,
    *,
    generator: torch.Generator,
) -> tuple[Float[Tensor, " member"], Float[Tensor, " member"], Float[Tensor, " member"]]:
    """Value, lower and upper limit of a statistic of each member, all on the same resamples of the
    graphs.

    The wider of the percentile and the studentised interval, each at a tail of 0.005: alone, and at
    0.025, either covers too little where data are skewed (`tests/circuits/test_coverage.py`). The
    standard error is that of the statistic's linear part.
    """
    members = members.double().cpu()
    count, n, q = members.shape
    if n == 0:
        raise ValueError("per_graph must hold at least one graph, got none")
    mean = members.mean(1)
    value, slope = _with_slope(statistic, mean)
    infinite = torch.full_like(value, math.inf)
    if n < FEWEST_GRAPHS:
        return value, -infinite, infinite
    deviation = members - mean[:, None]
    error = torch.einsum("mnq,mq->mn", deviation, slope).square().sum(1).sqrt() / n
    moments = torch.cat(
        [deviation, torch.einsum("mnq,mnp->mnqp", deviation, deviation).flatten(2)], dim=2
    )
    columns = moments.transpose(0, 1).flatten(1)  # one product serves all members
    one = torch.ones(1, dtype=torch.float64).expand(_CHUNK, n)
    studentised, plain = [], []
    for _ in range(RESAMPLES // _CHUNK):
        draws = torch.randint(n, (_CHUNK, n), generator=generator)
        times = torch.zeros(_CHUNK, n, dtype=torch.float64).scatter_add_(1, draws, one)
        first, second = (
            (times @ columns / n).unflatten(1, (count, q + q * q)).split([q, q * q], dim=2)
        )
        drawn, slopes = _with_slope(statistic, (first + mean).flatten(0, 1))
        drawn, slopes = drawn.unflatten(0, (_CHUNK, count)), slopes.unflatten(0, (_CHUNK, count))
        spread = (
            torch.einsum("rmq,rmqp,rmp->rm", slopes, second.unflatten(2, (q, q)), slopes)
            - (slopes * first).sum(2).square()
        )
        t = (drawn - value) / (spread.clamp(min=0) / n).sqrt()
        studentised.append(t.where(drawn != value, 0.0).nan_to_num(math.nan, math.inf, -math.inf))
        plain.append(drawn)
    low_t, high_t = _tails(torch.cat(studentised))
    low, high = _tails(torch.cat(plain))
    still = (
        error == 0
    ) | value.isinf()  # nothing varies, or all is over nothing; 0 times infinity is not a number
    low = torch.minimum(low, (value - high_t * error).where(~still, value))
    high = torch.maximum(high, (value - low_t * error).where(~still, value))
    unknown = value.isnan() | low.isnan() | high.isnan()
    return value, low.where(~unknown, -infinite), high.where(~unknown, infinite)


def _with_slope(
    statistic: Statistic, means: Float[Tensor, "case quantity"]
) -> tuple[Float[Tensor, " case"], Float[Tensor, "case quantity"]]:
    """The statistic of each case, and how it changes with each of its means."""
    with torch.enable_grad():
        means = means.detach().requires_grad_(True)
        value = statistic(means)
        (slope,) = torch.autograd.grad(value.sum(), means)
    return value.detach(), slope


def _tails(
    draws: Float[Tensor, "resample member"],
) -> tuple[Float[Tensor, " member"], Float[Tensor, " member"]]:
    """The draws at the tail from either end; what is no number counts as infinite at both."""
    at = max(1, round(_TAIL * len(draws)))
    low = draws.nan_to_num(-math.inf, math.inf, -math.inf).kthvalue(at, dim=0).values
    high = (
        draws.nan_to_num(math.inf, math.inf, -math.inf).kthvalue(len(draws) + 1 - at, dim=0).values
    )
    return low, high


def ratio(means: Float[Tensor, "resample 2"]) -> Float[Tensor, " resample"]:
    """First mean over the second: of a sum over vertices and their number, say."""
    return means[:, 0] / means[:, 1]


def root_ratio(means: Float[Tensor, "resample 2"]) -> Float[Tensor, " resample"]:
    """Square root of the first mean over the second: of two mean squares, say."""
    return ratio(means).sqrt()


def only(means: Float[Tensor, "resample 1"]) -> Float[Tensor, " resample"]:
    """The mean itself."""
    return means[:, 0]


def smallest_rank_correlation(scores: Float[Tensor, "setting item"]) -> float | None:
    """Least Spearman correlation of the items' order between any two settings: 1 where it never
    changes; `None` for constant scores."""
    if len(scores) < 2:
        raise ValueError(f"scores must have at least 2 settings to compare, got {len(scores)}")
    rows = scores.double().cpu().numpy()
    if scores.shape[1] < 2 or any(row.min() == row.max() for row in rows):
        return None
    return min(float(spearmanr(a, b).statistic) for a, b in combinations(rows, 2))
