"""The forward pass a second time, in plain torch, with a loop over heads: the oracle for the hooked
transformer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from models.config import ModelConfig


def naive_logits(state: Mapping[str, Tensor], cfg: ModelConfig, adjacency: Tensor) -> Tensor:
    """Logits from a state dict, written from the equations of the notebook."""
    x = adjacency @ state["embed.W_E"] + state["pos_embed.W_pos"]
    for layer in range(cfg.n_layers):
        weights = {
            name.removeprefix(f"blocks.{layer}."): tensor
            for name, tensor in state.items()
            if name.startswith(f"blocks.{layer}.")
        }
        attn = torch.zeros_like(x) + weights["attn.b_O"]
        for head in range(cfg.n_heads):
            q, k, v = (
                x @ weights[f"attn.W_{letter}"][head] + weights[f"attn.b_{letter}"][head]
                for letter in "QKV"
            )
            scores = q @ k.transpose(1, 2) / math.sqrt(cfg.d_head)
            weight = scores.exp() / scores.exp().sum(2, keepdim=True)
            attn = attn + weight @ v @ weights["attn.W_O"][head]
        x = x + attn
        pre = x @ weights["mlp.W_in"] + weights["mlp.b_in"]
        post = pre * 0.5 * (1 + torch.erf(pre / math.sqrt(2)))
        x = x + post @ weights["mlp.W_out"] + weights["mlp.b_out"]
    return x.sum(1) / cfg.n_vertices @ state["unembed.W_U"] + state["unembed.b_U"]
