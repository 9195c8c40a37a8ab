"""Statistics of what the reader does on graphs, and of degree in the residual stream after it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.attention import entropy_share, smallest_rise
from circuits.chance.statistic import correlation_with_degree, main_axis, over_the_next, statistic
from circuits.queries import (
    centred_mean_square,
    key_parts,
    query_parts,
    score_terms,
)
from circuits.residual import through_mlp
from circuits.roles import Head
from circuits.trial import Trial

_NEGLIGIBLE = 1e-10  # of the largest eigenvalue: below it is rounding


@statistic
def evenness_at_low_degree(trial: Trial) -> Iterable[float]:
    """Mean entropy over ln n of the rows of the reader's pattern, at the degree from 0 to 2 at
    which it is least."""
    for reader in trial.parts.readers:
        entropy = entropy_share(trial.pattern(reader))
        yield min(
            entropy[trial.degree == d].mean().item() for d in (0, 1, 2) if (trial.degree == d).any()
        )


@statistic
def rise_by_an_edge(trial: Trial) -> Iterable[float]:
    """Smallest rise of the reader's attention to the anchors by one more edge at a vertex of degree
    at most 5, on wide graphs."""
    for reader, anchors in trial.parts.readers.items():
        yield (
            smallest_rise(trial.model, trial.wide, reader, positions=anchors, max_degree=5)
            .min()
            .item()
        )


@statistic
def small_embed_part_of_the_key(trial: Trial) -> Iterable[float]:
    """Mean norm of the Embed part of the reader's keys at the anchors over that of the PosEmbed
    part, with a minus sign."""
    for reader, anchors in trial.parts.readers.items():
        key = key_parts(trial.model, trial.graphs, reader)
        embed, pos = (
            key[name].norm(dim=-1)[:, list(anchors)].mean().item()
            for name in ("embed", "pos_embed")
        )
        yield -embed / pos


@statistic
def embed_query_position_key(trial: Trial) -> Iterable[float]:
    """Root mean square, rows centred, of the reader's score term Embed-query × PosEmbed-key over
    the largest of the other three."""
    for reader in trial.parts.readers:
        terms = score_terms(
            query_parts(trial.model, trial.graphs, reader),
            key_parts(trial.model, trial.graphs, reader),
        )
        yield (
            over_the_next(
                {name: centred_mean_square(term).mean().item() for name, term in terms.items()},
                ("embed", "pos_embed"),
            )
            ** 0.5
        )


def _result(trial: Trial, head: Head) -> Float[Tensor, "graph vertex d_model"]:
    return trial.of_head("z", head) @ trial.model.attention(head.layer).W_O[head.index]


@statistic
def value_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's values."""
    yield from (main_axis(trial.of_head("v", reader), trial)[0] for reader in trial.parts.readers)


@statistic
def value_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's values."""
    yield from (main_axis(trial.of_head("v", reader), trial)[1] for reader in trial.parts.readers)


@statistic
def z_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's z."""
    yield from (main_axis(trial.of_head("z", reader), trial)[0] for reader in trial.parts.readers)


@statistic
def z_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's z."""
    yield from (main_axis(trial.of_head("z", reader), trial)[1] for reader in trial.parts.readers)


@statistic
def z_explains_degree(trial: Trial) -> Iterable[float]:
    """Share of the variance of degree that a linear function of the reader's z explains."""
    d = trial.degree.flatten().double()
    d = d - d.mean()
    for reader in trial.parts.readers:
        z = trial.of_head("z", reader).flatten(0, 1).double()
        z = z - z.mean(0)
        spectrum, vectors = torch.linalg.eigh(z.T @ z)
        kept = spectrum > spectrum[-1] * _NEGLIGIBLE
        explained = (vectors.T @ (z.T @ d)).square()[kept] / spectrum[kept]
        yield (explained.sum() / (d @ d)).item()


@statistic
def output_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's output."""
    yield from (main_axis(_result(trial, reader), trial)[0] for reader in trial.parts.readers)


@statistic
def output_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's output."""
    yield from (main_axis(_result(trial, reader), trial)[1] for reader in trial.parts.readers)


@statistic
def output_share_after_the_mlp(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's output sent alone through the first MLP."""
    yield from (
        main_axis(through_mlp(trial.model, _result(trial, reader)), trial)[0]
        for reader in trial.parts.readers
    )


@statistic
def output_correlation_after_the_mlp(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's output sent alone through the first
    MLP.
    """
    yield from (
        main_axis(through_mlp(trial.model, _result(trial, reader)), trial)[1]
        for reader in trial.parts.readers
    )


@statistic
def dimension_correlation(trial: Trial) -> Iterable[float]:
    """Largest |r| with degree of a dimension of the residual stream after layer 0."""
    yield correlation_with_degree(trial.resid.flatten(0, 1), trial)


@statistic
def neuron_correlation(trial: Trial) -> Iterable[float]:
    """Largest |r| with degree of a neuron of the first MLP."""
    if not trial.model.cfg.attn_only:
        yield correlation_with_degree(trial.cache["blocks.0.mlp.hook_post"].flatten(0, 1), trial)
