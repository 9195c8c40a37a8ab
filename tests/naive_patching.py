"""Path patching as the notebook does it: two hooked forward passes a configuration. The oracle, and the yardstick in benchmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from circuits.roles import Head
from models.transformer import Transformer


def patched_pattern(
    model: Transformer, clean: Tensor, corrupted: Tensor, *, head: Head, query_set: int, key_set: int
) -> Tensor:  # fmt: skip
    """Pattern of the head with the query from one patched run and the key from another; `hook_result` must be on."""
    names = ["hook_embed", "blocks.0.attn.hook_result", "blocks.0.hook_resid_pre"]
    _, kept = model.run_with_cache(clean, names_filter=names)
    _, base = model.run_with_cache(corrupted, names_filter=names)
    side = {}
    for letter, mask in (("q", query_set), ("k", key_set)):

        def attn_out(value: Tensor, hook: object, mask: int = mask) -> Tensor:
            heads = [c for c in range(model.cfg.n_heads) if mask >> (1 + c) & 1]
            result = base["blocks.0.attn.hook_result"].expand(len(clean), -1, -1, -1).clone()
            result[:, :, heads] = kept["blocks.0.attn.hook_result"][:, :, heads]
            return result.sum(2) + model.b_O[0]

        def resid_mid(value: Tensor, hook: object, mask: int = mask) -> Tensor:
            change = kept["hook_embed"] - base["hook_embed"]
            return value + change if mask & 1 else value

        hooks = [("blocks.0.hook_attn_out", attn_out), ("blocks.0.hook_resid_mid", resid_mid)]
        caching = {}

        def keep(value: Tensor, hook: object, letter: str = letter) -> Tensor:
            caching[letter] = value[:, :, head.index]  # noqa: B023 - used at once
            return value

        inputs = corrupted.expand(len(clean), -1, -1)
        model.run_with_hooks(inputs, fwd_hooks=[*hooks, (f"blocks.1.attn.hook_{letter}", keep)])
        side[letter] = caching[letter]
    return torch.softmax(side["q"] @ side["k"].mT / model.cfg.d_head**0.5, dim=-1)


def naive_scores(
    model: Transformer, clean: Tensor, corrupted: Tensor, *, head: Head, query_set: int, key_set: int
) -> Tensor:  # fmt: skip
    """The notebook's score of each graph in one configuration."""
    _, kept = model.run_with_cache(clean)
    _, base = model.run_with_cache(corrupted)
    a_clean, a_corrupted = kept["pattern", 1][:, head.index], base["pattern", 1][:, head.index]
    patched = patched_pattern(model, clean, corrupted, head=head, query_set=query_set, key_set=key_set)
    norm = torch.linalg.matrix_norm
    return norm(patched - a_clean) / norm(a_clean - a_corrupted)
