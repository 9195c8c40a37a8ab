"""Queries, keys and scores of a head, taken apart into one part for each component before it.

At layer 0 (notebook §1.3) the parts add up exactly: q = X W_E W_Q + W_pos W_Q + b_Q. At layer 1
(notebook, unused §1.2) each component goes through the layer-0 MLP by itself, which is an
approximation: its names say so, and it returns what the parts leave out. A part leaves the head's
own bias out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from circuits.components import Reading, path_names
from circuits.roles import Head, require_layer_0, require_layer_1
from models.first_attention import FirstAttention
from models.graphs import Adjacency
from models.kernels import affine
from models.transformer import Transformer

Parts = Mapping[str, Float[Tensor, "#graph vertex d_head"]]
"""Query or key parts by component: `embed`, `pos_embed`, `0.0`, `0.1`, …; batch 1 where no graph
changes it."""

_BATCH = 128


def query_parts(model: Transformer, adjacency: Adjacency, head: Head) -> Parts:
    """X W_E W_Q and W_pos W_Q of a layer-0 head."""
    require_layer_0(head)
    return _exact_parts(model, adjacency, model.attention(0).W_Q[head.index])


def key_parts(model: Transformer, adjacency: Adjacency, head: Head) -> Parts:
    """X W_E W_K and W_pos W_K of a layer-0 head."""
    require_layer_0(head)
    return _exact_parts(model, adjacency, model.attention(0).W_K[head.index])


def _exact_parts(
    model: Transformer, adjacency: Adjacency, weight: Float[Tensor, "d_model d_head"]
) -> Parts:
    return {
        "embed": adjacency.to(weight) @ (model.W_E @ weight),
        "pos_embed": (model.W_pos @ weight)[None],
    }


@dataclasses.dataclass(frozen=True)
class ApproximateParts:
    """f(y_c) W of each component's output y_c by itself, f(y) = y + MLP₀(y) with b_in and b_out."""

    parts: Parts
    remainder: Float[Tensor, "graph vertex d_head"]
    """The query or key, its bias left out, less the sum of the parts: what the MLP makes of
    components together."""


def approximate_query_parts(
    model: Transformer, adjacency: Adjacency, head: Head
) -> ApproximateParts:
    """The query of a layer-1 head by component, each sent through the layer-0 MLP alone."""
    return approximate_parts(model, adjacency, head)[0]


def approximate_key_parts(model: Transformer, adjacency: Adjacency, head: Head) -> ApproximateParts:
    """The key of a layer-1 head by component, each sent through the layer-0 MLP alone."""
    return approximate_parts(model, adjacency, head)[1]


@torch.no_grad()
def approximate_parts(
    model: Transformer, adjacency: Adjacency, head: Head
) -> tuple[ApproximateParts, ApproximateParts]:
    """Both: query and key side by side go through the MLP once."""
    require_layer_1(head)
    mlp, attention = model.mlp(0), model.attention(1)
    weight = torch.cat([attention.W_Q[head.index], attention.W_K[head.index]], dim=1)
    after_mlp, constant = (
        mlp.W_out @ weight,
        mlp.b_out @ weight,
    )  # only d_head of the MLP's output dimensions are read

    def through(y: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_head"]:
        after = affine(F.gelu(affine(y, mlp.W_in, mlp.b_in)), after_mlp)
        return affine(y, weight) + after + constant

    names, first, reading = (
        path_names(model.cfg.n_heads),
        FirstAttention.of(model),
        model.reading(1, weight, torch.zeros_like(constant)),
    )
    into_mlp, direct = (Reading.of(model, first, read) for read in (mlp.W_in, weight))
    pos_embed = through(model.W_pos)[None]
    parts, remainders = [], []
    for batch in adjacency.to(model.W_E).split(_BATCH):
        heads = first.mixtures(batch)
        pre, part = (of.read(batch, heads) for of in (into_mlp, direct))
        part += affine(F.gelu(pre + mlp.b_in), after_mlp) + constant
        parts.append(part)
        remainders.append(reading(batch) - part.sum(0) - pos_embed)
    by_component = dict(zip(names, torch.cat(parts, dim=1), strict=True))
    embed = by_component.pop("embed")
    both = {"embed": embed, "pos_embed": pos_embed, **by_component}
    remainder, width = torch.cat(remainders), model.cfg.d_head
    query, key = (
        ApproximateParts(
            {name: part[..., side] for name, part in both.items()}, remainder[..., side]
        )
        for side in (slice(width), slice(width, None))
    )
    return query, key


def part_norms(parts: Parts) -> dict[str, Float[Tensor, " vertex"]]:
    """Mean norm over graphs of each part at each position: the notebook's figures of components."""
    return {name: part.norm(dim=-1).mean(0) for name, part in parts.items()}


def score_terms(
    query: Parts, key: Parts
) -> dict[tuple[str, str], Float[Tensor, "#graph query key"]]:
    """One term of the scores for each pair of a query part and a key part, with 1/√d_head."""
    return {
        (q, k): query[q] @ key[k].mT / math.sqrt(query[q].shape[-1]) for q in query for k in key
    }


def centred_mean_square(term: Float[Tensor, "graph query key"]) -> Float[Tensor, " graph"]:
    """Mean square of a score term on each graph after each row is centred over keys: what softmax
    can see of it."""
    return (term - term.mean(-1, keepdim=True)).square().mean((1, 2))


def positional_scores(model: Transformer, head: Head) -> Float[Tensor, "query key"]:
    """PosEmbed-query × PosEmbed-key, the term that no graph changes, with 1/√d_head."""
    require_layer_0(head)
    attention = model.attention(0)
    return (
        (model.W_pos @ attention.W_Q[head.index])
        @ (model.W_pos @ attention.W_K[head.index]).mT
        / math.sqrt(model.cfg.d_head)
    )
