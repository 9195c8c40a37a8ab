"""How degree gets from the reader to the pointer (notebook §2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.ablation import ablate_direction, erase_linearly, keep_direction, pattern_of_inputs
from circuits.attention import mean_over
from circuits.nulls import untrained_null
from circuits.residual import (
    activation,
    correlation,
    degree_correlations,
    head_result,
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

if TYPE_CHECKING:
    from verdicts.expectations import Expect

ROTATIONS = 200  # that bound the lead
NULL_ROTATIONS = 999  # with these, for the p-value
RANDOM_DIRECTIONS = 50


IS_DEGREE = 0.9  # r² above 0.8: degree explains nearly all of it
MOSTLY_DEGREE = 0.71  # r² above one half: degree explains most of it
ONE_DIRECTION = 0.8


def _among_untrained(subject: Subject, expect: Expect, *statistics: str) -> None:
    for statistic in statistics:
        expect.null(statistic, *untrained_null(subject, statistic), kind="untrained models (the best head of each)")


def _one_direction(subject: Subject, expect: Expect, values: Float[Tensor, "graph vertex width"]) -> None:
    share = main_axis(values, generator=subject.generator("rank-1 share")).share
    expect(
        "rank1_share",
        share,
        at_least=ONE_DIRECTION,
        because="all other directions share a fifth at most",
    )


def _is_degree(subject: Subject, expect: Expect, values: Float[Tensor, "graph vertex width"], *, at_least: float = IS_DEGREE) -> None:
    coefficient = main_axis(values, generator=subject.generator("rank-1 share")).coefficient
    found = correlation(coefficient, subject.degrees, generator=subject.generator("degree correlation"))
    because = f"degree explains {at_least**2:.0%} of it or more; eight untrained models stay below |r| = 0.15"
    expect(
        "degree_correlation",
        found,
        at_least=at_least,
        because=because,
        from_controls=True,
        note="it is constant" if found is None else None,
    )


def _reader(subject: Subject, name: str) -> Float[Tensor, "graph vertex width"]:
    reader = subject.roles.reader
    return activation(subject.model, subject.graphs.adjacency, f"blocks.{reader.layer}.attn.hook_{name}", head=reader)


@pytest.mark.claim(source="2.2", evidence="estimated", gauge={"value basis"}, about="reader", companion="reader_z_determines_degree")
def test_reader_values_share_one_direction(subject: Subject, expect: Expect) -> None:
    """The reader's value vectors differ along one direction."""
    _one_direction(subject, expect, _reader(subject, "v"))
    _among_untrained(subject, expect, "v share")


@pytest.mark.claim(source="2.2", evidence="estimated", gauge={"value basis"}, about="reader", companion="reader_z_determines_degree")
def test_reader_values_hold_degree(subject: Subject, expect: Expect) -> None:
    """The direction along which the reader's value vectors differ most is degree."""
    _is_degree(subject, expect, _reader(subject, "v"))
    _among_untrained(subject, expect, "v correlation")


@pytest.mark.claim(source="2.2", evidence="estimated", gauge={"value basis"}, about="reader", companion="reader_z_determines_degree")
def test_reader_z_holds_degree(subject: Subject, expect: Expect) -> None:
    """The reader's z, its pattern applied to its values, varies along one direction, and that is degree."""
    z = _reader(subject, "z")
    _one_direction(subject, expect, z)
    _is_degree(subject, expect, z)
    _among_untrained(subject, expect, "z share", "z correlation")


@pytest.mark.claim(source="2.2", evidence="estimated", about="reader")
def test_reader_z_determines_degree(subject: Subject, expect: Expect) -> None:
    """Degree is a linear function of the reader's z, whatever the basis."""
    explained = r_squared(_reader(subject, "z"), subject.degrees, generator=subject.generator("degree from z"))
    because = "nine tenths of the variance of degree; in 24 untrained models the most is 0.25"
    expect("r_squared", explained, at_least=0.9, because=because, from_controls=True)
    _among_untrained(subject, expect, "z explains")


