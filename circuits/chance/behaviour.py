"""Statistics of the roles as they are found, and of the answers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from circuits.ablation import HeadAblations
from circuits.attention import degree_contrast, degrees, head_pattern
from circuits.attribution import logit_attribution, logit_diff_directions, neuron_attribution
from circuits.chance.statistic import statistic
from circuits.directions import anchor_gaps, score_per_neighbour
from circuits.finder import reader_scores
from circuits.trial import Trial
from models.randomness import named_generator

PLANAR = 1


@statistic
def reader_score(trial: Trial) -> Iterable[float]:
    """Mean cosine of the rows of W_E W_Q with v, times the correlation of degree with the reader's
    attention to its anchors."""
    scores = reader_scores(trial.model, trial.finding, degrees(trial.finding))
    yield from (scores[reader] for reader in trial.parts.readers)


@statistic
def anchor_gap(trial: Trial) -> Iterable[float]:
    """Gap, in what a neighbour adds to the reader's score, between the anchors and the next
    position."""
    yield from (
        anchor_gaps(score_per_neighbour(trial.model, reader)).get(anchors, 0.0)
        for reader, anchors in trial.parts.readers.items()
    )


@statistic
def pointer_contrast(trial: Trial) -> Iterable[float]:
    """Mean attention of the pointer to the target by vertices of degree at most 2, less that by
    vertices of degree at least 4."""
    degree = degrees(trial.finding)
    for head in trial.parts.pointers:
        contrast = degree_contrast(head_pattern(trial.model, trial.finding, head), degree)
        yield contrast[list(trial.parts.targets)].max().item()


@statistic
def accuracy(trial: Trial) -> Iterable[float]:
    """Share of right answers on balanced graphs."""
    yield trial.right.mean().item()


@statistic
def worst_accuracy(trial: Trial) -> Iterable[float]:
    """Share of right answers on balanced graphs, at the number of edges at which it is least."""
    edges = trial.graphs.sum((1, 2))
    yield min(trial.right[edges == count].mean().item() for count in edges.unique())


@statistic
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


@statistic
def accuracy_lost_without_the_reader(trial: Trial) -> Iterable[float]:
    """Share of right answers on balanced graphs, less that share once the reader's result is its
    mean over graphs."""
    for reader in trial.parts.readers:
        (without,) = HeadAblations(trial.model, trial.graphs).logits(reader)
        right = without.argmax(-1) == trial.labels
        yield trial.right.mean().item() - right.double().mean().item()


@statistic
def share_of_the_last_mlp(trial: Trial) -> Iterable[float]:
    """Mean part of the last MLP in the difference between the logits of label and other class, over
    the sizes of all parts together."""
    if trial.model.cfg.attn_only:
        return
    found = logit_attribution(
        trial.model, trial.graphs, logit_diff_directions(trial.model, trial.labels)
    ).means()
    yield found[f"mlp_{trial.model.cfg.n_layers - 1}"] / sum(map(abs, found.values()))


@statistic
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
