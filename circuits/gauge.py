"""Changes of weights that leave the function of the model as it is (there is no LayerNorm).

A measurement that changes under one of them speaks of the coordinates, not of the function. Each
gauge takes a copy of a model to another with the same logits, and says how heads and vertices are
renamed on the way. Bases are drawn with singular values from 1 to 3, far below a condition of 10.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.subject import Subject
from models.graphs import GraphSet
from models.transformer import Transformer

MAX_SINGULAR_VALUE = 3.0
# standard deviation of each entry of a constant that is moved, about that of a row of W_pos
CONSTANT = 0.5


@dataclasses.dataclass(frozen=True)
class Renaming:
    """Where heads and vertices went: entry i is the old index of what now has index i."""

    heads: Int[Tensor, "layer head"]
    vertices: Int[Tensor, " vertex"]

    def head(self, layer: int, index: int) -> int:
        """New index of a head."""
        return int((self.heads[layer] == index).nonzero())

    def vertex(self, position: int) -> int:
        """New index of a vertex."""
        return int((self.vertices == position).nonzero())


def under_gauge(subject: Subject, gauge: str) -> Subject:
    """The subject with its weights changed and its roles renamed; where vertices are, its graphs
    are relabelled with them."""
    model, renaming = transformed(
        subject.model, gauge, generator=subject.generator(f"gauge {gauge}")
    )
    order = renaming.vertices.to(subject.graphs.adjacency.device)
    graphs = GraphSet(subject.graphs.adjacency[:, order][:, :, order], subject.graphs.labels)
    return dataclasses.replace(
        subject,
        name=f"{subject.name} under {gauge}",
        content_hash=f"{subject.content_hash} under {gauge}",
        model=model,
        roles=subject.roles.renamed(renaming),
        graphs=graphs,
        vertex_order=order,
    )


Edit = Callable[[Transformer, torch.Generator, Renaming], None]


@torch.no_grad()
def transformed(
    model: Transformer, gauge: str, *, generator: torch.Generator
) -> tuple[Transformer, Renaming]:
    """A copy of the model under a gauge of `GAUGES`, and how its heads and vertices are renamed;
    `ValueError` for another name."""
    if gauge not in GAUGES:
        raise ValueError(f"gauge must be one of {', '.join(GAUGES)}; got {gauge!r}")
    cfg = model.cfg
    renaming = Renaming(
        torch.arange(cfg.n_heads).repeat(cfg.n_layers, 1), torch.arange(cfg.n_vertices)
    )
    model = copy.deepcopy(model)
    GAUGES[gauge](model, generator, renaming)
    return model, renaming


def _derangement(n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """A random cycle through all: nothing stays where it was, if there are two."""
    order = torch.randperm(n, generator=generator)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def _rotation(n: int, generator: torch.Generator) -> Float[Tensor, "n n"]:
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q


def _basis(n: int, generator: torch.Generator) -> Float[Tensor, "n n"]:
    """A random invertible matrix with singular values spread from 1 to 3."""
    singular = torch.linspace(1, MAX_SINGULAR_VALUE, n, dtype=torch.float64)
    return _rotation(n, generator) * singular @ _rotation(n, generator)


def _permute_heads(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """Each layer's heads in another order."""
    for layer in range(model.cfg.n_layers):
        attention, order = model.attention(layer), _derangement(model.cfg.n_heads, generator)
        renaming.heads[layer] = order
        for parameter in (
            attention.W_Q,
            attention.W_K,
            attention.W_V,
            attention.b_Q,
            attention.b_K,
            attention.b_V,
            attention.W_O,
        ):
            parameter.copy_(parameter[order].clone())


