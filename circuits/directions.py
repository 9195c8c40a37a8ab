"""The direction v of degree in the reader's query space, and what lies along it (notebook §2.1)."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from circuits.roles import Head, require_layer_0
from models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class Profile:
    """Rows of a matrix against one direction: `coefficient` is (row·v)/(v·v), `cosine` the
    angle's."""

    coefficient: Float[Tensor, " row"]
    cosine: Float[Tensor, " row"]


def profile(rows: Float[Tensor, "row d_head"], direction: Float[Tensor, " d_head"]) -> Profile:
    """Coefficient and cosine of each row along `direction`."""
    return Profile(
        rows @ direction / (direction @ direction),
        F.cosine_similarity(rows, direction[None], dim=-1),
    )


def degree_direction(model: Transformer, head: Head) -> Float[Tensor, " d_head"]:
    """v: mean over rows of W_E W_Q, which each neighbour adds to the query."""
    return neighbour_queries(model, head).mean(0)


def neighbour_queries(model: Transformer, head: Head) -> Float[Tensor, "vertex d_head"]:
    """W_E W_Q: what each vertex adds to the query of a neighbour."""
    require_layer_0(head)
    return model.W_E @ model.attention(0).W_Q[head.index]


def positional_offset(model: Transformer, head: Head) -> Profile:
    """W_pos W_Q along v: how many neighbours short the query of each position starts, b_Q left
    out."""
    return profile(model.W_pos @ model.attention(0).W_Q[head.index], degree_direction(model, head))


def positional_keys(model: Transformer, head: Head) -> Profile:
    """W_pos W_K along v."""
    return profile(model.W_pos @ model.attention(0).W_K[head.index], degree_direction(model, head))


def score_per_neighbour(model: Transformer, head: Head) -> Float[Tensor, " key"]:
    """What one more neighbour adds to the score at each position, by the positional key: row · v /
    √d_head."""
    keys = model.W_pos @ model.attention(0).W_K[head.index]
    return keys @ degree_direction(model, head) / math.sqrt(model.cfg.d_head)


def anchor_gaps(scores: Float[Tensor, " key"]) -> dict[tuple[int, ...], float]:
    """The 1, 2, … highest scoring positions, up to half of them, each set with the gap below it."""
    ordered = scores.sort(descending=True)
    gaps = (ordered.values[:-1] - ordered.values[1:]).tolist()
    sizes = range(1, max(1, len(scores) // 2) + 1)
    return {tuple(sorted(ordered.indices[:size].tolist())): gaps[size - 1] for size in sizes}


def key_norm_ratio(model: Transformer, head: Head) -> float:
    """Mean row norm of W_pos W_K over that of W_E W_K."""
    W_K = model.attention(0).W_K[head.index]
    return ((model.W_pos @ W_K).norm(dim=-1).mean() / (model.W_E @ W_K).norm(dim=-1).mean()).item()


def anchor_key_norm_ratio(model: Transformer, head: Head, anchors: tuple[int, ...]) -> float:
    """Smallest norm of the positional key at an anchor over the largest elsewhere."""
    norms = (model.W_pos @ model.attention(0).W_K[head.index]).norm(dim=-1)
    inside = torch.zeros_like(norms, dtype=torch.bool)
    inside[list(anchors)] = True
    return (norms[inside].min() / norms[~inside].max()).item()
