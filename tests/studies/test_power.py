"""What the gate sees, on few graphs and three claims: the study is right where the answer is
known."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from circuits.subject import REGISTRY, Subject, load_subject
from models.randomness import named_generator
from studies.power import (
    DAMAGE,
    NULLS,
    Found,
    compared,
    false_alarms,
    float16,
    measured_claims,
    noise,
    of_one_repeat,
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
    changes = [*NULLS, *DAMAGE]
    found = {name: [one] for name, one in of_one_repeat(subject, CLAIMS[:1], 0, changes)}
    rows = list(table(found))
    assert len(found) == len(changes) == len(rows) - 4
    assert all(row.count("|") == 7 for row in rows)
    assert rows[3].startswith("| other `--claims-seed` | 1 | 0 (0.0 measures) | 0 (0.0 measures) |")
    assert rows[4].startswith("| other validation graphs | 1 | 0 (0.0 measures) | — | 0 |")
    assert false_alarms(found) == (
        "Of 4 runs where nothing that matters was changed: by intervals an alarm in 0 (at most"
        " 60.2%), and a failure of the gate in 0 (at most 60.2%). Of the 3 with the same graphs:"
        " in pairs something shown in 0 (at most 70.8%)."
    )


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_is_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: bool
) -> None:
    if not processes:
        monkeypatch.setattr(
            "studies.power.ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(jobs)
        )
    out, default = tmp_path / "runs.jsonl", REGISTRY / "default"
    of = {"weights": load_subject(default).content_hash, "claims": ["target_key_stands_out"]}
    kept = dataclasses.asdict(Found(4, 3, 2, 1, 0, True, True, True))
    lines = [
        json.dumps({"of": of, "repeat": 0, "change": name, "found": kept})
        for name in list(NULLS)[1:]
    ]
    out.write_text("\n".join([*lines, lines[0][:50]]) + "\n", encoding="utf-8")
    ask = {"nulls": 1, "damage": 0, "jobs": 1, "out": out}
    reported: list[str] = []
    found = power(default, of["claims"], **ask, report=reported.append)
    assert [one.measures for name in NULLS for one in found[name]] == [2, 4, 4, 4]
    assert len(reported) == 1
    assert reported[0].startswith("run 0 of other `--claims-seed`: ")
    assert power(default, of["claims"], **ask) == found  # now all of it is in the file
    with pytest.raises(ValueError, match=r"runs\.jsonl: holds runs of other weights or claims"):
        power(default, ["anchor_keys_stand_out"], **ask)
