"""Controls break what they say they break and leave the rest; damage done by hand is noticed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from circuits.attention import head_pattern, head_scores
from circuits.controls import CONTROLS, other_heads
from circuits.gauge import GAUGES, under_gauge
from circuits.roles import AbsentRole, Head, Roles
from circuits.subject import Subject, load_subject
from circuits.variants import Variants
from models.transformer import Transformer
from tests.claims.test_judging_models import CLAIMS
from tests.planted import ANCHORS, POINTER, READER, TARGET, planted_subject
from verdicts.judge import Verdict, judge
from verdicts.variants import changes, require_known

SHIPPED = Path(__file__).parent.parent.parent / "checkpoints" / "default"
BY_NAME = {control.name: control for control in CONTROLS}


def broken(subject: Subject, control: str) -> Transformer:
    return BY_NAME[control].apply(subject).model


@pytest.fixture(scope="module")
def shipped() -> Subject:
    return load_subject(SHIPPED).every(4)


def test_fresh_weights_are_other_weights_by_the_seed(shipped: Subject) -> None:
    first, again = broken(shipped, "fresh weights"), broken(shipped, "fresh weights")
    torch.testing.assert_close(first.W_E, again.W_E)
    assert (first.W_E - shipped.model.W_E).abs().max() > 0.1
    assert not first.b_Q.any()


def test_scrambled_heads_keep_every_tensor_and_no_head(shipped: Subject) -> None:
    model = broken(shipped, "scrambled heads")
    for layer in (0, 1):
        for name in ("W_Q", "W_K", "W_V", "b_Q"):
            before, after = getattr(shipped.model, name)[layer], getattr(model, name)[layer]
            where = [
                next(j for j in range(8) if torch.equal(after[i], before[j])) for i in range(8)
            ]
            assert sorted(where) == list(range(8))
            assert all(i != j for i, j in enumerate(where))
        assert not any(
            torch.equal(model.W_Q[layer, i], shipped.model.W_Q[layer, j])
            and torch.equal(model.W_K[layer, i], shipped.model.W_K[layer, j])
            for i in range(8)
            for j in range(8)
        )
        torch.testing.assert_close(model.W_O[layer], shipped.model.W_O[layer])


def test_the_narrow_controls_on_the_planted_model() -> None:
    subject = planted_subject()
    graphs = subject.graphs.adjacency
    torch.testing.assert_close(
        head_scores(broken(subject, "negated reader"), graphs, READER),
        -head_scores(subject.model, graphs, READER),
    )
    pattern = head_pattern(broken(subject, "exchanged target"), graphs, POINTER)
    other = 4  # the next position after the target that is no anchor
    torch.testing.assert_close(
        pattern[..., other], head_pattern(subject.model, graphs, POINTER)[..., TARGET]
    )
    assert other not in (TARGET, *ANCHORS)
    subject.model.attention(0).b_Q[READER.index, 0] = 1.0
    assert not broken(subject, "reader without b_Q").b_Q[0, READER.index].any()
    assert subject.model.b_Q[0, READER.index].any()  # a copy was changed


def test_a_control_without_its_role_is_absent() -> None:
    subject = planted_subject()
    bare = Subject(
        "bare",
        "sha256:bare",
        subject.model,
        Roles({}),
        subject.graphs,
        range(15, 21),
        0,
        Path("unused"),
    )
    with pytest.raises(AbsentRole):
        BY_NAME["negated reader"].apply(bare)


def test_every_other_head_is_tried_in_the_role(shipped: Subject) -> None:
    others = other_heads(shipped, "reader")
    assert len(others) == 7
    assert {subject.roles.reader for subject in others.values()} == {
        Head(0, i) for i in range(8)
    } - {shipped.roles.reader}
    assert all(subject.roles.pointer == shipped.roles.pointer for subject in others.values())


def test_another_head_in_a_role_shares_what_depends_on_no_role(shipped: Subject) -> None:
    head = Head(1, (shipped.roles.pointer.index + 1) % 8)
    other = shipped.with_head("pointer", head)
    alone = dataclasses.replace(shipped, roles=other.roles)
    assert other.ablations is shipped.ablations
    assert other.of_head(head) is shipped.of_head(head)
    assert alone.ablations is not shipped.ablations
    before, found, expected = (one.pointer_parts[0] for one in (shipped, other, alone))
    torch.testing.assert_close(found.remainder, expected.remainder)
    assert not torch.equal(found.remainder, before.remainder)


def test_what_is_shared_reads_no_role(shipped: Subject) -> None:
    """On a subject without roles, where to read one is an error; what reads a role is a
    `cached_property`."""
    bare = dataclasses.replace(shipped, roles=Roles({}))
    names = [name for name, value in vars(Subject).items() if isinstance(value, property)]
    assert {"logits", "stream", "right_without"} <= set(names)
    for name in names:
        getattr(bare, name)
    with pytest.raises(AbsentRole):
        _ = bare.patched


def test_gauges_start_from_fewer_drawn_graphs(shipped: Subject) -> None:
    part = Variants().for_gauges(shipped)
    assert [part.drawn(count) for count in (10, 1000, 16_000)] == [10, 100, 1000]
    assert shipped.drawn(1000) == 1000


def test_a_part_of_a_subject_is_not_searched_and_keeps_every_class(shipped: Subject) -> None:
    half = shipped.every(2, dtype=torch.float64)
    assert len(half.graphs.labels) == 624
    assert 0.4 < half.graphs.labels.double().mean() < 0.6
    assert half.logits.dtype == torch.float64
    assert not half.searching
    assert shipped.model.W_E.dtype == torch.float32


@pytest.mark.parametrize("gauge", GAUGES)
def test_a_subject_under_a_gauge_gives_the_same_answers(shipped: Subject, gauge: str) -> None:
    subject = under_gauge(shipped, gauge)
    assert (subject.logits - shipped.logits).abs().max() < 1e-4 * shipped.logits.abs().max()
    torch.testing.assert_close(subject.unlabelled, shipped.graphs.adjacency)
    torch.testing.assert_close(subject.label(shipped.graphs.adjacency), subject.graphs.adjacency)


# the labels of the project's own claims


def test_labels_name_controls_gauges_and_companions_that_exist() -> None:
    claims = {claim.id: claim for claim in CLAIMS}
    for claim in CLAIMS:
        require_known(claim, Variants())
        if claim.companion is not None:
            assert not claims[claim.companion].gauge, (
                f"{claim.companion} is to depend on no gauge, as the companion of {claim.id}"
            )


# damage done by hand: which claims it breaks, said beforehand, and what lies upstream of it and
# stays as it is


def negate_reader(model: Transformer) -> None:
    model.attention(0).W_Q[3] *= -1


def swap_heads(model: Transformer) -> None:
    for letter in "QKVO":
        parameter = getattr(model.attention(0), f"W_{letter}")
        parameter[[3, 0]] = parameter[[0, 3]].clone()
    for letter in "QKV":
        parameter = getattr(model.attention(0), f"b_{letter}")
        parameter[[3, 0]] = parameter[[0, 3]].clone()


def exchange_positions(model: Transformer) -> None:
    model.W_pos[[2, 7]] = model.W_pos[[7, 2]].clone()  # an anchor with a position that is none


def zero_neurons(model: Transformer) -> None:
    model.mlp(0).W_out[:256] = 0


def scramble_weights(model: Transformer) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(
            parameter.flatten()[torch.randperm(parameter.numel(), generator=generator)].view_as(
                parameter
            )
        )


ANCHOR_CLAIMS = {
    "anchor_attention_grows_with_degree",
    "anchor_keys_point_along_the_degree_direction",
}
READER_CLAIMS = {
    "every_neighbour_adds_the_same_query_vector",
    "position_subtracts_two_neighbours",
    "anchor_positions_enter_through_the_key",
    "anchor_scores_change_sign_above_degree_two",
    *ANCHOR_CLAIMS,
}
POINTER_CLAIMS = {
    "attention_switches_off_above_degree_two",
    "high_degree_vertices_ignore_the_target",
}
BEHAVIOUR = {"classifies_the_validation_set"}
DAMAGE: dict[str, tuple[Callable[[Transformer], None], set[str], set[str]]] = {
    "the reader's W_Q negated": (
        negate_reader,
        {"anchor_scores_change_sign_above_degree_two", *ANCHOR_CLAIMS, *POINTER_CLAIMS, *BEHAVIOUR},
        {"anchor_positions_enter_through_the_key", "key_comes_mostly_from_position"},
    ),
    "two heads swapped": (swap_heads, READER_CLAIMS, BEHAVIOUR | POINTER_CLAIMS),
    "rows of W_pos exchanged": (
        exchange_positions,
        {"anchor_positions_enter_through_the_key", *ANCHOR_CLAIMS, *BEHAVIOUR},
        {"every_neighbour_adds_the_same_query_vector"},
    ),
    "a block of neurons of the first MLP zeroed": (
        zero_neurons,
        BEHAVIOUR | {"low_degree_vertices_attend_to_the_target"},
        READER_CLAIMS | {"adding_an_edge_raises_anchor_attention", "reader_z_determines_degree"},
    ),
    "weights scrambled": (scramble_weights, READER_CLAIMS | POINTER_CLAIMS | BEHAVIOUR, set()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_noticed_and_located(shipped: Subject, damage: str) -> None:
    edit, breaks, upstream = DAMAGE[damage]
    model = Transformer(shipped.model.cfg).requires_grad_(False)
    model.load_state_dict(shipped.model.state_dict())
    edit(model)
    hurt = Subject(
        "hurt",
        "sha256:hurt",
        model,
        shipped.roles,
        shipped.graphs,
        shipped.edge_counts,
        0,
        Path("unused"),
        searching=False,
    )

    def judged(subject: Subject) -> dict[str, Verdict]:
        return {
            claim.id: judge(claim, subject) for claim in CLAIMS if claim.id in breaks | upstream
        }

    before, after = judged(shipped), judged(hurt)
    assert {id for id in breaks if before[id].verdict != "holds"} == set()
    assert {id for id in breaks if after[id].verdict == "holds"} == set()
    assert {
        id: list(changes(before[id], after[id]))
        for id in upstream
        if list(changes(before[id], after[id]))
    } == {}
