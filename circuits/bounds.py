"""What holds for every graph: layer 0 sees a vertex's neighbourhood only, so all n · 2^(n−1) cases
can be exhausted.

All of it in float64. Attention of a head from i to j lies between softmax bounds over every
neighbourhood of every other vertex that agrees on the edge ij. A key is a sum over neighbours, so
its extremes need no enumeration.
"""

from __future__ import annotations

import dataclasses
import math
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


def _keys(
    model: Transformer, head: Head
) -> tuple[Float[Tensor, "vertex d_head"], Float[Tensor, "sender d_head"]]:
    """The key of each vertex without neighbours, b_K included, and what each neighbour adds."""
    W_E, W_pos = model.W_E.detach().cpu().double(), model.W_pos.detach().cpu().double()
    W_K = _double(model, "W_K", head)
    return W_pos @ W_K + _double(model, "b_K", head), W_E @ W_K


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
    keys, _ = _keys(model, head)
    scores = every_query(model, head) @ keys.mT / math.sqrt(model.cfg.d_head)
    at_anchors = (scores - scores.mean(-1, keepdim=True))[..., list(anchors)].mean(-1)
    degree = neighbourhoods(model.cfg.n_vertices).sum(-1).long()
    return AnchorScores(degree.flatten(), at_anchors.flatten())


@torch.no_grad()
def anchor_attention(
    model: Transformer, head: Head, anchors: tuple[int, ...]
) -> dict[int, Interval]:
    """Per degree, an interval that holds the head's summed attention to the anchors in every graph.

    For i and N_i, lo_j and hi_j are the extremes of the score over all N_j that agree on the edge
    ij, each j by itself, and j = i at N_i; low = Σ_S e^lo / (Σ_S e^lo + Σ_rest e^hi), high the
    reverse.
    """
    n = model.cfg.n_vertices
    rows, inside = neighbourhoods(n), _at(anchors, n)
    queries = every_query(model, head) / math.sqrt(model.cfg.d_head)
    keys, per_neighbour = _keys(model, head)
    lows, highs = [], []
    for i in range(n):
        low, high = _score_extremes(queries[i], keys, per_neighbour, rows[i], vertex=i)
        lows.append(_softmax_share(low, high, inside))
        highs.append(_softmax_share(high, low, inside))
    smallest, largest, degree = torch.stack(lows), torch.stack(highs), rows.sum(-1)
    return {
        d: Interval(smallest[degree == d].min().item(), largest[degree == d].max().item())
        for d in range(n)
    }


@dataclasses.dataclass(frozen=True)
class Attained:
    """A value, and the graph in which a vertex has it."""

    value: float
    graph: Float[Tensor, "1 vertex sender"]
    vertex: int


@dataclasses.dataclass(frozen=True)
class Extremes:
    """The least and the greatest of a quantity over all graphs."""

    least: Attained
    greatest: Attained


@torch.no_grad()
def anchor_score_extremes(
    model: Transformer, head: Head, anchors: tuple[int, ...]
) -> dict[int, Extremes]:
    """Per degree of a vertex, the extremes of the head's score at the anchors over all graphs: the
    whole score, of whole keys.

    The score of i is centred over keys and averaged over the anchors, with 1/√d_head: a sum over
    keys j with weights w. Once N_i is given so is its query, and an edge jk away from i adds
    w_j·(q·e_k) + w_k·(q·e_j), with e the rows of W_E W_K, whatever the other edges are. The
    extremes take those edges that lower it, or those that raise it.
    """
    n = model.cfg.n_vertices
    rows, inside = neighbourhoods(n), _at(anchors, n).double()
    weight = inside / inside.sum() - 1 / n
    queries = every_query(model, head) / math.sqrt(model.cfg.d_head)
    keys, per_neighbour = _keys(model, head)
    added = queries @ per_neighbour.mT

    def by_edge(i: int) -> Float[Tensor, "case vertex sender"]:
        one_way = weight[:, None] * added[i][:, None, :]
        return one_way + one_way.mT

    j, k = torch.triu_indices(n, n, 1)
    least, greatest = [], []
    for i in range(n):
        own = queries[i] @ keys.mT @ weight + (by_edge(i)[:, i] * rows[i]).sum(-1)
        free = by_edge(i)[:, j, k] * ((j != i) & (k != i))
        least.append(own + free.clamp(max=0).sum(-1))
        greatest.append(own + free.clamp(min=0).sum(-1))

    def attained(values: Float[Tensor, "vertex case"], sign: int, degree: int) -> Attained:
        cases = (rows.sum(-1) == degree).nonzero()
        i, case = cases[(sign * values[tuple(cases.T)]).argmax()].tolist()
        graph = (sign * by_edge(i)[case] > 0).double().fill_diagonal_(0)
        graph[i] = graph[:, i] = rows[i, case]
        return Attained(values[i, case].item(), graph[None], i)

    smallest, largest = torch.stack(least), torch.stack(greatest)
    return {
        degree: Extremes(attained(smallest, -1, degree), attained(largest, 1, degree))
        for degree in range(n)
    }


def _at(anchors: tuple[int, ...], n_vertices: int) -> Bool[Tensor, " key"]:
    inside = torch.zeros(n_vertices, dtype=torch.bool)
    inside[list(anchors)] = True
    return inside


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
