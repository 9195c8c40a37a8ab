"""Statistics of the reader's weights."""

from __future__ import annotations

from collections.abc import Iterable

from circuits.bounds import anchor_attention, anchor_score_extremes, query_offset
from circuits.chance.statistic import all_but, statistic
from circuits.directions import (
    anchor_key_norm_ratio,
    degree_direction,
    key_norm_ratio,
    neighbour_queries,
    positional_keys,
    positional_offset,
    profile,
    score_per_neighbour,
)
from circuits.queries import positional_scores
from circuits.trial import Trial


@statistic
def neighbour_cosine(trial: Trial) -> Iterable[float]:
    """Smallest cosine of a row of the reader's W_E W_Q with v, their mean."""
    for reader in trial.parts.readers:
        yield (
            profile(neighbour_queries(trial.model, reader), degree_direction(trial.model, reader))
            .cosine.min()
            .item()
        )


@statistic
def opposed_position_cosine(trial: Trial) -> Iterable[float]:
    """Smallest cosine of a row of the reader's W_pos W_Q with −v."""
    for reader in trial.parts.readers:
        yield -positional_offset(trial.model, reader).cosine.max().item()


@statistic
def query_near_degree_minus_two(trial: Trial) -> Iterable[float]:
    """Largest distance of (q·v)/(v·v) from degree − 2 over all positions and neighbourhoods, with a
    minus sign."""
    for reader in trial.parts.readers:
        offset = query_offset(trial.model, reader)
        yield -max(abs(offset.low + 2), abs(offset.high + 2))


@statistic
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


@statistic
def gap_between_degrees(trial: Trial) -> Iterable[float]:
    """Smallest gap between the certified intervals of the reader's attention to the anchors at
    degrees d and d + 1, up to 6."""
    for reader, anchors in trial.parts.readers.items():
        intervals = anchor_attention(trial.model, reader, anchors)
        yield min(intervals[d + 1].low - intervals[d].high for d in range(min(6, max(intervals))))


@statistic
def anchor_key_cosine(trial: Trial) -> Iterable[float]:
    """Smallest cosine with v of a row of the reader's W_pos W_K at an anchor."""
    for reader, anchors in trial.parts.readers.items():
        yield positional_keys(trial.model, reader).cosine[list(anchors)].min().item()


@statistic
def anchor_lead(trial: Trial) -> Iterable[float]:
    """What a neighbour adds to the reader's score at an anchor, at the least, over the most that it
    adds elsewhere: difference."""
    for reader, anchors in trial.parts.readers.items():
        scores = score_per_neighbour(trial.model, reader)
        yield (scores[list(anchors)].min() - scores[all_but(len(scores), anchors)].max()).item()


@statistic
def anchor_key_norm(trial: Trial) -> Iterable[float]:
    """Smallest norm of a row of the reader's W_pos W_K at an anchor over the largest elsewhere."""
    for reader, anchors in trial.parts.readers.items():
        yield anchor_key_norm_ratio(trial.model, reader, anchors)


@statistic
def positional_key_norm(trial: Trial) -> Iterable[float]:
    """Mean norm of the rows of the reader's W_pos W_K over that of the rows of W_E W_K."""
    for reader in trial.parts.readers:
        yield key_norm_ratio(trial.model, reader)


@statistic
def positional_score_below_zero(trial: Trial) -> Iterable[float]:
    """Mean score of PosEmbed-query × PosEmbed-key of the reader at the anchors, with a minus
    sign."""
    for reader, anchors in trial.parts.readers.items():
        yield -positional_scores(trial.model, reader)[:, list(anchors)].mean().item()
