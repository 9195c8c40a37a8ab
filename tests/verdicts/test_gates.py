"""The rules of the three gates, each on its own."""

from __future__ import annotations

import datetime
import math

import pytest

from verdicts.acknowledged import Acknowledgement
from verdicts.gates import (
    Bounds,
    Gate,
    Move,
    false_alarms,
    gating_laws,
    mode_of,
)
from verdicts.schema import Mode

AT_LEAST = Bounds(0.5, None)
LAWS = {"law": 1.0, "accident": 0.6}


def move(before: float, now: float, *, significant: bool = True) -> Move:
    return Move("x", before, now, AT_LEAST, significant)


@pytest.mark.parametrize(
    ("bounds", "before", "now", "lost"),
    [
        (Bounds(0.5, None), 0.9, 0.8, 0.25),
        (Bounds(None, 1.0), 0.5, 0.75, 0.5),
        (Bounds(0.0, 1.0), 0.25, 0.75, 0.0),  # from one bound towards the other
        (Bounds(0.5, None), 0.9, 1.0, -0.25),
        (Bounds(0.5, None), 0.5, 0.4, math.inf),
    ],
)
def test_the_share_of_the_distance_that_is_lost(
    bounds: Bounds, before: float, now: float, lost: float
) -> None:
    assert bounds.lost(before, now) == pytest.approx(lost)


@pytest.mark.parametrize(
    ("mode", "before", "now", "status"),
    [
        ("same", "holds", "refuted", "lost"),
        ("changed", "holds", "absent", "lost"),
        ("retrained", "holds", "refuted", "gone"),
        ("same", "refuted", "holds", "gained"),
        ("retrained", "refuted", "absent", "fails still"),
        ("retrained", "holds", None, "vanished"),
        ("changed", None, "refuted", "new"),
        ("retrained", "holds", "holds", "holds still"),
    ],
)
def test_what_became_of_a_claim(
    mode: Mode, before: str | None, now: str | None, status: str
) -> None:
    assert Gate(mode, "").status("accident", before, now) == status


@pytest.mark.parametrize(
    ("moved", "same", "changed"),
    [
        (move(0.9, 0.7), "drifted", "drifted"),  # half of the distance
        (move(0.9, 0.85), "drifted", "moved"),  # an eighth
        (move(0.9, 0.99), "drifted", "moved"),  # further inside
        (move(0.9, 0.7, significant=False), "holds still", "holds still"),
    ],
)
def test_what_moved_fails_by_the_question_that_is_asked(
    moved: Move, same: str, changed: str
) -> None:
    found = {
        mode: Gate(mode, "").status("c", "holds", "holds", [moved])  # type: ignore[arg-type]
        for mode in ("same", "changed", "retrained")
    }
    assert found == {"same": same, "changed": changed, "retrained": "holds still"}


def test_a_project_sets_how_far_a_measure_may_drift() -> None:
    gate = Gate("changed", "", drift=0.1)
    assert gate.status("c", "holds", "holds", [move(0.9, 0.85)]) == "drifted"
    assert "more than 10% of its distance" in gate.rule


def test_of_a_new_training_the_laws_must_hold_and_nothing_else() -> None:
    gate = Gate("retrained", "", laws=LAWS)
    assert gate.status("law", "holds", "refuted") == "law broken"
    assert gate.status("law", "refuted", "absent") == "law broken"  # whatever the baseline was
    assert gate.status("law", None, "refuted") == "law broken"
    assert gate.status("accident", "holds", "refuted") == "gone"
    assert not gate.forgives("law", "holds", "refuted")
    assert gate.forgives("accident", "holds", "refuted")
    assert gate.forgives("accident", None, "refuted")
    assert gate.rule.startswith("trained anew: 1 of 2 laws gate, and by their rates fail")
    assert "no law is known" in Gate("retrained", "").rule


def test_laws_gate_while_a_false_alarm_is_rare() -> None:
    """The surest first: two that hold in 98 of 100 may gate together, and three may not."""
    laws = {"always": 1.0, "b": 0.98, "c": 0.98, "d": 0.98, "often": 0.9}
    assert list(gating_laws(laws)) == ["always", "b", "c"]
    assert false_alarms(gating_laws(laws)) == pytest.approx(0.04)
    assert gating_laws({"often": 0.9}) == {}


def test_what_is_acknowledged_passes_until_its_day_and_with_its_verdict_alone() -> None:
    last = datetime.date(2026, 3, 1)
    known = [Acknowledgement("c", "refuted", "it is being rebuilt", "Ada", last)]
    gate = Gate("changed", "", acknowledged=known, today=last)
    assert gate.status("c", "holds", "refuted") == "acknowledged"
    assert gate.forgives("c", "holds", "refuted")
    assert gate.status("c", "holds", "absent") == "lost"
    assert gate.status("other", "holds", "refuted") == "lost"
    later = Gate("changed", "", acknowledged=known, today=last + datetime.timedelta(1))
    assert later.status("c", "holds", "refuted") == "lost"
    assert not later.forgives("c", "holds", "refuted")


def test_the_question_follows_from_the_hashes_and_the_recipe_unless_it_is_named() -> None:
    recipe = "seed 3 of the recipe of which the baseline is seed 1"
    assert mode_of(None, same_contents=True, retrained=recipe) == (
        "same",
        "the content hashes are equal",
    )
    assert mode_of(None, same_contents=False, retrained=recipe) == ("retrained", recipe)
    assert mode_of(None, same_contents=False, retrained=None)[0] == "changed"
    assert mode_of("changed", same_contents=True, retrained=None) == (
        "changed",
        "named by --claims-gate",
    )
