"""What is said of induction heads (Elhage et al. 2021; Olsson et al. 2022), held against one small
model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
import torch
from circuit import (
    copied,
    k_composition,
    mean_with_interval,
    patterns,
    rotations,
    to_previous,
    to_successor,
)
from hypothesis import HealthCheck, given, seed, settings, target
from model import Sequences
from torch import Tensor

from verdicts.statistics import Estimate, clopper_pearson

if TYPE_CHECKING:
    from subject import Subject

    from verdicts.expectations import Expect

ELHAGE, OLSSON = "Elhage et al. 2021", "Olsson et al. 2022"


def mean(per_sequence: Tensor) -> Estimate:
    """A mean over sequences with its interval."""
    return Estimate(*mean_with_interval(per_sequence))


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """[batch]: mean of each sequence over the chosen positions."""
    return (values * chosen).sum(1) / chosen.sum(1)


def gain_lost(subject: Subject, without: Tensor) -> Tensor:
    """[batch]: share of what repetition gains that is lost: 0 is nothing, 1 all."""
    foreseen = subject.batch.foreseen[:, 1:]
    first, second, now = (
        mean_where(*pair)
        for pair in ((subject.losses, ~foreseen), (subject.losses, foreseen), (without, foreseen))
    )
    return (now - second) / (first - second).mean()


@pytest.mark.claim(source=ELHAGE, evidence="estimated", about="previous_token")
def test_a_head_attends_to_the_token_before(subject: Subject, expect: Expect) -> None:
    """The previous-token head gives the token before half of its attention, on average."""
    pattern = subject.patterns[subject.roles.need("previous_token")]
    expect(
        "attention",
        mean(to_previous(pattern).mean(1)),
        at_least=0.5,
        because="half, as the statement says",
    )


@pytest.mark.claim(
    source="our own",
    evidence="exact",
    gauge={"distance constant"},
    companion="a_head_attends_to_the_token_before",
)
def test_it_adds_to_the_score_of_one_back(subject: Subject, expect: Expect) -> None:
    """The previous-token head adds at least one to the score of the token before, whatever that
    token is."""
    layer, index = subject.roles.need("previous_token")
    bias = subject.model.blocks[layer].attn.distance[index, 1]
    expect(
        "bias",
        bias,
        at_least=1.0,
        because="one, as the statement says; from where it counts depends on the gauge",
    )


@pytest.mark.claim(source=OLSSON, evidence="estimated", about="induction")
def test_a_head_attends_after_the_last_occurrence(subject: Subject, expect: Expect) -> None:
    """Where a token has come before, the induction head gives what followed it half of its
    attention, on average."""
    pattern, batch = subject.patterns[subject.roles.need("induction")], subject.batch
    attention = mean_where(to_successor(pattern, batch), batch.repeats)
    expect("attention", mean(attention), at_least=0.5, because="half, as the statement says")


@pytest.mark.claim(
    source=OLSSON,
    evidence="estimated",
    spared={"fresh weights": "no head of an untrained model does so"},
)
def test_no_other_head_does_so(subject: Subject, expect: Expect) -> None:
    """No other head gives what followed the last occurrence half of its attention."""
    mine, batch = subject.roles.need("induction"), subject.batch
    others = {
        head: mean_where(to_successor(pattern, batch), batch.repeats)
        for head, pattern in subject.patterns.items()
        if head != mine
    }
    best = max(others, key=lambda head: others[head].mean().item())
    expect(
        "next_best",
        mean(others[best]),
        at_most=0.5,
        because="half, as the statement says",
        note="head {}.{}".format(*best),
    )


@pytest.mark.claim(
    source=ELHAGE,
    evidence="exact",
    spared={"fresh weights": "it says where the heads stand, and they stay"},
)
def test_the_previous_token_head_comes_first(subject: Subject, expect: Expect) -> None:
    """The induction head stands in a later layer than the previous-token head."""
    first, second = subject.roles.need("previous_token"), subject.roles.need("induction")
    expect("layers_between", second[0] - first[0], at_least=1, because="a later layer")


@pytest.mark.claim(
    source=ELHAGE,
    evidence="exact",
    gauge={
        "residual rotation"
    },  # the rotations are drawn in coordinates: other coordinates are other draws
    companion="the_previous_token_head_is_needed",
)
def test_they_k_compose(subject: Subject, expect: Expect) -> None:
    """What the previous-token head writes enters the keys of the induction head more than after 99
    in 100 random rotations."""
    first, second = subject.roles.need("previous_token"), subject.roles.need("induction")
    if first[0] >= second[0]:
        expect(
            "lead",
            None,
            at_least=0.0,
            because="the 99th percentile",
            note="the first does not come before the second",
        )
        return
    score = k_composition(subject.model, first, second)
    dtype = subject.model.W_E.dtype
    turns = rotations(999, subject.model.sizes.d_model, subject.generator("rotations"))
    chance = torch.tensor(
        [k_composition(subject.model, first, second, turn.to(dtype)) for turn in turns]
    )
    expect("score", score)
    expect(
        "lead",
        score - chance.quantile(0.99),
        at_least=0.0,
        because="the 99th percentile of the rotations",
    )
    expect.null("score", score, chance.tolist(), kind="random rotations between the two")


@pytest.mark.claim(source=OLSSON, evidence="estimated")
def test_the_loss_falls_where_tokens_come_again(subject: Subject, expect: Expect) -> None:
    """Where tokens come again the loss is a tenth of what it was."""
    foreseen = subject.batch.foreseen[:, 1:]
    first, second = (mean_where(subject.losses, chosen) for chosen in (~foreseen, foreseen))
    ratio = mean(second / first.mean())
    expect("first", mean(first))
    expect("ratio", ratio, at_most=0.1, because="a tenth, as the statement says")


@pytest.mark.claim(
    source="our own",
    evidence="estimated",
    spared={"fresh weights": "an untrained model knows nothing of random tokens, either"},
)
def test_nothing_is_known_before_that(subject: Subject, expect: Expect) -> None:
    """Before tokens come again the loss is at least that of a guess among all tokens."""
    first = mean_where(subject.losses, ~subject.batch.foreseen[:, 1:])
    guess = math.log(subject.model.sizes.vocabulary)
    expect(
        "loss",
        mean(first),
        at_least=guess,
        because=f"ln {subject.model.sizes.vocabulary}: the tokens are random",
    )


@pytest.mark.claim(
    source=OLSSON, evidence="causal", about="previous_token", broken_by={"exchanged keys"}
)
def test_the_previous_token_head_is_needed(subject: Subject, expect: Expect) -> None:
    """Without the previous-token head more than half of what repetition gains is lost."""
    lost = gain_lost(subject, subject.losses_without(subject.roles.need("previous_token")))
    expect("gain_lost", mean(lost), at_least=0.5, because="half, as the statement says")


@pytest.mark.claim(source=OLSSON, evidence="causal", about="induction")
def test_the_induction_head_is_needed(subject: Subject, expect: Expect) -> None:
    """Without the induction head more than half of what repetition gains is lost."""
    lost = gain_lost(subject, subject.losses_without(subject.roles.need("induction")))
    expect("gain_lost", mean(lost), at_least=0.5, because="half, as the statement says")


@pytest.mark.claim(
    source="our own",
    evidence="causal",
    spared={"fresh weights": "nothing can be lost where nothing is gained"},
)
def test_every_other_head_can_go(subject: Subject, expect: Expect) -> None:
    """Without any one of the other heads less than a quarter of what repetition gains is lost."""
    mine = {subject.roles.need("previous_token"), subject.roles.need("induction")}
    for head in [head for head in subject.patterns if head not in mine]:
        name = "gain_lost_without_{}_{}".format(*head)
        expect(
            name,
            mean(gain_lost(subject, subject.losses_without(head))),
            at_most=0.25,
            because="a quarter, as the statement says",
        )


@pytest.mark.claim(source=ELHAGE, evidence="exact", about="induction")
def test_the_induction_head_copies(subject: Subject, expect: Expect) -> None:
    """Attending to a token, the induction head raises its logit above all others, for nine tokens
    in ten."""
    found = copied(subject.model, subject.roles.need("induction"))
    expect(
        "share_of_tokens",
        found.double().mean(),
        at_least=0.9,
        because="nine in ten, as the statement says",
    )


@pytest.mark.claim(source=OLSSON, evidence="estimated")
def test_the_answer_is_right_where_tokens_come_again(subject: Subject, expect: Expect) -> None:
    """In nine of ten places where a token comes again the model names it."""
    batch = subject.batch
    right = subject.model(batch.tokens)[:, :-1].argmax(-1) == batch.tokens[:, 1:]
    place = batch.foreseen[:, 1:]
    last = place.shape[1] - 1  # one place of each sequence: the places of one are not independent
    expect(
        "right",
        clopper_pearson(int(right[:, last].sum()), len(right)),
        at_least=0.9,
        because="nine in ten, as the statement says",
    )
    expect("right_anywhere", (right & place).sum() / place.sum())


@pytest.mark.claim(source="our own", evidence="searched")
def test_it_does_so_in_every_sequence(subject: Subject, expect: Expect) -> None:
    """In every sequence of different tokens the induction head attends most to what followed the
    last occurrence."""
    head, sizes = subject.roles.need("induction"), subject.model.sizes
    length, examples = sizes.length, 300
    tried: list[tuple[float, list[int]]] = []

    @seed(subject.seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(
            st.integers(0, sizes.vocabulary - 1),
            min_size=length // 2,
            max_size=length * 3 // 4,
            unique=True,
        )
    )
    def look(first: list[int]) -> None:
        tokens = torch.tensor([[first[place % len(first)] for place in range(length)]])
        batch = Sequences(tokens, torch.tensor([len(first)]))
        pattern = patterns(subject.model, tokens)[head]
        to = to_successor(pattern, batch)
        others = pattern.clone()
        others.scatter_(
            2, (torch.arange(length) - len(first) + 1).clamp(0).expand(1, length)[..., None], 0.0
        )
        margin = (to - others.max(-1).values)[batch.repeats].min().item()
        tried.append((margin, first))
        target(-margin)

    look()
    margin, tokens = min(tried)
    expect.enough("sequences", len(tried), needed=examples)
    if margin < 0:
        expect.show_counterexample(tokens=" ".join(map(str, tokens)), margin=margin)
    expect("smallest_margin", margin, at_least=0.0, because="attends most, in every sequence")
