"""Statistics of what composes with the pointer, on eight graphs."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from circuits.ablation import swap_partners
from circuits.chance.statistic import all_but, over_the_next, statistic
from circuits.coalitions import notebook_coalitions, shapley_values
from circuits.composition import composition_scores
from circuits.queries import (
    Parts,
    approximate_key_parts,
    approximate_query_parts,
    centred_mean_square,
    score_terms,
)
from circuits.trial import Trial


@statistic
def key_paths_change_little(trial: Trial) -> Iterable[float]:
    """Lowest mean score of the sets of paths into the pointer's key alone: 1 is no improvement."""
    for head in trial.composing:
        _, keys = trial.patched(head)
        yield keys.score[0, 1:].min().item()


@statistic
def reader_path_lead(trial: Trial) -> Iterable[float]:
    """Lowest mean score of the other single paths into the pointer, less that of the path from the
    reader to its query."""
    singles = [1 << component for component in range(1 + trial.model.cfg.n_heads)]
    for head in trial.composing:
        queries, keys = trial.patched(head)
        query, key = queries.score[singles, 0], keys.score[0, singles]
        for reader in trial.parts.readers:
            others = all_but(len(query), (1 + reader.index,))
            yield (torch.cat([query[others], key]).min() - query[1 + reader.index]).item()


@statistic
def second_helper(trial: Trial) -> Iterable[float]:
    """Second largest mean Shapley value of a path into the pointer's query from a head of layer 0
    other than the reader."""
    if trial.model.cfg.n_heads < 3:
        return
    for head in trial.composing:
        shares = shapley_values(1 - notebook_coalitions(trial.patched(head)[0].score))
        for reader in trial.parts.readers:
            helpers = all_but(1 + trial.model.cfg.n_heads, (0, 1 + reader.index))
            yield shares[helpers].topk(2).values[1].item()


@statistic
def swapped_columns(trial: Trial) -> Iterable[float]:
    """1 less the largest error over partners of a swap of two rows of W_pos on the path to the
    pointer's key, over the change."""
    for head in trial.composing:
        partners = swap_partners(trial.model, trial.few, head, target=trial.target(head))
        yield 1 - max((errors.error / errors.change).mean().item() for errors in partners.values())


def _norms(parts: Parts, at: int | None = None) -> dict[object, float]:
    means = {name: part.norm(dim=-1).mean(0) for name, part in parts.items()}
    return {name: (norm.mean() if at is None else norm[at]).item() for name, norm in means.items()}


@statistic
def main_query_parts(trial: Trial) -> Iterable[float]:
    """Least mean norm of the Embed, PosEmbed and reader parts of the pointer's query over the
    largest of the others."""
    for head in trial.composing:
        norms = _norms(approximate_query_parts(trial.model, trial.few, head).parts)
        for reader in trial.parts.readers:
            main = {"embed", "pos_embed", str(reader)}
            if others := [norm for name, norm in norms.items() if name not in main]:
                yield min(norms[name] for name in main) / max(others)


@statistic
def position_key_part(trial: Trial) -> Iterable[float]:
    """Mean norm of the PosEmbed part of the pointer's key at the target over the largest of the
    other parts."""
    for head in trial.composing:
        parts = approximate_key_parts(trial.model, trial.few, head).parts
        yield from (
            over_the_next(_norms(parts, target), "pos_embed") for target in trial.parts.targets
        )


@statistic
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
            over_the_next(squares, (str(reader), "pos_embed")) ** 0.5
            for reader in trial.parts.readers
        )


@statistic
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
