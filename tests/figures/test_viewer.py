"""Graphs to look at: how they are drawn, written, and what the viewer is told of them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.attention import head_pattern
from circuits.patching import every_set, patched_patterns, path_patching
from circuits.roles import Head
from circuits.subject import answer
from claims.strategies import any_graph
from figures.layout import crossings, edge_array, layout
from figures.viewer import MAX_TEXT, graphs_to_view, parse_graph, view
from models.graphs import Adjacency, edge_list, graph6, named_graph, random_graphs
from models.randomness import named_generator
from tests.circuits.test_measurements import CFG, random_model
from tests.circuits.test_patching import some
from tests.pages import shipped, untrained_subject


def as_networkx(graph: Adjacency) -> nx.Graph[int]:
    return nx.from_numpy_array(graph[0].numpy())


# where vertices stand


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 11).flatmap(any_graph))
def test_a_planar_graph_is_drawn_without_crossings(graph: Adjacency) -> None:
    drawn = as_networkx(graph)
    points = layout(drawn)
    assert points.shape == (len(drawn), 2)
    assert ((points >= 0) & (points <= 1)).all()
    if nx.is_planar(drawn):
        assert crossings(points, edge_array(drawn)) == 0
    np.testing.assert_array_equal(points, layout(drawn))


def test_crossings_are_counted() -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert crossings(square, np.array([[0, 2], [1, 3]])) == 1
    assert crossings(square, np.array([[0, 1], [1, 2], [2, 3], [0, 3], [0, 2]])) == 0, (
        "edges that meet in a vertex do not cross"
    )


def test_vertices_of_a_graph_of_the_training_range_are_told_apart() -> None:
    for graph in random_graphs(10, 17, count=12, generator=named_generator(0, "layouts")).split(1):
        points = layout(as_networkx(graph))
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(10)
        assert apart.min() > 0.07, "drawn vertices have a radius of 0.055"


# graphs that are typed in


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("0-1 1-2", [(0, 1), (1, 2)]),
        ("0,1; 2,3", [(0, 1), (2, 3)]),
        ("(0, 1), (1, 0)", [(0, 1)]),
        ("", []),
        (" 8–9 ", [(8, 9)]),
        ("I" + "?" * 8, []),
    ],
)
def test_a_graph_is_read(text: str, edges: list[tuple[int, int]]) -> None:
    assert edge_list(parse_graph(text, n_vertices=10)[0]) == edges


@settings(deadline=None)
@given(any_graph(10))
def test_what_the_viewer_writes_it_reads(graph: Adjacency) -> None:
    torch.testing.assert_close(parse_graph(graph6(graph[0]), n_vertices=10), graph)
    torch.testing.assert_close(
        parse_graph(" ".join(f"{i}-{j}" for i, j in edge_list(graph[0])), n_vertices=10), graph
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-10", "edge 0-10: an edge joins two different vertices from 0 to 9"),
        ("3-3", "edge 3-3: an edge joins"),
        ("0-1 7", "edges are written like 0-1 1-2; '7' is not part of one"),
        ("hello world", "'hello world' is neither a list of edges, like 0-1 1-2, nor graph6"),
        ("<script>", "'<script>' is neither"),
        ("D??", "the graph must have 10 vertices, got graph6 of 5"),
        ("I???", "is neither"),
        ("~" * 40, "is neither|must have 10 vertices"),
        ("ü", "is neither"),
        ("0-1 " * 1000, f"at most {MAX_TEXT} characters, got 3999"),
    ],
)
def test_what_is_no_graph_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_graph(text, n_vertices=10)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_graph_or_refused(text: str) -> None:
    try:
        found = parse_graph(text, n_vertices=10)
    except ValueError:
        return
    assert found.shape == (1, 10, 10)


# what the viewer is told


def test_patterns_and_answer_are_the_models() -> None:
    subject, _ = shipped()
    graph = subject.graphs.adjacency[[3]]
    shown = view(subject.model, graph, name="a", group="b")
    for layer, heads in enumerate(shown["patterns"]):
        for index, matrix in enumerate(heads):
            expected = head_pattern(subject.model, graph, Head(layer, index))[0]
            torch.testing.assert_close(torch.tensor(matrix) / 1000, expected, atol=0.00051, rtol=0)
    planar = answer(subject.model, graph).softmax(-1)[0, 1].item()
    assert float(shown["planar_probability"]) == pytest.approx(planar, abs=6e-5)
    assert shown["degrees"] == graph[0].sum(-1).int().tolist()
    assert shown["edges"] == edge_list(graph[0])


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        (nx.complete_graph(5), "K₅"),
        (nx.complete_bipartite_graph(3, 3), "K₃,₃"),
        (nx.petersen_graph(), "K₃,₃"),
        (nx.path_graph(4), None),
    ],
)
def test_what_is_in_the_way_of_planarity_is_shown(graph: nx.Graph[int], kind: str | None) -> None:
    padded = nx.empty_graph(10)
    padded.add_edges_from(graph.edges)
    edges = " ".join(f"{i}-{j}" for i, j in padded.edges)
    shown = view(shipped()[0].model, parse_graph(edges, n_vertices=10), name="a", group="b")
    assert shown["kind"] == kind
    assert shown["planar"] is (kind is None)
    found = {tuple(edge) for edge in shown["obstruction"]}
    assert found <= set(shown["edges"])
    assert not found or not nx.is_planar(nx.Graph(list(found)))


def test_there_are_graphs_of_every_kind() -> None:
    subject, ledger = shipped()
    claims = {claim.id: claim for claim in ledger.subjects[0].claims}
    wrong = subject.graphs.__class__(subject.graphs.adjacency[:4], torch.tensor([0, 0, 1, 0]))
    shown = list(graphs_to_view(subject, claims, wrong))
    groups = {
        group: [one for one in shown if one["group"] == group]
        for group in ("counterexamples", "random", "misclassified", "named")
    }
    refuted = [id_ for id_, claim in claims.items() if claim.counterexample]
    assert [one["name"].replace(" ", "_") for one in groups["counterexamples"]] == refuted != []
    assert [one["graph6"] for one in groups["counterexamples"]] == [
        (claims[id_].counterexample or {})["graph6"] for id_ in refuted
    ]
    assert [len(one["edges"]) for one in groups["random"]] == list(subject.edge_counts)
    wrongly_planar = [f"non-planar, called planar ({order})" for order in (1, 2, 3)]
    assert [one["name"] for one in groups["misclassified"]] == [
        *wrongly_planar,
        "planar, called non-planar (1)",
    ]
    assert groups["named"][0]["graph6"] == graph6(named_graph("petersen")[0])


def test_a_model_without_mistakes_and_of_other_size_has_graphs_too() -> None:
    subject = untrained_subject()
    nothing = subject.graphs.__class__(subject.graphs.adjacency[:0], subject.graphs.labels[:0])
    shown = list(graphs_to_view(subject, {}, nothing))
    assert {one["group"] for one in shown} == {"random", "named"}
    assert not any(one["name"] == "petersen" for one in shown)


# the patterns that are patched


def test_patched_patterns_are_those_that_are_scored() -> None:
    model, clean, corrupted, head = (
        random_model(),
        some(),
        some(count=1, name="corrupted"),
        Head(1, 2),
    )
    everything = len(every_set(CFG.n_heads)) - 1
    configurations = [(everything, everything), (0, 0), (3, 9), (9, 3), (3, 0)]
    patterns = patched_patterns(model, clean, corrupted, head=head, configurations=configurations)
    torch.testing.assert_close(patterns[:, 0], head_pattern(model, clean, head))
    torch.testing.assert_close(
        patterns[:, 1], head_pattern(model, corrupted, head).expand(len(clean), -1, -1)
    )
    for place, (query, key) in enumerate(configurations):
        (scores,) = path_patching(model, clean, corrupted, head=head, blocks=[([query], [key])])
        distance = torch.linalg.matrix_norm(patterns[:, place] - patterns[:, 0])
        torch.testing.assert_close(distance, scores.numerator[:, 0, 0], atol=1e-9, rtol=1e-9)
