"""Degree on its way from the reader to the pointer: along which directions it lies, and which are
read (notebook §2.2).

"Centred" means less the mean over batch and vertex. The rank-1 share is s₁²/Σs² of the singular
values of the centred matrix [batch·vertex, ·]; its coefficient is the projection on the first right
singular vector.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.attention import head_keys
from circuits.roles import Head
from circuits.statistics import bootstrap, highest, ratio
from models.graphs import Adjacency
from models.transformer import Transformer
from verdicts.statistics import Estimate

_BATCH = 128
_NEGLIGIBLE = 1e-5


@torch.no_grad()
def activation(
    model: Transformer, adjacency: Adjacency, name: str, *, head: Head | None = None
) -> Float[Tensor, "graph vertex width"]:
    """One activation on many graphs by its hook name; of one head only, where it has a head
    axis."""
    layer = int(name.split(".")[1])
    parts = []
    for batch in adjacency.split(_BATCH):
        _, cache = model.run_with_cache(batch, names_filter=name, stop_at_layer=layer + 1)
        parts.append(cache[name] if head is None else cache[name][:, :, head.index])
    return torch.cat(parts).to(adjacency.device)


def head_result(
    model: Transformer, adjacency: Adjacency, head: Head
) -> Float[Tensor, "graph vertex d_model"]:
    """Output of one head, `hook_result[:, :, head]`: z W_O, b_O left out."""
    z = activation(model, adjacency, f"blocks.{head.layer}.attn.hook_z", head=head)
    return z @ model.attention(head.layer).W_O[head.index]


@torch.no_grad()
def through_mlp(
    model: Transformer, stream: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch d_model"]:
    """f(y) = y + MLP₀(y), biases included: what the layer-0 MLP would do if y were all it saw."""
    return stream + model.mlp(0)(stream)


@dataclasses.dataclass(frozen=True)
class Axis:
    """The main direction of some activations, and what lies along it."""

    share: Estimate
    """Rank-1 share; its interval holds the direction fixed, which is exact to first order, for it
    is the best one."""
    coefficient: Float[Tensor, "graph vertex"]


def main_axis(values: Float[Tensor, "graph vertex width"], *, generator: torch.Generator) -> Axis:
    """Rank-1 share and coefficient of activations, centred over batch and vertex."""
    centred = values.double() - values.double().mean((0, 1))
    flat = centred.flatten(0, 1)
    direction = torch.linalg.eigh(flat.T @ flat).eigenvectors[:, -1]
    coefficient = centred @ direction
    per_graph = torch.stack([coefficient.square().sum(1), centred.square().sum((1, 2))], dim=1)
    return Axis(bootstrap(per_graph, ratio, generator=generator), coefficient)


def correlation(
    x: Float[Tensor, "graph vertex"], y: Int[Tensor, "graph vertex"], *, generator: torch.Generator
) -> Estimate | None:
    """|r| of two quantities pooled over graphs and vertices; `None` where one is constant."""
    if not degree_correlations(x[..., None], y).any():
        return None
    return bootstrap(_moments(x[..., None], y)[0], _absolute_r, generator=generator)


def _moments(
    values: Float[Tensor, "graph vertex width"], degree: Int[Tensor, "graph vertex"]
) -> Float[Tensor, "width graph 5"]:
    """Means over the vertices of each graph of all that a correlation is made of, about the means
    over all graphs."""
    centre, degree = values.mean((0, 1), dtype=torch.float64), degree.double()[..., None]
    middle = degree.mean()
    moments = []
    for some, of_degree in zip(values.split(_BATCH), degree.split(_BATCH), strict=True):
        x, y = some.double() - centre, of_degree - middle
        parts = [part.mean(1).expand(-1, values.shape[2]) for part in (x, x * x, x * y, y, y * y)]
        moments.append(torch.stack(parts, dim=-1))
    return torch.cat(moments).transpose(0, 1)


def _absolute_r(means: Float[Tensor, "resample 5"]) -> Float[Tensor, " resample"]:
    x, xx, xy, y, yy = means.unbind(-1)
    return ((xy - x * y) / ((xx - x**2) * (yy - y**2)).sqrt()).abs()


def degree_correlations(
    values: Float[Tensor, "graph vertex width"], degree: Int[Tensor, "graph vertex"]
) -> Float[Tensor, " width"]:
    """r with degree of each dimension or neuron, pooled over graphs and vertices; 0 for a constant
    one, a dead neuron say."""
    flat = values.flatten(0, 1).double()
    flat = flat - flat.mean(0)
    d = degree.flatten().double()
    d = d - d.mean()
    return (d @ flat / (flat.square().sum(0).sqrt() * d.norm())).clamp(-1, 1).nan_to_num(0.0)


def largest_correlation(
    values: Float[Tensor, "graph vertex width"],
    degree: Int[Tensor, "graph vertex"],
    *,
    generator: torch.Generator,
) -> Estimate | None:
    """Largest |r| with degree of any dimension or neuron; `None` where all are constant."""
    alive = degree_correlations(values, degree) != 0
    return (
        highest(_moments(values[..., alive], degree), _absolute_r, generator=generator)
        if alive.any()
        else None
    )


def r_squared(
    values: Float[Tensor, "graph vertex width"],
    degree: Int[Tensor, "graph vertex"],
    *,
    generator: torch.Generator,
) -> Estimate:
    """Share of the variance of degree that a linear function of the values explains: the same in
    every basis, wherever the origin.

    The interval holds the function fixed, which is exact to first order, for it is the best one.
    """
    x, y = values.flatten(0, 1).double(), degree.flatten().double()
    x, y = x - x.mean(0), y - y.mean()
    left, singular, _ = torch.linalg.svd(x, full_matrices=False)
    left = left[:, singular > singular[0] * _NEGLIGIBLE]  # singular directions hold rounding alone
    residual = (y - left @ (left.T @ y)).square().unflatten(0, degree.shape)
    per_graph = torch.stack([residual.sum(1), y.square().unflatten(0, degree.shape).sum(1)], dim=1)

    def explained(means: Float[Tensor, "resample 2"]) -> Float[Tensor, " resample"]:
        return 1 - means[:, 0] / means[:, 1]

    return bootstrap(per_graph, explained, generator=generator)


def random_basis_best(
    resid: Float[Tensor, "graph vertex d_model"],
    degree: Int[Tensor, "graph vertex"],
    *,
    rotations: int,
    generator: torch.Generator,
) -> Float[Tensor, " rotation"]:
    """Largest |r| with degree of any dimension, in each of so many random rotations of the residual
    stream."""
    flat = resid.flatten(0, 1).double()
    flat = flat - flat.mean(0)
    d = degree.flatten().double()
    d = d - d.mean()
    covariance, with_degree = flat.T @ flat, flat.T @ d
    best = []
    for _ in range(rotations):
        basis = torch.linalg.qr(
            torch.randn(flat.shape[1], flat.shape[1], generator=generator, dtype=torch.float64)
        ).Q
        variance = ((covariance @ basis) * basis).sum(0)
        best.append((basis.T @ with_degree).abs().div((variance * (d @ d)).sqrt()).max())
    return torch.stack(best)


def signature_cosines(
    before: Float[Tensor, "graph vertex d_model"], after: Float[Tensor, "graph vertex d_model"]
) -> Float[Tensor, " d_model"]:
    """The notebook's degree signature: per dimension the uncentred cosine over vertices of both,
    absolute value of the batch mean."""
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=1)
    return cosine.mean(0).abs()


@torch.no_grad()
def score_direction(
    model: Transformer, adjacency: Adjacency, head: Head, *, target: int
) -> Float[Tensor, " d_model"]:
    """u = W_Q (k̄_t − k̄), normalised: the residual direction that raises the head's score at the
    target above the others."""
    keys = head_keys(model, adjacency, head)
    direction = model.attention(head.layer).W_Q[head.index] @ (
        keys[:, target].mean(0) - keys.mean((0, 1))
    )
    return direction / direction.norm()


def row_norm_ratio(model: Transformer, head: Head, *, dimension: int) -> float:
    """Norm of one row of W_Q over that of the largest other row."""
    norms = model.attention(head.layer).W_Q[head.index].norm(dim=-1)
    others = norms.clone()
    others[dimension] = 0
    return (norms[dimension] / others.max()).item()
