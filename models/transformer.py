"""The transformer of the notebook, §0: the whole forward pass, top to bottom, every hook point
visible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, cast

import einops
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import ActivationCache
from transformer_lens.hook_points import HookPoint
from transformer_lens.HookedRootModule import HookedRootModule

from models.config import ModelConfig
from models.first_attention import FirstAttention
from models.graphs import as_adjacency
from models.kernels import affine, head_mixtures, head_scores, softmax


class Embed(nn.Module):
    """Sum of the rows of W_E that belong to a vertex's neighbours."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.W_E = nn.Parameter(torch.empty(cfg.n_vertices, cfg.d_model))

    def forward(
        self, adjacency: Float[Tensor, "batch vertex sender"]
    ) -> Float[Tensor, "batch vertex d_model"]:
        return adjacency @ self.W_E


class PosEmbed(nn.Module):
    """One vector per vertex position, the same for every graph."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.W_pos = nn.Parameter(torch.empty(cfg.n_vertices, cfg.d_model))

    def forward(self, batch: int) -> Float[Tensor, "batch vertex d_model"]:
        return self.W_pos.expand(batch, -1, -1)


class Attention(nn.Module):
    """Bidirectional attention: every vertex sees every vertex."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.W_Q = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_model, cfg.d_head))
        self.W_K = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_model, cfg.d_head))
        self.W_V = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_model, cfg.d_head))
        self.b_Q = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_head))
        self.b_K = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_head))
        self.b_V = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_head))
        self.W_O = nn.Parameter(torch.empty(cfg.n_heads, cfg.d_head, cfg.d_model))
        self.b_O = nn.Parameter(torch.empty(cfg.d_model))
        self.hook_q = HookPoint()
        self.hook_k = HookPoint()
        self.hook_v = HookPoint()
        self.hook_attn_scores = HookPoint()
        self.hook_pattern = HookPoint()
        self.hook_z = HookPoint()
        self.hook_result: HookPoint | None = None  # see Transformer.set_use_attn_result

    def forward(
        self, x: Float[Tensor, "batch vertex d_model"]
    ) -> Float[Tensor, "batch vertex d_model"]:
        z = self.mixed_values(x)
        if self.hook_result is None:
            return affine(z.flatten(-2), self.W_O.flatten(0, 1), self.b_O)
        result = einops.einsum(
            z,
            self.W_O,
            "batch vertex head d_head, head d_head d_model -> batch vertex head d_model",
        )
        return self.hook_result(result).sum(dim=2) + self.b_O

    def mixed_values(
        self, x: Float[Tensor, "batch vertex d_model"]
    ) -> Float[Tensor, "batch vertex head d_head"]:
        """z: the values of each head, mixed by its pattern."""
        q = self.hook_q(self._project(x, self.W_Q, self.b_Q))
        k = self.hook_k(self._project(x, self.W_K, self.b_K))
        v = self.hook_v(self._project(x, self.W_V, self.b_V))
        return self.mix(q, k, v)

    def mix(
        self,
        q: Float[Tensor, "batch vertex head d_head"],
        k: Float[Tensor, "batch vertex head d_head"],
        v: Float[Tensor, "batch vertex head d_head"],
    ) -> Float[Tensor, "batch vertex head d_head"]:
        """z from query, key and value."""
        pattern = self.hook_pattern(softmax(self.hook_attn_scores(head_scores(q, k))))
        return self.hook_z(head_mixtures(pattern, v))

    @staticmethod
    def _project(
        x: Float[Tensor, "batch vertex d_model"],
        weight: Float[Tensor, "head d_model d_head"],
        bias: Float[Tensor, "head d_head"],
    ) -> Float[Tensor, "batch vertex head d_head"]:
        flat = einops.rearrange(weight, "head d_model d_head -> (head d_head) d_model")
        return affine(x, flat.mT, bias.flatten()).unflatten(-1, bias.shape)


class MLP(nn.Module):
    """Exact GELU between two affine maps."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.W_in = nn.Parameter(torch.empty(cfg.d_model, cfg.d_mlp))
        self.b_in = nn.Parameter(torch.empty(cfg.d_mlp))
        self.W_out = nn.Parameter(torch.empty(cfg.d_mlp, cfg.d_model))
        self.b_out = nn.Parameter(torch.empty(cfg.d_model))
        self.hook_pre = HookPoint()
        self.hook_post = HookPoint()

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        pre = self.hook_pre(affine(x, self.W_in, self.b_in))
        post = self.hook_post(F.gelu(pre))
        return affine(post, self.W_out, self.b_out)


class Block(nn.Module):
    """Attention, then the MLP if there is one, each added to the residual stream; no LayerNorm."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.attn = Attention(cfg)
        self.hook_resid_pre = HookPoint()
        self.hook_attn_out = HookPoint()
        self.hook_resid_mid = HookPoint()
        self.hook_resid_post = HookPoint()
        if cfg.attn_only:
            self.mlp = None
        else:
            self.mlp = MLP(cfg)
            self.hook_mlp_out = HookPoint()

    def forward(
        self, resid: Float[Tensor, "batch vertex d_model"]
    ) -> Float[Tensor, "batch vertex d_model"]:
        resid_pre = self.hook_resid_pre(resid)
        resid_mid = self.hook_resid_mid(resid_pre + self.hook_attn_out(self.attn(resid_pre)))
        if self.mlp is None:
            return self.hook_resid_post(resid_mid)
        return self.hook_resid_post(resid_mid + self.hook_mlp_out(self.mlp(resid_mid)))


