"""Attention patterns of one head, and what they have to do with degree (notebook §1.1 and §1.3)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import einops
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.roles import Head, require_layer_0
from circuits.statistics import bootstrap, ratio
from models.graphs import Adjacency
from models.kernels import affine, softmax
from models.transformer import Transformer
from verdicts.statistics import Estimate, PerCase

Pattern = Float[Tensor, "batch query key"]
_BATCH = 128  # measured: twice as fast as 1024, for it stays in the cache


def head_scores(model: Transformer, adjacency: Adjacency, head: Head) -> Pattern:
    """Attention scores of one head on each graph, with 1/√d_head, without computing the other heads
    of its layer."""
    return scores_of(model, head)(adjacency)


def scores_of(model: Transformer, head: Head) -> Callable[[Adjacency], Pattern]:
    """`head_scores` as a function of graphs, for many calls while the weights stay."""
    attention = model.attention(head.layer)
    weight = torch.cat([attention.W_Q[head.index], attention.W_K[head.index]], dim=1)
    bias = torch.cat([attention.b_Q[head.index], attention.b_K[head.index]])
    reading = model.reading(head.layer, weight, bias)

    @torch.no_grad()
    def scores(adjacency: Adjacency) -> Pattern:
        parts = []
        for batch in adjacency.split(_BATCH):
            q, k = reading(batch).chunk(2, dim=-1)
            parts.append(q @ k.mT / math.sqrt(model.cfg.d_head))
        return torch.cat(parts).to(adjacency.device)

    return scores


@torch.no_grad()
def head_keys(
    model: Transformer, adjacency: Adjacency, head: Head
) -> Float[Tensor, "batch vertex d_head"]:
    """Keys of one head on each graph, b_K included."""
    attention = model.attention(head.layer)
    resid = torch.cat(list(map(model.entering(head.layer), adjacency.split(_BATCH))))
    return affine(resid, attention.W_K[head.index], attention.b_K[head.index]).to(adjacency.device)


@torch.no_grad()
def head_pattern(model: Transformer, adjacency: Adjacency, head: Head) -> Pattern:
    """Attention pattern of one head on each graph: `hook_pattern[:, head]`."""
    return softmax(head_scores(model, adjacency, head))


@dataclasses.dataclass(frozen=True)
class HeadActivations:
    """What one head makes of the residual stream that enters its layer."""

    q: Float[Tensor, "batch vertex d_head"]
    k: Float[Tensor, "batch vertex d_head"]
    v: Float[Tensor, "batch vertex d_head"]
    z: Float[Tensor, "batch vertex d_head"]
    pattern: Float[Tensor, "batch query key"]


@torch.no_grad()
def head_activations(
    model: Transformer, resid: Float[Tensor, "batch vertex d_model"], head: Head
) -> HeadActivations:
    """Its query, key, value, pattern and z, without computing the other heads of its layer."""
    attention, index = model.attention(head.layer), head.index
    q = affine(resid, attention.W_Q[index], attention.b_Q[index])
    k = affine(resid, attention.W_K[index], attention.b_K[index])
    v = affine(resid, attention.W_V[index], attention.b_V[index])
    pattern = softmax(q @ k.mT / math.sqrt(model.cfg.d_head))
    return HeadActivations(q, k, v, pattern @ v, pattern)


def attention_log_odds(scores: Pattern, *, position: int) -> Float[Tensor, "batch query"]:
    """ln(A/(1 − A)) of the attention A to one position, from the scores: 0 at one half, and exact
    where A rounds to 0 or 1."""
    others = scores.clone()
    others[..., position] = -torch.inf
    return scores[..., position] - others.logsumexp(-1)


def degrees(adjacency: Adjacency) -> Int[Tensor, "batch vertex"]:
    """Number of neighbours of each vertex."""
    return adjacency.sum(-1).long()


def mean_over(
    values: Float[Tensor, "batch vertex"],
    chosen: Bool[Tensor, "batch vertex"],
    *,
    generator: torch.Generator,
) -> Estimate:
    """Mean over the chosen vertices of all graphs, with an interval over graphs that have one;
    `ValueError` where none is chosen."""
    found = bootstrap(sums_over(values, chosen), ratio, generator=generator)
    weight = chosen.to(values.dtype)  # of all graphs: in another model others may be left out
    each = PerCase("ratio", ((values * weight).sum(1), weight.sum(1)))
    return dataclasses.replace(found, per_case=each)


def sums_over(
    values: Float[Tensor, "batch vertex"], chosen: Bool[Tensor, "batch vertex"]
) -> Float[Tensor, "kept 2"]:
    """Sum of the values over the chosen vertices of each graph that has one, and their number: what
    `ratio` makes a mean of."""
    if not chosen.any():
        raise ValueError("chosen must hold at least one vertex, got none")
    weight = chosen.to(values.dtype)
    sums = torch.stack([(values * weight).sum(1), weight.sum(1)], dim=1)
    return sums[sums[:, 1] > 0]


def mean_by_degree(
    values: Float[Tensor, "batch vertex"], degree: Int[Tensor, "batch vertex"]
) -> dict[int, float]:
    """Mean over all vertices of each degree that occurs."""
    return {d: values[degree == d].double().mean().item() for d in degree.unique().tolist()}


def cutoff_degree(
    values: Float[Tensor, "batch vertex"],
    degree: Int[Tensor, "batch vertex"],
    *,
    generator: torch.Generator,
) -> Estimate | None:
    """Degree at which the mean by degree first falls through ½, linear between the degrees
    observed; `None` if it never does.

    The limits are infinite where many resamples of the graphs have no crossing.
    """
    present = degree.unique()
    members = [(degree == d).double() for d in present]
    per_graph = torch.stack(
        [(values.double() * m).sum(1) for m in members] + [m.sum(1) for m in members], dim=1
    )

    def crossing(means: Float[Tensor, "resample quantity"]) -> Float[Tensor, " resample"]:
        return _first_crossing(
            present.double(), means[:, : len(present)] / means[:, len(present) :]
        )

    cutoff = bootstrap(per_graph, crossing, generator=generator)
    return None if math.isnan(cutoff.value) else cutoff


def _first_crossing(
    degree: Float[Tensor, " degree"], means: Float[Tensor, "resample degree"]
) -> Float[Tensor, " resample"]:
    """Where each row first goes from at least ½ to below it, linear in between; NaN where it does
    not."""
    falls = (means[:, :-1] >= 0.5) & (means[:, 1:] < 0.5)
    first = falls.int().argmax(1, keepdim=True)
    above, below = means.gather(1, first)[:, 0], means.gather(1, first + 1)[:, 0]
    left, right = degree[first[:, 0]], degree[first[:, 0] + 1]
    crossing = left + (above - 0.5) / (above - below) * (right - left)
    return torch.where(falls.any(1), crossing, torch.nan)


def entropy_share(pattern: Pattern) -> Float[Tensor, "batch query"]:
    """Entropy of each row over ln n: 1 where attention is even, 0 where it is on one position."""
    return torch.special.entr(pattern).sum(-1) / math.log(pattern.shape[-1])


def degree_contrast(pattern: Pattern, degree: Int[Tensor, "batch vertex"]) -> Float[Tensor, " key"]:
    """Mean attention to each position of vertices of degree ≤ 2, less that of vertices of degree ≥
    4."""
    low, high = pattern[degree <= 2], pattern[degree >= 4]
    if not len(low) or not len(high):
        raise ValueError(
            f"degree must include vertices of ≤ 2 and of ≥ 4, got {len(low)} and {len(high)}"
        )
    return low.mean(0) - high.mean(0)


@torch.no_grad()
def smallest_rise(
    model: Transformer,
    adjacency: Adjacency,
    head: Head,
    *,
    positions: tuple[int, ...],
    max_degree: int,
) -> Float[Tensor, "batch vertex"]:
    """Least rise of a vertex's attention to `positions` over all ways to give it one more edge; the
    head is of layer 0.

    Infinite for a vertex of more than `max_degree` neighbours, or without an edge to add. An edge
    ij adds row j of W_E W_Q to the query of i and changes two keys only, so no graph is run twice.
    """
    require_layer_0(head)
    attention = model.attention(0)
    scale = math.sqrt(model.cfg.d_head)
    per_query = model.W_E @ attention.W_Q[head.index] / scale
    per_key = model.W_E @ attention.W_K[head.index]
    rises = []
    for batch in adjacency.to(per_key).split(_BATCH):
        q = (
            batch @ per_query
            + (model.W_pos @ attention.W_Q[head.index] + attention.b_Q[head.index]) / scale
        )
        k = batch @ per_key + model.W_pos @ attention.W_K[head.index] + attention.b_K[head.index]
        before = q @ k.mT
        # axes: graph, vertex i, its new neighbour j, key
        grown = q[:, :, None, :] + per_query[None, None, :, :]
        after = before[:, :, None, :] + (per_query @ k.mT)[:, None, :, :]
        at_neighbour = einops.einsum(grown, per_key, "graph i j d_head, i d_head -> graph i j")
        at_itself = einops.einsum(grown, per_key, "graph i j d_head, j d_head -> graph i j")
        after.diagonal(dim1=2, dim2=3).add_(at_neighbour)
        after.diagonal(dim1=1, dim2=3).add_(at_itself.mT)
        rise = share_of(after, positions) - share_of(before, positions)[:, :, None]
        taken = (batch + torch.eye(batch.shape[-1]).to(batch)) > 0
        lowest = rise.masked_fill(taken, torch.inf).amin(-1)
        rises.append(lowest.masked_fill(degrees(batch) > max_degree, torch.inf))
    return torch.cat(rises).to(adjacency.device)


def share_of(
    scores: Float[Tensor, "*batch key"], positions: tuple[int, ...]
) -> Float[Tensor, "*batch"]:
    """Softmax of scores over keys, summed over some positions."""
    return softmax(scores)[..., list(positions)].sum(-1)
