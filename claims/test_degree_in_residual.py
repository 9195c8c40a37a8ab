"""How degree gets from the reader to the pointer (notebook §2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.ablation import (
    attention_without_direction,
    erase_linearly,
    keep_direction,
    pattern_of_inputs,
)
from circuits.attention import HeadActivations, mean_over
from circuits.residual import (
    Axis,
    correlation,
    degree_correlations,
    main_axis,
    r_squared,
    random_basis_best,
    row_norm_ratio,
    score_direction,
    signature_cosines,
    through_mlp,
)
from circuits.roles import Head, require_layer_1
from circuits.statistics import bootstrap, only
from circuits.subject import Subject
from claims.untrained import among_untrained
from verdicts.statistics import clopper_pearson

if TYPE_CHECKING:
    from verdicts.expectations import Expect

ROTATIONS = 999
REPORTED = 200  # of these
RANDOM_DIRECTIONS = 50


IS_DEGREE = 0.9  # r² above 0.8: degree explains nearly all of it
MOSTLY_DEGREE = 0.71  # r² above one half: degree explains most of it
ONE_DIRECTION = 0.8


def _main_axis(subject: Subject, values: Float[Tensor, "graph vertex width"]) -> Axis:
    return main_axis(values, generator=subject.generator("rank-1 share"))


def _one_direction(expect: Expect, axis: Axis) -> None:
    expect(
        "rank1_share",
        axis.share,
        at_least=ONE_DIRECTION,
        because="all other directions share a fifth at most",
    )


def _is_degree(
    subject: Subject, expect: Expect, axis: Axis, *, at_least: float = IS_DEGREE
) -> None:
    found = correlation(
        axis.coefficient, subject.degrees, generator=subject.generator("degree correlation")
    )
    because = f"degree explains {at_least**2:.0%} of it or more"
    expect(
        "degree_correlation",
        found,
        at_least=at_least,
        because=because,
        from_controls=True,
        note="it is constant" if found is None else None,
    )


def _reader(subject: Subject) -> HeadActivations:
    return subject.of_head(subject.roles.reader)


def _output(subject: Subject) -> Float[Tensor, "graph vertex d_model"]:
    """What the reader adds to the stream, b_O left out."""
    reader = subject.roles.reader
    return _reader(subject).z @ subject.model.attention(reader.layer).W_O[reader.index]


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"value basis"},
    about="reader",
    companion="reader_z_determines_degree",
)
def test_reader_values_share_one_direction(subject: Subject, expect: Expect) -> None:
    """Of the variance of the reader's value vectors four fifths lie along one direction."""
    _one_direction(expect, _main_axis(subject, _reader(subject).v))
    among_untrained(subject, expect, "value_share")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"value basis"},
    about="reader",
    companion="reader_z_determines_degree",
)
def test_reader_values_hold_degree(subject: Subject, expect: Expect) -> None:
    """Along the direction in which the reader's value vectors differ most, degree explains four
    fifths of the variance."""
    _is_degree(subject, expect, _main_axis(subject, _reader(subject).v))
    among_untrained(subject, expect, "value_correlation")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"value basis"},
    about="reader",
    companion="reader_z_determines_degree",
)
def test_reader_z_holds_degree(subject: Subject, expect: Expect) -> None:
    """Of the variance of the reader's z four fifths lie along one direction, and of that degree
    explains four fifths."""
    axis = _main_axis(subject, _reader(subject).z)
    _one_direction(expect, axis)
    _is_degree(subject, expect, axis)
    among_untrained(subject, expect, "z_share", "z_correlation")


