"""Roles found in any checkpoint, on graphs that no claim is tested on.

The reader is sought in layer 0, the only one whose queries are linear in the graph, and the pointer
in all later layers. Each role has a score, a floor that untrained models never reach, and a margin
that it must keep over the runner-up: below the floor it is absent, within the margin it is
ambiguous, and no one is picked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from circuits.attention import degree_contrast, degrees, head_pattern
from circuits.directions import (
    anchor_gaps,
    degree_direction,
    neighbour_queries,
    profile,
    score_per_neighbour,
)
from circuits.residual import degree_correlations, random_basis_best
from circuits.roles import ROLES, Head, Roles
from models.graphs import Adjacency, random_graphs
from models.randomness import named_generator
from models.transformer import Transformer

# each floor lies above the 0.999 quantile of untrained models, by the entry named
READER_FLOOR = 0.5  # untrained.json: reader_score
ANCHOR_FLOOR = 0.2  # untrained.json: anchor_gap
POINTER_FLOOR = 0.5  # untrained.json: pointer_contrast
DIMENSION_FLOOR = 0.7  # untrained.json: dimension_correlation
ROTATIONS = 500
# of rotated residual streams the best dimension follows degree less: a maximum would grow with
# their number
CHANCE = 0.99
HEAD_MARGIN = 0.05  # a runner-up this close plays the same part
# the difference of two correlations varies by 0.0015 (sd) between halves of the graphs: 3 of these
DIMENSION_MARGIN = 0.005


@dataclasses.dataclass(frozen=True)
class Candidate:
    """The best candidate for a role beside the next."""

    name: str
    score: float
    runner_up: str | None
    runner_up_score: float | None
    floor: float
    margin: float

    @property
    def reason(self) -> str | None:
        """Why nothing is picked; `None` where the best candidate is."""
        if not self.score >= self.floor:
            return (
                f"absent: the best candidate, {self.name}, scores {self.score:.3f}, below the floor"
                f" of {self.floor:.3g}"
            )
        if self.runner_up_score is not None and self.score - self.runner_up_score < self.margin:
            return (
                f"ambiguous: {self.name} scores {self.score:.3f} and {self.runner_up}"
                f" {self.runner_up_score:.3f}, within the margin of {self.margin}"
            )
        return None


def finding_graphs(n_vertices: int, *, per_edge_count: int = 40) -> Adjacency:
    """Uniform graphs with a sixth to two thirds of all edges, from a seed of their own: many
    degrees, and no graph of a claim."""
    generator = named_generator(0, "graphs to find roles on")
    pairs = n_vertices * (n_vertices - 1) // 2
    counts = range(max(1, pairs // 6), max(2, 2 * pairs // 3))
    return torch.cat(
        [random_graphs(n_vertices, m, count=per_edge_count, generator=generator) for m in counts]
    )


@torch.no_grad()
def find_roles(model: Transformer, graphs: Adjacency | None = None) -> tuple[Roles, dict[str, Any]]:
    """The roles of a model, and by role the scores that they were found with, on the
    `finding_graphs` where no others are given."""
    if graphs is None:
        graphs = finding_graphs(model.cfg.n_vertices)
    degree = degrees(graphs)
    found: dict[str, Any] = dict.fromkeys(ROLES)
    reasons: dict[str, str] = {}
    scores: dict[str, Any] = {}

    def choose(role: str, candidates: Mapping[Any, float], *, floor: float, margin: float) -> Any:
        """The candidate that stands clear of the floor and of the others, or `None` with the
        reason."""
        best = compare(candidates, floor=floor, margin=margin)
        scores[role] = dataclasses.asdict(best)
        if best.reason is not None:
            reasons[role] = best.reason
            return None
        found[role] = max(candidates, key=lambda candidate: candidates[candidate])
        return found[role]

    reader = choose(
        "reader", reader_scores(model, graphs, degree), floor=READER_FLOOR, margin=HEAD_MARGIN
    )
    if reader is None:
        reasons["anchors"] = "absent: there is no reader"
    else:
        choose(
            "anchors",
            anchor_gaps(score_per_neighbour(model, reader)),
            floor=ANCHOR_FLOOR,
            margin=HEAD_MARGIN,
        )
    if model.cfg.n_layers == 1:
        reasons["pointer"] = reasons["target"] = "absent: there is no layer after the reader's"
    elif not (degree >= 4).any():
        n = model.cfg.n_vertices
        reasons["pointer"] = reasons["target"] = (
            f"absent: no graph of {n} vertices has a vertex of degree 4 to tell from those of"
            " degree 2"
        )
    else:
        contrast = _pointer_scores(model, graphs, degree)
        pointer = choose(
            "pointer",
            {head: max(row) for head, row in contrast.items()},
            floor=POINTER_FLOOR,
            margin=HEAD_MARGIN,
        )
        if pointer is None:
            reasons["target"] = "absent: there is no pointer"
        else:
            choose(
                "target",
                dict(enumerate(contrast[pointer])),
                floor=POINTER_FLOOR,
                margin=HEAD_MARGIN,
            )
    resid = model(graphs, stop_at_layer=1)
    chance = random_basis_best(
        resid,
        degree,
        rotations=ROTATIONS,
        generator=named_generator(0, "rotations to find a dimension by"),
    )
    correlation = dict(enumerate(degree_correlations(resid, degree).abs().tolist()))
    floor = max(DIMENSION_FLOOR, chance.quantile(CHANCE).item())
    choose("dimension", correlation, floor=floor, margin=DIMENSION_MARGIN)
    return Roles(found, reasons), scores


def compare(candidates: Mapping[Any, float], *, floor: float, margin: float) -> Candidate:
    """The best of the candidates beside the next."""
    first, *rest = sorted(candidates, key=lambda candidate: candidates[candidate], reverse=True)
    name, score = (str(rest[0]), candidates[rest[0]]) if rest else (None, None)
    return Candidate(str(first), candidates[first], name, score, floor, margin)


def reader_scores(
    model: Transformer, graphs: Adjacency, degree: Int[Tensor, "batch vertex"]
) -> dict[Head, float]:
    """Mean cosine of the rows of W_E W_Q with v, times the correlation of degree with attention to
    the head's own anchors."""
    scores = {}
    for index in range(model.cfg.n_heads):
        head = Head(0, index)
        cosine = (
            profile(neighbour_queries(model, head), degree_direction(model, head))
            .cosine.mean()
            .item()
        )
        gaps = anchor_gaps(score_per_neighbour(model, head))
        anchors = max(gaps, key=lambda positions: gaps[positions])
        attention = head_pattern(model, graphs, head)[..., list(anchors)].sum(-1)
        grows = (
            torch.corrcoef(torch.stack([attention.flatten().double(), degree.flatten().double()]))[
                0, 1
            ]
            .nan_to_num(0.0)
            .item()
        )
        scores[head] = max(cosine, 0.0) * max(grows, 0.0)
    return scores


def _pointer_scores(
    model: Transformer, graphs: Adjacency, degree: Int[Tensor, "batch vertex"]
) -> dict[Head, list[float]]:
    """Contrast of attention to each position between vertices of degree ≤ 2 and ≥ 4, for every head
    after layer 0."""
    heads = [
        Head(layer, index)
        for layer in range(1, model.cfg.n_layers)
        for index in range(model.cfg.n_heads)
    ]
    return {
        head: degree_contrast(head_pattern(model, graphs, head), degree).tolist() for head in heads
    }
