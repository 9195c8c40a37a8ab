"""What of a graph planarity does not depend on, seen from one vertex: the notebook's guess at what
the pointer is for (§2.2).

A vertex of degree 0 or 1 can be removed, and one of degree 2 replaced by an edge between its
neighbours, without making a graph planar or non-planar.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.attention import degrees
from models.graphs import Adjacency


def pruned_degree(adjacency: Adjacency) -> Int[Tensor, "graph vertex"]:
    """Degree of each vertex after all leaves are removed once: its neighbours of degree at most 1
    do not count."""
    degree = degrees(adjacency)
    return degree - neighbours_of(adjacency, degree <= 1)


def neighbours_of(
    adjacency: Adjacency, kind: Bool[Tensor, "graph vertex"]
) -> Int[Tensor, "graph vertex"]:
    """How many neighbours of a kind each vertex has."""
    return (adjacency * kind[:, None, :]).sum(-1).long()


def one_edge_to_degree_two(
    adjacency: Adjacency,
) -> tuple[Bool[Tensor, "graph vertex"], Bool[Tensor, "graph vertex"]]:
    """Vertices of degree 3 without a leaf and with exactly one neighbour of degree 2: those, and
    whether that edge is in a triangle.

    If it is, replacing the neighbour by an edge doubles one that is there, and leaves the vertex
    with degree 2.
    """
    degree = degrees(adjacency)
    chosen = (
        (degree == 3)
        & (neighbours_of(adjacency, degree <= 1) == 0)
        & (neighbours_of(adjacency, degree == 2) == 1)
    )
    common: Float[Tensor, "graph vertex sender"] = (
        adjacency @ adjacency
    )  # common neighbours of each pair
    in_triangle = ((adjacency * (degree == 2)[:, None, :]) * common).sum(-1) > 0
    return chosen, in_triangle
