"""Searching for a counterexample to a statement about every vertex of every graph of a domain.

Three parts: Hypothesis, a climb that changes one edge at a time, and an independent sample that
bounds the rate of violating graphs. A counterexample of any of them refutes; the first two give no
rate: their graphs follow no distribution.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, Verbosity, assume, given, seed, settings, target
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jaxtyping import Bool, Float
from torch import Tensor

from circuits.statistics import rate_upper_bound
from circuits.subject import Subject
from claims.strategies import any_graph, graphs_with_edges
from models.graphs import (
    Adjacency,
    edge_bits,
    edge_list,
    from_edge_bits,
    graph6,
    random_graphs_over,
)

if TYPE_CHECKING:
    from verdicts.expectations import Expect

SAMPLE = 10_000
CLIMBERS = 64
_MAX_DRAWS = 100 * SAMPLE
_GRAPHS_UNSEARCHED = 20


@dataclasses.dataclass(frozen=True)
class Domain:
    """Graphs on `n_vertices` with `min_edges` to `max_edges` edges."""

    n_vertices: int
    min_edges: int
    max_edges: int


def _itself(value: float) -> float:
    return value


@dataclasses.dataclass(frozen=True)
class ForAll:
    """The statement that a value of every vertex of every graph of a domain is at least `bound`."""

    values: Callable[[Adjacency], Float[Tensor, "batch vertex"]]
    """The value by vertex; infinite for a vertex that the statement says nothing of."""
    domain: Domain
    bound: float
    shown: Callable[[float], float] = _itself
    """From a value, in which the search aims, to the quantity that people read."""
    missing: str = "no graph had a vertex that the statement is about"
    """What to say where nothing could be measured."""

    def smallest(self, graphs: Adjacency) -> Float[Tensor, " batch"]:
        """The smallest value on each graph."""
        return self.values(graphs).amin(dim=1)


@dataclasses.dataclass(frozen=True)
class Found:
    """The graph with the smallest value that a search came upon, as a batch of one; `None` where no
    vertex was eligible."""

    value: float
    graph: Adjacency | None


@dataclasses.dataclass(frozen=True)
class Sample:
    """Independent random graphs: how many of those with an eligible vertex violate the statement,
    and the worst."""

    violations: int
    seen: int
    drawn: int
    worst: Found


@dataclasses.dataclass(frozen=True)
class Extreme:
    """The smallest value that a search came upon, for a claim to hold to its bound, with what is to
    be said beside it."""

    value: float | None
    """As `shown`; `None` where no graph had an eligible vertex."""
    note: str | None


@torch.no_grad()
def search(
    subject: Subject, expect: Expect, statement: ForAll, *, steps: int = 1200, examples: int = 300
) -> Extreme:
    """Search for a counterexample; record the rate of violating graphs, and the smallest graph
    against the statement.

    One counterexample is enough, whatever finds it: what is returned is the smallest value over
    all. A subject that is not to be searched has those of its validation graphs looked at that are
    in the domain.
    """
    if not subject.searching:
        return _among(_inside(subject.graphs.adjacency, statement.domain), expect, statement)
    name = f"search {statement.domain}"
    climbed = climb(statement, steps=steps, generator=subject.generator(f"{name}: climb"))
    drawn = hypothesis_search(statement, entropy=subject.seed, examples=examples)
    sample = sample_violations(statement, generator=subject.generator(f"{name}: sample"))
    expect.enough("random graphs with an eligible vertex", sample.seen, needed=SAMPLE)
    expect(
        "violation_rate_upper",
        rate_upper_bound(sample.violations, sample.seen) if sample.seen else None,
        at_most=1e-3,
        because=(
            "fails on fewer than one in a thousand of the random graphs that have an eligible"
            " vertex, with 95 % confidence"
        ),
        note=(
            f"{sample.violations} of {sample.seen} such graphs, of {sample.drawn} with their number"
            " of edges uniform"
        ),
    )
    return _extreme([climbed, drawn, sample.worst], expect, statement)


def _among(graphs: Adjacency, expect: Expect, statement: ForAll) -> Extreme:
    """The smallest value on given graphs."""
    lowest = statement.smallest(graphs) if len(graphs) else torch.empty(0)
    expect.enough(
        "validation graphs with an eligible vertex", int((lowest < math.inf).sum()), needed=100
    )
    return _extreme([_lowest(lowest, graphs)], expect, statement)


def _inside(graphs: Adjacency, domain: Domain) -> Adjacency:
    edges = graphs.sum((1, 2)) / 2
    return graphs[(edges >= domain.min_edges) & (edges <= domain.max_edges)]


def _lowest(values: Float[Tensor, " batch"], graphs: Adjacency) -> Found:
    """The graph with the smallest of the values."""
    if not (values < math.inf).any():
        return Found(math.inf, None)
    index = int(values.argmin())
    return Found(values[index].item(), graphs[index : index + 1].cpu())


def _extreme(found: list[Found], expect: Expect, statement: ForAll) -> Extreme:
    """The smallest of several values, and the smallest graph against the statement shown, where
    there is one."""
    worst = min(found, key=lambda one: one.value)
    if worst.graph is None:
        return Extreme(None, statement.missing)
    smallest = show_smallest(found, expect, statement)
    if smallest is None:
        return Extreme(statement.shown(worst.value), None)
    note = (
        "the lowest on any graph; on the counterexample shown, the smallest graph, it is"
        f" {statement.shown(smallest.value):.4g}"
    )
    return Extreme(statement.shown(worst.value), None if smallest.value == worst.value else note)


def show_smallest(found: list[Found], expect: Expect, statement: ForAll) -> Found | None:
    """Show the smallest graph against the statement, each that was found shrunk; `None` where none
    is against it."""
    against = [shrink(one, statement) for one in found if one.value < statement.bound]
    if not against:
        return None
    smallest = min(against, key=_size)
    assert smallest.graph is not None
    expect.show_counterexample(
        graph6=graph6(smallest.graph[0]),
        edges=" ".join(f"{i}-{j}" for i, j in edge_list(smallest.graph[0])),
        vertex=int(statement.values(smallest.graph)[0].argmin()),
        value=statement.shown(smallest.value),
    )
    return smallest


def _size(found: Found) -> tuple[int, float]:
    assert found.graph is not None
    return len(edge_list(found.graph[0])), found.value


def climb(statement: ForAll, *, steps: int, generator: torch.Generator) -> Found:
    """64 random graphs of the domain, each changed by one random edge at a time, or one for
    another, wherever that lowers its value.

    Exchanging edges matters: at the largest number of edges single flips can only take edges away,
    and one climb in a hundred finds what with exchanges one in ten does (measured on the author's
    pointer, 0 to 24 edges).
    """
    domain = statement.domain
    n_pairs = math.comb(domain.n_vertices, 2)
    bits = edge_bits(_random(domain, count=CLIMBERS, generator=generator))
    smallest = _Remembered(statement)
    lowest = smallest(bits)
    climber = torch.arange(CLIMBERS)
    for _ in range(steps):
        pair = torch.randint(n_pairs, (2, CLIMBERS), generator=generator)
        exchange = torch.rand(CLIMBERS, generator=generator) < 0.5
        changed = bits.clone()
        changed[climber, pair[0]] ^= True
        changed[climber, pair[1]] ^= exchange
        edges = changed.sum(1)
        inside = (edges >= domain.min_edges) & (edges <= domain.max_edges)
        tried = inside.nonzero()[:, 0]
        value = smallest(changed[tried])
        better = value <= lowest[tried]
        moved = tried[better]
        bits[moved], lowest[moved] = changed[moved], value[better]
    index = int(lowest.argmin())
    value_found = lowest[index].item()
    graph = from_edge_bits(bits[index][None], n_vertices=domain.n_vertices)
    return Found(value_found, graph if value_found < math.inf else None)


class _Remembered:
    """The smallest value on each graph, measured once: a climber that is stuck tries the same
    changes again and again."""

    def __init__(self, statement: ForAll) -> None:
        self._statement = statement
        self._values: dict[bytes, float] = {}

    def __call__(self, bits: Bool[Tensor, "batch pair"]) -> Float[Tensor, " batch"]:
        keys = [row.tobytes() for row in np.packbits(bits.numpy(), axis=1)]
        new = {key: row for row, key in enumerate(keys) if key not in self._values}
        if new:
            graphs = from_edge_bits(
                bits[list(new.values())], n_vertices=self._statement.domain.n_vertices
            )
            self._values.update(zip(new, self._statement.smallest(graphs).tolist(), strict=True))
        return torch.tensor([self._values[key] for key in keys])


def hypothesis_search(statement: ForAll, *, entropy: int, examples: int) -> Found:
    """What Hypothesis finds, aiming at the smallest value; a violation comes back shrunk."""
    worst = Found(math.inf, None)
    violating: Found | None = None
    domain = statement.domain

    @_drawn(
        graphs_with_edges(
            domain.n_vertices, min_edges=domain.min_edges, max_edges=domain.max_edges
        ),
        entropy=entropy,
        examples=examples,
    )
    def holds(graph: Adjacency) -> None:
        nonlocal worst, violating
        value = statement.smallest(graph).item()
        assume(value < math.inf)
        worst = min(worst, Found(value, graph), key=lambda found: found.value)
        target(-value)
        if value < statement.bound:
            violating = Found(value, graph)  # Hypothesis runs the smallest one last
            raise _Violation

    with contextlib.suppress(_Violation, Unsatisfiable):
        holds()
    return worst if violating is None else violating


def largest_over_any_graph(
    subject: Subject, quantity: Callable[[Adjacency], float], *, examples: int = 200
) -> float:
    """The largest value of `quantity` over the graphs that Hypothesis draws, aiming at it: to check
    what is proved of all.

    Over the first validation graphs, where the subject is not to be searched.
    """
    if not subject.searching:
        return max(quantity(graph[None]) for graph in subject.graphs.adjacency[:_GRAPHS_UNSEARCHED])
    largest = -math.inf

    @_drawn(any_graph(subject.model.cfg.n_vertices), entropy=subject.seed, examples=examples)
    def measure(graph: Adjacency) -> None:
        nonlocal largest
        value = quantity(graph)
        largest = max(largest, value)
        target(value)

    measure()
    return largest


def _drawn(
    graphs: st.SearchStrategy[Adjacency], *, entropy: int, examples: int
) -> Callable[[Callable[[Adjacency], None]], Callable[[], None]]:
    """Run a function on graphs that Hypothesis draws: seeded, without a database, without a
    word."""

    def decorate(function: Callable[[Adjacency], None]) -> Callable[[], None]:
        phases = (Phase.generate, Phase.target, Phase.shrink)
        quiet = settings(
            max_examples=examples,
            database=None,
            deadline=None,
            verbosity=Verbosity.quiet,
            print_blob=False,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        return seed(entropy)(quiet(given(graphs)(function)))

    return decorate


class _Violation(Exception):
    """A graph on which the statement is false."""


def sample_violations(statement: ForAll, *, generator: torch.Generator) -> Sample:
    """10,000 independent graphs with an eligible vertex: edges uniform over the domain, then G(n,
    m)."""
    violations = seen = drawn = 0
    worst = Found(math.inf, None)
    while seen < SAMPLE and drawn < _MAX_DRAWS:
        graphs = _random(statement.domain, count=SAMPLE // 4, generator=generator)
        lowest = statement.smallest(graphs)
        drawn += len(lowest)
        eligible = (lowest < math.inf).nonzero()[: SAMPLE - seen, 0]
        lowest, graphs = lowest[eligible], graphs[eligible]
        seen += len(lowest)
        violations += int((lowest < statement.bound).sum())
        worst = min(worst, _lowest(lowest, graphs), key=lambda found: found.value)
    return Sample(violations, seen, drawn, worst)


def shrink(found: Found, statement: ForAll) -> Found:
    """Take edges away, one at a time, as long as the graph stays in the domain and against the
    statement."""
    assert found.graph is not None
    n_vertices = statement.domain.n_vertices
    bits, value = edge_bits(found.graph)[0], found.value
    while int(bits.sum()) > statement.domain.min_edges:
        present = bits.nonzero()[:, 0]
        fewer = bits.repeat(len(present), 1)
        fewer[torch.arange(len(present)), present] = False
        lowest = statement.smallest(from_edge_bits(fewer, n_vertices=n_vertices))
        if not (lowest < statement.bound).any():
            break
        bits, value = fewer[lowest.argmin()], lowest.min().item()
    return Found(value, from_edge_bits(bits[None], n_vertices=n_vertices))


def _random(domain: Domain, *, count: int, generator: torch.Generator) -> Adjacency:
    return random_graphs_over(
        domain.n_vertices,
        range(domain.min_edges, domain.max_edges + 1),
        count=count,
        generator=generator,
    )
