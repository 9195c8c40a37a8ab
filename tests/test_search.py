from __future__ import annotations

import math

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st

from circuits.attention import degrees
from claims.search import SAMPLE, Domain, ForAll, climb, hypothesis_search, largest_over_any_graph, sample_violations, search, shrink
from claims.strategies import any_graph, graphs_with_edges
from models.graphs import Adjacency, edge_bits
from models.randomness import named_generator
from tests.planted import planted_subject
from verdicts.expectations import Expect


def triangles(graphs: Adjacency) -> torch.Tensor:
    """Number of triangles at each vertex."""
    return (graphs @ graphs @ graphs).diagonal(dim1=1, dim2=2) / 2


def few_triangles(domain: Domain, most: int) -> ForAll:
    """The statement that no vertex of degree ≤ 3 is in more than `most` triangles: false from most = 2 down."""

    def values(graphs: Adjacency) -> torch.Tensor:
        return (-triangles(graphs)).masked_fill(degrees(graphs) > 3, math.inf)

    return ForAll(values, domain, bound=-most)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_strategies_build_what_they_promise(data: st.DataObject) -> None:
    low = data.draw(st.integers(0, 21))
    high = data.draw(st.integers(low, 21))
    graph = data.draw(graphs_with_edges(7, min_edges=low, max_edges=high))
    assert graph.shape == (1, 7, 7)
    assert torch.equal(graph, graph.mT)
    assert low <= edge_bits(graph).sum() <= high
    assert data.draw(any_graph(5)).shape == (1, 5, 5)


def test_strategies_shrink_to_the_smallest_graph() -> None:
    assert find(any_graph(6), lambda graph: True).sum() == 0
    assert edge_bits(find(any_graph(6), lambda graph: bool(triangles(graph).any()))).sum() == 3
    assert edge_bits(find(graphs_with_edges(7, min_edges=4, max_edges=9), lambda graph: True)).sum() == 4
    assert edge_bits(find(graphs_with_edges(7, min_edges=12, max_edges=21), lambda graph: True)).sum() == 12


@pytest.mark.parametrize(("low", "high"), [(5, 4), (-1, 3), (0, 22)])
def test_domains_that_cannot_be_are_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="min_edges and max_edges must be in order and from 0 to 21"):
        graphs_with_edges(7, min_edges=low, max_edges=high)


def test_climb_and_hypothesis_find_what_random_graphs_rarely_show() -> None:
    statement = few_triangles(Domain(7, 0, 8), most=2)
    violations, seen = sample_violations(statement, generator=named_generator(0, "sample"))
    assert seen == SAMPLE
    assert violations / seen < 0.02
    climbed = climb(statement, steps=300, generator=named_generator(0, "climb"))
    drawn = hypothesis_search(statement, entropy=0, examples=2000)
    for found in (climbed, drawn):
        assert found.value == -3
        assert found.graph is not None
        assert 0 <= edge_bits(found.graph).sum() <= 8
    assert drawn.graph is not None
    assert edge_bits(drawn.graph).sum() == 6  # shrunk to K4
    smallest = shrink(climbed, statement)
    assert smallest.graph is not None
    assert edge_bits(smallest.graph).sum() == 6


def test_a_climb_stays_in_its_domain_and_never_gets_worse() -> None:
    domain = Domain(7, 8, 10)
    statement = few_triangles(domain, most=3)
    found = climb(statement, steps=100, generator=named_generator(0, "climb"))
    assert found.graph is not None
    assert 8 <= edge_bits(found.graph).sum() <= 10
    start = climb(statement, steps=0, generator=named_generator(0, "climb"))
    assert found.value <= start.value


def test_shrinking_keeps_to_the_smallest_number_of_edges() -> None:
    statement = few_triangles(Domain(7, 10, 12), most=2)
    found = climb(statement, steps=300, generator=named_generator(0, "climb"))
    smallest = shrink(found, statement)
    assert smallest.graph is not None
    assert edge_bits(smallest.graph).sum() == 10
    assert smallest.value < statement.bound


def test_a_search_records_rate_counterexample_and_worst() -> None:
    expect = Expect()
    statement = few_triangles(Domain(10, 0, 14), most=2)
    assert search(planted_subject(), expect, statement, steps=600, examples=100) == -3
    assert expect.counts["random graphs with an eligible vertex"].seen == SAMPLE
    assert expect.counterexample is not None
    assert expect.counterexample["value"] == -3
    assert len(str(expect.counterexample["edges"]).split()) == 6
    assert str(expect.counterexample["vertex"]) in str(expect.counterexample["edges"])


def test_a_search_for_what_is_true_finds_nothing_and_bounds_the_rate() -> None:
    expect = Expect()
    assert search(planted_subject(), expect, few_triangles(Domain(10, 0, 14), most=3), steps=100, examples=50) is not None
    assert expect.counterexample is None
    assert expect.measurements["violation_rate_upper"].value == pytest.approx(3e-4, rel=0.01)


def test_a_statement_about_nothing_is_unresolved_not_true() -> None:
    expect = Expect()
    nothing = ForAll(lambda graphs: torch.full(graphs.shape[:2], math.inf), Domain(10, 0, 14), bound=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("claims.search._MAX_DRAWS", SAMPLE)
        assert search(planted_subject(), expect, nothing, steps=5, examples=5) is None
    assert expect.counts["random graphs with an eligible vertex"].seen == 0
    assert expect.measurements["violation_rate_upper"].outcome == "unresolved"


def test_the_same_seed_searches_the_same_graphs() -> None:
    statement = few_triangles(Domain(10, 0, 14), most=2)
    first, second = Expect(), Expect()
    for expect in (first, second):
        search(planted_subject(), expect, statement, steps=200, examples=50)
    assert (first.counterexample, first.measurements) == (second.counterexample, second.measurements)


def test_largest_over_any_graph_aims_at_the_largest() -> None:
    assert largest_over_any_graph(planted_subject(), lambda graph: float(edge_bits(graph).sum()), examples=400) > 35
