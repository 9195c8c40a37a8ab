"""The attention of layer 0, folded: a graph goes in, and products of weights are made once."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from models.kernels import affine, softmax

if TYPE_CHECKING:
    from models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class FirstAttention:
    """What the heads of layer 0 make of a graph X.

    A query is X W_E W_Q + W_pos W_Q + b_Q, and a key and a value are like it. So with products of
    weights a head multiplies rows of X, which are shorter. They are made in double precision.
    """

    scores_from_graph: Float[Tensor, "sender head_2_key"]
    scores_from_position: Float[Tensor, "vertex head_2_key"]
    result_weights: Float[Tensor, "head two_n_vertices d_model"]
    """In double precision: a head's result, without b_O, is its `mixtures` times these."""
    into_resid_mid: Float[Tensor, "feature d_model"]
    constant: Float[Tensor, "vertex d_model"]

    @classmethod
    @torch.no_grad()
    def of(cls, model: Transformer) -> FirstAttention:
        """Of the layer 0 of a model."""
        first, W_E, W_pos = model.attention(0), model.W_E.double(), model.W_pos.double()
        (q, q0), (k, k0), (v, v0) = (
            (W_E @ weight.double(), W_pos @ weight.double() + bias[:, None].double())
            for weight, bias in (
                (first.W_Q, first.b_Q),
                (first.W_K, first.b_K),
                (first.W_V, first.b_V),
            )
        )
        keys = torch.cat([k, k0], dim=1).mT / math.sqrt(model.cfg.d_head)
        results = torch.cat([v, v0], dim=1) @ first.W_O.double()
        from_graph, from_position = (
            (part @ keys).transpose(0, 1).flatten(1).to(model.W_E) for part in (q, q0)
        )
        return cls(
            scores_from_graph=from_graph,
            scores_from_position=from_position,
            result_weights=results,
            into_resid_mid=torch.cat([results.flatten(0, 1), W_E]).to(model.W_E),
            constant=model.W_pos + first.b_O,
        )

    def mixtures(
        self, adjacency: Float[Tensor, "batch vertex sender"]
    ) -> Float[Tensor, "batch vertex head two_n_vertices"]:
        """Rows of the graph mixed by the pattern of each head, and then the pattern itself."""
        scores = affine(adjacency, self.scores_from_graph) + self.scores_from_position
        n_heads = len(self.result_weights)
        # axes: graph, vertex and head together, key
        per_neighbour, constant = scores.unflatten(-1, (n_heads, 2, -1)).flatten(1, 2).unbind(2)
        pattern = softmax(torch.baddbmm(constant, per_neighbour, adjacency.mT))
        both = torch.cat([torch.bmm(pattern, adjacency), pattern], dim=-1)
        return both.unflatten(1, (-1, n_heads))

    def resid_mid(
        self, adjacency: Float[Tensor, "batch vertex sender"]
    ) -> Float[Tensor, "batch vertex d_model"]:
        """`blocks.0.hook_resid_mid`."""
        features = torch.cat([self.mixtures(adjacency).flatten(2), adjacency], dim=-1)
        return affine(features, self.into_resid_mid) + self.constant