class Unembed(nn.Module):
    """Affine map from the pooled residual stream to one logit per class."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.W_U = nn.Parameter(torch.empty(cfg.d_model, cfg.n_classes))
        self.b_U = nn.Parameter(torch.empty(cfg.n_classes))

    def forward(self, pooled: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch n_classes"]:
        return affine(pooled, self.W_U, self.b_U)


class Transformer(HookedRootModule):
    """Adjacency matrix to class logits; with two classes, 1 is planar.

    Hook points and parameters carry TransformerLens's names, so `ActivationCache` and
    `get_act_name` work on it. Weights are uninitialised until `initialise` or
    `models.checkpoint.load_checkpoint` fills them.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.embed = Embed(cfg)
        self.pos_embed = PosEmbed(cfg)
        self.hook_embed = HookPoint()
        self.hook_pos_embed = HookPoint()
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layers))
        self.unembed = Unembed(cfg)
        self.setup()

    def forward(
        self, graphs: object, *, stop_at_layer: int | None = None
    ) -> Float[Tensor, batch * rest]:
        """Logits `[batch, n_classes]` of one graph or a batch, in any form that `as_adjacency`
        takes.

        A single graph is a batch of one. `stop_at_layer` gives the residual stream `[batch, vertex,
        d_model]` that enters that layer instead, and computes nothing beyond it.
        """
        if stop_at_layer is not None and not 0 <= stop_at_layer <= self.cfg.n_layers:
            raise ValueError(
                f"stop_at_layer must be from 0 to {self.cfg.n_layers}, got {stop_at_layer}"
            )
        return self.of_adjacency(self._adjacency(graphs), stop_at_layer=stop_at_layer)

    def of_adjacency(
        self, adjacency: Float[Tensor, "batch vertex sender"], *, stop_at_layer: int | None = None
    ) -> Float[Tensor, batch * rest]:
        """`forward` without looking whether these are graphs, which `torch.func.vmap` cannot."""
        embed = self.hook_embed(self.embed(adjacency))
        pos_embed = self.hook_pos_embed(self.pos_embed(len(adjacency)))
        resid = embed + pos_embed
        for block in self.blocks[:stop_at_layer]:
            resid = block(resid)
        if stop_at_layer is not None:
            return resid
        return self.unembed(resid.mean(dim=1))

    @torch.no_grad()
    def entering(self, layer: int) -> Callable[[object], Float[Tensor, "batch vertex d_model"]]:
        """`forward` with `stop_at_layer` as a function of graphs, for inference on many batches.

        Products of layer 0's weights are made once, so they must stay as they are; no hook of its
        attention is called.
        """
        first, block = FirstAttention.of(self), cast(Block, self.blocks[0])

        @torch.no_grad()
        def stream(graphs: object) -> Float[Tensor, "batch vertex d_model"]:
            adjacency = self._adjacency(graphs)
            if layer == 0:
                return affine(adjacency, self.W_E) + self.W_pos
            resid = first.resid_mid(adjacency)
            resid = resid if block.mlp is None else resid + block.mlp(resid)
            for later in self.blocks[1:layer]:
                resid = later(resid)
            return resid

        return stream

    @torch.no_grad()
    def reading(
        self,
        layer: int,
        weight: Float[Tensor, "d_model columns"],
        bias: Float[Tensor, " columns"],
    ) -> Callable[[object], Float[Tensor, "batch vertex columns"]]:
        """What an affine map of few columns reads of the stream that `entering` gives, as a
        function of graphs.

        After layer 0 the MLP's W_out is multiplied into the map once, so weights must stay as they
        are.
        """
        if layer != 1:
            entering = self.entering(layer)
            return torch.no_grad()(lambda graphs: affine(entering(graphs), weight, bias))
        first, mlp = FirstAttention.of(self), self.mlp(0)
        after = (mlp.W_out.double() @ weight.double()).to(weight)
        constant = (mlp.b_out.double() @ weight.double() + bias.double()).to(bias)

        @torch.no_grad()
        def read(graphs: object) -> Float[Tensor, "batch vertex columns"]:
            resid_mid = first.resid_mid(self._adjacency(graphs))
            post = F.gelu(affine(resid_mid, mlp.W_in, mlp.b_in))
            return affine(resid_mid, weight, constant) + affine(post, after)

        return read

    def _adjacency(self, graphs: object) -> Float[Tensor, "batch vertex sender"]:
        return as_adjacency(graphs, n_vertices=self.cfg.n_vertices).to(self.W_pos)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> Transformer:
        """The author's initialisation: W ~ N(0, (0.8/√d_model)²), W_E ~ U(±1/√n_vertices), W_pos ~
        N(0, 1), b = 0."""
        for name, parameter in self.named_parameters():
            leaf = name.rpartition(".")[2]
            if leaf == "W_E":
                bound = 1 / math.sqrt(self.cfg.n_vertices)
                parameter.uniform_(-bound, bound, generator=generator)
            elif leaf == "W_pos":
                parameter.normal_(generator=generator)
            elif leaf.startswith("W_"):
                parameter.normal_(std=0.8 / math.sqrt(self.cfg.d_model), generator=generator)
            else:
                parameter.zero_()
        return self

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Switch `blocks.{layer}.attn.hook_result`, the output of each head by itself, on or off
        (it costs memory)."""
        for layer in range(self.cfg.n_layers):
            self.attention(layer).hook_result = HookPoint() if use_attn_result else None
        self.setup()

    def hooks(  # type: ignore[override]
        self,
        fwd_hooks: list[tuple[str | Callable[..., bool], Callable[..., Any]]] = [],  # noqa: B006 - the parent's signature
        bwd_hooks: list[tuple[str | Callable[..., bool], Callable[..., Any]]] = [],  # noqa: B006
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> AbstractContextManager[Any]:
        """As in TransformerLens, but a hook name that does not exist is a `ValueError` before
        anything runs."""
        self._require_hook_names(name for name, _ in [*fwd_hooks, *bwd_hooks])
        return super().hooks(fwd_hooks, bwd_hooks, reset_hooks_end, clear_contexts)

    def run_with_cache(
        self, *model_args: Any, **kwargs: Any
    ) -> tuple[Float[Tensor, batch * rest], ActivationCache]:
        """As in TransformerLens, with an `ActivationCache`; `names_filter` must name hook points
        that exist and fire."""
        names = kwargs.get("names_filter")
        self._require_hook_names(
            [names] if isinstance(names, str) else names if isinstance(names, (list, tuple)) else ()
        )
        logits, cache = super().run_with_cache(*model_args, **kwargs)
        return logits, ActivationCache(cache, self)

    def _require_hook_names(self, names: Iterable[str | Callable[..., bool]]) -> None:
        for name in names:
            if isinstance(name, str) and name not in self.hook_dict:
                off = (
                    "; call set_use_attn_result(True) first"
                    if name.endswith("attn.hook_result")
                    else ""
                )
                raise ValueError(f"no hook point is named {name!r} in this model{off}")

    def attention(self, layer: int) -> Attention:
        """The attention of one layer, with its weights by head."""
        return cast(Attention, self.blocks[layer].attn)

    def mlp(self, layer: int) -> MLP:
        """The MLP of one layer; one of no neurons and no bias where the model is attention only, so
        that it adds nothing."""
        mlp = self.blocks[layer].mlp
        if mlp is None:
            mlp = MLP(self.cfg).to(self.W_pos).requires_grad_(False)
            mlp.b_out.zero_()
        return cast(MLP, mlp)

    def _stack(self, part: str, name: str) -> Tensor:
        return torch.stack([getattr(getattr(block, part), name) for block in self.blocks])

    @property
    def W_E(self) -> Float[Tensor, "n_vertices d_model"]:
        return self.embed.W_E

    @property
    def W_pos(self) -> Float[Tensor, "n_vertices d_model"]:
        return self.pos_embed.W_pos

    @property
    def W_U(self) -> Float[Tensor, "d_model n_classes"]:
        return self.unembed.W_U

    @property
    def b_U(self) -> Float[Tensor, " n_classes"]:
        return self.unembed.b_U

    @property
    def W_Q(self) -> Float[Tensor, "layer head d_model d_head"]:
        return self._stack("attn", "W_Q")

    @property
    def W_K(self) -> Float[Tensor, "layer head d_model d_head"]:
        return self._stack("attn", "W_K")

    @property
    def W_V(self) -> Float[Tensor, "layer head d_model d_head"]:
        return self._stack("attn", "W_V")

    @property
    def W_O(self) -> Float[Tensor, "layer head d_head d_model"]:
        return self._stack("attn", "W_O")

    @property
    def b_Q(self) -> Float[Tensor, "layer head d_head"]:
        return self._stack("attn", "b_Q")

    @property
    def b_K(self) -> Float[Tensor, "layer head d_head"]:
        return self._stack("attn", "b_K")

    @property
    def b_V(self) -> Float[Tensor, "layer head d_head"]:
        return self._stack("attn", "b_V")

    @property
    def b_O(self) -> Float[Tensor, "layer d_model"]:
        return self._stack("attn", "b_O")
