"""Head 0.2 of the author's model: attention to the anchors grows with degree (notebook §1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.attention import degrees, entropy_share, scores_of, smallest_rise
from circuits.bounds import anchor_attention
from circuits.directions import anchor_key_norm_ratio
from circuits.queries import (
    centred_mean_square,
    key_parts,
    positional_scores,
    query_parts,
    score_terms,
)
from circuits.statistics import bootstrap, lowest, only, ratio, root_ratio
from circuits.subject import Subject
from claims.search import Domain, ForAll, largest_over_any_graph, search
from claims.untrained import among_untrained
from models.graphs import Adjacency
from models.kernels import softmax

if TYPE_CHECKING:
    from verdicts.expectations import Expect

PROOF_MARGIN = 1e-6
ROUNDING = 1e-9  # of attention in float64


@pytest.mark.claim(source="1.3", evidence="proved", about="reader", broken_by={"negated reader"})
def test_anchor_attention_grows_with_degree(subject: Subject, expect: Expect) -> None:
    """In every graph the reader's attention to the anchors tells the degrees 0 to 6 apart: their
    certified intervals do not meet."""
    reader, anchors = subject.roles.reader, subject.roles.anchors
    intervals = anchor_attention(subject.model, reader, anchors)
    expect("intervals", intervals)
    top = min(6, max(intervals))
    gap = min(intervals[d + 1].low - intervals[d].high for d in range(top))
    expect(
        "smallest_gap",
        gap,
        at_least=PROOF_MARGIN,
        because="they do not meet, by a margin far above rounding in float64",
        note=f"no vertex has a degree above {top}" if top < 6 else None,
    )

    scores = scores_of(subject.in_float64, reader)

    def excess(graph: Adjacency) -> float:
        attention = softmax(scores(graph.double()))[0][:, list(anchors)].sum(-1).tolist()
        certified = [intervals[d] for d in degrees(graph)[0].tolist()]
        return max(
            max(bounds.low - value, value - bounds.high)
            for value, bounds in zip(attention, certified, strict=True)
        )

    expect(
        "largest_excess",
        largest_over_any_graph(subject, excess),
        at_most=ROUNDING,
        because="what the model does on a graph lies inside the interval certified for it",
    )
    among_untrained(subject, expect, "gap_between_degrees")


@pytest.mark.claim(source="1.3", evidence="searched", about="reader", broken_by={"negated reader"})
def test_adding_an_edge_raises_anchor_attention(subject: Subject, expect: Expect) -> None:
    """In every graph of at most 24 edges, one more edge at a vertex of degree at most 5 raises its
    attention to the anchors."""
    reader, anchors, n = subject.roles.reader, subject.roles.anchors, subject.model.cfg.n_vertices

    def values(graphs: Adjacency) -> Float[Tensor, "batch vertex"]:
        return smallest_rise(subject.model, graphs, reader, positions=anchors, max_degree=5)

    statement = ForAll(values, Domain(n, 0, 3 * n - 6), bound=1e-6, missing="no vertex could rise")
    because = "a rise, by more than float32 rounds attention"
    worst = search(subject, expect, statement)
    expect("smallest_rise", worst.value, at_least=statement.bound, because=because, note=worst.note)
    among_untrained(subject, expect, "rise_by_an_edge")


@pytest.mark.claim(
    source="1.3",
    evidence="estimated",
    about="reader",
    spared={
        "scrambled heads": (
            "a query that meets the key of another head finds nothing there, and attends evenly"
        ),
        "fresh weights": "an untrained head attends evenly at every degree",
    },
    at_chance=(
        "untrained heads are as even: what the reader learns is to be so at low degrees alone"
    ),
)
def test_low_degree_vertices_attend_evenly(subject: Subject, expect: Expect) -> None:
    """Vertices of degree ≤ 2 spread the reader's attention over the positions with nine tenths of
    the greatest entropy, on average."""
    entropy = entropy_share(subject.pattern(subject.roles.reader))
    members = []
    for degree in (0, 1, 2):
        chosen = subject.degrees == degree
        expect.enough(
            f"graphs with a vertex of degree {degree}", int(chosen.any(1).sum()), needed=30
        )
        members.append(torch.stack([(entropy * chosen).sum(1), chosen.double().sum(1)], dim=1))
    sums = torch.stack(members)
    present = [degree for degree in (0, 1, 2) if sums[degree, :, 1].any()]
    expect(
        "entropy_share",
        {degree: ratio(sums[degree].double().mean(0)[None])[0] for degree in present},
    )
    smallest = (
        lowest(sums, ratio, generator=subject.generator("entropy at low degree"))
        if len(present) == 3
        else None
    )
    expect(
        "smallest_entropy_share",
        smallest,
        at_least=0.9,
        because="nine tenths, as the statement says, at the degree at which it is least",
        note=None if smallest else "a degree does not occur",
    )
    among_untrained(subject, expect, "evenness_at_low_degree")


@pytest.mark.claim(
    source="1.3",
    evidence="estimated",
    parts={"Embed", "reader"},
    about="reader",
    gauge={"W_pos constant", "head basis"},
    companion="anchor_attention_grows_with_degree",
)
def test_degree_enters_through_the_query(subject: Subject, expect: Expect) -> None:
    """The Embed part of the reader's key at the anchors is at most a fifth of the PosEmbed part:
    degree enters through the query."""
    reader, anchors, graphs = (
        subject.roles.reader,
        list(subject.roles.anchors),
        subject.graphs.adjacency,
    )
    query_norms = query_parts(subject.model, graphs, reader)["embed"].norm(dim=-1).mean(0)
    # only reported: the vertices of a random graph are alike, so no model could fail it
    expect("query_norm_variation", query_norms.std() / query_norms.mean())
    key = key_parts(subject.model, graphs, reader)
    share = (
        key["embed"].norm(dim=-1)[:, anchors].mean(1)
        / key["pos_embed"].norm(dim=-1)[0, anchors].mean()
    )
    expect(
        "key_embed_share",
        bootstrap(share[:, None], only, generator=subject.generator("key norms")),
        at_most=0.2,
        because="a fifth, as the statement says",
        from_controls=True,
    )
    among_untrained(subject, expect, "small_embed_part_of_the_key")


@pytest.mark.claim(
    source="1.3",
    evidence="exact",
    parts={"PosEmbed", "reader"},
    gauge={"W_pos constant", "head basis"},
    about="reader",
    companion="anchor_attention_grows_with_degree",
    spared={
        "fresh weights": "the trained anchors are the largest of an untrained head once in 45 draws"
    },
    at_chance=(
        "anchors are chosen by what lies along v: that their keys are long as well is stated"
        " beside it"
    ),
)
def test_anchor_positions_enter_through_the_key(subject: Subject, expect: Expect) -> None:
    """The PosEmbed part of the reader's key is largest at the anchors."""
    ratio = anchor_key_norm_ratio(subject.model, subject.roles.reader, subject.roles.anchors)
    expect(
        "key_norm_ratio",
        ratio,
        at_least=1.0,
        because="largest, as the statement says",
    )
    among_untrained(subject, expect, "anchor_key_norm")


