"""Head 1.6 of the author's model: low-degree vertices attend to one position (notebook §1.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from jaxtyping import Float
from scipy.special import expit
from torch import Tensor

from circuits.attention import (
    attention_log_odds,
    cutoff_degree,
    degrees,
    mean_by_degree,
    mean_over,
    scores_of,
)
from circuits.subject import Subject
from claims.search import Domain, ForAll, search
from claims.untrained import among_untrained
from models.graphs import Adjacency

if TYPE_CHECKING:
    from verdicts.expectations import Expect

HALF = "more than all other positions together"


def low_degree_attend(subject: Subject, domain: Domain) -> ForAll:
    """The statement that each vertex of degree ≤ 2 gives the target more than half of the pointer's
    attention.

    The search aims in log-odds: where attention rounds to 1 there would be no way down to see.
    """
    scores, position = scores_of(subject.model, subject.roles.pointer), subject.roles.target

    def values(graphs: Adjacency) -> Float[Tensor, "batch vertex"]:
        log_odds = attention_log_odds(scores(graphs), position=position)
        return log_odds.masked_fill(degrees(graphs) > 2, math.inf)

    missing = "no graph had a vertex of degree at most 2"
    return ForAll(
        values, domain, bound=0.0, shown=lambda log_odds: float(expit(log_odds)), missing=missing
    )


@pytest.mark.claim(
    source="1.1",
    evidence="searched",
    about="pointer",
    broken_by={"negated reader", "exchanged target"},
)
def test_low_degree_vertices_attend_to_the_target(subject: Subject, expect: Expect) -> None:
    """In every graph of 15 to 20 edges each vertex of degree ≤ 2 gives the target more than half of
    the pointer's attention."""
    attention = subject.pattern(subject.roles.pointer)[..., subject.roles.target]
    low = subject.degrees <= 2
    expect.enough("vertices of degree at most 2 on the validation set", int(low.sum()), needed=100)
    smallest = attention[low].min() if low.any() else None
    expect(
        "smallest_attention",
        smallest,
        at_least=0.5,
        because=HALF,
        note="no vertex of degree at most 2" if smallest is None else None,
    )
    domain = Domain(subject.model.cfg.n_vertices, subject.edge_counts[0], subject.edge_counts[-1])
    _search(subject, expect, domain)
    among_untrained(subject, expect, "low_degree_attention")


@pytest.mark.claim(source="1.1", evidence="searched", about="pointer")
def test_they_do_so_beyond_the_training_range(subject: Subject, expect: Expect) -> None:
    """In every graph of 0 to 24 edges, too, each vertex of degree ≤ 2 gives the target more than
    half of the pointer's attention."""
    n = subject.model.cfg.n_vertices
    domain = Domain(n, 0, 3 * n - 6)  # no planar graph has more
    _search(subject, expect, domain)
    among_untrained(subject, expect, "low_degree_attention_on_wide_graphs")


def _search(subject: Subject, expect: Expect, domain: Domain) -> None:
    worst = search(subject, expect, low_degree_attend(subject, domain))
    expect("worst_found", worst.value, at_least=0.5, because=HALF, note=worst.note)


@pytest.mark.claim(
    source="1.1",
    evidence="estimated",
    about="pointer",
    broken_by={"negated reader", "exchanged target"},
    at_chance=(
        "some untrained head ignores some position at every degree: what is learnt is to do so at"
        " high degrees alone"
    ),
)
def test_high_degree_vertices_ignore_the_target(subject: Subject, expect: Expect) -> None:
    """Vertices of degree ≥ 4 give the target at most a fiftieth of the pointer's attention, on
    average."""
    attention = subject.pattern(subject.roles.pointer)[..., subject.roles.target]
    subject.require_degree(4)
    high = subject.degrees >= 4
    expect.enough("vertices of degree at least 4", int(high.sum()), needed=100)
    mean = (
        mean_over(attention, high, generator=subject.generator("mean attention of high degree"))
        if high.any()
        else None
    )
    expect(
        "mean_attention",
        mean,
        at_most=0.02,
        because="a fifth of what even attention over ten positions would give it",
        note=None if mean else "no vertex of degree at least 4",
    )
    among_untrained(subject, expect, "little_high_degree_attention")


@pytest.mark.claim(
    source="1.1",
    evidence="estimated",
    about="pointer",
    broken_by={"negated reader", "exchanged target"},
)
def test_attention_switches_off_above_degree_two(subject: Subject, expect: Expect) -> None:
    """The mean attention to the target falls through one half between degree 2 and degree 3."""
    attention = subject.pattern(subject.roles.pointer)[..., subject.roles.target]
    subject.require_degree(3)
    for degree in (2, 3):
        expect.enough(
            f"vertices of degree {degree}", int((subject.degrees == degree).sum()), needed=100
        )
    expect("attention_by_degree", mean_by_degree(attention, subject.degrees))
    cutoff = cutoff_degree(attention, subject.degrees, generator=subject.generator("cutoff degree"))
    note = "the mean attention never falls through one half" if cutoff is None else None
    expect(
        "cutoff_degree",
        cutoff,
        within=(2.0, 3.0),
        because="between 2 and 3, as the statement says",
        note=note,
    )
    among_untrained(subject, expect, "fall_above_degree_two")
