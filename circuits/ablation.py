"""What depends on a part: swaps on one path, and parts put out of use (notebook §1.2 and its open
question)."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from circuits.attention import head_activations
from circuits.roles import Head, require_layer_1
from models.graphs import Adjacency
from models.kernels import affine, softmax
from models.transformer import Transformer

ABLATIONS = ("zero", "mean", "resample")
_BATCH = 128


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
def position_swap(
    model: Transformer, adjacency: Adjacency, head: Head, *, first: int, second: int
) -> SwapErrors:
    """Swap W_pos rows on the direct path to the key of a layer-1 head alone: heads of layer 0
    frozen, queries clean.

    x = resid_mid − W_pos + W_pos′ goes through the layer-0 MLP; if the position makes the column,
    the two columns of the pattern change places.
    """
    require_layer_1(head)
    attention, mlp = model.attention(1), model.mlp(0)
    name = "blocks.0.hook_resid_mid"
    resid, cache = model.run_with_cache(adjacency, names_filter=name, stop_at_layer=1)
    order = torch.arange(model.cfg.n_vertices)
    order[[first, second]] = order[[second, first]]
    mid = cache[name] - model.W_pos + model.W_pos[order]
    q = affine(resid, attention.W_Q[head.index], attention.b_Q[head.index])

    def pattern(stream: Tensor) -> Tensor:
        k = affine(stream, attention.W_K[head.index], attention.b_K[head.index])
        return softmax(q @ k.mT / math.sqrt(model.cfg.d_head))

    clean, swapped = pattern(resid), pattern(mid + mlp(mid))
    exchanged = clean[..., order]
    norm = torch.linalg.matrix_norm
    return SwapErrors(norm(swapped - exchanged), norm(clean), norm(clean - exchanged))


def swap_partners(
    model: Transformer, adjacency: Adjacency, head: Head, *, target: int
) -> dict[int, SwapErrors]:
    """The swap of the target with every other position."""
    others = [j for j in range(model.cfg.n_vertices) if j != target]
    return {j: position_swap(model, adjacency, head, first=target, second=j) for j in others}


def stand_in(
    values: Float[Tensor, case * rest], ablation: str, *, generator: torch.Generator | None = None
) -> Float[Tensor, case * rest]:
    """What takes the place of activations: `zero`, their `mean` over cases, or those of another
    case (`resample`).

    Resampling needs a generator; it uses every case once, and none in its own place.
    """
    if ablation == "zero":
        return torch.zeros_like(values)
    if ablation == "mean":
        return values.mean(0, keepdim=True).expand_as(values)
    if ablation != "resample":
        raise ValueError(f"ablation must be one of {', '.join(ABLATIONS)}, got {ablation!r}")
    if generator is None or len(values) < 2:
        raise ValueError(
            f"ablation 'resample' needs a generator and at least 2 cases, got {generator} and"
            f" {len(values)}"
        )
    order = torch.randperm(len(values), generator=generator)
    other = (
        torch.empty_like(order).scatter_(0, order, order.roll(1)).to(values.device)
    )  # one cycle through all cases
    return values[other]


def logits_of(
    model: Transformer, resid_mid: Float[Tensor, "graph vertex d_model"]
) -> Float[Tensor, "graph n_classes"]:
    """Logits from the stream between attention and MLP of the last layer."""
    mlp = model.mlp(model.cfg.n_layers - 1)
    return _logits(model, resid_mid, affine(resid_mid, mlp.W_in, mlp.b_in))


def _logits(
    model: Transformer,
    resid_mid: Float[Tensor, "graph vertex d_model"],
    pre: Float[Tensor, "graph vertex d_mlp"],
) -> Float[Tensor, "graph n_classes"]:
    """The last MLP's output is averaged over vertices before W_out and not after."""
    mlp = model.mlp(model.cfg.n_layers - 1)
    post = F.gelu(pre).mean(1)
    return model.unembed(resid_mid.mean(1) + affine(post, mlp.W_out, mlp.b_out))


