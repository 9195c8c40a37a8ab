"""Queries, keys and scores of a layer-0 head, taken apart into Embed and PosEmbed parts (notebook §1.3).

At layer 0 the parts add up exactly: q = X W_E W_Q + W_pos W_Q + b_Q. A part leaves the head's bias out.
"""

from __future__ import annotations

import dataclasses
import math

from jaxtyping import Float
from torch import Tensor

from circuits.roles import Head, require_layer_0
from models.graphs import Adjacency
from models.transformer import Transformer

TERMS = ("embed_embed", "embed_pos", "pos_embed", "pos_pos")


@dataclasses.dataclass(frozen=True)
class Parts:
    """Query or key of a layer-0 head: what the neighbours add, what the position adds."""

    embed: Float[Tensor, "batch vertex d_head"]
    pos_embed: Float[Tensor, "vertex d_head"]


def query_parts(model: Transformer, adjacency: Adjacency, head: Head) -> Parts:
    """X W_E W_Q and W_pos W_Q, biases left out."""
    require_layer_0(head)
    W_Q = model.attention(0).W_Q[head.index]
    return Parts(adjacency.to(W_Q) @ (model.W_E @ W_Q), model.W_pos @ W_Q)


def key_parts(model: Transformer, adjacency: Adjacency, head: Head) -> Parts:
    """X W_E W_K and W_pos W_K, biases left out."""
    require_layer_0(head)
    W_K = model.attention(0).W_K[head.index]
    return Parts(adjacency.to(W_K) @ (model.W_E @ W_K), model.W_pos @ W_K)


def score_terms(query: Parts, key: Parts) -> dict[str, Float[Tensor, "#batch query key"]]:
    """The four terms of the scores, query part first, with 1/√d_head."""
    scale = math.sqrt(query.pos_embed.shape[-1])
    queries = {"embed": query.embed, "pos": query.pos_embed[None]}
    keys = {"embed": key.embed, "pos": key.pos_embed[None]}
    return {f"{q}_{k}": queries[q] @ keys[k].mT / scale for q in queries for k in keys}


def centred_mean_square(term: Float[Tensor, "batch query key"]) -> Float[Tensor, " batch"]:
    """Mean square of a score term on each graph after each row is centred over keys: what softmax can see of it."""
    return (term - term.mean(-1, keepdim=True)).square().mean((1, 2))


def positional_scores(model: Transformer, head: Head) -> Float[Tensor, "query key"]:
    """PosEmbed-query × PosEmbed-key, the term that no graph changes, with 1/√d_head."""
    require_layer_0(head)
    attention = model.attention(0)
    return (model.W_pos @ attention.W_Q[head.index]) @ (model.W_pos @ attention.W_K[head.index]).mT / math.sqrt(model.cfg.d_head)