@pytest.mark.claim(
    source="1.3",
    evidence="estimated",
    parts={"Embed", "PosEmbed", "reader"},
    gauge={"W_pos constant"},
    about="reader",
    companion="anchor_attention_grows_with_degree",
)
def test_embed_query_meets_position_key(subject: Subject, expect: Expect) -> None:
    """Of the four terms of the reader's score, Embed-query × PosEmbed-key varies most."""
    reader, graphs = subject.roles.reader, subject.graphs.adjacency
    terms = score_terms(
        query_parts(subject.model, graphs, reader), key_parts(subject.model, graphs, reader)
    )
    squares = torch.stack(
        [centred_mean_square(term).expand(len(graphs)) for term in terms.values()], dim=1
    )
    short = {"embed": "embed", "pos_embed": "pos"}
    expect(
        "rms",
        {
            f"{short[q]}_{short[k]}": square.sqrt()
            for (q, k), square in zip(terms, squares.mean(0), strict=True)
        },
    )
    main = list(terms).index(("embed", "pos_embed"))
    others = [i for i in range(len(terms)) if i != main]

    beside = torch.stack(
        [squares[:, [main]].expand(-1, len(others)), squares[:, others]], dim=-1
    ).transpose(0, 1)
    expect(
        "rms_over_next",
        lowest(beside, root_ratio, generator=subject.generator("score terms")),
        at_least=1.0,
        because="the largest of the four",
        from_controls=True,
    )
    among_untrained(subject, expect, "embed_query_position_key")


@pytest.mark.claim(
    source="1.3",
    evidence="exact",
    parts={"PosEmbed", "reader"},
    gauge={"W_pos constant"},
    about="reader",
    companion="anchor_scores_change_sign_above_degree_two",
    broken_by={"negated reader"},
)
def test_position_query_lowers_anchor_scores(subject: Subject, expect: Expect) -> None:
    """PosEmbed-query × PosEmbed-key lowers the reader's scores at the anchors by 0.6 or more, the
    same within a quarter in each row."""
    rows = positional_scores(subject.model, subject.roles.reader)[
        :, list(subject.roles.anchors)
    ].mean(-1)
    expect(
        "mean_at_anchors",
        rows.mean(),
        at_most=-0.6,
        because="by 0.6 or more, as the statement says",
        from_controls=True,
    )
    expect(
        "variation",
        rows.std() / rows.mean().abs(),
        at_most=0.25,
        because="the same within a quarter, as the statement says",
        from_controls=True,
    )
    among_untrained(subject, expect, "positional_score_below_zero")
