"""The pointer's query, key and scores by component, each sent through the MLP alone (notebook,
unused §1.2, §1.3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.composition import (
    composition_scores,
    input_matrix,
    kaiming_composition_scores,
    output_matrices,
    rotated_composition_scores,
)
from circuits.queries import (
    ApproximateParts,
    centred_mean_square,
    score_terms,
)
from circuits.roles import Absent, require_layer_0
from circuits.statistics import lowest, ratio, root_ratio
from circuits.subject import Subject
from claims.untrained import among_untrained
from verdicts.statistics import Least

if TYPE_CHECKING:
    from verdicts.expectations import Expect

NULL_SAMPLES = 999
KAIMING_SAMPLES = 300  # the notebook's


def _query(subject: Subject) -> ApproximateParts:
    return subject.pointer_parts[0]


def _key(subject: Subject) -> ApproximateParts:
    return subject.pointer_parts[1]


def _without_an_mlp(subject: Subject, expect: Expect) -> None:
    """A part is then a product of weights alone, and no bias goes into it."""
    if subject.model.cfg.attn_only:
        expect.unmoved("b_O constant", "b_out constant")


def _norms(
    subject: Subject, parts: ApproximateParts
) -> tuple[list[str], Float[Tensor, "graph vertex part"]]:
    norms = [part.norm(dim=-1).expand(len(subject.degrees), -1) for part in parts.parts.values()]
    return list(parts.parts), torch.stack(norms, dim=-1)


@pytest.mark.claim(
    source="Unused 1.2",
    evidence="estimated",
    parts={"Embed", "PosEmbed", "reader", "pointer"},
    gauge={"W_pos constant", "b_O constant", "b_V", "b_out constant", "head basis"},
    about="reader",
    companion="reader_q_composes_with_pointer",
    spared={"fresh weights": "at initialisation W_E and W_pos are larger than what a head writes"},
    at_chance=(
        "that the reader is beside them is learnt; which heads stay below it is what retrained"
        " models are compared by"
    ),
)
def test_embed_position_and_reader_make_the_query(subject: Subject, expect: Expect) -> None:
    """Of the parts of the pointer's query those of Embed, PosEmbed and the reader are the
    largest."""
    require_layer_0(subject.roles.reader)
    query = _query(subject)
    names, norms = _norms(subject, query)
    if len(names) <= 3:
        raise Absent("no part beside Embed, PosEmbed and the reader: layer 0 has one head")
    _without_an_mlp(subject, expect)
    main = [names.index(name) for name in ("embed", "pos_embed", str(subject.roles.reader))]
    others = [i for i in range(len(names)) if i not in main]
    per_graph = norms.mean(1)
    expect("query_norm", dict(zip(names, per_graph.mean(0), strict=True)))
    expect("remainder_norm", query.remainder.norm(dim=-1).mean())

    expect(
        "least_over_next",
        lowest(_pairs(per_graph, main, others), ratio, generator=subject.generator("query parts")),
        at_least=1.0,
        because="the three largest, as the statement says",
    )
    among_untrained(subject, expect, "main_query_parts")


def _pairs(
    per_graph: Float[Tensor, "graph part"], main: list[int], others: list[int]
) -> Float[Tensor, "pair graph 2"]:
    """Each of the main parts beside each of the others."""
    return torch.stack([per_graph[:, [i, j]] for i in main for j in others])


@pytest.mark.claim(
    source="Unused 1.2",
    evidence="estimated",
    parts={"PosEmbed", "pointer"},
    gauge={"W_pos constant", "b_O constant", "b_V", "b_out constant", "head basis"},
    about="pointer",
    companion="position_embedding_of_the_target_moves_the_column",
    spared={
        "fresh weights": "at initialisation W_pos is larger than all that is added to it",
        "scrambled heads": "so it is in any head",
    },
    at_chance="how far it is ahead is what retrained models are compared by",
)
def test_target_position_makes_the_key(subject: Subject, expect: Expect) -> None:
    """Of the parts of the pointer's key at the target that of PosEmbed is the largest."""
    _without_an_mlp(subject, expect)
    key = _key(subject)
    names, norms = _norms(subject, key)
    at_target = norms[:, subject.roles.target]
    main = names.index("pos_embed")
    others = [i for i in range(len(names)) if i != main]
    expect("key_norm", dict(zip(names, at_target.mean(0), strict=True)))
    expect("remainder_norm", key.remainder[:, subject.roles.target].norm(dim=-1).mean())

    expect(
        "key_norm_over_next",
        lowest(_pairs(at_target, [main], others), ratio, generator=subject.generator("key parts")),
        at_least=1.0,
        because="the largest, as the statement says",
    )
    among_untrained(subject, expect, "position_key_part")


