"""The statistics by which a claim is compared with untrained models: one number of a model, larger
further from chance.

The first line of each docstring is its definition, as `circuits/untrained.json` holds it. Each is
the largest over the parts that may play the roles (`Parts`); one of a trained model is measured on
the same graphs as those of untrained models.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuits.ablation import (
    HeadAblations,
    ablate_direction,
    erase_linearly,
    keep_direction,
    pattern_of_inputs,
    swap_partners,
)
from circuits.attention import degree_contrast, degrees, entropy_share, head_pattern, smallest_rise
from circuits.attribution import logit_attribution, logit_diff_directions, neuron_attribution
from circuits.bounds import anchor_attention, anchor_score_extremes, query_offset
from circuits.coalitions import notebook_coalitions, shapley_values
from circuits.composition import composition_scores
from circuits.directions import (
    anchor_gaps,
    anchor_key_norm_ratio,
    degree_direction,
    key_norm_ratio,
    neighbour_queries,
    positional_keys,
    positional_offset,
    profile,
    score_per_neighbour,
)
from circuits.finder import reader_scores
from circuits.queries import (
    Parts,
    approximate_key_parts,
    approximate_query_parts,
    centred_mean_square,
    key_parts,
    positional_scores,
    query_parts,
    score_terms,
)
from circuits.reduction import one_edge_to_degree_two, pruned_degree
from circuits.residual import degree_correlations, row_norm_ratio, through_mlp
from circuits.roles import Head
from circuits.trial import Trial
from models.randomness import named_generator

Statistic = Callable[[Trial], Iterable[float]]
STATISTICS: dict[str, Statistic] = {}
PLANAR = 1
_NEGLIGIBLE = 1e-10  # of the largest eigenvalue: below it is rounding


def _statistic(function: Statistic) -> Statistic:
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


# the roles, as they are found


@_statistic
def reader_score(trial: Trial) -> Iterable[float]:
    """Mean cosine of the rows of W_E W_Q with v, times the correlation of degree with the reader's
    attention to its anchors."""
    scores = reader_scores(trial.model, trial.finding, degrees(trial.finding))
    yield from (scores[reader] for reader in trial.parts.readers)


@_statistic
def anchor_gap(trial: Trial) -> Iterable[float]:
    """Gap, in what a neighbour adds to the reader's score, between the anchors and the next
    position."""
    yield from (
        anchor_gaps(score_per_neighbour(trial.model, reader)).get(anchors, 0.0)
        for reader, anchors in trial.parts.readers.items()
    )


@_statistic
def pointer_contrast(trial: Trial) -> Iterable[float]:
    """Mean attention of the pointer to the target by vertices of degree at most 2, less that by
    vertices of degree at least 4."""
    degree = degrees(trial.finding)
    for head in trial.parts.pointers:
        contrast = degree_contrast(head_pattern(trial.model, trial.finding, head), degree)
        yield contrast[list(trial.parts.targets)].max().item()


# the answers


@_statistic
def accuracy(trial: Trial) -> Iterable[float]:
    """Share of right answers on balanced graphs."""
    yield trial.right.mean().item()


@_statistic
def worst_accuracy(trial: Trial) -> Iterable[float]:
    """Share of right answers on balanced graphs, at the number of edges at which it is least."""
    edges = trial.graphs.sum((1, 2))
    yield min(trial.right[edges == count].mean().item() for count in edges.unique())


@_statistic
def agreement_under_relabelling(trial: Trial) -> Iterable[float]:
    """Cohen's kappa between the answers before and after the vertices are renamed; 0 for a model
    with one answer."""
    order = torch.randperm(trial.graphs.shape[1], generator=named_generator(0, "one relabelling"))
    answers = trial.logits.argmax(-1)
    renamed = trial.model(trial.graphs[:, order][:, :, order]).argmax(-1)
    p, q = answers.double().mean().item(), renamed.double().mean().item()
    by_chance = p * q + (1 - p) * (1 - q)
    agree = (answers == renamed).double().mean().item()
    yield (agree - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


@_statistic
def accuracy_lost_without_the_reader(trial: Trial) -> Iterable[float]:
    """Share of right answers on balanced graphs, less that share once the reader's result is its
    mean over graphs."""
    for reader in trial.parts.readers:
        (without,) = HeadAblations(trial.model, trial.graphs).logits(reader)
        right = without.argmax(-1) == trial.labels
        yield trial.right.mean().item() - right.double().mean().item()


@_statistic
def share_of_the_last_mlp(trial: Trial) -> Iterable[float]:
    """Mean part of the last MLP in the difference between the logits of label and other class, over
    the sizes of all parts together."""
    if trial.model.cfg.attn_only:
        return
    found = logit_attribution(
        trial.model, trial.graphs, logit_diff_directions(trial.model, trial.labels)
    ).means()
    yield found[f"mlp_{trial.model.cfg.n_layers - 1}"] / sum(map(abs, found.values()))


@_statistic
def sign_of_the_last_mlp(trial: Trial) -> Iterable[float]:
    """Share of graphs on which what the last MLP adds has the sign of the answer, for the answer
    for which it is least."""
    if trial.model.cfg.attn_only:
        return
    directions = logit_diff_directions(trial.model, torch.full_like(trial.labels, PLANAR))
    planar = trial.logits.argmax(-1) == PLANAR
    added = neuron_attribution(
        trial.model, trial.graphs, directions, layer=trial.model.cfg.n_layers - 1
    ).sum(1)
    right = ((added > 0) == planar).double()
    yield (
        min(right[planar].mean().item(), right[~planar].mean().item())
        if 0 < planar.sum() < len(planar)
        else 0.0
    )


# the reader's weights


@_statistic
def neighbour_cosine(trial: Trial) -> Iterable[float]:
    """Smallest cosine of a row of the reader's W_E W_Q with v, their mean."""
    for reader in trial.parts.readers:
        yield (
            profile(neighbour_queries(trial.model, reader), degree_direction(trial.model, reader))
            .cosine.min()
            .item()
        )