@pytest.mark.claim(source="2.2", evidence="estimated", gauge={"residual basis"}, about="reader", companion="reader_z_determines_degree")
def test_reader_output_carries_degree_in_one_direction(subject: Subject, expect: Expect) -> None:
    """The reader's output is degree times one vector."""
    result = head_result(subject.model, subject.graphs.adjacency, subject.roles.reader)
    _one_direction(subject, expect, result)
    _is_degree(subject, expect, result)
    _among_untrained(subject, expect, "result share", "result correlation")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"b_O constant", "b_V", "residual basis"},
    about="reader",
    companion="reader_z_determines_degree",
)
def test_mlp_keeps_the_readers_direction(subject: Subject, expect: Expect) -> None:
    """The reader's output, sent alone through the MLP, is still nearly one direction, and mostly degree."""
    subject.require_mlp()
    after = through_mlp(subject.model, head_result(subject.model, subject.graphs.adjacency, subject.roles.reader))
    _one_direction(subject, expect, after)
    _is_degree(subject, expect, after, at_least=MOSTLY_DEGREE)
    _among_untrained(subject, expect, "through mlp share", "through mlp correlation")


def _stream(subject: Subject) -> Float[Tensor, "graph vertex d_model"]:
    """x₁, the residual stream after layer 0."""
    return activation(subject.model, subject.graphs.adjacency, "blocks.0.hook_resid_post")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"residual basis", "residual rotation"},
    companion="pointer_reads_degree_along_its_score_direction",
    spared={
        "scrambled heads": "Embed and the MLP write degree there by themselves: with all heads scrambled |r| is still 0.85 on the author's"
    },
)
def test_one_residual_dimension_carries_degree(subject: Subject, expect: Expect) -> None:
    """One dimension of the residual stream after layer 0 follows degree as no dimension of a rotated basis does."""
    dimension, resid = subject.roles.dimension, _stream(subject)
    others = [d for d in range(resid.shape[-1]) if d != dimension]
    null = random_basis_best(resid, subject.degrees, rotations=NULL_ROTATIONS, generator=subject.generator("rotations"))
    random = null[:ROTATIONS].max().item()
    expect("random_basis_best", random)
    expect("runner_up_correlation", degree_correlations(resid, subject.degrees)[others].abs().max())
    found = correlation(resid[..., dimension], subject.degrees, generator=subject.generator("dimension"))
    missing = "the dimension is constant" if found is None else None
    because = "r² above 0.7; the best dimension of 60 untrained models reaches |r| = 0.44"
    expect("degree_correlation", found, at_least=0.84, because=because, from_controls=True, note=missing)
    lead = None if found is None else found.low - random
    expect("lead_over_random_basis", lead, at_least=0.0, because="no dimension of 200 rotated bases does as well", note=missing)
    expect.null(
        "best dimension", 0.0 if found is None else abs(found.value), null.tolist(), kind="random rotations (the best dimension of each)"
    )
    _among_untrained(subject, expect, "dimension correlation")
    signature = signature_cosines(head_result(subject.model, subject.graphs.adjacency, subject.roles.reader), resid)
    expect("signature_cosine", signature[dimension])
    expect("runner_up_cosine", signature[others].max())


@pytest.mark.claim(
    source="2.2",
    evidence="exact",
    gauge={"residual rotation", "residual basis", "head basis"},
    about="pointer",
    companion="pointer_reads_degree_along_its_score_direction",
)
def test_pointer_query_reads_that_dimension(subject: Subject, expect: Expect) -> None:
    """The row of the pointer's W_Q that belongs to the dimension is its largest."""
    ratio = row_norm_ratio(subject.model, subject.roles.pointer, dimension=subject.roles.dimension)
    expect("row_norm_ratio", ratio, at_least=1.0, because="the largest row; by chance once in 128")


@pytest.mark.claim(
    source="2.2",
    evidence="estimated",
    gauge={"head basis"},
    about="pointer",
    companion="pointer_reads_degree_along_its_score_direction",
    broken_by={"negated reader"},
)
def test_pointer_query_encodes_degree(subject: Subject, expect: Expect) -> None:
    """The pointer's query varies along one direction, and that is degree, somewhat less cleanly than the reader's."""
    pointer = subject.roles.pointer
    query = activation(subject.model, subject.graphs.adjacency, f"blocks.{pointer.layer}.attn.hook_q", head=pointer)
    _one_direction(subject, expect, query)
    _is_degree(subject, expect, query, at_least=MOSTLY_DEGREE)
    _among_untrained(subject, expect, "query share", "query correlation")
    reader = main_axis(_reader(subject, "q"), generator=subject.generator("reader query"))
    expect("reader_query_correlation", correlation(reader.coefficient, subject.degrees, generator=subject.generator("reader query, r")))


