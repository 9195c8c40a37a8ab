"""What the model does, whatever is inside it (notebook §0)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from circuits.statistics import share, worst_rate
from circuits.subject import Subject, answer
from claims.census import census_of
from claims.untrained import among_untrained
from models.graph6 import decode_lines
from models.graphs import edge_list, is_planar, random_graphs, relabel

if TYPE_CHECKING:
    from verdicts.expectations import Expect

RELABELLINGS = 3
UNIFORM_GRAPHS = 1000


@pytest.mark.claim(
    source="0", evidence="estimated", parts={"whole model"}, broken_by={"negated reader"}
)
def test_classifies_the_validation_set(subject: Subject, expect: Expect) -> None:
    """The model tells planar from non-planar graphs."""
    subject.require_both_classes()
    expect(
        "accuracy",
        share(subject.right),
        at_least=0.99,
        because="more than one error in a hundred is not telling them apart; guessing gives 0.5",
        kept=True,
    )
    among_untrained(subject, expect, "accuracy")


@pytest.mark.claim(source="0", evidence="estimated", parts={"whole model"})
def test_accurate_at_every_edge_count(subject: Subject, expect: Expect) -> None:
    """The model is right on 95 in 100 uniform random graphs of every number of edges from n to 3n −
    1, 10 to 29 for ten vertices."""
    subject.require_both_classes()
    n = subject.model.cfg.n_vertices
    hits, edges = [], []
    for m in range(n, min(3 * n, math.comb(n, 2) + 1)):
        graphs = subject.label(
            random_graphs(
                n,
                m,
                count=subject.drawn(UNIFORM_GRAPHS),
                generator=subject.generator(f"uniform graphs of {m} edges"),
            )
        )
        hits.append(answer(subject.model, graphs).argmax(-1) == is_planar(graphs))
        edges.append(torch.full((len(graphs),), float(m)))
    expect(
        "worst_accuracy",
        worst_rate(torch.cat(hits), torch.cat(edges)),
        at_least=0.95,
        because=(
            "one error in twenty at the worst of them; where the classes balance, always the same"
            " answer is right half the time"
        ),
    )
    among_untrained(subject, expect, "worst_accuracy")


@pytest.mark.claim(source="0", evidence="estimated", parts={"whole model"})
def test_does_not_classify_by_edge_count(subject: Subject, expect: Expect) -> None:
    """The model is right on 95 in 100 graphs of each number of edges of the balanced set, where
    that number says nothing of the class."""
    subject.require_both_classes()
    edges = subject.graphs.adjacency.sum((1, 2)) / 2
    expect(
        "worst_balanced_accuracy",
        worst_rate(subject.right, edges),
        at_least=0.95,
        because=(
            "one error in twenty at the worst of them; a model that counts edges is right half the"
            " time"
        ),
    )
    among_untrained(subject, expect, "worst_accuracy")


@pytest.mark.claim(source="0", evidence="estimated", parts={"whole model"})
def test_answers_survive_relabelling(subject: Subject, expect: Expect) -> None:
    """Renaming the vertices of a graph changes fewer than 1 answer in 100."""
    subject.require_both_classes()
    answers = subject.logits.argmax(-1)
    generator = subject.generator("relabellings")
    renamed = [subject.label(relabel(subject.unlabelled, generator)) for _ in range(RELABELLINGS)]
    flips = torch.stack([answer(subject.model, graphs).argmax(-1) != answers for graphs in renamed])
    # a graph's share of flipped answers varies less than a yes or no, so the limits are
    # conservative
    expect(
        "flip_rate",
        share(flips.double().mean(0)),
        at_most=0.01,
        because="fewer than 1 in 100, as the statement says",
    )
    expect(
        "rarer_answer",
        share(answers == answers.bincount(minlength=2).argmin()),
        at_least=0.25,
        because=(
            "a model that always answers the same survives any relabelling; the classes are"
            " balanced, so half is right"
        ),
    )
    among_untrained(subject, expect, "agreement_under_relabelling")


@pytest.mark.claim(source="0", evidence="exhausted", parts={"whole model"})
def test_right_on_every_graph_of_the_range(subject: Subject, expect: Expect) -> None:
    """The model is right on every graph with a number of edges that it was trained on, in a random
    labelling of each."""
    subject.require_both_classes()
    if subject.searching:
        census = census_of(subject)
        graphs, wrong = census.graphs, census.wrong
        expect("accuracy", census.accuracy())
        expect(
            "accuracy_of_labelled_graphs",
            census.accuracy(labelled=True),
            note="each graph counted as often as it has labellings",
        )
        if census.first_wrong is not None:
            n = subject.model.cfg.n_vertices
            graph = decode_lines(f"{census.first_wrong}\n".encode(), n_vertices=n)
            names = ["non-planar", "planar"]
            label = bool(is_planar(graph)[0])
            expect.show_counterexample(
                graph6=census.first_wrong,
                edges=" ".join(f"{i}-{j}" for i, j in edge_list(graph[0])),
                label=names[label],
                answer=names[not label],
            )
    else:  # other weights have no census: some of the graphs are enough to break it
        graphs, wrong = len(subject.right), int((~subject.right).sum())
    expect("graphs", graphs)
    expect(
        "wrong_graphs", wrong, at_most=0, because="one graph that it gets wrong is a counterexample"
    )
