"""What a statistic of a model is, and what several have in common."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.residual import degree_correlations
from circuits.trial import Trial

Statistic = Callable[[Trial], Iterable[float]]
STATISTICS: dict[str, Statistic] = {}


def statistic(function: Statistic) -> Statistic:
    """Enter a function among the statistics, by its name."""
    STATISTICS[function.__name__] = function
    return function


def definition(name: str) -> str:
    """What a statistic is, in words."""
    return " ".join((inspect.getdoc(STATISTICS[name]) or "").partition("\n\n")[0].split())


@torch.no_grad()
def measure(name: str, trial: Trial) -> float | None:
    """The largest finite value of a statistic over the parts that may play the roles; `None` where
    there is none."""
    return max((value for value in STATISTICS[name](trial) if math.isfinite(value)), default=None)


def over_the_next(values: dict[object, float], main: object) -> float:
    """One value over the largest of the others."""
    return values[main] / max(value for name, value in values.items() if name != main)


def main_axis(values: Float[Tensor, "graph vertex width"], trial: Trial) -> tuple[float, float]:
    """Rank-1 share, and |r| of the coefficient with degree; zeros for what is constant."""
    flat = values.flatten(0, 1).double()
    flat = flat - flat.mean(0)
    spectrum, vectors = torch.linalg.eigh(flat.T @ flat)
    if not spectrum[-1] > 0:
        return 0.0, 0.0
    return (spectrum[-1] / spectrum.sum()).item(), correlation_with_degree(
        (flat @ vectors[:, -1])[:, None], trial
    )


def correlation_with_degree(values: Float[Tensor, "row column"], trial: Trial) -> float:
    """Largest |r| of a column with degree."""
    return (
        degree_correlations(values.unflatten(0, trial.degree.shape), trial.degree)
        .abs()
        .max()
        .item()
    )


def all_but(count: int, chosen: tuple[int, ...]) -> list[int]:
    """The indices below `count` that are not chosen."""
    return [index for index in range(count) if index not in chosen]