@pytest.mark.claim(source="2.2", evidence="estimated", about="reader")
def test_reader_z_determines_degree(subject: Subject, expect: Expect) -> None:
    """A linear function of the reader's z explains nine tenths of the variance of degree, whatever
    the basis."""
    explained = r_squared(
        _reader(subject).z, subject.degrees, generator=subject.generator("degree from z")
    )
    because = "nine tenths of the variance of degree"
    expect("r_squared", explained, at_least=0.9, because=because, from_controls=True)
    among_untrained(subject, expect, "z_explains_degree")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"residual basis"},
    about="reader",
    companion="reader_z_determines_degree",
)
def test_reader_output_carries_degree_in_one_direction(subject: Subject, expect: Expect) -> None:
    """Of the variance of the reader's output four fifths lie along one vector, and of that degree
    explains four fifths."""
    axis = _main_axis(subject, _output(subject))
    _one_direction(expect, axis)
    _is_degree(subject, expect, axis)
    among_untrained(subject, expect, "output_share", "output_correlation")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    parts={"reader", "first MLP"},
    gauge={"b_O constant", "b_V", "residual basis"},
    about="reader",
    companion="reader_z_determines_degree",
)
def test_mlp_keeps_the_readers_direction(subject: Subject, expect: Expect) -> None:
    """Sent alone through the MLP, four fifths of its variance still lie along one direction, and of
    that degree explains half."""
    subject.require_mlp()
    axis = _main_axis(subject, through_mlp(subject.model, _output(subject)))
    _one_direction(expect, axis)
    _is_degree(subject, expect, axis, at_least=MOSTLY_DEGREE)
    among_untrained(
        subject, expect, "output_share_after_the_mlp", "output_correlation_after_the_mlp"
    )


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    parts={"dimension"},
    gauge={"residual basis", "residual rotation"},
    companion="pointer_reads_degree_along_its_score_direction",
    spared={
        "scrambled heads": (
            "Embed and the MLP write degree there by themselves: with all heads scrambled |r| is"
            " still 0.85 on the author's"
        )
    },
)
def test_one_residual_dimension_carries_degree(subject: Subject, expect: Expect) -> None:
    """One dimension of the stream after layer 0 follows degree better than the best of 19 in 20
    rotated bases, with r² above 0.7."""
    dimension, resid = subject.roles.dimension, subject.stream
    others = [d for d in range(resid.shape[-1]) if d != dimension]
    rotated = random_basis_best(
        resid, subject.degrees, rotations=ROTATIONS, generator=subject.generator("rotations")
    )
    expect("random_basis_best", rotated[:REPORTED].max())
    expect("runner_up_correlation", degree_correlations(resid, subject.degrees)[others].abs().max())
    found = correlation(
        resid[..., dimension], subject.degrees, generator=subject.generator("dimension")
    )
    missing = "the dimension is constant" if found is None else None
    expect(
        "degree_correlation",
        found,
        at_least=0.84,
        because="r² above 0.7",
        from_controls=True,
        note=missing,
    )
    observed = 0.0 if found is None else found.value
    as_good = clopper_pearson(int((rotated >= observed).sum()), ROTATIONS)
    expect(
        "rotations_as_good",
        as_good,
        at_most=0.05,
        because="one rotated basis in twenty, as the statement says",
    )
    among_untrained(subject, expect, "dimension_correlation")
    signature = signature_cosines(_output(subject), resid)
    expect("signature_cosine", signature[dimension])
    expect("runner_up_cosine", signature[others].max())


@pytest.mark.claim(
    source="2.2",
    evidence="exact",
    parts={"dimension", "pointer"},
    gauge={"residual rotation", "residual basis", "head basis"},
    about="pointer",
    companion="pointer_reads_degree_along_its_score_direction",
)
def test_pointer_query_reads_that_dimension(subject: Subject, expect: Expect) -> None:
    """The row of the pointer's W_Q that belongs to the dimension is its largest."""
    ratio = row_norm_ratio(subject.model, subject.roles.pointer, dimension=subject.roles.dimension)
    expect(
        "row_norm_ratio",
        ratio,
        at_least=1.0,
        because="the largest row; by chance once in as many as there are dimensions",
    )
    among_untrained(subject, expect, "query_row_norm")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"head basis"},
    about="pointer",
    companion="pointer_reads_degree_along_its_score_direction",
    broken_by={"negated reader"},
)
def test_pointer_query_encodes_degree(subject: Subject, expect: Expect) -> None:
    """Of the variance of the pointer's query four fifths lie along one direction, and of that
    degree explains half."""
    axis = _main_axis(subject, subject.of_head(subject.roles.pointer).q)
    _one_direction(expect, axis)
    _is_degree(subject, expect, axis, at_least=MOSTLY_DEGREE)
    among_untrained(subject, expect, "query_share", "query_correlation")
    reader = main_axis(_reader(subject).q, generator=subject.generator("reader query"))
    expect(
        "reader_query_correlation",
        correlation(
            reader.coefficient, subject.degrees, generator=subject.generator("reader query, r")
        ),
    )


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    parts={"dimension", "pointer"},
    about="pointer",
    broken_by={"negated reader"},
)
def test_pointer_reads_degree_along_its_score_direction(subject: Subject, expect: Expect) -> None:
    """Along the direction that raises the pointer's score at the target, degree explains half of
    the variance of the stream."""
    u = _score_direction(subject)
    found = correlation(
        subject.stream @ u, subject.degrees, generator=subject.generator("score direction")
    )
    because = "degree explains half of it or more"
    expect(
        "degree_correlation",
        found,
        at_least=MOSTLY_DEGREE,
        because=because,
        from_controls=True,
        note="it is constant" if found is None else None,
    )
    among_untrained(subject, expect, "score_direction_correlation")


def _score_direction(subject: Subject) -> Float[Tensor, " d_model"]:
    require_layer_1(subject.roles.pointer)  # of a later one x₁ is not the input
    return score_direction(
        subject.model, subject.graphs.adjacency, subject.roles.pointer, target=subject.roles.target
    )


