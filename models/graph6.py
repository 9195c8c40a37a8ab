"""graph6 of many graphs at once: a line of one length for every graph of as many vertices."""

from __future__ import annotations

import math

import numpy as np
import torch

from models.graphs import Adjacency

_BITS = 6  # in each printable character
_ZERO = 63  # the character that stands for none of them
MOST_VERTICES = 62
"""Up to so many the number of vertices is one character."""


def line_length(n_vertices: int) -> int:
    """Bytes of a graph's line, the one that ends it among them; `ValueError` beyond 62 vertices."""
    if not 1 <= n_vertices <= MOST_VERTICES:
        raise ValueError(f"n_vertices must be from 1 to {MOST_VERTICES}, got {n_vertices}")
    return 2 + math.ceil(math.comb(n_vertices, 2) / _BITS)


def decode_lines(lines: bytes, *, n_vertices: int) -> Adjacency:
    """Adjacency matrices of graphs in graph6, a line each; `ValueError` where a line is not that of
    a graph on so many vertices."""
    length = line_length(n_vertices)
    if len(lines) % length:
        raise ValueError(
            f"lines must be of {length} bytes each, for {n_vertices} vertices, got {len(lines)}"
            " bytes"
        )
    rows = np.frombuffer(lines, dtype=np.uint8).reshape(-1, length)
    values = rows[:, 1:-1] - _ZERO
    right = (rows[:, 0] == n_vertices + _ZERO) & (rows[:, -1] == ord("\n"))
    if not (right & (values < 2**_BITS).all(axis=1)).all():
        raise ValueError(f"lines must be graph6 of {n_vertices} vertices, a line each")
    bits = np.unpackbits(values[..., None], axis=-1)[..., 8 - _BITS :]
    later, earlier = np.tril_indices(n_vertices, -1)
    adjacency = torch.zeros(len(rows), n_vertices, n_vertices)
    edges = bits.reshape(len(rows), _BITS * values.shape[1])[:, : len(later)]
    adjacency[:, later, earlier] = torch.from_numpy(edges).float()
    return adjacency + adjacency.mT


def encode_lines(adjacency: Adjacency) -> bytes:
    """The inverse of `decode_lines`."""
    count, n_vertices, _ = adjacency.shape
    length = line_length(n_vertices)
    later, earlier = np.tril_indices(n_vertices, -1)
    bits = np.zeros((count, (length - 2) * _BITS), dtype=np.uint8)
    bits[:, : len(later)] = adjacency[:, later, earlier].cpu().numpy() > 0
    rows = np.empty((count, length), dtype=np.uint8)
    rows[:, 0] = n_vertices + _ZERO
    packed = np.packbits(bits.reshape(count, length - 2, _BITS), axis=-1)
    rows[:, 1:-1] = (packed[..., 0] >> (8 - _BITS)) + _ZERO
    rows[:, -1] = ord("\n")
    return rows.tobytes()
