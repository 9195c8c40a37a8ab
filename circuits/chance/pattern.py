"""Statistics of the pointer's pattern."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Bool, Float
from torch import Tensor

from circuits.attention import degrees, head_pattern
from circuits.chance.statistic import over_the_next, statistic
from circuits.reduction import one_edge_to_degree_two, pruned_degree
from circuits.trial import Trial


def _attention(trial: Trial) -> Iterable[Float[Tensor, "graph vertex"]]:
    """Attention of each pointer to each target."""
    yield from (
        trial.pattern(head)[..., target]
        for head in trial.parts.pointers
        for target in trial.parts.targets
    )


@statistic
def low_degree_attention(trial: Trial) -> Iterable[float]:
    """Smallest attention of the pointer to the target by a vertex of degree at most 2."""
    yield from (attention[trial.degree <= 2].min().item() for attention in _attention(trial))


@statistic
def low_degree_attention_on_wide_graphs(trial: Trial) -> Iterable[float]:
    """The same on graphs of 0 to 3n − 6 edges."""
    low = degrees(trial.wide) <= 2
    for head in trial.parts.pointers:
        yield from (
            head_pattern(trial.model, trial.wide, head)[low]
            .amin(0)[list(trial.parts.targets)]
            .tolist()
        )


@statistic
def little_high_degree_attention(trial: Trial) -> Iterable[float]:
    """Mean attention of the pointer to the target by vertices of degree at least 4, with a minus
    sign."""
    yield from (-attention[trial.degree >= 4].mean().item() for attention in _attention(trial))


@statistic
def fall_above_degree_two(trial: Trial) -> Iterable[float]:
    """Mean attention of the pointer to the target by vertices of degree 2, less that by vertices of
    degree 3."""
    for attention in _attention(trial):
        yield (attention[trial.degree == 2].mean() - attention[trial.degree == 3].mean()).item()


@statistic
def target_key_norm(trial: Trial) -> Iterable[float]:
    """Mean norm of the pointer's key at the target over the next largest mean norm."""
    for head in trial.parts.pointers:
        norms: dict[object, float] = dict(
            enumerate(trial.of_head("k", head).norm(dim=-1).mean(0).tolist())
        )
        yield from (over_the_next(norms, target) for target in trial.parts.targets)


def _marks(trial: Trial) -> Iterable[Bool[Tensor, "graph vertex"]]:
    yield from (attention > 0.5 for attention in _attention(trial))


@statistic
def pruned_degree_marked(trial: Trial) -> Iterable[float]:
    """Share of vertices at which attention above ½ agrees with pruned degree ≤ 2, less that with
    degree ≤ 2; 0 without such vertices."""
    pruned, low = pruned_degree(trial.graphs) <= 2, trial.degree <= 2
    for marked in _marks(trial):
        yield (
            ((marked == pruned).double() - (marked == low).double()).mean().item()
            if marked.any()
            else 0.0
        )


@statistic
def triangles_marked(trial: Trial) -> Iterable[float]:
    """Share with attention above ½ of vertices of degree 3 whose one edge to degree 2 is in a
    triangle, less that of the others."""
    chosen, in_triangle = one_edge_to_degree_two(trial.triangles)
    if not (chosen & in_triangle).any() or not (chosen & ~in_triangle).any():
        return
    for head in trial.parts.pointers:
        marked = (
            head_pattern(trial.model, trial.triangles, head)[..., list(trial.parts.targets)] > 0.5
        ).double()
        yield from (
            marked[chosen & in_triangle].mean(0) - marked[chosen & ~in_triangle].mean(0)
        ).tolist()
