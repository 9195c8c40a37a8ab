"""Path patching as the notebook does it: two hooked forward passes a configuration. The oracle, and
the yardstick in benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from circuits.roles import Head
from models.transformer import Transformer


class NaivePatching:
    """The clean and the corrupted run, made once, and a patched pattern for each configuration
    asked for."""

    def __init__(self, model: Transformer, clean: Tensor, corrupted: Tensor, *, head: Head) -> None:
        model.set_use_attn_result(True)
        names = ["hook_embed", "blocks.0.attn.hook_result", "blocks.1.attn.hook_pattern"]
        self.model, self.head, self.inputs = model, head, corrupted.expand(len(clean), -1, -1)
        _, self.kept = model.run_with_cache(clean, names_filter=names)
        _, self.base = model.run_with_cache(corrupted, names_filter=names)
        self.clean = self.kept["blocks.1.attn.hook_pattern"][:, head.index]
        self.corrupted = self.base["blocks.1.attn.hook_pattern"][:, head.index]

    def scores(self, query_set: int, key_set: int) -> Tensor:
        """The notebook's score of each graph in one configuration."""
        q, k = self._side("q", query_set), self._side("k", key_set)
        patched = torch.softmax(q @ k.mT / self.model.cfg.d_head**0.5, dim=-1)
        norm = torch.linalg.matrix_norm
        return norm(patched - self.clean) / norm(self.clean - self.corrupted)

    def _side(self, letter: str, mask: int) -> Tensor:
        """Query or key of the head in a forward pass with the components of the mask patched."""
        heads = [c for c in range(self.model.cfg.n_heads) if mask >> (1 + c) & 1]
        kept: list[Tensor] = []

        def attn_out(value: Tensor, hook: object) -> Tensor:
            result = (
                self.base["blocks.0.attn.hook_result"].expand(len(self.inputs), -1, -1, -1).clone()
            )
            result[:, :, heads] = self.kept["blocks.0.attn.hook_result"][:, :, heads]
            return result.sum(2) + self.model.b_O[0]

        def resid_mid(value: Tensor, hook: object) -> Tensor:
            return value + self.kept["hook_embed"] - self.base["hook_embed"] if mask & 1 else value

        def keep(value: Tensor, hook: object) -> Tensor:
            kept.append(value[:, :, self.head.index])
            return value

        hooks: list[tuple[str | Callable[..., bool], Callable[..., Tensor]]] = [
            ("blocks.0.hook_attn_out", attn_out),
            ("blocks.0.hook_resid_mid", resid_mid),
            (f"blocks.1.attn.hook_{letter}", keep),
        ]
        self.model.run_with_hooks(self.inputs, fwd_hooks=hooks)
        return kept[0]
