"""The climb as it is said: every changed graph is measured, whether it was seen before or not. The
oracle, and the yardstick in benchmarks."""

from __future__ import annotations

import torch

from claims.search import CLIMBERS, ForAll, Found
from models.graphs import edge_bits, from_edge_bits, random_graphs_over


def naive_climb(statement: ForAll, *, steps: int, generator: torch.Generator) -> Found:
    """The graph that the climb of `claims.search` must find with the same chance."""
    n = statement.domain.n_vertices
    low, high = statement.domain.min_edges, statement.domain.max_edges
    n_pairs = n * (n - 1) // 2
    graphs = random_graphs_over(n, range(low, high + 1), count=CLIMBERS, generator=generator)
    bits = edge_bits(graphs)
    lowest = statement.smallest(graphs)
    for _ in range(steps):
        first, second = torch.randint(n_pairs, (2, CLIMBERS), generator=generator)
        exchange = torch.rand(CLIMBERS, generator=generator) < 0.5
        changed = bits.clone()
        for climber in range(CLIMBERS):
            changed[climber, first[climber]] ^= True
            if exchange[climber]:
                changed[climber, second[climber]] ^= True
        value = statement.smallest(from_edge_bits(changed, n_vertices=n))
        edges = changed.sum(1)
        better = (low <= edges) & (edges <= high) & (value <= lowest)
        bits[better], lowest[better] = changed[better], value[better]
    best = int(lowest.argmin())
    return Found(lowest[best].item(), from_edge_bits(bits[best][None], n_vertices=n))
