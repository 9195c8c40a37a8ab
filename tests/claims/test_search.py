from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import claims.search
from circuits.attention import degrees
from circuits.subject import Subject
from claims.catalogue import all_claims
from claims.search import (
    SAMPLE,
    Domain,
    ForAll,
    Found,
    climb,
    hypothesis_search,
    largest_over_any_graph,
    sample_violations,
    search,
    shrink,
)
from claims.strategies import any_graph, graphs_with_edges
from models.graphs import Adjacency, edge_bits, from_edge_bits
from models.randomness import named_generator
from tests.naive_climb import naive_climb
from tests.planted import POINTER, planted_subject
from tests.verdicts.test_verdicts import claim as claim_of
from verdicts.expectations import Expect
from verdicts.judge import Verdict, judge


def triangles(graphs: Adjacency) -> torch.Tensor:
    """Number of triangles at each vertex."""
    return (graphs @ graphs @ graphs).diagonal(dim1=1, dim2=2) / 2


def few_triangles(domain: Domain, most: int) -> ForAll:
    """The statement that no vertex of degree ≤ 3 is in more than `most` triangles: false from most
    = 2 down."""

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


def test_no_example_of_hypothesis_is_timed_and_none_is_chance() -> None:
    """By itself it fails an example of 200 ms, and slow draws, unless a variable says that this is
    CI."""
    for used in (settings.default, settings(max_examples=5)):
        assert used is not None
        assert (used.deadline, used.derandomize, used.database) == (None, True, None)
        assert HealthCheck.too_slow in used.suppress_health_check


def test_strategies_shrink_to_the_smallest_graph() -> None:
    assert find(any_graph(6), lambda graph: True).sum() == 0
    assert edge_bits(find(any_graph(6), lambda graph: bool(triangles(graph).any()))).sum() == 3
    assert (
        edge_bits(find(graphs_with_edges(7, min_edges=4, max_edges=9), lambda graph: True)).sum()
        == 4
    )
    assert (
        edge_bits(find(graphs_with_edges(7, min_edges=12, max_edges=21), lambda graph: True)).sum()
        == 12
    )


@pytest.mark.parametrize(("low", "high"), [(5, 4), (-1, 3), (0, 22)])
def test_domains_that_cannot_be_are_refused(low: int, high: int) -> None:
    with pytest.raises(
        ValueError, match="min_edges and max_edges must be in order and from 0 to 21"
    ):
        graphs_with_edges(7, min_edges=low, max_edges=high)


def test_climb_and_hypothesis_find_what_random_graphs_rarely_show() -> None:
    statement = few_triangles(Domain(7, 0, 8), most=2)
    sample = sample_violations(statement, generator=named_generator(0, "sample"))
    assert sample.seen == SAMPLE
    assert sample.violations / sample.seen < 0.02
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


@pytest.mark.parametrize("domain", [Domain(7, 8, 10), Domain(7, 0, 8)])
def test_a_climb_is_the_naive_one_and_measures_no_graph_twice(domain: Domain) -> None:
    seen: list[bytes] = []

    def values(graphs: Adjacency) -> torch.Tensor:
        seen.extend(graph.numpy().tobytes() for graph in graphs)
        far = torch.arange(7.0)  # no two graphs alike
        around = graphs @ (graphs @ far.sqrt() + far)[..., None]
        return around[..., 0].masked_fill(degrees(graphs) > 3, math.inf)

    statement = ForAll(values, domain, bound=0.0)
    found = climb(statement, steps=200, generator=named_generator(0, "climb"))
    assert len(seen) == len(set(seen))
    edges = torch.tensor([np.frombuffer(graph, np.float32).sum() / 2 for graph in seen])
    assert domain.min_edges <= edges.min()
    assert edges.max() <= domain.max_edges
    expected = naive_climb(statement, steps=200, generator=named_generator(0, "climb"))
    assert found.value == expected.value
    assert found.graph is not None
    assert expected.graph is not None
    assert torch.equal(found.graph, expected.graph)


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
    worst = search(planted_subject(), expect, statement, steps=600, examples=100)
    assert (worst.value, worst.note) == (-3, None)  # the smallest graph is one of the lowest
    assert expect.counts["random graphs with an eligible vertex"].seen == SAMPLE
    assert expect.counterexample is not None
    assert expect.counterexample["value"] == -3
    assert len(str(expect.counterexample["edges"]).split()) == 6
    assert str(expect.counterexample["vertex"]) in str(expect.counterexample["edges"])


def test_a_search_for_what_is_true_finds_nothing_and_bounds_the_rate() -> None:
    expect = Expect()
    worst = search(
        planted_subject(), expect, few_triangles(Domain(10, 0, 14), most=3), steps=100, examples=50
    )
    assert worst.value is not None
    assert worst.note is None
    assert expect.counterexample is None
    assert expect.measurements["violation_rate_upper"].value == pytest.approx(3e-4, rel=0.01)


