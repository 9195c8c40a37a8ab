"""How the reader's query comes to hold degree minus two (notebook §2.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.attention import degrees, scores_of
from circuits.bounds import anchor_score_extremes, anchor_scores, query_offset
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
from claims.search import Domain, ForAll, Found, largest_over_any_graph, show_smallest
from claims.untrained import among_untrained
from models.graphs import Adjacency

if TYPE_CHECKING:
    from verdicts.expectations import Expect

PROOF_MARGIN = 1e-6
ROUNDING = 1e-9  # of a query or score in float64
W_POS_IS_LARGE = {
    "fresh weights": "W_pos is larger than W_E at initialisation",
    "scrambled heads": "so are its keys in every head",
}


@pytest.mark.claim(
    source="2.1",
    evidence="exact",
    parts={"Embed", "reader"},
    gauge={"head basis"},
    about="reader",
    companion="adding_an_edge_raises_anchor_attention",
)
def test_every_neighbour_adds_the_same_query_vector(subject: Subject, expect: Expect) -> None:
    """The rows of W_E W_Q of the reader are all nearly v, their mean."""
    cosine = profile(
        neighbour_queries(subject.model, subject.roles.reader),
        degree_direction(subject.model, subject.roles.reader),
    ).cosine
    expect(
        "smallest_cosine",
        cosine.min(),
        at_least=0.9,
        because="within 26° of v",
        from_controls=True,
    )
    among_untrained(subject, expect, "neighbour_cosine")


@pytest.mark.claim(
    source="2.1",
    evidence="exact",
    parts={"PosEmbed", "reader"},
    gauge={"W_pos constant", "head basis"},
    about="reader",
    companion="anchor_scores_change_sign_above_degree_two",
)
def test_position_subtracts_two_neighbours(subject: Subject, expect: Expect) -> None:
    """W_pos W_Q of the reader is −2v at every position: the query starts two neighbours short."""
    offset = positional_offset(subject.model, subject.roles.reader)
    expect(
        "mean_coefficient",
        offset.coefficient.mean(),
        within=(-2.5, -1.5),
        because="−2 to the nearest whole neighbour",
    )
    expect(
        "coefficient_std",
        offset.coefficient.std(),
        at_most=0.2,
        because="the same to a fifth of a neighbour",
        from_controls=True,
    )
    expect(
        "largest_cosine",
        offset.cosine.max(),
        at_most=-0.9,
        because="within 26° of −v",
        from_controls=True,
    )
    among_untrained(subject, expect, "opposed_position_cosine")


@pytest.mark.claim(
    source="2.1",
    evidence="proved",
    gauge={"head basis"},
    about="reader",
    companion="anchor_scores_change_sign_above_degree_two",
)
def test_query_holds_degree_minus_two(subject: Subject, expect: Expect) -> None:
    """The reader's whole query, b_Q included, reads degree minus two at every position and for
    every neighbourhood."""
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
    among_untrained(subject, expect, "query_near_degree_minus_two")


@pytest.mark.claim(source="2.1", evidence="proved", about="reader", broken_by={"negated reader"})
def test_anchor_scores_change_sign_above_degree_two(subject: Subject, expect: Expect) -> None:
    """In every graph the reader's score at the anchors is negative at each vertex of degree ≤ 2 and
    positive at all others."""
    subject.require_degree(3)
    reader, anchors = subject.roles.reader, subject.roles.anchors
    extremes, n = (
        anchor_score_extremes(subject.model, reader, anchors),
        subject.model.cfg.n_vertices,
    )
    greatest = max((extremes[d].greatest for d in range(3)), key=lambda one: one.value)
    least = min((extremes[d].least for d in range(3, n)), key=lambda one: one.value)
    expect(
        "certified_largest_at_two",
        greatest.value,
        at_most=-PROOF_MARGIN,
        because="negative, by a margin far above rounding in float64",
    )
    expect(
        "certified_smallest_at_three",
        least.value,
        at_least=PROOF_MARGIN,
        because="positive, by a margin far above rounding in float64",
    )

    in_float64 = scores_of(subject.in_float64, reader)

    def scores_at(graphs: Adjacency) -> Float[Tensor, "batch vertex"]:
        scores = in_float64(graphs.double())
        return (scores - scores.mean(-1, keepdim=True))[..., list(anchors)].mean(-1)

    def excess(graph: Adjacency) -> float:
        bounds = [extremes[d] for d in degrees(graph)[0].tolist()]
        return max(
            max(one.least.value - score, score - one.greatest.value)
            for score, one in zip(scores_at(graph)[0].tolist(), bounds, strict=True)
        )

    # an extreme is reached but for rounding, which is another on each machine
    expect(
        "largest_excess",
        round(largest_over_any_graph(subject, excess), 12) + 0.0,
        at_most=ROUNDING,
        because="what the model does on a graph lies inside the interval certified for it",
    )

    def on_the_right_side(graphs: Adjacency) -> Float[Tensor, "batch vertex"]:
        return torch.where(degrees(graphs) <= 2, -scores_at(graphs), scores_at(graphs))

    statement = ForAll(on_the_right_side, Domain(n, 0, math.comb(n, 2)), bound=PROOF_MARGIN)
    worst = [Found(-greatest.value, greatest.graph), Found(least.value, least.graph)]
    show_smallest(worst, expect, statement)
    # against the positional keys alone, the Embed part left out
    scores = anchor_scores(subject.model, reader, anchors)
    expect("largest_at_two", scores.largest(up_to=2))
    expect("smallest_at_three", scores.smallest(from_=3))
    crossing = scores.crossing_degree()
    expect(
        "crossing_degree",
        crossing,
        note="the score does not depend on degree" if crossing is None else None,
    )
    among_untrained(subject, expect, "score_sign_at_the_anchors")


@pytest.mark.claim(
    source="2.1",
    evidence="exact",
    parts={"PosEmbed", "reader"},
    gauge={"W_pos constant", "head basis"},
    about="reader",
    companion="anchor_attention_grows_with_degree",
    broken_by={"negated reader"},
)
def test_anchor_keys_point_along_the_degree_direction(subject: Subject, expect: Expect) -> None:
    """The rows of W_pos W_K of the reader at the anchors point along v, and no other position's as
    strongly."""
    reader, anchors = subject.roles.reader, list(subject.roles.anchors)
    cosine = positional_keys(subject.model, reader).cosine
    expect(
        "smallest_anchor_cosine",
        cosine[anchors].min(),
        at_least=0.9,
        because="within 26° of v",
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
        because="no other position as strongly: a tenth of a neighbour's score less, at the least",
        from_controls=True,
    )
    among_untrained(subject, expect, "anchor_key_cosine", "anchor_lead")


@pytest.mark.claim(
    source="2.1",
    evidence="exact",
    parts={"Embed", "PosEmbed", "reader"},
    gauge={"W_pos constant", "head basis"},
    about="reader",
    companion="anchor_attention_grows_with_degree",
    spared=W_POS_IS_LARGE,
    at_chance="how much of it comes from position is what retrained models are compared by",
)
def test_key_comes_mostly_from_position(subject: Subject, expect: Expect) -> None:
    """W_pos W_K is most of the reader's key: its rows are on average longer than those of W_E
    W_K."""
    ratio = key_norm_ratio(subject.model, subject.roles.reader)
    expect("norm_ratio", ratio, at_least=1.0, because="longer, as the statement says")
    among_untrained(subject, expect, "positional_key_norm")
