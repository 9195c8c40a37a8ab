"""What depends on a part: swaps on one path, and parts held at their mean (notebook §1.2 and its open question)."""

from __future__ import annotations

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.interventions import run_edited
from circuits.roles import Head
from models.graphs import Adjacency
from models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class SwapErrors:
    """Distances per graph after two rows of W_pos are swapped on the direct path to the key."""

    error: Float[Tensor, " graph"]
    """‖A_swapped − A with its two columns exchanged‖_F."""
    size: Float[Tensor, " graph"]
    """‖A‖_F."""
    change: Float[Tensor, " graph"]
    """‖A − A with its two columns exchanged‖_F: the error of a swap that does nothing."""


@torch.no_grad()
def position_swap(model: Transformer, adjacency: Adjacency, head: Head, *, first: int, second: int) -> SwapErrors:
    """Swap W_pos rows on the direct path to the key of a layer-1 head alone: heads of layer 0 frozen, queries clean.

    x = resid_mid − W_pos + W_pos′ goes through the layer-0 MLP; if the position makes the column, the two columns of
    the pattern change places.
    """
    if head.layer != 1:
        raise ValueError(f"head must be in layer 1, one MLP away from W_pos; got {head}")
    attention, mlp = model.attention(1), model.mlp(0)
    name = "blocks.0.hook_resid_mid"
    resid, cache = model.run_with_cache(adjacency, names_filter=name, stop_at_layer=1)
    order = torch.arange(model.cfg.n_vertices)
    order[[first, second]] = order[[second, first]]
    mid = cache[name] - model.W_pos + model.W_pos[order]
    q = resid @ attention.W_Q[head.index] + attention.b_Q[head.index]

    def pattern(stream: Tensor) -> Tensor:
        k = stream @ attention.W_K[head.index] + attention.b_K[head.index]
        return (q @ k.mT / math.sqrt(model.cfg.d_head)).softmax(-1)

    clean, swapped = pattern(resid), pattern(mid + mlp(mid))
    exchanged = clean[..., order]
    norm = torch.linalg.matrix_norm
    return SwapErrors(norm(swapped - exchanged), norm(clean), norm(clean - exchanged))


def swap_partners(model: Transformer, adjacency: Adjacency, head: Head, *, target: int) -> dict[int, SwapErrors]:
    """The swap of the target with every other position."""
    others = [j for j in range(model.cfg.n_vertices) if j != target]
    return {j: position_swap(model, adjacency, head, first=target, second=j) for j in others}


@torch.no_grad()
def mean_ablated_logits(
    model: Transformer, adjacency: Adjacency, head: Head, *, reference: Adjacency | None = None, batch_size: int = 1024
) -> Float[Tensor, "graph n_classes"]:
    """Logits with the head's result replaced by its mean over `reference` (the same graphs by default) at each position."""
    name, W_O = f"blocks.{head.layer}.attn.hook_z", model.attention(head.layer).W_O[head.index]
    graphs = adjacency if reference is None else reference
    z = torch.cat([_z(model, batch, name, head) for batch in graphs.split(batch_size)])
    mean = z.mean(0)
    logits = []
    for batch in adjacency.split(batch_size):
        change = (mean - _z(model, batch, name, head)) @ W_O
        edits = {f"blocks.{head.layer}.hook_attn_out": lambda value, change=change: value + change}
        logits.append(run_edited(model, batch, edits))
    return torch.cat(logits).to(adjacency.device)


def _z(model: Transformer, adjacency: Adjacency, name: str, head: Head) -> Float[Tensor, "graph vertex d_head"]:
    _, cache = model.run_with_cache(adjacency, names_filter=name, stop_at_layer=head.layer + 1)
    return cache[name][:, :, head.index]


@torch.no_grad()
def pattern_with_query_input(
    model: Transformer, query_input: Float[Tensor, "graph vertex d_model"], key_input: Float[Tensor, "graph vertex d_model"], *, head: Head
) -> Float[Tensor, "graph query key"]:
    """Pattern of a head whose query reads one residual stream and whose key another."""
    attention = model.attention(head.layer)
    q = query_input @ attention.W_Q[head.index] + attention.b_Q[head.index]
    k = key_input @ attention.W_K[head.index] + attention.b_K[head.index]
    return (q @ k.mT / math.sqrt(model.cfg.d_head)).softmax(-1)


def hold_direction(
    resid: Float[Tensor, "graph vertex d_model"], direction: Float[Tensor, " d_model"]
) -> Float[Tensor, "graph vertex d_model"]:
    """The residual stream with its part along a direction at its mean over batch and vertex."""
    unit = direction / direction.norm()
    along = resid @ unit
    return resid + (along.mean() - along)[..., None] * unit


def hold_all_but(
    resid: Float[Tensor, "graph vertex d_model"], direction: Float[Tensor, " d_model"]
) -> Float[Tensor, "graph vertex d_model"]:
    """The residual stream at its mean over batch and vertex, but for its part along a direction."""
    unit = direction / direction.norm()
    mean = resid.mean((0, 1))
    along = (resid - mean) @ unit
    return mean + along[..., None] * unit