@pytest.mark.claim(
    source="Unused 1.2",
    evidence="estimated",
    parts={"PosEmbed", "reader", "pointer"},
    gauge={"W_pos constant", "b_O constant", "b_V", "b_out constant"},
    about="reader",
    companion="reader_q_composes_with_pointer",
)
def test_reader_query_meets_position_key(subject: Subject, expect: Expect) -> None:
    """Of all pairs of parts in the pointer's score, reader-query × PosEmbed-key varies most."""
    require_layer_0(subject.roles.reader)
    _without_an_mlp(subject, expect)
    terms = score_terms(_query(subject).parts, _key(subject).parts)
    squares = torch.stack(
        [centred_mean_square(term).expand(len(subject.degrees)) for term in terms.values()], dim=1
    )
    rms = {
        f"{query} x {key}": square.sqrt().item()
        for (query, key), square in zip(terms, squares.mean(0), strict=True)
    }
    expect("rms", dict(sorted(rms.items(), key=lambda pair: -pair[1])[:3]))
    main = list(terms).index((str(subject.roles.reader), "pos_embed"))
    others = [i for i in range(len(terms)) if i != main]

    expect(
        "rms_over_next",
        lowest(
            _pairs(squares, [main], others), root_ratio, generator=subject.generator("score pairs")
        ),
        at_least=1.0,
        because="the largest of all pairs",
        from_controls=True,
    )
    among_untrained(subject, expect, "reader_query_position_key")


@pytest.mark.claim(
    source="Unused 1.3",
    evidence="exact",
    parts={"reader", "other heads", "pointer"},
    gauge={
        "W_pos constant",
        "b_O constant",
        "b_out constant",
        "residual basis",
        "residual rotation",
    },
    about="reader",
    companion="reader_q_composes_with_pointer",
)
def test_reader_has_the_top_q_composition(subject: Subject, expect: Expect) -> None:
    """Of all components the reader Q-composes most with the pointer by their weights, more than a
    random rotation would."""
    require_layer_0(subject.roles.reader)
    _without_an_mlp(subject, expect)
    if subject.model.cfg.attn_only:
        expect.unmoved("residual rotation")  # it would come between a part and the MLP's neurons
    model, reader, pointer = subject.model, str(subject.roles.reader), subject.roles.pointer
    scores = {
        name: by_head[pointer.index].item()
        for name, by_head in composition_scores(model, side="Q", mlp=True).items()
    }
    score = scores[reader]
    others = [value for name, value in scores.items() if name != reader]
    null = rotated_composition_scores(
        output_matrices(model, mlp=True)[reader],
        input_matrix(model, pointer, "Q"),
        samples=NULL_SAMPLES,
        generator=subject.generator("rotations between reader and pointer"),
    )
    p99 = null.quantile(0.99).item()
    kaiming = kaiming_composition_scores(
        model.cfg, samples=KAIMING_SAMPLES, generator=subject.generator("Kaiming factors")
    )
    plain = {
        name: by_head[pointer.index].item()
        for name, by_head in composition_scores(model, side="Q", mlp=False).items()
    }
    heads = [name for name in plain if "." in name]
    if math.isfinite(score):  # a reader that writes nothing has none
        expect.null(
            "composition score",
            score,
            null.tolist(),
            kind="random rotations between the two matrices",
        )
    expect("reader_score", score)
    expect("runner_up_score", max(others))
    expect("rotation_p99", p99)
    expect("kaiming_mean", kaiming.mean())
    expect("plain_rank", sorted(heads, key=lambda name: -plain[name]).index(reader) + 1)
    expect(
        "lead",
        Least([score - value for value in others]),
        at_least=0.0,
        because="the largest of all components; by chance once in ten",
    )
    expect(
        "over_rotation_p99",
        score - p99,
        at_least=0.0,
        because="beyond 99 of 100 random rotations between the same two matrices",
    )
    among_untrained(subject, expect, "composition_lead")