def _basis_vector(subject: Subject) -> Float[Tensor, " d_model"]:
    return torch.eye(subject.model.cfg.d_model)[subject.roles.dimension].to(
        subject.graphs.adjacency
    )


def _attention(
    subject: Subject, pointer: Head, query_input: Tensor, resid: Tensor
) -> Float[Tensor, "graph vertex"]:
    require_layer_1(pointer)  # of a later one x₁ is not the input
    return pattern_of_inputs(subject.model, query_input, resid, head=pointer)[
        ..., subject.roles.target
    ]


@pytest.mark.claim(
    source="2.2",
    evidence="causal",
    parts={"dimension", "pointer"},
    gauge={"residual rotation", "residual basis"},
    about="pointer",
    companion="the_pointer_needs_degree",
    broken_by={"exchanged target"},
)
def test_that_dimension_suffices_for_the_pointer(subject: Subject, expect: Expect) -> None:
    """With all else of the pointer's query input at its mean, vertices of degree ≤ 2 attend to the
    target, those of ≥ 4 do not."""
    resid = subject.stream
    attention = _attention(
        subject, subject.roles.pointer, keep_direction(resid, _basis_vector(subject)), resid
    )
    subject.require_degree(4)
    means, notes = {}, {}
    for name, chosen in (
        ("attention_low", subject.degrees <= 2),
        ("attention_high", subject.degrees >= 4),
    ):
        expect.enough(f"vertices behind {name}", int(chosen.sum()), needed=100)
        means[name] = (
            mean_over(attention, chosen, generator=subject.generator(name))
            if chosen.any()
            else None
        )
        notes[name] = None if chosen.any() else "no such vertex"
    low, high = means["attention_low"], means["attention_high"]
    expect(
        "attention_low",
        low,
        at_least=0.5,
        because="more than all other positions together",
        note=notes["attention_low"],
    )
    expect(
        "attention_high",
        high,
        at_most=0.1,
        because="no more than even attention over ten positions would give",
        note=notes["attention_high"],
    )
    three = subject.degrees == 3
    expect(
        "attention_at_three",
        attention[three].mean() if three.any() else None,
        note=None if three.any() else "no such vertex",
    )
    among_untrained(subject, expect, "dimension_suffices")


@pytest.mark.claim(
    source="2.2",
    evidence="causal",
    parts={"dimension", "pointer"},
    gauge={"residual rotation", "residual basis"},
    about="pointer",
    companion="the_pointer_needs_degree",
)
def test_the_pointer_needs_that_dimension(subject: Subject, expect: Expect) -> None:
    """Holding that dimension alone at its mean moves a tenth of the attention to the target."""
    resid, pointer = subject.stream, subject.roles.pointer
    clean = _attention(subject, pointer, resid, resid)
    generator = subject.generator("random directions")
    random = [
        torch.randn(resid.shape[-1], generator=generator).to(resid)
        for _ in range(RANDOM_DIRECTIONS)
    ]
    directions = torch.stack([*random, _score_direction(subject), _basis_vector(subject)])
    *by_chance, reading, along = (
        (attention - clean).abs().mean(1)
        for attention in attention_without_direction(
            subject.model, resid, directions, head=pointer, position=subject.roles.target
        )
    )
    expect("random_direction_shift", torch.stack(by_chance).mean(1).double().mean())
    expect("reading_direction_shift", reading.mean())
    expect(
        "attention_shift",
        bootstrap(
            along[:, None],
            only,
            generator=subject.generator("attention shift"),
        ),
        at_least=0.1,
        because=(
            "a tenth of all attention moves: a third of what the vertices of degree at most 2, some"
            " 23 % of all, could lose"
        ),
    )
    among_untrained(subject, expect, "shift_without_the_dimension")


@pytest.mark.claim(
    source="2.2",
    evidence="causal",
    parts={"dimension", "pointer"},
    about="pointer",
    broken_by={"negated reader", "exchanged target"},
)
def test_the_pointer_needs_degree(subject: Subject, expect: Expect) -> None:
    """Erasing degree from the pointer's query input, by least squares in whatever basis, moves a
    tenth of the attention to the target."""
    resid, pointer = subject.stream, subject.roles.pointer
    change = _attention(
        subject, pointer, erase_linearly(resid, subject.degrees), resid
    ) - _attention(subject, pointer, resid, resid)
    expect(
        "attention_shift",
        bootstrap(
            change.abs().mean(1, keepdim=True), only, generator=subject.generator("erased degree")
        ),
        at_least=0.1,
        because="a tenth of all attention moves",
        from_controls=True,
    )
    among_untrained(subject, expect, "shift_without_degree")
