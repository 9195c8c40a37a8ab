"""Graphs for Hypothesis. Each strategy builds what it promises, rejects nothing, and shrinks
towards few edges."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st

from models.graphs import Adjacency, from_edge_bits


def any_graph(n_vertices: int) -> st.SearchStrategy[Adjacency]:
    """Any of the 2^(n(n−1)/2) graphs, as a batch of one; shrinks to the empty graph."""
    n_pairs = math.comb(n_vertices, 2)
    return st.lists(st.booleans(), min_size=n_pairs, max_size=n_pairs).map(
        lambda bits: from_edge_bits(torch.tensor([bits], dtype=torch.bool), n_vertices=n_vertices)
    )


def graphs_with_edges(
    n_vertices: int, *, min_edges: int, max_edges: int
) -> st.SearchStrategy[Adjacency]:
    """Graphs with so many edges, as a batch of one; shrinks to `min_edges` edges, the first in
    lexicographic order."""
    n_pairs = math.comb(n_vertices, 2)
    if not 0 <= min_edges <= max_edges <= n_pairs:
        raise ValueError(
            f"min_edges and max_edges must be in order and from 0 to {n_pairs}, got {min_edges} and"
            f" {max_edges}"
        )

    def build(edges: list[int]) -> Adjacency:
        bits = torch.zeros(1, n_pairs, dtype=torch.bool)
        bits[0, edges] = True
        return from_edge_bits(bits, n_vertices=n_vertices)

    edge = st.integers(0, n_pairs - 1)
    if max_edges <= n_pairs // 2:
        return st.lists(edge, min_size=min_edges, max_size=max_edges, unique=True).map(build)
    # drawing most pairs without repetition stalls; a permutation cut short does not
    size = st.integers(min_edges, max_edges)
    return st.tuples(st.permutations(range(n_pairs)), size).map(
        lambda drawn: build(list(drawn[0][: drawn[1]]))
    )
