"""Searching for a counterexample to a statement about every vertex of every graph of a domain.

Three parts: Hypothesis, a climb that flips one edge at a time, and an independent sample that bounds the rate of
violating graphs. The first two only ever give a counterexample or none: their graphs follow no distribution.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from hypothesis import HealthCheck, Phase, Verbosity, assume, given, seed, settings, target
from jaxtyping import Float
from torch import Tensor

from circuits.statistics import rate_upper_bound
from circuits.subject import Subject
from claims.strategies import graphs_with_edges
from models.graphs import Adjacency, edge_bits, edge_list, from_edge_bits, graph6

if TYPE_CHECKING:
    from verdicts.expectations import Expect

SAMPLE = 10_000
_MAX_DRAWS = 100 * SAMPLE

VertexValues = Callable[[Adjacency], Float[Tensor, "batch vertex"]]
"""The value of each vertex that the statement holds to a bound from below; infinite for a vertex it says nothing of."""


@dataclasses.dataclass(frozen=True)
class Domain:
    """Graphs on `n_vertices` with `min_edges` to `max_edges` edges."""

    n_vertices: int
    min_edges: int
    max_edges: int


@dataclasses.dataclass(frozen=True)
class Found:
    """The graph with the smallest value that a search came upon; a batch of one, or `None` where no vertex was eligible."""

    value: float
    graph: Adjacency | None


@torch.no_grad()
def search(subject: Subject, expect: Expect, values: VertexValues, *, domain: Domain, bound: float, climbs: int = 128, examples: int = 300) -> float:
    """Search the domain and record `violation_rate_upper` and any counterexample; returns the smallest value found."""
    name = f"search {domain}"
    climbed = climb(values, domain, starts=climbs, generator=subject.generator(f"{name}: climb"))
    drawn = hypothesis_search(values, domain, bound=bound, entropy=subject.seed, examples=examples)
    violations, seen = sample_violations(values, domain, bound=bound, generator=subject.generator(f"{name}: sample"))
    expect.enough("random graphs with an eligible vertex", seen, needed=SAMPLE)
    expect(
        "violation_rate_upper", rate_upper_bound(violations, seen) if seen else None, at_most=1e-3,
        because="a statement about every graph may fail on fewer than one random graph in a thousand, with 95 % confidence",
        note=f"{violations} of {seen} graphs",
    )  # fmt: skip
    worst = min((climbed, drawn), key=lambda found: found.value)
    if worst.value < bound:
        smallest = min((shrink(found, values, domain, bound=bound) for found in (climbed, drawn) if found.value < bound), key=_size)
        assert smallest.graph is not None
        expect.show_counterexample(
            graph6=graph6(smallest.graph[0]), edges=" ".join(f"{i}-{j}" for i, j in edge_list(smallest.graph[0])),
            vertex=int(values(smallest.graph)[0].argmin()), value=smallest.value,
        )  # fmt: skip
    return worst.value


def _size(found: Found) -> tuple[int, float]:
    assert found.graph is not None
    return len(edge_list(found.graph[0])), found.value


def climb(values: VertexValues, domain: Domain, *, starts: int, generator: torch.Generator, steps: int = 60) -> Found:
    """From random graphs of the domain, flip the one edge that lowers the smallest value most, until none does."""
    current = _random(domain, starts, generator)
    lowest = _smallest(values, current)
    n_pairs = math.comb(domain.n_vertices, 2)
    active = torch.arange(starts)
    for _ in range(steps):
        flips = torch.eye(n_pairs, dtype=torch.bool)
        neighbours = edge_bits(current[active])[:, None, :] ^ flips
        edges = neighbours.sum(-1)
        inside = (edges >= domain.min_edges) & (edges <= domain.max_edges)
        candidate = torch.full(inside.shape, math.inf, dtype=lowest.dtype)
        graphs = from_edge_bits(neighbours[inside], n_vertices=domain.n_vertices)
        candidate[inside] = _smallest(values, graphs)
        best, which = candidate.min(dim=1)
        better = best < lowest[active]
        if not better.any():
            break
        chosen = neighbours[torch.arange(len(active)), which][better]
        active = active[better]
        current[active] = from_edge_bits(chosen, n_vertices=domain.n_vertices)
        lowest[active] = best[better]
    return _lowest(current, lowest)


def hypothesis_search(values: VertexValues, domain: Domain, *, bound: float, entropy: int, examples: int) -> Found:
    """What Hypothesis finds, aiming at the smallest value; a violation comes back shrunk."""
    worst = Found(math.inf, None)
    violating: Found | None = None

    @seed(entropy)
    @settings(
        max_examples=examples, database=None, deadline=None, verbosity=Verbosity.quiet, print_blob=False,
        phases=(Phase.generate, Phase.target, Phase.shrink), suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @given(graphs_with_edges(domain.n_vertices, min_edges=domain.min_edges, max_edges=domain.max_edges))
    def holds(graph: Adjacency) -> None:
        nonlocal worst, violating
        value = _smallest(values, graph).item()
        assume(value < math.inf)
        worst = min(worst, Found(value, graph), key=lambda found: found.value)
        target(-value)
        if value < bound:
            violating = Found(value, graph)  # Hypothesis runs the smallest one last
            raise _Violation

    try:
        holds()
    except _Violation:
        pass
    return worst if violating is None else violating


class _Violation(Exception):  # noqa: N818 - a signal to Hypothesis, not an error
    """A graph on which the statement is false."""


def sample_violations(values: VertexValues, domain: Domain, *, bound: float, generator: torch.Generator) -> tuple[int, int]:
    """Violating graphs among 10,000 independent ones with an eligible vertex: edges uniform over the domain, then G(n, m)."""
    violations = seen = drawn = 0
    while seen < SAMPLE and drawn < _MAX_DRAWS:
        lowest = _smallest(values, _random(domain, SAMPLE // 4, generator))
        drawn += len(lowest)
        lowest = lowest[lowest < math.inf][: SAMPLE - seen]
        seen += len(lowest)
        violations += int((lowest < bound).sum())
    return violations, seen


def shrink(found: Found, values: VertexValues, domain: Domain, *, bound: float) -> Found:
    """Take edges away, one at a time, as long as the graph stays in the domain and against the statement."""
    assert found.graph is not None
    bits, value = edge_bits(found.graph)[0], found.value
    while int(bits.sum()) > domain.min_edges:
        present = bits.nonzero()[:, 0]
        fewer = bits.repeat(len(present), 1)
        fewer[torch.arange(len(present)), present] = False
        lowest = _smallest(values, from_edge_bits(fewer, n_vertices=domain.n_vertices))
        if not (lowest < bound).any():
            break
        bits, value = fewer[lowest.argmin()], lowest.min().item()
    return Found(value, from_edge_bits(bits[None], n_vertices=domain.n_vertices))


def _smallest(values: VertexValues, graphs: Adjacency) -> Float[Tensor, " batch"]:
    return values(graphs).amin(dim=1)


def _lowest(graphs: Adjacency, lowest: Float[Tensor, " batch"]) -> Found:
    index = int(lowest.argmin())
    value = lowest[index].item()
    return Found(value, graphs[index : index + 1] if value < math.inf else None)


def _random(domain: Domain, count: int, generator: torch.Generator) -> Adjacency:
    """Graphs with a number of edges uniform over the domain, each G(n, m)."""
    n_pairs = math.comb(domain.n_vertices, 2)
    edges = torch.randint(domain.min_edges, domain.max_edges + 1, (count,), generator=generator)
    order = torch.rand(count, n_pairs, generator=generator).argsort(dim=1)
    rank = order.argsort(dim=1)  # each pair's place in the order: the first `edges` of them are in
    return from_edge_bits(rank < edges[:, None], n_vertices=domain.n_vertices)
