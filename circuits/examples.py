"""Graphs of a kind to study a model on: misclassified ones (notebook, unused); planar or not:
`balanced_set`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from circuits.subject import answer
from models.graphs import Adjacency, GraphSet, is_planar
from models.transformer import Transformer

_DRAWS_AT_A_TIME = 1000


def misclassified_graphs(
    model: Transformer, draw: Callable[[int], Adjacency], *, count: int, max_draws: int
) -> GraphSet:
    """Up to `count` graphs of each class that the model puts into the other, out of those that
    `draw` makes, so many at a time.

    Stops when it has them, or after `max_draws` graphs; the set may be empty. Labels are the true
    ones.
    """
    if count < 1 or max_draws < 1:
        raise ValueError(f"count and max_draws must be at least 1; got {count} and {max_draws}")
    device = model.W_pos.device
    have = {0: 0, 1: 0}
    adjacency, labels = [], []
    drawn = 0
    while drawn < max_draws and min(have.values()) < count:
        graphs = draw(min(_DRAWS_AT_A_TIME, max_draws - drawn)).to(device)
        drawn += len(graphs)
        truth = is_planar(graphs).long().to(device)
        wrong = answer(model, graphs).argmax(-1) != truth
        for label in have:
            chosen = (wrong & (truth == label)).nonzero()[: count - have[label], 0]
            adjacency.append(graphs[chosen])
            labels.append(truth[chosen])
            have[label] += len(chosen)
    return GraphSet(torch.cat(adjacency), torch.cat(labels))
