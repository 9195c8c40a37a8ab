"""Interventions with a receipt: a hook that never fires gives plausible numbers, so every one is
counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from models.graphs import Adjacency
from models.transformer import Transformer

Edit = Callable[[Tensor], Tensor]
"""From an activation to what takes its place."""


class HookReceiptError(RuntimeError):
    """A hook fired another number of times than was meant: what was measured is not what was
    intended."""


@torch.no_grad()
def run_edited(
    model: Transformer,
    adjacency: Adjacency,
    edits: Mapping[str, Edit],
    *,
    stop_at_layer: int | None = None,
) -> Float[Tensor, batch * rest]:
    """One forward pass in which each named activation is replaced by its edit, exactly once.

    Returns logits, or the residual stream that enters `stop_at_layer`. `ValueError` for a hook that
    does not exist or an edit that changes a shape; `HookReceiptError` for one that fires never or
    twice.
    """
    calls = dict.fromkeys(edits, 0)

    def counted(name: str, edit: Edit) -> Callable[..., Tensor]:
        def hook(value: Tensor, hook: Any) -> Tensor:
            calls[name] += 1
            edited = edit(value)
            if edited.shape != value.shape:
                raise ValueError(
                    f"the edit of {name} must keep its shape {list(value.shape)}, got"
                    f" {list(edited.shape)}"
                )
            return edited

        return hook

    hooks: list[tuple[str | Callable[..., bool], Callable[..., Any]]] = [
        (name, counted(name, edit)) for name, edit in edits.items()
    ]
    result = model.run_with_hooks(adjacency, fwd_hooks=hooks, stop_at_layer=stop_at_layer)
    for name, count in calls.items():
        if count != 1:
            raise HookReceiptError(
                f"{name} fired {count} times in one forward pass; it was to fire once"
            )
    return result