@_statistic
def opposed_position_cosine(trial: Trial) -> Iterable[float]:
    """Smallest cosine of a row of the reader's W_pos W_Q with −v."""
    for reader in trial.parts.readers:
        yield -positional_offset(trial.model, reader).cosine.max().item()


@_statistic
def query_near_degree_minus_two(trial: Trial) -> Iterable[float]:
    """Largest distance of (q·v)/(v·v) from degree − 2 over all positions and neighbourhoods, with a
    minus sign."""
    for reader in trial.parts.readers:
        offset = query_offset(trial.model, reader)
        yield -max(abs(offset.low + 2), abs(offset.high + 2))


@_statistic
def score_sign_at_the_anchors(trial: Trial) -> Iterable[float]:
    """Smallest distance from 0 of the reader's score at the anchors over all graphs, on the side
    that is right for the degree: below up to 2, above from 3."""
    if trial.graphs.shape[1] <= 3:
        return
    for reader, anchors in trial.parts.readers.items():
        scores = anchor_score_extremes(trial.model, reader, anchors)
        yield min(
            *(-scores[d].greatest.value for d in scores if d <= 2),
            *(scores[d].least.value for d in scores if d >= 3),
        )


@_statistic
def gap_between_degrees(trial: Trial) -> Iterable[float]:
    """Smallest gap between the certified intervals of the reader's attention to the anchors at
    degrees d and d + 1, up to 6."""
    for reader, anchors in trial.parts.readers.items():
        intervals = anchor_attention(trial.model, reader, anchors)
        yield min(intervals[d + 1].low - intervals[d].high for d in range(min(6, max(intervals))))


@_statistic
def anchor_key_cosine(trial: Trial) -> Iterable[float]:
    """Smallest cosine with v of a row of the reader's W_pos W_K at an anchor."""
    for reader, anchors in trial.parts.readers.items():
        yield positional_keys(trial.model, reader).cosine[list(anchors)].min().item()


@_statistic
def anchor_lead(trial: Trial) -> Iterable[float]:
    """What a neighbour adds to the reader's score at an anchor, at the least, over the most that it
    adds elsewhere: difference."""
    for reader, anchors in trial.parts.readers.items():
        scores = score_per_neighbour(trial.model, reader)
        yield (scores[list(anchors)].min() - scores[_others(len(scores), anchors)].max()).item()


@_statistic
def anchor_key_norm(trial: Trial) -> Iterable[float]:
    """Smallest norm of a row of the reader's W_pos W_K at an anchor over the largest elsewhere."""
    for reader, anchors in trial.parts.readers.items():
        yield anchor_key_norm_ratio(trial.model, reader, anchors)


