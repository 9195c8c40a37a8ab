"""What Embed and each head of layer 0 write, and what a matrix reads of it."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from models.first_attention import FirstAttention
from models.kernels import affine
from models.transformer import Transformer


def path_names(n_heads: int) -> list[str]:
    """Names of the components in the order of the masks' bits: `embed`, `0.0`, `0.1`, …"""
    return ["embed", *(f"0.{head}" for head in range(n_heads))]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a matrix reads of each component, with the weights that come before it multiplied in.

    Of a head it takes what the pattern mixes (`FirstAttention.mixtures`), not the result, which is
    wider.
    """

    of_embed: Float[Tensor, "sender width"]
    of_heads: Float[Tensor, "head two_n_vertices width"]

    @classmethod
    def of(
        cls, model: Transformer, first: FirstAttention, weight: Float[Tensor, "d_model width"]
    ) -> Reading:
        """The matrix `weight`, on the layer 0 of a model."""
        exact = weight.double()
        embed, heads = model.W_E.double() @ exact, first.result_weights @ exact
        return cls(embed.to(weight), heads.to(weight))

    def read(
        self,
        embed: Float[Tensor, "graph vertex sender"],
        heads: Float[Tensor, "graph vertex head two_n_vertices"],
        *,
        more: int = 0,
    ) -> Float[Tensor, "component graph vertex width"]:
        """What it reads of Embed, and of each head; and room for `more` components."""
        n_components, width = 1 + heads.shape[2], self.of_embed.shape[1]
        read = embed.new_empty(n_components + more, *embed.shape[:2], width)
        read[0] = affine(embed, self.of_embed)
        by_head = heads.flatten(0, 1).transpose(0, 1)
        torch.bmm(by_head, self.of_heads, out=read[1:n_components].flatten(1, 2))
        return read


@torch.no_grad()
def components(
    model: Transformer, adjacency: Float[Tensor, "graph vertex sender"]
) -> Float[Tensor, "component graph vertex d_model"]:
    """Embed and the result of every head of layer 0, b_O left out."""
    first, adjacency = FirstAttention.of(model), adjacency.to(model.W_E)
    whole = Reading(model.W_E, first.result_weights.to(model.W_E))
    return whole.read(adjacency, first.mixtures(adjacency))
