"""Where to draw the vertices of a graph: planar graphs without crossings, others with as few as a
short search finds."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Edges = NDArray[np.int_]
_ROUNDS = 60
_TRIES = 6
_CLEARANCE = 0.09  # least distance of a vertex from an edge that is not its own, in the unit square


def layout(graph: nx.Graph[int]) -> Points:
    """Coordinates `[vertex, 2]` in the unit square for a graph on 0 … n − 1; the same for the same
    graph.

    Starts from a straight-line embedding where the graph is planar, from a circle where it is not,
    and moves one vertex at a time wherever that makes the drawing more even and adds no crossing.
    """
    n = graph.number_of_nodes()
    planar, _ = nx.check_planarity(graph)
    start = nx.planar_layout(graph) if planar else nx.circular_layout(graph)
    points = _fitted(np.array([start[vertex] for vertex in range(n)], dtype=float))
    edges = edge_array(graph)
    chance = np.random.default_rng(0)
    for turn in range(_ROUNDS):
        reach = 0.4 * (1 - turn / _ROUNDS) + 0.02
        for vertex in range(n):
            tries = points[vertex] + reach * chance.uniform(-1, 1, (_TRIES, 2))
            tries[0] = points[vertex]
            tries = tries.clip(0, 1)
            points[vertex] = tries[_costs(tries, vertex, points, edges).argmin()]
    return _fitted(points)


def edge_array(graph: nx.Graph[int]) -> Edges:
    """The edges as rows i < j, sorted."""
    return np.array(sorted(sorted(edge) for edge in graph.edges), dtype=int).reshape(-1, 2)


def crossings(points: Points, edges: Edges) -> int:
    """How many pairs of edges cross where they are drawn straight; those with a vertex in common do
    not."""
    a, b = points[edges[:, 0]], points[edges[:, 1]]
    apart = (edges[:, None, :, None] != edges[None, :, None, :]).all((2, 3))
    return int((_cross(a[:, None], b[:, None], a[None], b[None]) & apart).sum()) // 2


def _fitted(points: Points) -> Points:
    low, high = points.min(0), points.max(0)
    return (points - low) / np.where(high > low, high - low, 1)


def _costs(tries: Points, vertex: int, points: Points, edges: Edges) -> Points:
    """What a vertex adds to an uneven drawing from each place: crossings of its edges above all,
    then crowding, then lengths."""
    mine = (edges == vertex).any(1)
    neighbours = np.where(edges[mine, 0] == vertex, edges[mine, 1], edges[mine, 0])
    others = edges[~mine]
    rest = np.delete(np.arange(len(points)), vertex)
    a, b = points[others[:, 0]], points[others[:, 1]]
    at, ends = (
        tries[:, None, None],
        points[neighbours][None, :, None],
    )  # place, own edge, other edge or vertex
    apart = (neighbours[:, None, None] != others[None]).all(2)
    crossed = (_cross(at, ends, a, b) & apart).sum((1, 2))
    crowded = np.maximum(_CLEARANCE - _distance(tries[:, None], a, b), 0).sum(1)
    near_own = np.maximum(_CLEARANCE - _distance(points[rest], at, ends), 0) * (
        neighbours[:, None] != rest
    )
    away = np.linalg.norm(points[rest] - tries[:, None], axis=-1)
    lengths = np.linalg.norm(points[neighbours] - tries[:, None], axis=-1) - 0.9 / math.sqrt(
        len(points)
    )
    return (
        100 * crossed
        + 40 * (crowded + near_own.sum((1, 2)))
        + 0.02 * (1 / np.maximum(away, 0.01)).sum(1)
        + 0.6 * np.square(lengths).sum(1)
    )


def _distance(at: Points, start: Points, end: Points) -> Points:
    """Distance of places from segments."""
    along, towards = end - start, at - start
    share = ((towards * along).sum(-1) / np.maximum(np.square(along).sum(-1), 1e-12)).clip(0, 1)
    return np.linalg.norm(towards - share[..., None] * along, axis=-1)


def _cross(a: Points, b: Points, c: Points, d: Points) -> NDArray[np.bool_]:
    """Whether the segments ab and cd meet."""
    return (_turn(a, b, c) * _turn(a, b, d) <= 0) & (_turn(c, d, a) * _turn(c, d, b) <= 0)


def _turn(a: Points, b: Points, c: Points) -> Points:
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )
