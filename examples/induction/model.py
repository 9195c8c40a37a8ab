"""A two-layer transformer of attention only, on TransformerLens's hooks, and the sequences that it
learns."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint
from transformer_lens.HookedRootModule import HookedRootModule


@dataclasses.dataclass(frozen=True)
class Sizes:
    """All that the shape of the model follows from."""

    vocabulary: int = 48
    length: int = 32
    n_layers: int = 2
    n_heads: int = 2
    d_model: int = 64
    d_head: int = 32


class Attention(nn.Module):
    """Causal attention; `hook_pattern` is [batch, head, query, key], `hook_z` [batch, query, head,
    d_head]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        shape = (sizes.n_heads, sizes.d_model, sizes.d_head)
        std = 1 / math.sqrt(sizes.d_model)
        self.W_Q, self.W_K, self.W_V = (nn.Parameter(std * torch.randn(shape)) for _ in range(3))
        self.W_O = nn.Parameter(std * torch.randn(sizes.n_heads, sizes.d_head, sizes.d_model))
        self.distance = nn.Parameter(torch.zeros(sizes.n_heads, sizes.length))
        """What is added to a score for how far back its key lies: the only way in which the model
        knows of order."""
        self.hook_pattern, self.hook_z = HookPoint(), HookPoint()
        place = torch.arange(sizes.length)
        self.register_buffer("back", (place[:, None] - place).clamp(0), persistent=False)
        self.register_buffer(
            "future", torch.ones(sizes.length, sizes.length).triu(1).bool(), persistent=False
        )

    def forward(self, resid: Tensor) -> Tensor:
        q, k, v = (torch.einsum("bsm,hmd->bhsd", resid, W) for W in (self.W_Q, self.W_K, self.W_V))
        length = resid.shape[1]
        scores = q @ k.mT / math.sqrt(q.shape[-1]) + self.distance[:, self.back[:length, :length]]
        scores = scores.masked_fill(self.future[:length, :length], -math.inf)
        pattern = self.hook_pattern(scores.softmax(-1))
        z = self.hook_z((pattern @ v).transpose(1, 2))
        return torch.einsum("bshd,hdm->bsm", z, self.W_O)


class Block(nn.Module):
    """Attention, added to the residual stream. There is no LayerNorm."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attn = Attention(sizes)
        self.hook_resid_pre = HookPoint()

    def forward(self, resid: Tensor) -> Tensor:
        resid = self.hook_resid_pre(resid)
        return resid + self.attn(resid)


class AttentionOnly(HookedRootModule):
    """Tokens [batch, position] to the logits [batch, position, token] of what comes next."""

    def __init__(self, sizes: Sizes = Sizes()) -> None:
        super().__init__()
        self.sizes = sizes
        self.W_E = nn.Parameter(0.5 * torch.randn(sizes.vocabulary, sizes.d_model))
        self.W_U = nn.Parameter(
            torch.randn(sizes.d_model, sizes.vocabulary) / math.sqrt(sizes.d_model)
        )
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.n_layers))
        self.setup()

    def forward(self, tokens: Tensor) -> Tensor:
        resid = self.W_E[tokens]
        for block in self.blocks:
            resid = block(resid)
        return resid @ self.W_U


@dataclasses.dataclass(frozen=True)
class Sequences:
    """Random tokens, repeated until the end. `period` is how many there are before they come
    again."""

    tokens: Tensor
    period: Tensor

    @property
    def repeats(self) -> Tensor:
        """[batch, position]: whether the token there has come one period before."""
        return torch.arange(self.tokens.shape[1]) >= self.period[:, None]

    @property
    def foreseen(self) -> Tensor:
        """[batch, position]: whether the token there can be known from what came before it: its
        predecessor has come, too."""
        return torch.arange(self.tokens.shape[1]) > self.period[:, None]


def sequences(count: int, generator: torch.Generator, sizes: Sizes = Sizes()) -> Sequences:
    """Each with a period of its own, from a half to three quarters of its length: no fixed distance
    leads one period back."""
    period = torch.randint(
        sizes.length // 2, sizes.length * 3 // 4 + 1, (count,), generator=generator
    )
    order = torch.randint(sizes.vocabulary, (count, sizes.length), generator=generator)
    place = torch.arange(sizes.length) % period[:, None]
    return Sequences(order.gather(1, place), period)


def losses(model: AttentionOnly, tokens: Tensor) -> Tensor:
    """[batch, position - 1]: the loss of each token but the first."""
    logits = model(tokens)[:, :-1]
    return F.cross_entropy(
        logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    ).unflatten(0, logits.shape[:2])


def save(model: AttentionOnly, path: Path) -> None:
    """The weights, as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)


def load(path: Path) -> tuple[AttentionOnly, str]:
    """The model of the shipped sizes with the weights at `path`, and the hash of the file."""
    model = AttentionOnly()
    model.load_state_dict(load_file(path))
    return model.requires_grad_(False), f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
