"""How the reader's query comes to hold degree minus two (notebook §2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from circuits.attention import degrees
from circuits.bounds import anchor_scores, query_offset
from circuits.directions import (
    degree_direction,
    key_norm_ratio,
    neighbour_queries,
    positional_keys,
    positional_offset,
    profile,
    score_per_neighbour,
)
from circuits.subject import Subject
from claims.search import largest_over_any_graph
from models.graphs import Adjacency

if TYPE_CHECKING:
    from verdicts.expectations import Expect

PROOF_MARGIN = 1e-6
ROUNDING = 1e-9  # of a query in float64


@pytest.mark.claim(source="2.1", evidence="exact", gauge={"head basis"}, about="reader", companion="adding_an_edge_raises_anchor_attention")
def test_every_neighbour_adds_the_same_query_vector(subject: Subject, expect: Expect) -> None:
    """The rows of W_E W_Q of the reader are all nearly v, their mean."""
    cosine = profile(neighbour_queries(subject.model, subject.roles.reader), degree_direction(subject.model, subject.roles.reader)).cosine
    expect(
        "smallest_cosine",
        cosine.min(),
        at_least=0.9,
        because="within 26° of v; of 480 untrained heads none exceeds 0.28",
        from_controls=True,
    )


@pytest.mark.claim(
    source="2.1",
    evidence="exact",
    gauge={"W_pos constant", "head basis"},
    about="reader",
    companion="anchor_scores_change_sign_above_degree_two",
)
def test_position_subtracts_two_neighbours(subject: Subject, expect: Expect) -> None:
    """W_pos W_Q of the reader is −2v at every position: the query starts two neighbours short."""
    offset = positional_offset(subject.model, subject.roles.reader)
    expect("mean_coefficient", offset.coefficient.mean(), within=(-2.5, -1.5), because="−2 to the nearest whole neighbour")
    expect(
        "coefficient_std",
        offset.coefficient.std(),
        at_most=0.2,
        because="the same to a fifth of a neighbour; the best of 480 untrained heads is 1.14, of heads in each other's place 0.33",
        from_controls=True,
    )
    expect(
        "largest_cosine",
        offset.cosine.max(),
        at_most=-0.9,
        because="within 26° of −v; of 480 untrained heads none goes below −0.04",
        from_controls=True,
    )


@pytest.mark.claim(
    source="2.1", evidence="proved", gauge={"head basis"}, about="reader", companion="anchor_scores_change_sign_above_degree_two"
)
def test_query_holds_degree_minus_two(subject: Subject, expect: Expect) -> None:
    """The reader's whole query, b_Q included, reads degree minus two at every position and for every neighbourhood."""
    model, reader = subject.in_float64, subject.roles.reader
    offset = query_offset(model, reader)
    because = "−2 to the nearest whole neighbour"
    expect("offset_low", offset.low, at_least=-2.5 + PROOF_MARGIN, because=because)
    expect("offset_high", offset.high, at_most=-1.5 - PROOF_MARGIN, because=because)
    v, hook = degree_direction(model, reader), "blocks.0.attn.hook_q"

    def excess(graph: Adjacency) -> float:
        _, cache = model.run_with_cache(graph, names_filter=hook, stop_at_layer=1)
        read = cache[hook][0, :, reader.index] @ v / (v @ v) - degrees(graph)[0]
        return max(offset.low - read.min().item(), read.max().item() - offset.high)

    expect(
        "largest_excess",
        largest_over_any_graph(subject, excess),
        at_most=ROUNDING,
        because="what the model does on a graph lies inside the interval certified for it",
    )


@pytest.mark.claim(source="2.1", evidence="proved", about="reader", broken_by={"negated reader"})
def test_anchor_scores_change_sign_above_degree_two(subject: Subject, expect: Expect) -> None:
    """The reader's score at the anchors is negative for every neighbourhood of at most 2 vertices and positive for all others."""
    subject.require_degree(3)
    scores = anchor_scores(subject.model, subject.roles.reader, subject.roles.anchors)
    expect("largest_at_two", scores.largest(up_to=2), at_most=-PROOF_MARGIN, because="negative, by a margin far above rounding in float64")
    expect(
        "smallest_at_three", scores.smallest(from_=3), at_least=PROOF_MARGIN, because="positive, by a margin far above rounding in float64"
    )
    crossing = scores.crossing_degree()
    note = "the score does not depend on degree" if crossing is None else None
    expect("crossing_degree", crossing, within=(2.0, 3.0), because="the sign changes between 2 and 3", note=note)


@pytest.mark.claim(
    source="2.1",
    evidence="exact",
    gauge={"W_pos constant", "head basis"},
    about="reader",
    companion="anchor_attention_grows_with_degree",
    broken_by={"negated reader"},
)
def test_anchor_keys_point_along_the_degree_direction(subject: Subject, expect: Expect) -> None:
    """The rows of W_pos W_K of the reader at the anchors point along v, and no other position's as strongly."""
    reader, anchors = subject.roles.reader, list(subject.roles.anchors)
    cosine = positional_keys(subject.model, reader).cosine
    expect(
        "smallest_anchor_cosine",
        cosine[anchors].min(),
        at_least=0.9,
        because="within 26° of v; of 480 untrained heads none exceeds 0.43",
        from_controls=True,
    )
    scores = score_per_neighbour(subject.model, reader)
    expect("score_per_neighbour", scores)
    others = [position for position in range(len(scores)) if position not in anchors]
    lead = scores[anchors].min() - scores[others].max()
    expect(
        "anchor_lead",
        lead,
        at_least=0.1,
        because="no other position as strongly; by chance the best of 480 untrained heads leads by 0.04",
        from_controls=True,
    )


@pytest.mark.claim(
    source="2.1", evidence="exact", gauge={"W_pos constant", "head basis"}, about="reader", companion="anchor_attention_grows_with_degree"
)
def test_key_comes_mostly_from_position(subject: Subject, expect: Expect) -> None:
    """W_pos W_K is most of the reader's key, more than in any untrained head."""
    ratio = key_norm_ratio(subject.model, subject.roles.reader)
    expect(
        "norm_ratio",
        ratio,
        at_least=6.6,
        because="holds at initialisation, where W_pos is large: the largest of 480 untrained heads is 6.54",
        from_controls=True,
    )
