"""graph6 in bulk, against networkx."""

from __future__ import annotations

import networkx as nx
import pytest
import torch

from models.graph6 import decode_lines, encode_lines
from models.graphs import random_graphs_over
from models.randomness import named_generator


@pytest.mark.parametrize("n_vertices", [1, 2, 3, 4, 5, 7, 10, 12, 13, 40, 62])
def test_lines_are_those_of_networkx_and_come_back(n_vertices: int) -> None:
    pairs = n_vertices * (n_vertices - 1) // 2
    graphs = random_graphs_over(
        n_vertices, range(pairs + 1), count=30, generator=named_generator(0, "graph6")
    )
    lines = encode_lines(graphs)
    assert lines == b"".join(
        nx.to_graph6_bytes(nx.from_numpy_array(graph.numpy()), header=False) for graph in graphs
    )
    assert torch.equal(decode_lines(lines, n_vertices=n_vertices), graphs)


def test_no_line_is_no_graph() -> None:
    assert decode_lines(b"", n_vertices=10).shape == (0, 10, 10)
    assert encode_lines(torch.zeros(0, 10, 10)) == b""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"I????B{~w", "lines must be of 10 bytes each, for 10 vertices, got 9 bytes"),
        (b"H????B{~w\n", "lines must be graph6 of 10 vertices"),
        (b"I????B{~w ", "lines must be graph6 of 10 vertices"),
        (b"I????B{~w\nI???\x7f?{~w\n", "lines must be graph6 of 10 vertices"),
        (b"I?? ??B{~\n", "lines must be graph6 of 10 vertices"),
    ],
)
def test_what_is_not_graph6_is_refused(lines: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_lines(lines, n_vertices=10)


def test_more_vertices_than_one_character_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="n_vertices must be from 1 to 62, got 63"):
        decode_lines(b"", n_vertices=63)