def test_a_statement_about_nothing_is_unresolved_not_true() -> None:
    expect = Expect()
    nothing = ForAll(
        lambda graphs: torch.full(graphs.shape[:2], math.inf), Domain(10, 0, 14), bound=0.0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("claims.search._MAX_DRAWS", SAMPLE)
        worst = search(planted_subject(), expect, nothing, steps=5, examples=5)
    assert (worst.value, worst.note) == (None, nothing.missing)
    assert expect.counts["random graphs with an eligible vertex"].seen == 0
    assert expect.measurements["violation_rate_upper"].outcome == "unresolved"


def far_from_six_edges(domain: Domain) -> ForAll:
    """The statement that a graph has 6 edges: it fails the more the more others it has."""

    def values(graphs: Adjacency) -> torch.Tensor:
        return -(edge_bits(graphs).sum(1, keepdim=True) - 6.0).abs().expand(-1, domain.n_vertices)

    return ForAll(values, domain, bound=-0.5)


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the climb and Hypothesis see the graph of six edges alone."""
    six = from_edge_bits(torch.arange(45)[None] < 6, n_vertices=10)
    for name in ("climb", "hypothesis_search"):
        monkeypatch.setattr(claims.search, name, lambda *args, **kwargs: Found(0.0, six))


def judged(subject: Subject, statement: ForAll) -> Verdict:
    def body(expect: Expect) -> None:
        worst = search(subject, expect, statement, steps=5, examples=5)
        expect(
            "worst", worst.value, at_least=statement.bound, because="the statement", note=worst.note
        )

    return judge(claim_of(body, evidence="searched"), None)


def test_a_violating_graph_of_the_random_sample_refutes_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two graphs in 10,000, too few for the rate to refute, that neither climb nor Hypothesis comes
    upon."""
    blind(monkeypatch)

    def values(graphs: Adjacency) -> torch.Tensor:
        among_four = graphs[:, :4, :4].sum((1, 2)) / 2
        return -(among_four == 6).float()[:, None].expand(-1, 10)

    statement = ForAll(values, Domain(10, 13, 13), bound=-0.5)
    verdict = judged(planted_subject(), statement)
    rate = verdict.expect.measurements["violation_rate_upper"]
    assert rate.outcome == "holds", rate
    assert verdict.verdict == "refuted"
    assert verdict.expect.measurements["worst"].value == -1
    shown = verdict.expect.counterexample
    assert shown is not None
    assert {"0-1", "0-2", "0-3", "1-2", "1-3", "2-3"} <= set(str(shown["edges"]).split())
    assert shown["value"] == -1


def test_a_counterexample_of_the_sample_is_shrunk_and_said_not_to_be_the_lowest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blind(monkeypatch)
    verdict = judged(planted_subject(), far_from_six_edges(Domain(10, 7, 14)))
    worst, shown = verdict.expect.measurements["worst"], verdict.expect.counterexample
    assert worst.value == -8
    assert (
        worst.note
        == "the lowest on any graph; on the counterexample shown, the smallest graph, it is -1"
    )
    assert shown is not None
    assert (len(str(shown["edges"]).split()), shown["value"]) == (7, -1)


def test_a_violating_validation_graph_refutes_where_nothing_is_searched() -> None:
    """Of graphs with 15 to 20 edges, in a domain of 16 to 18: those outside it say nothing."""
    subject = planted_subject().every(1)
    verdict = judged(subject, far_from_six_edges(Domain(10, 16, 18)))
    shown = verdict.expect.counterexample
    assert verdict.verdict == "refuted"
    assert verdict.expect.measurements["worst"].value == -12
    assert shown is not None
    assert (len(str(shown["edges"]).split()), shown["value"]) == (16, -10)
    assert verdict.expect.counts["validation graphs with an eligible vertex"].seen == 120
    none = judged(subject, far_from_six_edges(Domain(10, 30, 31)))
    assert none.verdict == "unresolved"
    assert none.expect.measurements["worst"].value is None


def test_attention_that_is_all_but_zero_is_a_value_and_no_overflow() -> None:
    """A score that the target misses by 7,000: e to that power is no float."""
    subject = planted_subject()
    subject.model.attention(POINTER.layer).b_Q[POINTER.index] = -7000.0
    (claim,) = [
        claim for claim in all_claims() if claim.id == "low_degree_vertices_attend_to_the_target"
    ]
    verdict = judge(claim, subject.every(1))
    assert verdict.verdict == "refuted", verdict.reason
    assert verdict.expect.measurements["worst_found"].value == 0


def test_the_same_seed_searches_the_same_graphs() -> None:
    statement = few_triangles(Domain(10, 0, 14), most=2)
    first, second = Expect(), Expect()
    for expect in (first, second):
        search(planted_subject(), expect, statement, steps=200, examples=50)
    assert (first.counterexample, first.measurements) == (
        second.counterexample,
        second.measurements,
    )


def test_largest_over_any_graph_aims_at_the_largest() -> None:
    assert (
        largest_over_any_graph(
            planted_subject(), lambda graph: float(edge_bits(graph).sum()), examples=400
        )
        > 35
    )
