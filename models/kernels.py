"""Affine maps and softmax without gradients on the CPU: torch's own results, to rounding, in less
than half the time."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

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
    """Softmax over the last axis; torch's own takes five times as long where that is short."""
    if not _plain(scores):
        return scores.softmax(-1)
    shares = (scores - scores.amax(-1, keepdim=True)).exp_()
    return shares.div_(shares.sum(-1, keepdim=True))


def _plain(*tensors: Tensor) -> bool:
    """Whether all are on the CPU and no gradient can be asked for: under `vmap` they do not say."""
    return not torch.is_grad_enabled() and all(tensor.device.type == "cpu" for tensor in tensors)


@cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
