"""What holds for every graph: layer 0 sees a vertex's neighbourhood only, so all n · 2^(n−1) cases
can be exhausted.

All of it in float64. Attention of a head from i to j lies between softmax bounds over every
neighbourhood of every other vertex that agrees on the edge ij. A key is a sum over neighbours, so
its extremes need no enumeration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.roles import Absent, Head, require_layer_0
from models.transformer import Transformer

MAX_VERTICES = 16  # 524,288 cases: seconds; each vertex more is twice the memory


class TooManyNeighbourhoods(Absent, ValueError):
    """A graph has so many vertices that their neighbourhoods cannot all be gone through."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """Least and greatest value over the cases of one kind."""

    low: float
    high: float


@cache
def neighbourhoods(n_vertices: int) -> Float[Tensor, "vertex case sender"]:
    """Every set of neighbours of every vertex as a row of its adjacency matrix: `[n, 2^(n−1), n]`,
    float64."""
    if n_vertices > MAX_VERTICES:
        raise TooManyNeighbourhoods(
            f"n_vertices must be at most {MAX_VERTICES} to exhaust neighbourhoods, got {n_vertices}"
        )
    subsets = torch.arange(2 ** (n_vertices - 1))[:, None] >> torch.arange(n_vertices - 1) & 1
    rows = torch.zeros(n_vertices, len(subsets), n_vertices, dtype=torch.float64)
    for vertex in range(n_vertices):
        others = [j for j in range(n_vertices) if j != vertex]
        rows[vertex][:, others] = subsets.double()
    return rows


def _double(model: Transformer, name: str, head: Head) -> Float[Tensor, "*shape"]:
    return getattr(model.attention(0), name)[head.index].detach().cpu().double()


@torch.no_grad()
def every_query(model: Transformer, head: Head) -> Float[Tensor, "vertex case d_head"]:
    """The full query, b_Q included, of every vertex under every neighbourhood."""
    require_layer_0(head)
    W_E, W_pos = model.W_E.detach().cpu().double(), model.W_pos.detach().cpu().double()
    weight, bias = _double(model, "W_Q", head), _double(model, "b_Q", head)
    return (
        neighbourhoods(model.cfg.n_vertices) @ (W_E @ weight) + (W_pos @ weight + bias)[:, None, :]
    )


@torch.no_grad()
def query_offset(model: Transformer, head: Head) -> Interval:
    """Extremes over all positions and neighbourhoods of (q·v)/(v·v) − degree, b_Q included."""
    # v from its factors in float64: the mean of float32 products would round at 1e-7
    v = (model.W_E.detach().cpu().double() @ _double(model, "W_Q", head)).mean(0)
    offset = every_query(model, head) @ v / (v @ v) - neighbourhoods(model.cfg.n_vertices).sum(-1)
    return Interval(offset.min().item(), offset.max().item())


@dataclasses.dataclass(frozen=True)
class AnchorScores:
    """Mean score at the anchors against positional keys, centred over keys, of every case with its
    degree."""

    degree: Int[Tensor, " case"]
    score: Float[Tensor, " case"]

    def largest(self, *, up_to: int) -> float:
        """Largest score over neighbourhoods of at most so many vertices."""
        return self.score[self.degree <= up_to].max().item()

    def smallest(self, *, from_: int) -> float:
        """Smallest score over neighbourhoods of at least so many vertices."""
        return self.score[self.degree >= from_].min().item()

    def crossing_degree(self) -> float | None:
        """−intercept/slope of the least-squares line of score on degree; `None` for a flat line."""
        degree = self.degree.double()
        slope = ((degree - degree.mean()) * self.score).sum() / (
            degree - degree.mean()
        ).square().sum()
        return (degree.mean() - self.score.mean() / slope).item() if slope else None


@torch.no_grad()
def anchor_scores(model: Transformer, head: Head, anchors: tuple[int, ...]) -> AnchorScores:
    """Scores with keys W_pos W_K + b_K (Embed part left out), for all positions and neighbourhoods,
    with 1/√d_head."""
    keys = model.W_pos.detach().cpu().double() @ _double(model, "W_K", head) + _double(
        model, "b_K", head
    )
    scores = every_query(model, head) @ keys.mT / math.sqrt(model.cfg.d_head)
    at_anchors = (scores - scores.mean(-1, keepdim=True))[..., list(anchors)].mean(-1)
    degree = neighbourhoods(model.cfg.n_vertices).sum(-1).long()
    return AnchorScores(degree.flatten(), at_anchors.flatten())


def anchor_attention(
    model: Transformer, head: Head, anchors: tuple[int, ...]
) -> dict[int, Interval]:
    """Per degree, an interval that holds the head's summed attention to the anchors in every graph.

    For i and N_i, lo_j and hi_j are the extremes of the score over all N_j that agree on the edge
    ij, each j by itself, and j = i at N_i; low = Σ_S e^lo / (Σ_S e^lo + Σ_rest e^hi), high the
    reverse.
    """
    inside = _at(anchors, model.cfg.n_vertices)
    return _by_degree(model, head, lambda low, high: _softmax_share(low, high, inside))


def certified_anchor_scores(
    model: Transformer, head: Head, anchors: tuple[int, ...]
) -> dict[int, Interval]:
    """Per degree, an interval that holds the head's score at the anchors in every graph: the whole
    score, of whole keys.

    The score is centred over keys and averaged over the anchors, with 1/√d_head. A key at an anchor
    raises it and any other lowers it, so its extremes are those of `anchor_attention`, each key by
    itself.
    """
    inside = _at(anchors, model.cfg.n_vertices).double()
    weight = inside / inside.sum() - 1 / len(inside)
    return _by_degree(
        model, head, lambda low, high: low @ weight.clamp(min=0) + high @ weight.clamp(max=0)
    )


def _at(anchors: tuple[int, ...], n_vertices: int) -> Bool[Tensor, " key"]:
    inside = torch.zeros(n_vertices, dtype=torch.bool)
    inside[list(anchors)] = True
    return inside


Scores = Float[Tensor, "case key"]


@torch.no_grad()
def _by_degree(
    model: Transformer, head: Head, least: Callable[[Scores, Scores], Float[Tensor, " case"]]
) -> dict[int, Interval]:
    """Per degree, the extremes of a quantity over all positions, neighbourhoods and graphs.

    `least` gives the smallest that it can be from the least and greatest scores of each case; with
    the two exchanged it gives the largest.
    """
    n = model.cfg.n_vertices
    rows = neighbourhoods(n)
    queries = every_query(model, head) / math.sqrt(model.cfg.d_head)
    W_E, W_pos = model.W_E.detach().cpu().double(), model.W_pos.detach().cpu().double()
    W_K = _double(model, "W_K", head)
    keys, per_neighbour = W_pos @ W_K + _double(model, "b_K", head), W_E @ W_K
    lows, highs = [], []
    for i in range(n):
        low, high = _score_extremes(queries[i], keys, per_neighbour, rows[i], vertex=i)
        lows.append(least(low, high))
        highs.append(least(high, low))
    smallest, largest, degree = torch.stack(lows), torch.stack(highs), rows.sum(-1)
    return {
        d: Interval(smallest[degree == d].min().item(), largest[degree == d].max().item())
        for d in range(n)
    }


def _score_extremes(
    queries: Float[Tensor, "case d_head"],
    keys: Float[Tensor, "vertex d_head"],
    per_neighbour: Float[Tensor, "sender d_head"],
    rows: Float[Tensor, "case sender"],
    *,
    vertex: int,
) -> tuple[Float[Tensor, "case key"], Float[Tensor, "case key"]]:
    """Least and greatest score of each case of `vertex` at every position, over the neighbourhoods
    of that position.

    The key of j is `keys[j]` and what each of its neighbours adds. Those that lower the score make
    it least, those that raise it greatest; whether `vertex` is a neighbour of j is said by its own
    case. Its own key is that of its case.
    """
    added = queries @ per_neighbour.mT
    alone = queries @ keys.mT
    lowering, raising = added.clamp(max=0), added.clamp(min=0)
    free = 1 - torch.eye(len(keys), dtype=torch.float64)  # no vertex is its own neighbour
    free[vertex] = 0  # and the edge to `vertex` is not free
    certain = alone + rows * added[:, [vertex]]
    low, high = certain + lowering @ free, certain + raising @ free
    low[:, vertex] = high[:, vertex] = alone[:, vertex] + (rows * added).sum(-1)
    return low, high


def _softmax_share(
    inside_scores: Float[Tensor, "case key"],
    outside_scores: Float[Tensor, "case key"],
    inside: Bool[Tensor, " key"],
) -> Float[Tensor, " case"]:
    """Softmax weight of the inside positions at `inside_scores` where the others stand at
    `outside_scores`."""
    return torch.sigmoid(
        inside_scores[:, inside].logsumexp(1) - outside_scores[:, ~inside].logsumexp(1)
    )
