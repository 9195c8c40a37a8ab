"""What each component and neuron adds to the answer (notebook, unused: logit attribution, neurons).

The residual stream is averaged over vertices and unembedded without LayerNorm, so the difference
between two logits is a plain sum over components, biases and b_U.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.residual import activation
from models.graphs import Adjacency
from models.transformer import Transformer

_BATCH = 128


def logit_diff_directions(
    model: Transformer, labels: Int[Tensor, " graph"]
) -> Float[Tensor, "graph d_model"]:
    """W_U of each label less the mean W_U of the other classes: along it the pooled stream favours
    the label."""
    n_classes = model.cfg.n_classes
    outside = (labels < 0) | (labels >= n_classes)
    if outside.any():
        raise ValueError(f"labels must be from 0 to {n_classes - 1}, got {int(labels[outside][0])}")
    columns = model.W_U.T
    others = (columns.sum(0) - columns) / (n_classes - 1)
    return (columns - others)[labels]


@dataclasses.dataclass(frozen=True)
class Attribution:
    """Parts of the logit difference of each graph, by component; b_U is left out, as it is not in
    the residual stream."""

    components: dict[str, Float[Tensor, " graph"]]
    """`embed`, `pos_embed`, and of each layer its heads (`0.0`, …) and the neurons of its MLP
    together (`mlp_0`)."""
    biases: Float[Tensor, " graph"]
    """What b_O and b_out of all layers add."""

    @property
    def of_last_mlp(self) -> Float[Tensor, " graph"]:
        """The part of the last layer's MLP."""
        return [part for name, part in self.components.items() if name.startswith("mlp_")][-1]

    def means(self) -> dict[str, float]:
        """Mean over graphs of each component."""
        return {name: part.double().mean().item() for name, part in self.components.items()}


def by_layer(means: Mapping[str, float]) -> dict[str, float]:
    """Means of components with the heads of a layer together: `embed`, `pos_embed`, `attn_0`,
    `mlp_0`, …"""
    totals: dict[str, float] = {}
    for name, value in means.items():
        layer, dot, _ = name.partition(".")
        key = f"attn_{layer}" if dot else name
        totals[key] = totals.get(key, 0.0) + value
    return totals


@torch.no_grad()
def logit_attribution(
    model: Transformer, adjacency: Adjacency, directions: Float[Tensor, "graph d_model"]
) -> Attribution:
    """The pooled output of every component along the direction of each graph."""
    layers = range(model.cfg.n_layers)
    embed = adjacency.mean(1).to(model.W_E) @ model.W_E
    components = {
        "embed": (embed * directions).sum(-1),
        "pos_embed": directions @ model.W_pos.mean(0),
    }
    names = [f"blocks.{layer}.attn.hook_z" for layer in layers]
    if not model.cfg.attn_only:
        names += [f"blocks.{layer}.mlp.hook_post" for layer in layers]
    pooled = pooled_activations(model, adjacency, names)
    for layer in layers:
        W_O = model.attention(layer).W_O
        z = pooled[f"blocks.{layer}.attn.hook_z"]
        heads = (z * torch.einsum("hdm,gm->ghd", W_O, directions)).sum(-1)
        components |= {f"{layer}.{index}": part for index, part in enumerate(heads.unbind(1))}
        if not model.cfg.attn_only:
            post = pooled[f"blocks.{layer}.mlp.hook_post"]
            components[f"mlp_{layer}"] = _along(model, post, directions, layer=layer).sum(1)
    bias = torch.stack([model.b_O[layer] + model.mlp(layer).b_out for layer in layers]).sum(0)
    return Attribution(components, directions @ bias)


@torch.no_grad()
def neuron_attribution(
    model: Transformer,
    adjacency: Adjacency,
    directions: Float[Tensor, "graph d_model"],
    *,
    layer: int,
) -> Float[Tensor, "graph d_mlp"]:
    """Every neuron's pooled output along the direction of each graph; b_out is no neuron's."""
    name = f"blocks.{layer}.mlp.hook_post"
    post = pooled_activations(model, adjacency, [name])[name]
    return _along(model, post, directions, layer=layer)


def _along(
    model: Transformer,
    post: Float[Tensor, "graph d_mlp"],
    directions: Float[Tensor, "graph d_model"],
    *,
    layer: int,
) -> Float[Tensor, "graph d_mlp"]:
    return post * (directions @ model.mlp(layer).W_out.mT)


@torch.no_grad()
def pooled_activations(
    model: Transformer, adjacency: Adjacency, names: Sequence[str]
) -> dict[str, Tensor]:
    """Activations [graph, …] by hook name, averaged over vertices as the model averages its
    output."""
    last = max(int(name.split(".")[1]) for name in names)
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for batch in adjacency.split(_BATCH):
        _, cache = model.run_with_cache(batch, names_filter=list(names), stop_at_layer=last + 1)
        for name in names:
            parts[name].append(cache[name].mean(1))
    return {name: torch.cat(part) for name, part in parts.items()}


def mean_neuron_activations(
    model: Transformer, adjacency: Adjacency, *, layer: int
) -> Float[Tensor, "vertex d_mlp"]:
    """Mean over graphs of each neuron after GELU, at each position."""
    return activation(model, adjacency, f"blocks.{layer}.mlp.hook_post").mean(0)
