"""Statistics of what the pointer's query reads."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.ablation import (
    ablate_direction,
    erase_linearly,
    keep_direction,
    pattern_of_inputs,
)
from circuits.chance.statistic import correlation_with_degree, main_axis, statistic
from circuits.residual import row_norm_ratio
from circuits.trial import Trial


@statistic
def query_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the pointer's query."""
    yield from (main_axis(trial.of_head("q", head), trial)[0] for head in trial.parts.pointers)


@statistic
def query_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the pointer's query."""
    yield from (main_axis(trial.of_head("q", head), trial)[1] for head in trial.parts.pointers)


@statistic
def score_direction_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the residual stream after layer 0 along the direction that raises the
    pointer's score at the target.
    """
    for head in trial.composing:
        keys = trial.of_head("k", head).mean(0)
        directions = (keys[list(trial.parts.targets)] - keys.mean(0)) @ trial.model.attention(
            1
        ).W_Q[head.index].T
        yield correlation_with_degree(trial.resid.flatten(0, 1) @ directions.T, trial)


@statistic
def query_row_norm(trial: Trial) -> Iterable[float]:
    """Norm of the row of the pointer's W_Q that belongs to the dimension over that of the largest
    other row."""
    yield from (
        row_norm_ratio(trial.model, head, dimension=trial.dimension) for head in trial.composing
    )


def _basis_vector(trial: Trial) -> Float[Tensor, " d_model"]:
    return torch.eye(trial.model.cfg.d_model)[trial.dimension].to(trial.resid)


def _with_query_input(
    trial: Trial, resid: Float[Tensor, "graph vertex d_model"]
) -> Iterable[Float[Tensor, "graph vertex target"]]:
    """Attention of each pointer to the targets when its query reads another residual stream."""
    targets = list(trial.parts.targets)
    yield from (
        pattern_of_inputs(trial.model, resid, trial.resid, head=head)[..., targets]
        for head in trial.composing
    )


@statistic
def dimension_suffices(trial: Trial) -> Iterable[float]:
    """With the pointer's query input at its mean but for the dimension: mean attention to the
    target at degree ≤ 2 less that at ≥ 3."""
    for attention in _with_query_input(trial, keep_direction(trial.resid, _basis_vector(trial))):
        yield from (
            attention[trial.degree <= 2].mean(0) - attention[trial.degree >= 3].mean(0)
        ).tolist()


def _shift(trial: Trial, resid: Float[Tensor, "graph vertex d_model"]) -> Iterable[float]:
    for before, after in zip(
        _with_query_input(trial, trial.resid), _with_query_input(trial, resid), strict=True
    ):
        yield from (after - before).abs().mean((0, 1)).tolist()


@statistic
def shift_without_the_dimension(trial: Trial) -> Iterable[float]:
    """Mean change of the pointer's attention to the target when the dimension of its query input is
    held at its mean."""
    yield from _shift(trial, ablate_direction(trial.resid, _basis_vector(trial)))


@statistic
def shift_without_degree(trial: Trial) -> Iterable[float]:
    """Mean change of the pointer's attention to the target when degree is erased from its query
    input by least squares."""
    yield from _shift(trial, erase_linearly(trial.resid, trial.degree))
