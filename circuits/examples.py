"""Graphs of a kind to study a model on: planar, non-planar, misclassified (notebook, unused: sets of examples)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from circuits.subject import answer
from models.graphs import GraphSet, is_planar, random_graphs
from models.transformer import Transformer

_DRAWS_AT_A_TIME = 1000


def misclassified_graphs(
    model: Transformer, edge_counts: Sequence[int], *, count: int, max_draws: int, generator: torch.Generator
) -> GraphSet:
    """Up to `count` graphs of each class that the model puts into the other, from G(n, m) with m uniform over `edge_counts`.

    Stops when it has them, or after `max_draws` graphs; the set may be empty. Labels are the true ones.
    """
    if count < 1 or max_draws < 1 or not len(edge_counts):
        raise ValueError(f"count, max_draws and edge_counts must not be empty; got {count}, {max_draws} and {edge_counts}")
    n_vertices, device = model.cfg.n_vertices, model.W_pos.device
    have = {0: 0, 1: 0}
    found = [GraphSet(torch.zeros(0, n_vertices, n_vertices, device=device), torch.zeros(0, dtype=torch.long, device=device))]
    drawn = 0
    while drawn < max_draws and min(have.values()) < count:
        size = min(_DRAWS_AT_A_TIME, max_draws - drawn)
        m = torch.tensor(list(edge_counts))[torch.randint(len(edge_counts), (size,), generator=generator)]
        parts = [random_graphs(n_vertices, int(edges), count=int((m == edges).sum()), generator=generator) for edges in m.unique()]
        graphs = torch.cat(parts).to(device)
        labels = is_planar(graphs).long().to(device)
        wrong = answer(model, graphs).argmax(-1) != labels
        for label in have:
            chosen = (wrong & (labels == label)).nonzero()[: count - have[label], 0]
            found.append(GraphSet(graphs[chosen], labels[chosen]))
            have[label] += len(chosen)
        drawn += size
    return GraphSet(torch.cat([part.adjacency for part in found]), torch.cat([part.labels for part in found]))
