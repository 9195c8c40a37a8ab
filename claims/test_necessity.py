"""What the circuit is for: the question that the notebook leaves open (§2.2, last paragraph)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuits.ablation import ABLATIONS, head_ablated_logits
from circuits.attention import mean_over
from circuits.reduction import one_edge_to_degree_two, pruned_degree
from circuits.roles import Head
from circuits.statistics import bootstrap, clopper_pearson, only, paired_difference, smallest_rank_correlation
from circuits.subject import Subject

if TYPE_CHECKING:
    from verdicts.expectations import Expect


def _right_without(subject: Subject, head: Head) -> Bool[Tensor, " graph"]:
    """Whether each answer is right once the head is mean-ablated."""
    logits = head_ablated_logits(subject.model, subject.graphs.adjacency, head)
    return logits.argmax(-1) == subject.graphs.labels


@pytest.mark.claim(source="2.2", evidence="causal", about="reader", broken_by={"negated reader"})
def test_reader_is_necessary(subject: Subject, expect: Expect) -> None:
    """Mean-ablating the reader costs the right answer on more than one graph in twenty."""
    subject.require_both_classes()
    cfg, reader = subject.model.cfg, subject.roles.reader
    heads = [Head(layer, index) for layer in range(cfg.n_layers) for index in range(cfg.n_heads)]
    answers = {head: _right_without(subject, head) for head in heads}
    expect("ablated_accuracy", clopper_pearson(int(answers[reader].sum()), len(answers[reader])))
    expect("by_head", {str(head): ok.double().mean() for head, ok in answers.items()})
    order = smallest_rank_correlation(torch.stack([_accuracy_by_head(subject, heads, ablation) for ablation in ABLATIONS]))
    expect("order_over_ablations", order, note="every head is as good as every other" if order is None else None)
    lost, gained = int((subject.right & ~answers[reader]).sum()), int((~subject.right & answers[reader]).sum())
    expect(
        "accuracy_drop", paired_difference(lost, gained, len(subject.right)),
        at_least=0.05, because="one answer in twenty; half of all heads cost less than one in a hundred",
    )  # fmt: skip


def _accuracy_by_head(subject: Subject, heads: list[Head], ablation: str) -> Float[Tensor, " head"]:
    """Accuracy without each head, on `G/4`."""
    labels = subject.graphs.labels[::4]
    accuracies = []
    for head in heads:
        generator = subject.generator(f"ablation by {ablation}")  # the same for each head, whatever its index
        logits = head_ablated_logits(subject.model, subject.quarter, head, ablation=ablation, generator=generator)
        accuracies.append((logits.argmax(-1) == labels).double().mean())
    return torch.stack(accuracies)


@pytest.mark.claim(source="2.2", evidence="causal", about="pointer")
def test_pointer_is_dispensable(subject: Subject, expect: Expect) -> None:
    """Mean-ablating the pointer changes accuracy by less than one point."""
    subject.require_both_classes()
    right = _right_without(subject, subject.roles.pointer)
    lost, gained = int((subject.right & ~right).sum()), int((~subject.right & right).sum())
    # two one-sided tests at 5 %: the whole 90 % interval lies within the margin
    expect(
        "accuracy_drop", paired_difference(lost, gained, len(right), confidence=0.9),
        within=(-0.01, 0.01), because="one point, as the statement says",
    )  # fmt: skip
    expect(
        "ablated_accuracy", clopper_pearson(int(right.sum()), len(right)),
        at_least=0.9, because="a model that cannot tell planar graphs has no accuracy to lose",
    )  # fmt: skip


@pytest.mark.claim(source="2.2", evidence="estimated", about="pointer", broken_by={"exchanged target"})
def test_pointer_marks_vertices_that_planarity_ignores(subject: Subject, expect: Expect) -> None:
    """The vertices that attend to the target are those that planarity can ignore, rather than those of degree ≤ 2."""
    adjacency = subject.graphs.adjacency
    marked = subject.pattern(subject.roles.pointer)[..., subject.roles.target] > 0.5
    by_degree = (marked == (subject.degrees <= 2)).double().mean(1)
    by_pruned = (marked == (pruned_degree(adjacency) <= 2)).double().mean(1)

    def lead(means: Float[Tensor, "resample 2"]) -> Float[Tensor, " resample"]:
        return means[:, 1] - means[:, 0]

    agreement = torch.stack([by_degree, by_pruned], dim=1)
    expect("agreement_degree", bootstrap(by_degree[:, None], only, generator=subject.generator("agreement")))
    expect("agreement_pruned", bootstrap(by_pruned[:, None], only, generator=subject.generator("agreement")))
    expect(
        "agreement_lead", bootstrap(agreement, lead, generator=subject.generator("agreement")),
        at_least=0.0, because="leaves do not count",
    )  # fmt: skip
    chosen, in_triangle = one_edge_to_degree_two(adjacency)
    kinds = {"marked_with_triangle": chosen & in_triangle, "marked_without_triangle": chosen & ~in_triangle}
    for name, kind in kinds.items():
        expect.enough(f"vertices behind {name}", int(kind.sum()), needed=100)
        rate = mean_over(marked.double(), kind, generator=subject.generator(name)) if kind.any() else None
        expect(name, rate, note=None if kind.any() else "no such vertex")
    marks = [(marked & kind).double().sum(1) for kind in kinds.values()]
    per_graph = torch.stack(marks + [kind.double().sum(1) for kind in kinds.values()], dim=1)

    def difference(means: Float[Tensor, "resample 4"]) -> Float[Tensor, " resample"]:
        return means[:, 0] / means[:, 2] - means[:, 1] / means[:, 3]

    both = all(bool(kind.any()) for kind in kinds.values())
    expect(
        "triangle_lead", bootstrap(per_graph, difference, generator=subject.generator("triangles")) if both else None,
        at_least=0.2, because="far more frequent: a fifth of these vertices more; the most in 48 untrained models is 0.13",
        from_controls=True,
        note=None if both else "no such vertex",
    )  # fmt: skip