@pytest.mark.claim(source="2.2", evidence="estimated", about="pointer", broken_by={"negated reader"})
def test_pointer_reads_degree_along_its_score_direction(subject: Subject, expect: Expect) -> None:
    """Along the direction that raises the pointer's score at the target the residual stream holds degree."""
    u = _score_direction(subject)
    found = correlation(_stream(subject) @ u, subject.degrees, generator=subject.generator("score direction"))
    because = "degree explains half of it or more; eight untrained models stay below |r| = 0.15"
    expect(
        "degree_correlation",
        found,
        at_least=MOSTLY_DEGREE,
        because=because,
        from_controls=True,
        note="it is constant" if found is None else None,
    )
    _among_untrained(subject, expect, "score direction correlation")


def _score_direction(subject: Subject) -> Float[Tensor, " d_model"]:
    require_layer_1(subject.roles.pointer)  # of a later one x₁ is not the input
    return score_direction(subject.model, subject.graphs.adjacency, subject.roles.pointer, target=subject.roles.target)


def _basis_vector(subject: Subject) -> Float[Tensor, " d_model"]:
    return torch.eye(subject.model.cfg.d_model)[subject.roles.dimension].to(subject.graphs.adjacency)


def _attention(subject: Subject, pointer: Head, query_input: Tensor, resid: Tensor) -> Float[Tensor, "graph vertex"]:
    require_layer_1(pointer)  # of a later one x₁ is not the input
    return pattern_of_inputs(subject.model, query_input, resid, head=pointer)[..., subject.roles.target]


@pytest.mark.claim(
    source="2.2",
    evidence="causal",
    gauge={"residual rotation", "residual basis"},
    about="pointer",
    companion="the_pointer_needs_degree",
    broken_by={"exchanged target"},
)
def test_that_dimension_suffices_for_the_pointer(subject: Subject, expect: Expect) -> None:
    """With all but that dimension of the pointer's query input at its mean, low-degree vertices attend to the target, others do not."""
    resid = _stream(subject)
    attention = _attention(subject, subject.roles.pointer, keep_direction(resid, _basis_vector(subject)), resid)
    subject.require_degree(4)
    means, notes = {}, {}
    for name, chosen in (("attention_low", subject.degrees <= 2), ("attention_high", subject.degrees >= 4)):
        expect.enough(f"vertices behind {name}", int(chosen.sum()), needed=100)
        means[name] = mean_over(attention, chosen, generator=subject.generator(name)) if chosen.any() else None
        notes[name] = None if chosen.any() else "no such vertex"
    low, high = means["attention_low"], means["attention_high"]
    expect("attention_low", low, at_least=0.5, because="more than all other positions together", note=notes["attention_low"])
    expect(
        "attention_high", high, at_most=0.1, because="no more than even attention over ten positions would give",
        note=notes["attention_high"],
    )  # fmt: skip


@pytest.mark.claim(
    source="2.2", evidence="causal", gauge={"residual rotation", "residual basis"}, about="pointer", companion="the_pointer_needs_degree"
)
def test_the_pointer_needs_that_dimension(subject: Subject, expect: Expect) -> None:
    """Holding that dimension alone at its mean takes the attention away."""
    resid, pointer = _stream(subject), subject.roles.pointer
    clean = _attention(subject, pointer, resid, resid)

    def shift(direction: Float[Tensor, " d_model"]) -> Float[Tensor, " graph"]:
        return (_attention(subject, pointer, ablate_direction(resid, direction), resid) - clean).abs().mean(1)

    generator = subject.generator("random directions")
    random = [shift(torch.randn(resid.shape[-1], generator=generator).to(resid)).mean().item() for _ in range(RANDOM_DIRECTIONS)]
    expect("random_direction_shift", sum(random) / len(random))
    expect("reading_direction_shift", shift(_score_direction(subject)).mean())
    expect(
        "attention_shift",
        bootstrap(shift(_basis_vector(subject))[:, None], only, generator=subject.generator("attention shift")),
        at_least=0.1,
        because="a tenth of all attention moves: a third of what the vertices of degree at most 2, some 23 % of all, could lose",
    )


@pytest.mark.claim(source="2.2", evidence="causal", about="pointer", broken_by={"negated reader", "exchanged target"})
def test_the_pointer_needs_degree(subject: Subject, expect: Expect) -> None:
    """Erasing degree from the pointer's query input, by least squares in whatever basis, takes much of the attention away."""
    resid, pointer = _stream(subject), subject.roles.pointer
    change = _attention(subject, pointer, erase_linearly(resid, subject.degrees), resid) - _attention(subject, pointer, resid, resid)
    expect(
        "attention_shift",
        bootstrap(change.abs().mean(1, keepdim=True), only, generator=subject.generator("erased degree")),
        at_least=0.1,
        because="a tenth of all attention moves; the most in 24 untrained models is 0.01",
        from_controls=True,
    )