def _permute_neurons(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """Each MLP's neurons in another order."""
    for layer in _mlp_layers(model):
        mlp, order = model.mlp(layer), _derangement(model.cfg.d_mlp, generator)
        mlp.W_in.copy_(mlp.W_in[:, order].clone())
        mlp.b_in.copy_(mlp.b_in[order].clone())
        mlp.W_out.copy_(mlp.W_out[order].clone())


def _mlp_layers(model: Transformer) -> range:
    return range(0 if model.cfg.attn_only else model.cfg.n_layers)


def _rotate_residual(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    _change_residual_basis(model, _rotation(model.cfg.d_model, generator))


def _rebase_residual(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    _change_residual_basis(model, _basis(model.cfg.d_model, generator))


def _change_residual_basis(model: Transformer, basis: Float[Tensor, "d_model d_model"]) -> None:
    """x → x M: what writes is multiplied by M on the right, what reads by M⁻¹ on the left."""
    inverse = torch.linalg.inv(basis)

    def write(*weights: Tensor) -> None:
        for weight in weights:
            weight.copy_((weight.double() @ basis.to(weight.device)).to(weight))

    def read(*weights: Tensor) -> None:
        for weight in weights:
            weight.copy_((inverse.to(weight.device) @ weight.double()).to(weight))

    write(model.W_E, model.W_pos)
    for layer in range(model.cfg.n_layers):
        attention = model.attention(layer)
        read(attention.W_Q, attention.W_K, attention.W_V)
        write(attention.W_O, attention.b_O)
    for layer in _mlp_layers(model):
        read(model.mlp(layer).W_in)
        write(model.mlp(layer).W_out, model.mlp(layer).b_out)
    read(model.W_U)


def _rebase_query_key(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """Each head's query q → q B and key k → k B⁻ᵀ."""
    for layer in range(model.cfg.n_layers):
        attention = model.attention(layer)
        for head in range(model.cfg.n_heads):
            basis = _basis(model.cfg.d_head, generator).to(attention.W_Q.device)
            for weight in (attention.W_Q, attention.b_Q):
                weight[head] = (weight[head].double() @ basis).to(weight)
            for weight in (attention.W_K, attention.b_K):
                weight[head] = (weight[head].double() @ torch.linalg.inv(basis).mT).to(weight)


def _rebase_value(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """Each head's value v → v C, which its W_O undoes."""
    for layer in range(model.cfg.n_layers):
        attention = model.attention(layer)
        for head in range(model.cfg.n_heads):
            basis = _basis(model.cfg.d_head, generator).to(attention.W_V.device)
            for weight in (attention.W_V, attention.b_V):
                weight[head] = (weight[head].double() @ basis).to(weight)
            attention.W_O[head] = (torch.linalg.inv(basis) @ attention.W_O[head].double()).to(
                attention.W_O
            )


def _add_to_b_K(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """b_K + c: every key of a head gets the same more from a query, which softmax does not see."""
    for layer in range(model.cfg.n_layers):
        b_K = model.attention(layer).b_K
        b_K.add_(_constant(generator, b_K))


def _move_b_V(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """b_V into b_O: a row of attention sums to one, so every vertex gets b_V W_O anyway. First some
    of b_O is put into b_V."""
    for layer in range(model.cfg.n_layers):
        attention = model.attention(layer)
        added = _constant(generator, attention.b_V) - attention.b_V
        attention.b_V.add_(added)
        attention.b_O.sub_(torch.einsum("hd,hdm->m", added, attention.W_O))


def _constant(generator: torch.Generator, like: Tensor) -> Tensor:
    return (CONSTANT * torch.randn(like.shape, generator=generator, dtype=torch.float64)).to(like)


def _move_W_pos(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """A constant out of every row of W_pos, into the biases of layer 0."""
    constant = _constant(generator, model.W_pos[0])
    model.W_pos.sub_(constant)
    _give_back(model, constant, layer=0)


def _move_b_O(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """A constant out of each b_O, past the MLP, into the biases after it."""
    for layer in range(model.cfg.n_layers):
        b_O = model.attention(layer).b_O
        constant = _constant(generator, b_O)
        b_O.sub_(constant)
        if not model.cfg.attn_only:
            mlp = model.mlp(layer)
            mlp.b_in.add_(constant @ mlp.W_in)
            mlp.b_out.add_(constant)
        else:
            _give_back(model, constant, layer=layer + 1)


def _move_b_out(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """A constant out of each b_out into the biases of the next layer, or of the unembedding."""
    for layer in _mlp_layers(model):
        b_out = model.mlp(layer).b_out
        constant = _constant(generator, b_out)
        b_out.sub_(constant)
        _give_back(model, constant, layer=layer + 1)


def _give_back(model: Transformer, constant: Float[Tensor, " d_model"], *, layer: int) -> None:
    """Make up for a constant that is missing from the stream that enters a layer, in its q, k, v
    and b_O, or in b_U."""
    if layer == model.cfg.n_layers:
        model.b_U.add_(constant @ model.W_U)
        return
    attention = model.attention(layer)
    attention.b_Q.add_(constant @ attention.W_Q)
    attention.b_K.add_(constant @ attention.W_K)
    attention.b_V.add_(constant @ attention.W_V)
    attention.b_O.add_(constant)


def _relabel(model: Transformer, generator: torch.Generator, renaming: Renaming) -> None:
    """Rows of W_E and W_pos in another order: the same logits for graphs whose vertices are renamed
    alike."""
    order = _derangement(model.cfg.n_vertices, generator)
    renaming.vertices.copy_(order)
    model.W_E.copy_(model.W_E[order].clone())
    model.W_pos.copy_(model.W_pos[order].clone())


GAUGES: dict[str, Edit] = {
    "head permutation": _permute_heads,
    "neuron permutation": _permute_neurons,
    "residual rotation": _rotate_residual,
    "residual basis": _rebase_residual,
    "head basis": _rebase_query_key,
    "value basis": _rebase_value,
    "b_K": _add_to_b_K,
    "b_V": _move_b_V,
    "W_pos constant": _move_W_pos,
    "b_O constant": _move_b_O,
    "b_out constant": _move_b_out,
    "relabelling": _relabel,
}
