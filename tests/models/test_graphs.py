from __future__ import annotations

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from claims.strategies import any_graph
from models.graphs import (
    Adjacency,
    GraphSet,
    as_adjacency,
    balanced_set,
    certificate,
    count_isomorphic,
    edge_bits,
    edge_count_table,
    edge_list,
    from_edge_bits,
    graph6,
    is_planar,
    load_validation_set,
    named_graph,
    random_graphs,
    relabel,
    validation_set,
)
from models.randomness import named_generator


def chance(name: str = "test") -> torch.Generator:
    return named_generator(0, name)


def spoiled(row: int, column: int, value: float) -> torch.Tensor:
    matrix = named_graph("cycle", 5)[0].clone()
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        (torch.zeros(5, 4), r"square matrices.*\[5, 4\]"),
        (torch.zeros(4, 4), "n_vertices = 5 vertices, got 4"),
        (torch.zeros(0, 5, 5), "a batch of none"),
        (torch.zeros(5), r"shape \[5\]"),
        (spoiled(1, 3, 1.0), r"entry \[1, 3\] is 1 but entry \[3, 1\] is 0"),
        (spoiled(2, 4, 0.5), r"graph 0: entry \[2, 4\] is 0.5"),
        (spoiled(2, 4, float("nan")), r"entry \[2, 4\] is nan"),
        (spoiled(3, 3, 1.0), r"entry \[3, 3\] is 1, but a vertex has no edge to itself"),
        (torch.stack([spoiled(0, 0, 0.0), spoiled(3, 3, 1.0)]), "graph 1"),
        (nx.complete_graph(6), "n_vertices = 5 vertices, got 6"),
        (nx.DiGraph([(0, 1), (1, 2), (3, 4)]), "symmetric"),
        (nx.MultiGraph([(0, 1), (0, 1), (2, 3), (3, 4)]), r"entry \[0, 1\] is 2"),
        (np.array([["a"]]), "dtype"),
        ("I?", "got str"),
        ([], "empty sequence"),
        (None, "got NoneType"),
        ([[0, 1], [1]], "nested lists"),
    ],
)
def test_what_is_no_simple_graph_is_refused_with_its_entry(graphs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_adjacency(graphs, n_vertices=5)


@settings(max_examples=50, deadline=None)
@given(any_graph(6))
def test_edge_bits_graph6_and_edge_list_say_the_same(graph: Adjacency) -> None:
    torch.testing.assert_close(from_edge_bits(edge_bits(graph), n_vertices=6), graph)
    assert set(nx.from_graph6_bytes(graph6(graph[0]).encode()).edges) == set(edge_list(graph[0]))


@pytest.mark.parametrize(
    ("name", "edges"),
    [("petersen", 15), ("cycle", 10), ("complete", 45), ("empty", 0), ("star", 9)],
)
def test_named_graphs(name: str, edges: int) -> None:
    assert len(edge_list(named_graph(name)[0])) == edges


@pytest.mark.parametrize(
    ("name", "n", "message"),
    [("cube", 10, "'cube'"), ("petersen", 9, "got 9"), ("cycle", 2, "got 2")],
)
def test_a_graph_that_does_not_exist_is_refused(name: str, n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_graph(name, n)


def test_random_graphs_are_uniform_over_pairs() -> None:
    graphs = random_graphs(6, 5, count=6000, generator=chance())
    assert (edge_bits(graphs).sum(1) == 5).all()
    rates = edge_bits(graphs).double().mean(0)
    assert (rates - 5 / 15).abs().max() < 5 * (1 / 3 * 2 / 3 / 6000) ** 0.5
    with pytest.raises(ValueError, match="n_edges must be from 0 to 15 for 6 vertices, got 16"):
        random_graphs(6, 16, count=1, generator=chance())


def test_planarity_is_that_of_networkx_and_certified() -> None:
    graphs = random_graphs(8, 15, count=60, generator=chance())
    planar = is_planar(graphs)
    assert 0 < planar.sum() < 60
    for graph, label in zip(graphs, planar.tolist(), strict=True):
        proof = certificate(graph, n_vertices=8)
        if label:
            assert isinstance(proof, nx.PlanarEmbedding)
            proof.check_structure()
        else:
            assert set(proof.edges) <= {
                edge for i, j in edge_list(graph) for edge in ((i, j), (j, i))
            }
            assert not nx.is_planar(proof)
            assert all(
                nx.is_planar(nx.Graph(e for e in proof.edges if e != removed))
                for removed in proof.edges
            )


def test_a_balanced_set_is_balanced_at_each_edge_count_and_leaves_out_what_is_excluded() -> None:
    validation = balanced_set(7, range(10, 13), count=60, generator=chance("validation"))
    graphs = balanced_set(
        7, range(10, 13), count=601, generator=chance("training"), exclude=validation
    )
    assert len(graphs) == 601
    edges = graphs.adjacency.sum((1, 2)) / 2
    for m, label in itertools.product(range(10, 13), (0, 1)):
        assert ((edges == m) & (graphs.labels == label)).sum() in (100, 101)
    torch.testing.assert_close(is_planar(graphs.adjacency).long(), graphs.labels)
    seen = {tuple(row) for row in edge_bits(validation.adjacency).tolist()}
    assert not seen & {tuple(row) for row in edge_bits(graphs.adjacency).tolist()}
    assert edges[:50].unique().numel() == 3  # in random order, not sorted


@pytest.mark.parametrize("m", [7, 20])
def test_a_class_that_cannot_be_had_is_an_error_that_names_the_edge_count(m: int) -> None:
    with pytest.raises(
        ValueError,
        match=rf"m = {m}: in \d+ graphs of G\(7, {m}\) there were \d+ planar ones \(5 wanted\)",
    ):
        balanced_set(7, [m], count=10, generator=chance())


def test_isomorphic_graphs_are_counted() -> None:
    reference = random_graphs(6, 7, count=30, generator=chance("a"))
    graphs = random_graphs(6, 7, count=200, generator=chance("b"))
    known = [nx.from_numpy_array(matrix.numpy()) for matrix in reference]
    expected = sum(
        any(nx.is_isomorphic(nx.from_numpy_array(matrix.numpy()), other) for other in known)
        for matrix in graphs
    )
    assert 0 < expected < 200
    assert count_isomorphic(graphs, reference) == expected
    assert count_isomorphic(relabel(reference, chance()), reference) == 30


def test_the_validation_set_is_balanced_and_the_same_each_time() -> None:
    graphs = validation_set()
    assert edge_count_table(graphs) == dict.fromkeys(range(15, 21), 832)
    assert graphs.labels.sum() == 2496
    torch.testing.assert_close(validation_set().adjacency, graphs.adjacency)


def written(path: Path, **arrays: object) -> Path:
    np.savez(path, **{name: np.asarray(value) for name, value in arrays.items()})
    return path


def test_a_validation_set_is_read(tmp_path: Path) -> None:
    graphs: GraphSet = validation_set(count=24)
    path = written(
        tmp_path / "v.npz", data=graphs.adjacency.double(), labels=graphs.labels.double()
    )
    read = load_validation_set(path, n_vertices=10)
    torch.testing.assert_close(read.adjacency, graphs.adjacency)
    torch.testing.assert_close(read.labels, graphs.labels)


def test_a_validation_set_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    graphs = validation_set(count=24)
    data, labels = graphs.adjacency.numpy(), graphs.labels.numpy()
    wrong = labels.copy()
    wrong[5] = 1 - wrong[5]
    loop = data.copy()
    loop[3, 2, 2] = 1
    cases = {
        "1 labels are wrong; the first is that of graph 5": {"data": data, "labels": wrong},
        r"labels must be \[24\]": {"data": data, "labels": labels[:-1]},
        r"graph 3: entry \[2, 2\]": {"data": loop, "labels": labels},
        "n_vertices = 10 vertices, got 9": {"data": data[:, :9, :9], "labels": labels},
        "has no array 'labels'": {"data": data},
        "allow_pickle": {"data": np.array([{}, None] * 12, dtype=object), "labels": labels},
    }
    for message, arrays in cases.items():
        path = written(tmp_path / "v.npz", **arrays)
        with pytest.raises(ValueError, match=message) as error:
            load_validation_set(path, n_vertices=10)
        assert str(path) in str(error.value)
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut.npz: not a readable .npz"):
        load_validation_set(tmp_path / "cut.npz", n_vertices=10)
    with pytest.raises(ValueError, match="no such file"):
        load_validation_set(tmp_path / "none.npz", n_vertices=10)


def test_relabelling_keeps_the_graph_up_to_isomorphism_and_differs_per_graph() -> None:
    graphs = random_graphs(8, 12, count=1, generator=chance()).expand(40, -1, -1)
    renamed = relabel(graphs, chance())
    assert len({tuple(bits) for bits in edge_bits(renamed).tolist()}) > 30
    assert count_isomorphic(renamed, graphs[:1]) == 40
