"""What untrained models make of the statistics by which claims tell that degree is carried somewhere.

Each draw is one model at the author's initialisation, and the best of its heads (positions, neurons, dimensions): the
trained one was found by looking, and so is its match.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.attention import degrees
from circuits.residual import degree_correlations, through_mlp
from circuits.roles import Head
from circuits.subject import Subject
from models.config import ModelConfig
from models.graphs import Adjacency, random_graphs_over
from models.randomness import named_generator
from models.transformer import Transformer

UNTRAINED_MODELS = 299  # enough for 15 claims corrected together at 5 %
GRAPHS = 64
_NEGLIGIBLE = 1e-10  # of the largest eigenvalue: below it is rounding


def untrained_null(subject: Subject, statistic: str) -> tuple[float, list[float]]:
    """One of the `degree_statistics` of the subject's roles, and of the best heads of 299 untrained models, on the same 64 graphs."""
    roles = subject.roles.found
    reader, pointer, target = roles.get("reader"), roles.get("pointer"), roles.get("target")
    cfg = subject.model.cfg
    graphs = _graphs(cfg.n_vertices, subject.edge_counts, subject.seed)
    observed = degree_statistics(
        subject.model, subject.label(graphs), readers=[reader] if reader else [], pointers=[pointer] if pointer else [],
        targets=range(cfg.n_vertices) if target is None else [target],
    )  # fmt: skip
    layers = reader.layer if reader else None, pointer.layer if pointer else None
    return observed[statistic], _untrained(cfg, subject.edge_counts, subject.seed, *layers)[statistic]


def _graphs(n_vertices: int, edge_counts: range, seed: int) -> Adjacency:
    generator = named_generator(seed, "graphs for untrained models")
    return random_graphs_over(n_vertices, edge_counts, count=GRAPHS, generator=generator)


@functools.cache  # nothing of it depends on the weights under test, so it serves their controls and gauges as well
def _untrained(
    cfg: ModelConfig, edge_counts: range, seed: int, reader_layer: int | None, pointer_layer: int | None
) -> dict[str, list[float]]:
    graphs = _graphs(cfg.n_vertices, edge_counts, seed)
    generator = named_generator(seed, "untrained models")
    readers, pointers = (
        [] if layer is None else [Head(layer, index) for index in range(cfg.n_heads)] for layer in (reader_layer, pointer_layer)
    )
    model = Transformer(cfg).requires_grad_(False)
    draws = []
    for _ in range(UNTRAINED_MODELS):
        model.initialise(generator)
        draws.append(degree_statistics(model, graphs, readers=readers, pointers=pointers, targets=range(cfg.n_vertices)))
    return {name: [draw[name] for draw in draws] for name in draws[0]}


@torch.no_grad()
def degree_statistics(
    model: Transformer, graphs: Adjacency, *, readers: Sequence[Head], pointers: Sequence[Head], targets: Sequence[int]
) -> dict[str, float]:
    """The largest of each statistic over the given heads of one layer, target positions, and all neurons and dimensions.

    `… share` is the rank-1 share, `… correlation` |r| of the coefficient with degree, of the readers' `v`, `z`, `result`
    and of that `through mlp`, and of the pointers' `query`; `z explains` is r² of degree on z; then |r| of degree along
    the `score direction`, and of the best `neuron` and `dimension` after layer 0.
    """
    attention = [
        f"blocks.{heads[0].layer}.attn.hook_{letter}"
        for heads, letters in ((readers, "vz"), (pointers, "qk"))
        if heads
        for letter in letters
    ]
    names = [*attention, "blocks.0.hook_resid_post", *([] if model.cfg.attn_only else ["blocks.0.mlp.hook_post"])]
    _, cache = model.run_with_cache(
        graphs, names_filter=names, stop_at_layer=1 + max([head.layer for head in (*readers, *pointers)], default=0)
    )
    degree = degrees(graphs)
    d = degree.flatten().double() - degree.double().mean()
    found: dict[str, Float[Tensor, " candidate"]] = {}

    def of_heads(hook: str, heads: Sequence[Head]) -> Float[Tensor, "head row width"]:
        values = cache[f"blocks.{heads[0].layer}.attn.hook_{hook}"][:, :, [head.index for head in heads]]
        return values.flatten(0, 1).transpose(0, 1)

    def along_main_axis(name: str, values: Float[Tensor, "head row width"]) -> None:
        values = values.double() - values.double().mean(1, keepdim=True)
        spectrum, vectors = torch.linalg.eigh(values.mT @ values)
        found[f"{name} share"] = spectrum[:, -1] / spectrum.sum(1)
        found[f"{name} correlation"] = _correlation((values @ vectors[..., -1:])[..., 0], d)
        if name == "z":
            explained = (vectors.mT @ (values.mT @ d)[..., None])[..., 0].square() / spectrum
            found["z explains"] = explained.where(spectrum > spectrum[:, -1:] * _NEGLIGIBLE, 0.0).sum(1) / (d @ d)

    if readers:
        z, W_O = of_heads("z", readers), model.attention(readers[0].layer).W_O[[head.index for head in readers]]
        along_main_axis("v", of_heads("v", readers))
        along_main_axis("z", z)
        along_main_axis("result", z.double() @ torch.linalg.qr(W_O.mT.double()).R.mT)  # in an orthonormal basis of what W_O reaches
        along_main_axis("through mlp", through_mlp(model, z @ W_O))
    resid = cache["blocks.0.hook_resid_post"]
    if pointers:
        along_main_axis("query", of_heads("q", pointers))
        keys = of_heads("k", pointers).unflatten(1, degree.shape).mean(1)
        W_Q = model.attention(pointers[0].layer).W_Q[[head.index for head in pointers]]
        directions = (keys[:, list(targets)] - keys.mean(1, keepdim=True)) @ W_Q.mT
        found["score direction correlation"] = _correlation((resid.flatten(0, 1) @ directions.flatten(0, 1).mT).mT.double(), d)
    found["dimension correlation"] = degree_correlations(resid, degree).abs()
    if not model.cfg.attn_only:
        found["neuron correlation"] = degree_correlations(cache["blocks.0.mlp.hook_post"], degree).abs()
    return {name: max(value, 0.0) if math.isfinite(value := values.max().item()) else 0.0 for name, values in found.items()}


def _correlation(values: Float[Tensor, "candidate row"], d: Float[Tensor, " row"]) -> Float[Tensor, " candidate"]:
    """|r| with centred degrees; 0 for what is constant."""
    values = values - values.mean(1, keepdim=True)
    return ((values @ d).abs() / (values.square().sum(1) * (d @ d)).sqrt()).nan_to_num(0.0)
