"""What the gate sees, on few graphs and three claims: the study is right where the answer is
known."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from circuits.subject import REGISTRY, Subject, load_subject
from models.randomness import named_generator
from studies.power import (
    DAMAGE,
    NULLS,
    compared,
    float16,
    measured_claims,
    noise,
    power,
    side_of,
    table,
    wrongly_tuned,
)

CLAIMS = [
    claim
    for claim in measured_claims()
    if claim.id
    in (
        "classifies_the_validation_set",
        "high_degree_vertices_ignore_the_target",
        "target_key_stands_out",
    )
]


@pytest.fixture(scope="module")
def subject() -> Subject:
    whole = load_subject(REGISTRY / "default")
    return dataclasses.replace(whole.every(8), searching=True)


def test_a_copy_that_was_not_changed_raises_no_alarm(subject: Subject) -> None:
    side = side_of(subject, CLAIMS)
    found = compared(side, side, same_cases=True)
    assert (found.measures, found.in_pairs, found.apart) == (4, 0, 0)
    assert not found.intervals_alarm
    assert not found.seen


def test_pairs_see_noise_that_intervals_do_not(subject: Subject) -> None:
    before = side_of(subject, CLAIMS)
    changed = noise(0.02)(subject, named_generator(0, "noise"))
    found = compared(before, side_of(changed, CLAIMS), same_cases=True)
    assert found.in_pairs
    assert not found.apart
    rounded = compared(
        before, side_of(float16(subject, torch.Generator()), CLAIMS), same_cases=True
    )
    assert not rounded.in_pairs


def test_wrong_labels_cost_right_answers(subject: Subject) -> None:
    tuned = wrongly_tuned(subject, named_generator(0, "labels"))
    assert tuned.right.double().mean() < subject.right.double().mean() - 0.02
    assert tuned.content_hash != subject.content_hash
    assert not any(weight.requires_grad for weight in tuned.model.parameters())


def test_every_change_has_its_row(subject: Subject) -> None:
    lines: list[str] = []
    found = power(subject, CLAIMS[:1], repeats=1, report=lines.append)
    rows = list(table(found))
    assert len(lines) == len(NULLS) + len(DAMAGE) == len(rows) - 4
    assert all(row.count("|") == 7 for row in rows)
    assert rows[3].startswith("| other `--claims-seed` | 1 | 0 (0.0 measures) | 0 (0.0 measures) |")