class HeadAblations:
    """The heads of a model ablated one at a time on the same graphs; what comes before them is
    computed once.

    A head's result is replaced, at each position, by its stand-in over the graphs. Its mean over
    graphs and vertices stays in place, under `zero` as well: a constant could as well be in b_O or
    W_pos, so where a head's zero is depends on the gauge, and what it does must not.
    """

    @torch.no_grad()
    def __init__(self, model: Transformer, adjacency: Adjacency) -> None:
        names = [
            f"blocks.{layer}.{name}"
            for layer in range(model.cfg.n_layers)
            for name in ("attn.hook_z", "hook_resid_mid")
        ]
        seen: dict[str, list[Tensor]] = {name: [] for name in names}
        for batch in adjacency.split(_BATCH):
            _, cache = model.run_with_cache(batch, names_filter=names)
            for name in names:
                seen[name].append(cache[name])
        self._model = model
        self._cache = {name: torch.cat(parts) for name, parts in seen.items()}

    def every(self, step: int) -> HeadAblations:
        """The same on every so many of the graphs, over which the stand-ins are then taken."""
        part = copy.copy(self)
        part._cache = {name: value[::step] for name, value in self._cache.items()}
        return part

    @torch.no_grad()
    def logits(
        self, *heads: Head, ablation: str = "mean", generator: torch.Generator | None = None
    ) -> Float[Tensor, "head graph n_classes"]:
        """Logits without each of the heads; only what follows it is computed anew.

        Resampling gives every head its result on the same other graph.
        """
        logits: dict[Head, Float[Tensor, "graph n_classes"]] = {}
        state = None if generator is None else generator.get_state()
        for layer in sorted({head.layer for head in heads}):
            if generator is not None and state is not None:
                generator.set_state(state)
            here = [head for head in heads if head.layer == layer]
            logits |= zip(here, self._of_layer(layer, here, ablation, generator), strict=True)
        return torch.stack([logits[head] for head in heads])

    def _of_layer(
        self, layer: int, heads: Sequence[Head], ablation: str, generator: torch.Generator | None
    ) -> Float[Tensor, "head graph n_classes"]:
        """A change of z goes into the MLP by one product of weights: its other input stays."""
        mlp, indices = self._model.mlp(layer), [head.index for head in heads]
        z = self._cache[f"blocks.{layer}.attn.hook_z"][:, :, indices]
        z = z - z.mean((0, 1))
        change = (stand_in(z, ablation, generator=generator) - z).transpose(1, 2)
        W_O = self._model.attention(layer).W_O[indices]
        into_mlp = (W_O.double() @ mlp.W_in.double()).to(W_O)
        parts = []
        for some, mid in zip(
            change.split(_BATCH),
            self._cache[f"blocks.{layer}.hook_resid_mid"].split(_BATCH),
            strict=True,
        ):
            pre = affine(mid, mlp.W_in, mlp.b_in)
            parts.append(
                torch.stack(
                    [
                        self._after(layer, mid + affine(less, out), pre + affine(less, into))
                        for less, out, into in zip(some.unbind(1), W_O, into_mlp, strict=True)
                    ]
                )
            )
        return torch.cat(parts, dim=1)

    def _after(
        self,
        layer: int,
        resid_mid: Float[Tensor, "graph vertex d_model"],
        pre: Float[Tensor, "graph vertex d_mlp"],
    ) -> Float[Tensor, "graph n_classes"]:
        """Logits from the stream in the middle of a layer and what goes into its MLP's neurons."""
        for after in range(layer + 1, self._model.cfg.n_layers):
            mlp = self._model.mlp(after - 1)
            resid = resid_mid + affine(F.gelu(pre), mlp.W_out, mlp.b_out)
            resid_mid = resid + self._model.attention(after)(resid)
            pre = affine(resid_mid, self._model.mlp(after).W_in, self._model.mlp(after).b_in)
        return _logits(self._model, resid_mid, pre)


@torch.no_grad()
def pattern_of_inputs(
    model: Transformer,
    query_input: Float[Tensor, "graph vertex d_model"],
    key_input: Float[Tensor, "graph vertex d_model"],
    *,
    head: Head,
) -> Float[Tensor, "graph query key"]:
    """Pattern of a head whose query reads one residual stream and whose key another."""
    attention = model.attention(head.layer)
    q = affine(query_input, attention.W_Q[head.index], attention.b_Q[head.index])
    k = affine(key_input, attention.W_K[head.index], attention.b_K[head.index])
    return softmax(q @ k.mT / math.sqrt(model.cfg.d_head))


@torch.no_grad()
def attention_without_direction(
    model: Transformer,
    resid: Float[Tensor, "graph vertex d_model"],
    directions: Float[Tensor, "direction d_model"],
    *,
    head: Head,
    position: int,
) -> Iterator[Float[Tensor, "graph vertex"]]:
    """Attention to one position when the query input has its part along each direction at its mean.

    `pattern_of_inputs` of `ablate_direction`: a query changes by a multiple of one vector, so each
    direction adds a term to the scores, and no query is computed anew.
    """
    parts = head_activations(model, resid, head)
    scores = parts.q @ parts.k.mT / math.sqrt(model.cfg.d_head)
    for unit in directions / directions.norm(dim=-1, keepdim=True):
        along = resid @ unit
        per_key = parts.k @ (unit @ model.attention(head.layer).W_Q[head.index])
        change = (along.mean() - along) / math.sqrt(model.cfg.d_head)
        yield softmax(scores + change[..., None] * per_key[:, None, :])[..., position]


def ablate_direction(
    resid: Float[Tensor, "graph vertex d_model"],
    direction: Float[Tensor, " d_model"],
    *,
    ablation: str = "mean",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "graph vertex d_model"]:
    """The residual stream with its part along a direction replaced by its stand-in over graphs and
    vertices."""
    unit = direction / direction.norm()
    along = resid @ unit
    other = stand_in(along.flatten(), ablation, generator=generator).unflatten(0, along.shape)
    return resid + (other - along)[..., None] * unit


def keep_direction(
    resid: Float[Tensor, "graph vertex d_model"],
    direction: Float[Tensor, " d_model"],
    *,
    ablation: str = "mean",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "graph vertex d_model"]:
    """The stand-in of the residual stream over graphs and vertices, but for its part along a
    direction."""
    unit = direction / direction.norm()
    other = stand_in(resid.flatten(0, 1), ablation, generator=generator).unflatten(
        0, resid.shape[:2]
    )
    return other + ((resid - other) @ unit)[..., None] * unit


def erase_linearly(
    resid: Float[Tensor, "graph vertex d_model"], scalar: Shaped[Tensor, "graph vertex"]
) -> Float[Tensor, "graph vertex d_model"]:
    """The residual stream less its regression on a quantity: no linear function of it is correlated
    with that any more.

    The same in every basis, unlike the ablation of a direction, which needs to know what is
    orthogonal.
    """
    deviation = scalar.to(resid) - scalar.to(resid).mean()
    slope = (
        torch.einsum("gv,gvm->m", deviation, resid - resid.mean((0, 1))) / deviation.square().sum()
    )
    return resid - deviation[..., None] * slope