@_statistic
def positional_key_norm(trial: Trial) -> Iterable[float]:
    """Mean norm of the rows of the reader's W_pos W_K over that of the rows of W_E W_K."""
    for reader in trial.parts.readers:
        yield key_norm_ratio(trial.model, reader)


@_statistic
def positional_score_below_zero(trial: Trial) -> Iterable[float]:
    """Mean score of PosEmbed-query × PosEmbed-key of the reader at the anchors, with a minus
    sign."""
    for reader, anchors in trial.parts.readers.items():
        yield -positional_scores(trial.model, reader)[:, list(anchors)].mean().item()


# what the reader does on graphs


@_statistic
def evenness_at_low_degree(trial: Trial) -> Iterable[float]:
    """Mean entropy over ln n of the rows of the reader's pattern, at the degree from 0 to 2 at
    which it is least."""
    for reader in trial.parts.readers:
        entropy = entropy_share(trial.pattern(reader))
        yield min(
            entropy[trial.degree == d].mean().item() for d in (0, 1, 2) if (trial.degree == d).any()
        )


@_statistic
def rise_by_an_edge(trial: Trial) -> Iterable[float]:
    """Smallest rise of the reader's attention to the anchors by one more edge at a vertex of degree
    at most 5, on wide graphs."""
    for reader, anchors in trial.parts.readers.items():
        yield (
            smallest_rise(trial.model, trial.wide, reader, positions=anchors, max_degree=5)
            .min()
            .item()
        )


@_statistic
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


@_statistic
def embed_query_position_key(trial: Trial) -> Iterable[float]:
    """Root mean square, rows centred, of the reader's score term Embed-query × PosEmbed-key over
    the largest of the other three."""
    for reader in trial.parts.readers:
        terms = score_terms(
            query_parts(trial.model, trial.graphs, reader),
            key_parts(trial.model, trial.graphs, reader),
        )
        yield (
            _over_the_next(
                {name: centred_mean_square(term).mean().item() for name, term in terms.items()},
                ("embed", "pos_embed"),
            )
            ** 0.5
        )


def _over_the_next(values: dict[object, float], main: object) -> float:
    return values[main] / max(value for name, value in values.items() if name != main)


def _main_axis(values: Float[Tensor, "graph vertex width"], trial: Trial) -> tuple[float, float]:
    """Rank-1 share, and |r| of the coefficient with degree; zeros for what is constant."""
    flat = values.flatten(0, 1).double()
    flat = flat - flat.mean(0)
    spectrum, vectors = torch.linalg.eigh(flat.T @ flat)
    if not spectrum[-1] > 0:
        return 0.0, 0.0
    return (spectrum[-1] / spectrum.sum()).item(), _correlation(
        (flat @ vectors[:, -1])[:, None], trial
    )


def _correlation(values: Float[Tensor, "row column"], trial: Trial) -> float:
    """Largest |r| of a column with degree."""
    return (
        degree_correlations(values.unflatten(0, trial.degree.shape), trial.degree)
        .abs()
        .max()
        .item()
    )


def _result(trial: Trial, head: Head) -> Float[Tensor, "graph vertex d_model"]:
    return trial.of_head("z", head) @ trial.model.attention(head.layer).W_O[head.index]


@_statistic
def value_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's values."""
    yield from (_main_axis(trial.of_head("v", reader), trial)[0] for reader in trial.parts.readers)


@_statistic
def value_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's values."""
    yield from (_main_axis(trial.of_head("v", reader), trial)[1] for reader in trial.parts.readers)


@_statistic
def z_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's z."""
    yield from (_main_axis(trial.of_head("z", reader), trial)[0] for reader in trial.parts.readers)


@_statistic
def z_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's z."""
    yield from (_main_axis(trial.of_head("z", reader), trial)[1] for reader in trial.parts.readers)


@_statistic
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


@_statistic
def output_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's output."""
    yield from (_main_axis(_result(trial, reader), trial)[0] for reader in trial.parts.readers)


@_statistic
def output_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's output."""
    yield from (_main_axis(_result(trial, reader), trial)[1] for reader in trial.parts.readers)


