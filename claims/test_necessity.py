"""What the circuit is for: the question that the notebook leaves open (§2.2, last paragraph)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Bool
from torch import Tensor

from circuits.reduction import one_edge_to_degree_two, pruned_degree
from circuits.statistics import (
    difference,
    share,
    share_lost,
    smallest_rank_correlation,
    vertex_rate,
)
from circuits.subject import Subject
from claims.untrained import among_untrained
from verdicts.statistics import CONFIDENCE

if TYPE_CHECKING:
    from verdicts.expectations import Expect
    from verdicts.statistics import Estimate

Vertices = Bool[Tensor, "graph vertex"]


@pytest.mark.claim(
    source="2.2",
    evidence="causal",
    parts={"whole model", "reader", "other heads"},
    about="reader",
    broken_by={"negated reader"},
)
def test_reader_is_necessary(subject: Subject, expect: Expect) -> None:
    """Mean-ablating the reader costs the right answer on more than one graph in twenty."""
    subject.require_both_classes()
    reader = subject.roles.reader
    without_it = subject.right_without[reader]
    expect("ablated_accuracy", share(without_it))
    expect("by_head", {str(head): ok.double().mean() for head, ok in subject.right_without.items()})
    order = smallest_rank_correlation(subject.accuracy_by_ablation)
    expect(
        "order_over_ablations",
        order,
        note="every head is as good as every other" if order is None else None,
    )
    expect(
        "accuracy_drop",
        share_lost(subject.right, without_it),
        at_least=0.05,
        because="one answer in twenty, as the statement says",
    )
    among_untrained(subject, expect, "accuracy_lost_without_the_reader")


@pytest.mark.claim(
    source="2.2", evidence="causal", parts={"whole model", "pointer"}, about="pointer"
)
def test_pointer_is_dispensable(subject: Subject, expect: Expect) -> None:
    """Mean-ablating the pointer changes accuracy by less than one point."""
    subject.require_both_classes()
    (logits,) = subject.ablations.logits(subject.roles.pointer)
    right = logits.argmax(-1) == subject.graphs.labels
    # two one-sided tests at 5 %: the whole 90 % interval lies within the margin
    expect(
        "accuracy_drop",
        share_lost(subject.right, right, confidence=0.9),
        within=(-0.01, 0.01),
        because="one point, as the statement says",
    )
    expect(
        "ablated_accuracy",
        share(right),
        at_least=0.9,
        because="a model that cannot tell planar graphs has no accuracy to lose",
    )
    among_untrained(subject, expect, "accuracy")


@pytest.mark.claim(
    source="2.2", evidence="estimated", about="pointer", broken_by={"exchanged target"}
)
def test_pointer_marks_vertices_that_planarity_ignores(subject: Subject, expect: Expect) -> None:
    """The pointer marks by degree ≤ 2 less leaves rather than by degree ≤ 2, and at degree 3 a
    fifth more where a triangle closes."""
    adjacency = subject.graphs.adjacency
    marked = subject.pattern(subject.roles.pointer)[..., subject.roles.target] > 0.5
    by_degree, by_pruned = (
        marked == (subject.degrees <= 2),
        marked == (pruned_degree(adjacency) <= 2),
    )
    everywhere = torch.ones_like(marked)
    half = (1 + CONFIDENCE) / 2  # the tails of a difference: Bonferroni

    def lead(first: Vertices, second: Vertices, one: Vertices, other: Vertices) -> Estimate:
        return difference(
            vertex_rate(first, one, confidence=half), vertex_rate(second, other, confidence=half)
        )

    expect("agreement_degree", vertex_rate(by_degree, everywhere))
    expect("agreement_pruned", vertex_rate(by_pruned, everywhere))
    # those at which one of the two agrees: what both do alike says nothing
    expect(
        "agreement_lead",
        lead(by_pruned & ~by_degree, by_degree & ~by_pruned, everywhere, everywhere),
        at_least=0.0,
        because="leaves do not count",
    )
    chosen, in_triangle = one_edge_to_degree_two(adjacency)
    kinds = {
        "marked_with_triangle": chosen & in_triangle,
        "marked_without_triangle": chosen & ~in_triangle,
    }
    for name, kind in kinds.items():
        expect.enough(f"vertices behind {name}", int(kind.sum()), needed=100)
        expect(
            name,
            vertex_rate(marked, kind) if kind.any() else None,
            note=None if kind.any() else "no such vertex",
        )
    both = all(bool(kind.any()) for kind in kinds.values())
    expect(
        "triangle_lead",
        lead(marked, marked, *kinds.values()) if both else None,
        at_least=0.2,
        because="a fifth of these vertices more, as the statement says",
        from_controls=True,
        note=None if both else "no such vertex",
    )
    among_untrained(subject, expect, "pruned_degree_marked", "triangles_marked")
