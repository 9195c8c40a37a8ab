"""Affine maps and attention without gradients on the CPU: torch's own results, to rounding, in less
than half the time."""

from __future__ import annotations

import math
from functools import cache

import einops
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_MODERATE = 60  # e^60 and its inverse, a thousand times over, are floats of 32 bits
_FEWEST_ROWS = 64  # below, a call of oneDNN costs more than it saves


def affine(
    x: Float[Tensor, "*batch rows"],
    weight: Float[Tensor, "rows columns"],
    bias: Float[Tensor, " columns"] | None = None,
) -> Float[Tensor, "*batch columns"]:
    """x @ weight + bias.

    By oneDNN where it can be: MKL, which torch takes for float32, leaves half of the vector unit of
    a processor that is not Intel's idle.
    """
    if (
        _plain(x, weight)
        and x.dtype == weight.dtype == torch.float32
        and x.shape[:-1].numel() >= _FEWEST_ROWS
        and weight.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and _has_onednn()
    ):
        if not (weight.is_contiguous() or weight.mT.is_contiguous()):
            weight = weight.contiguous()  # a part of a matrix takes oneDNN a thousand times as long
        return torch.ops.mkldnn._linear_pointwise(x, weight.mT, bias, "none", [], "")
    return F.linear(x, weight.mT, bias)


def softmax(scores: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch key"]:
    """Softmax over the last axis; torch's own takes ten times as long where that is short."""
    if not _plain(scores) or not scores.numel():
        return scores.softmax(-1)
    lowest, highest = scores.aminmax()
    if lowest > -_MODERATE and highest < _MODERATE:  # no row needs its maximum taken away
        shares = scores.exp()
    else:
        shares = (scores - scores.amax(-1, keepdim=True)).exp_()
    return shares.div_(shares.sum(-1, keepdim=True))


def head_scores(
    q: Float[Tensor, "batch query head d_head"], k: Float[Tensor, "batch key head d_head"]
) -> Float[Tensor, "batch head query key"]:
    """q · k / √d_head."""
    scale = math.sqrt(q.shape[-1])
    if not _plain(q, k):
        axes = "batch query head d_head, batch key head d_head -> batch head query key"
        return einops.einsum(q, k, axes) / scale
    nothing = q.new_zeros(())
    scores = torch.baddbmm(nothing, _by_head(q), _by_head(k).mT, beta=0, alpha=1 / scale)
    return scores.unflatten(0, (len(q), -1))


def head_mixtures(
    pattern: Float[Tensor, "batch head query key"], v: Float[Tensor, "batch key head d_head"]
) -> Float[Tensor, "batch query head d_head"]:
    """z: the values of each head, mixed by its pattern."""
    if not _plain(pattern, v):
        axes = "batch head query key, batch key head d_head -> batch query head d_head"
        return einops.einsum(pattern, v, axes)
    mixed = torch.bmm(pattern.flatten(0, 1), _by_head(v))
    return mixed.unflatten(0, (len(v), -1)).transpose(1, 2)


def _by_head(
    x: Float[Tensor, "batch vertex head d_head"],
) -> Float[Tensor, "batch_head vertex d_head"]:
    return x.transpose(1, 2).flatten(0, 1)


def _plain(*tensors: Tensor) -> bool:
    """Whether all are on the CPU and no gradient can be asked for: under `vmap` they do not say."""
    return not torch.is_grad_enabled() and all(tensor.device.type == "cpu" for tensor in tensors)


@cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