@_statistic
def output_share_after_the_mlp(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the reader's output sent alone through the first MLP."""
    yield from (
        _main_axis(through_mlp(trial.model, _result(trial, reader)), trial)[0]
        for reader in trial.parts.readers
    )


@_statistic
def output_correlation_after_the_mlp(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the reader's output sent alone through the first
    MLP.
    """
    yield from (
        _main_axis(through_mlp(trial.model, _result(trial, reader)), trial)[1]
        for reader in trial.parts.readers
    )


# the residual stream after layer 0


@_statistic
def dimension_correlation(trial: Trial) -> Iterable[float]:
    """Largest |r| with degree of a dimension of the residual stream after layer 0."""
    yield _correlation(trial.resid.flatten(0, 1), trial)


@_statistic
def neuron_correlation(trial: Trial) -> Iterable[float]:
    """Largest |r| with degree of a neuron of the first MLP."""
    if not trial.model.cfg.attn_only:
        yield _correlation(trial.cache["blocks.0.mlp.hook_post"].flatten(0, 1), trial)


# the pointer's pattern


def _attention(trial: Trial) -> Iterable[Float[Tensor, "graph vertex"]]:
    """Attention of each pointer to each target."""
    yield from (
        trial.pattern(head)[..., target]
        for head in trial.parts.pointers
        for target in trial.parts.targets
    )


@_statistic
def low_degree_attention(trial: Trial) -> Iterable[float]:
    """Smallest attention of the pointer to the target by a vertex of degree at most 2."""
    yield from (attention[trial.degree <= 2].min().item() for attention in _attention(trial))


@_statistic
def low_degree_attention_on_wide_graphs(trial: Trial) -> Iterable[float]:
    """The same on graphs of 0 to 3n − 6 edges."""
    low = degrees(trial.wide) <= 2
    for head in trial.parts.pointers:
        yield from (
            head_pattern(trial.model, trial.wide, head)[low]
            .amin(0)[list(trial.parts.targets)]
            .tolist()
        )


@_statistic
def little_high_degree_attention(trial: Trial) -> Iterable[float]:
    """Mean attention of the pointer to the target by vertices of degree at least 4, with a minus
    sign."""
    yield from (-attention[trial.degree >= 4].mean().item() for attention in _attention(trial))


@_statistic
def fall_above_degree_two(trial: Trial) -> Iterable[float]:
    """Mean attention of the pointer to the target by vertices of degree 2, less that by vertices of
    degree 3."""
    for attention in _attention(trial):
        yield (attention[trial.degree == 2].mean() - attention[trial.degree == 3].mean()).item()


@_statistic
def target_key_norm(trial: Trial) -> Iterable[float]:
    """Mean norm of the pointer's key at the target over the next largest mean norm."""
    for head in trial.parts.pointers:
        norms: dict[object, float] = dict(
            enumerate(trial.of_head("k", head).norm(dim=-1).mean(0).tolist())
        )
        yield from (_over_the_next(norms, target) for target in trial.parts.targets)


def _marks(trial: Trial) -> Iterable[Bool[Tensor, "graph vertex"]]:
    yield from (attention > 0.5 for attention in _attention(trial))


@_statistic
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


@_statistic
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


# the pointer's input


@_statistic
def query_share(trial: Trial) -> Iterable[float]:
    """Rank-1 share of the pointer's query."""
    yield from (_main_axis(trial.of_head("q", head), trial)[0] for head in trial.parts.pointers)


@_statistic
def query_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the main coefficient of the pointer's query."""
    yield from (_main_axis(trial.of_head("q", head), trial)[1] for head in trial.parts.pointers)


@_statistic
def score_direction_correlation(trial: Trial) -> Iterable[float]:
    """|r| with degree of the residual stream after layer 0 along the direction that raises the
    pointer's score at the target.
    """
    for head in trial.composing:
        keys = trial.of_head("k", head).mean(0)
        directions = (keys[list(trial.parts.targets)] - keys.mean(0)) @ trial.model.attention(
            1
        ).W_Q[head.index].T
        yield _correlation(trial.resid.flatten(0, 1) @ directions.T, trial)


@_statistic
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


@_statistic
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


@_statistic
def shift_without_the_dimension(trial: Trial) -> Iterable[float]:
    """Mean change of the pointer's attention to the target when the dimension of its query input is
    held at its mean."""
    yield from _shift(trial, ablate_direction(trial.resid, _basis_vector(trial)))


@_statistic
def shift_without_degree(trial: Trial) -> Iterable[float]:
    """Mean change of the pointer's attention to the target when degree is erased from its query
    input by least squares."""
    yield from _shift(trial, erase_linearly(trial.resid, trial.degree))


# composition with the pointer, on eight graphs


@_statistic
def key_paths_change_little(trial: Trial) -> Iterable[float]:
    """Lowest mean score of the sets of paths into the pointer's key alone: 1 is no improvement."""
    for head in trial.composing:
        _, keys = trial.patched(head)
        yield keys.score[0, 1:].min().item()


@_statistic
def reader_path_lead(trial: Trial) -> Iterable[float]:
    """Lowest mean score of the other single paths into the pointer, less that of the path from the
    reader to its query."""
    singles = [1 << component for component in range(1 + trial.model.cfg.n_heads)]
    for head in trial.composing:
        queries, keys = trial.patched(head)
        query, key = queries.score[singles, 0], keys.score[0, singles]
        for reader in trial.parts.readers:
            others = _others(len(query), (1 + reader.index,))
            yield (torch.cat([query[others], key]).min() - query[1 + reader.index]).item()


@_statistic
def second_helper(trial: Trial) -> Iterable[float]:
    """Second largest mean Shapley value of a path into the pointer's query from a head of layer 0
    other than the reader."""
    if trial.model.cfg.n_heads < 3:
        return
    for head in trial.composing:
        shares = shapley_values(1 - notebook_coalitions(trial.patched(head)[0].score))
        for reader in trial.parts.readers:
            helpers = _others(1 + trial.model.cfg.n_heads, (0, 1 + reader.index))
            yield shares[helpers].topk(2).values[1].item()


@_statistic
def swapped_columns(trial: Trial) -> Iterable[float]:
    """1 less the largest error over partners of a swap of two rows of W_pos on the path to the
    pointer's key, over the change."""
    for head in trial.composing:
        partners = swap_partners(trial.model, trial.few, head, target=trial.target(head))
        yield 1 - max((errors.error / errors.change).mean().item() for errors in partners.values())


def _norms(parts: Parts, at: int | None = None) -> dict[object, float]:
    means = {name: part.norm(dim=-1).mean(0) for name, part in parts.items()}
    return {name: (norm.mean() if at is None else norm[at]).item() for name, norm in means.items()}


@_statistic
def main_query_parts(trial: Trial) -> Iterable[float]:
    """Least mean norm of the Embed, PosEmbed and reader parts of the pointer's query over the
    largest of the others."""
    for head in trial.composing:
        norms = _norms(approximate_query_parts(trial.model, trial.few, head).parts)
        for reader in trial.parts.readers:
            main = {"embed", "pos_embed", str(reader)}
            if others := [norm for name, norm in norms.items() if name not in main]:
                yield min(norms[name] for name in main) / max(others)


@_statistic
def position_key_part(trial: Trial) -> Iterable[float]:
    """Mean norm of the PosEmbed part of the pointer's key at the target over the largest of the
    other parts."""
    for head in trial.composing:
        parts = approximate_key_parts(trial.model, trial.few, head).parts
        yield from (
            _over_the_next(_norms(parts, target), "pos_embed") for target in trial.parts.targets
        )


@_statistic
def reader_query_position_key(trial: Trial) -> Iterable[float]:
    """Root mean square, rows centred, of the pointer's score term reader × PosEmbed over the
    largest of the other terms."""
    for head in trial.composing:
        query, key = (
            parts(trial.model, trial.few, head).parts
            for parts in (approximate_query_parts, approximate_key_parts)
        )
        squares: dict[object, float] = {
            name: centred_mean_square(term).mean().item()
            for name, term in score_terms(query, key).items()
        }
        yield from (
            _over_the_next(squares, (str(reader), "pos_embed")) ** 0.5
            for reader in trial.parts.readers
        )


@_statistic
def composition_lead(trial: Trial) -> Iterable[float]:
    """Q-composition score of the reader with the pointer, through the first MLP, less the largest
    of the other components."""
    if not trial.composing:
        return
    scores = composition_scores(trial.model, side="Q", mlp=True)
    for head in trial.composing:
        for reader in trial.parts.readers:
            others = [
                by_head[head.index].item()
                for name, by_head in scores.items()
                if name != str(reader)
            ]
            yield scores[str(reader)][head.index].item() - max(others)


def _others(count: int, chosen: tuple[int, ...]) -> list[int]:
    return [index for index in range(count) if index not in chosen]
