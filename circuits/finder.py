"""Roles found in any checkpoint, on graphs that no claim is tested on. First version: reader in layer 0, pointer later.

Each role has a score, a floor that untrained models never reach, and a margin that it must keep over the runner-up:
below the floor it is absent, within the margin it is ambiguous, and no one is picked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.attention import degrees, head_pattern, degree_contrast
from circuits.directions import anchors_by_gap, degree_direction, neighbour_queries, profile, score_per_neighbour
from circuits.roles import ROLES, Head, Roles
from models.graphs import Adjacency, random_graphs
from models.randomness import named_generator
from models.transformer import Transformer

READER_FLOOR = 0.5  # 480 heads of 60 untrained models stay below 0.15
POINTER_FLOOR = 0.5  # 160 heads of 20 untrained models stay below 0.07
DIMENSION_FLOOR = 0.6  # 60 untrained models stay below 0.44
MARGIN = 0.05

K = TypeVar("K", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """The best candidate for a role beside the next."""

    name: str
    score: float
    runner_up: str | None
    runner_up_score: float | None
    floor: float

    @property
    def reason(self) -> str | None:
        """Why nothing is picked; `None` where the best candidate is."""
        if not self.score >= self.floor:
            return f"absent: the best candidate, {self.name}, scores {self.score:.3f}, below the floor of {self.floor}"
        if self.runner_up_score is not None and self.score - self.runner_up_score < MARGIN:
            return (
                f"ambiguous: {self.name} scores {self.score:.3f} and {self.runner_up} {self.runner_up_score:.3f}, "
                f"within the margin of {MARGIN}"
            )
        return None


def finding_graphs(n_vertices: int, *, per_edge_count: int = 40) -> Adjacency:
    """Uniform graphs with a sixth to two thirds of all edges, from a seed of their own: vertices of many degrees, and no graph of a claim."""
    generator = named_generator(0, "graphs to find roles on")
    pairs = n_vertices * (n_vertices - 1) // 2
    counts = range(max(1, pairs // 6), max(2, 2 * pairs // 3))
    return torch.cat([random_graphs(n_vertices, m, count=per_edge_count, generator=generator) for m in counts])


@torch.no_grad()
def find_roles(model: Transformer) -> tuple[Roles, dict[str, Any]]:
    """The roles of a model, and by role the scores that they were found with."""
    graphs = finding_graphs(model.cfg.n_vertices)
    degree = degrees(graphs)
    found: dict[str, Any] = {}
    candidates: dict[str, Candidate] = {}
    reader, candidates["reader"] = _best(_reader_scores(model, graphs, degree), floor=READER_FLOOR)
    found["reader"] = reader
    found["anchors"] = anchors_by_gap(score_per_neighbour(model, reader))[0] if reader is not None else None
    pointer_scores = _pointer_scores(model, graphs, degree)
    pointer, candidates["pointer"] = _best({head: max(row) for head, row in pointer_scores.items()}, floor=POINTER_FLOOR)
    found["pointer"] = pointer
    if pointer is not None:
        found["target"], candidates["target"] = _best(dict(enumerate(pointer_scores[pointer])), floor=POINTER_FLOOR)
    correlation = degree_correlations(model, graphs, degree)
    found["dimension"], candidates["dimension"] = _best(dict(enumerate(correlation.tolist())), floor=DIMENSION_FLOOR)
    reasons = {role: candidate.reason for role, candidate in candidates.items() if candidate.reason}
    for role, needed in {"anchors": "reader", "target": "pointer"}.items():
        if found.get(needed) is None:
            reasons[role] = f"absent: there is no {needed}"
    scores = {role: dataclasses.asdict(candidates[role]) for role in ROLES if role in candidates}
    return Roles(found, reasons), scores


def _best(scores: Mapping[K, float], *, floor: float) -> tuple[K | None, Candidate]:
    """The key with the best score where it stands clear, and how it compares."""
    first, *rest = sorted(scores, key=lambda key: scores[key], reverse=True)
    second = rest[0] if rest else None
    candidate = Candidate(
        str(first), scores[first], None if second is None else str(second), None if second is None else scores[second], floor
    )
    return (None if candidate.reason else first), candidate


def _reader_scores(model: Transformer, graphs: Adjacency, degree: Int[Tensor, "batch vertex"]) -> dict[Head, float]:
    """Mean cosine of the rows of W_E W_Q with v, times the correlation of degree with attention to the head's own anchors."""
    scores = {}
    for index in range(model.cfg.n_heads):
        head = Head(0, index)
        cosine = profile(neighbour_queries(model, head), degree_direction(model, head)).cosine.mean().item()
        anchors, _ = anchors_by_gap(score_per_neighbour(model, head))
        attention = head_pattern(model, graphs, head)[..., list(anchors)].sum(-1)
        grows = torch.corrcoef(torch.stack([attention.flatten().double(), degree.flatten().double()]))[0, 1].item()
        scores[head] = max(cosine, 0.0) * max(grows, 0.0)
    return scores


def _pointer_scores(model: Transformer, graphs: Adjacency, degree: Int[Tensor, "batch vertex"]) -> dict[Head, list[float]]:
    """Contrast of attention to each position between vertices of degree ≤ 2 and ≥ 4, for every head after layer 0."""
    heads = [Head(layer, index) for layer in range(1, model.cfg.n_layers) for index in range(model.cfg.n_heads)]
    return {head: degree_contrast(head_pattern(model, graphs, head), degree).tolist() for head in heads} or {Head(0, 0): [0.0]}


def degree_correlations(
    model: Transformer, graphs: Adjacency, degree: Int[Tensor, "batch vertex"]
) -> Float[Tensor, " d_model"]:
    """|r| of each dimension of x₁ = `blocks.0.hook_resid_post` with degree, pooled over graphs and vertices."""
    resid = model(graphs, stop_at_layer=1).flatten(0, 1).double()
    stacked = torch.cat([degree.flatten().double()[None], resid.T])
    return torch.corrcoef(stacked)[0, 1:].abs().nan_to_num(0.0)
