"""The rules of the gate: three questions, each with a rule of its own.

*same*: the same subject, so everything must be as it was. *changed*: a changed one, so no claim may
be lost, and none may come much nearer to its bound. *retrained*: trained anew, so the laws must
hold, and the rest is an accident of the seed.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping, Sequence
from typing import get_args

from verdicts.acknowledged import Acknowledgement
from verdicts.nulls import LEVEL
from verdicts.paired import Change, Key
from verdicts.schema import Measurement, Mode, Status

MODES: tuple[Mode, ...] = get_args(Mode)
STATUSES: tuple[Status, ...] = get_args(Status)  # worst first
FAILING: tuple[Status, ...] = ("lost", "law broken", "vanished", "drifted")
AS_BEFORE: tuple[Status, ...] = ("fails still", "holds still")

DRIFT = 0.25
"""Share of the distance to its bound that a measure may lose in a changed subject."""
NEGLIGIBLE = 0.01
"""Share of the distance to its bound that counts as no change at all, however sure it is."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a measure is held to."""

    at_least: float | None
    at_most: float | None

    @classmethod
    def of(cls, measurement: Measurement) -> Bounds:
        """Those of a measurement."""
        return cls(measurement.at_least, measurement.at_most)

    def distance(self, value: float) -> float:
        """How far inside them a value lies; negative outside."""
        below = math.inf if self.at_least is None else value - self.at_least
        above = math.inf if self.at_most is None else self.at_most - value
        return min(below, above)

    def negligible(self, value: float) -> float:
        """A change that is none, from that value on."""
        return NEGLIGIBLE * abs(self.distance(value))

    def lost(self, before: float, now: float) -> float:
        """Share of the distance that is gone; negative where the measure is further inside."""
        distance = self.distance(before)
        gone = distance - self.distance(now)
        return gone / distance if distance > 0 else math.inf if gone > 0 else -math.inf


@dataclasses.dataclass(frozen=True)
class Move:
    """A measure that a claim stands or falls with, then and now."""

    measure: str
    before: float
    now: float
    bounds: Bounds
    significant: bool
    """Whether it is more than chance and more than negligible."""
    change: Change | None = None
    """The comparison in pairs, where both sides had their cases."""

    @property
    def lost(self) -> float:
        """Share of the distance to its bound that is gone."""
        return self.bounds.lost(self.before, self.now)

    def fails(self, mode: Mode, drift: float) -> bool:
        """Whether it moved too far for the question that is asked."""
        if mode == "retrained" or not self.significant:
            return False
        return mode == "same" or self.lost > drift


@dataclasses.dataclass(frozen=True)
class Gate:
    """Which question is asked, and all that the answer depends on beside the two records."""

    mode: Mode
    why: str
    """Why it is this question."""
    changes: Mapping[Key, Change] = dataclasses.field(default_factory=dict)
    """Of the measures that were compared in pairs."""
    pairs: str = ""
    """What was compared in pairs, or why nothing was, in a sentence."""
    laws: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Claims that are expected of every training, with the rate at which they hold."""
    acknowledged: Sequence[Acknowledgement] = ()
    today: datetime.date = dataclasses.field(default_factory=datetime.date.today)
    drift: float = DRIFT
    cases: str = "cases"
    """What the project calls them."""
    contents: str = "contents"
    """What the project says that a subject consists of."""

    @property
    def rule(self) -> str:
        """When the run fails, in a sentence."""
        if self.mode == "same":
            return f"the same {self.contents}: everything must be as it was"
        if self.mode == "changed":
            return (
                f"changed {self.contents}: a claim that is lost fails, and one of which a measure"
                f" has lost more than {self.drift:.0%} of its distance to the bound"
            )
        gating = gating_laws(self.laws)
        if not gating:
            return "trained anew: no law is known that could gate, so nothing fails"
        return (
            f"trained anew: {len(gating)} of {len(self.laws)} laws gate, and by their rates fail"
            f" {false_alarms(gating):.0%} of sound trainings at most; the rest is an accident of"
            " the seed"
        )

    def acknowledgement(self, claim: str) -> Acknowledgement | None:
        """What the team says of a claim."""
        return next((one for one in self.acknowledged if one.claim == claim), None)

    def status(
        self, claim: str, before: str | None, now: str | None, moves: Sequence[Move] = ()
    ) -> Status:
        """What became of a claim, by its verdicts and by what it stands or falls with."""
        found = self._status(claim, before, now, moves)
        known = self.acknowledgement(claim)
        if found in ("lost", "law broken") and known and known.covers(now, self.today):
            return "acknowledged"
        return found

    def _status(
        self, claim: str, before: str | None, now: str | None, moves: Sequence[Move]
    ) -> Status:
        if now is None:
            return "vanished"
        if self.mode == "retrained" and now != "holds" and claim in gating_laws(self.laws):
            return "law broken"
        if before is None:
            return "new"
        held, holds = before == "holds", now == "holds"
        if held and holds:
            if any(move.fails(self.mode, self.drift) for move in moves):
                return "drifted"
            moved = self.mode != "retrained" and any(move.significant for move in moves)
            return "moved" if moved else "holds still"
        if held:
            return "gone" if self.mode == "retrained" else "lost"
        return "gained" if holds else "fails still"

    def forgives(self, claim: str, before: str | None, now: str) -> bool:
        """Whether a claim that does not hold passes."""
        return self.status(claim, before, now) not in (*FAILING, "new") or (
            self.mode == "retrained" and claim not in gating_laws(self.laws)
        )


def mode_of(named: str | None, *, same_contents: bool, retrained: str | None) -> tuple[Mode, str]:
    """The question and why it is this one; `retrained` is why the project takes the subject for
    another training of the baseline's recipe."""
    for mode in MODES:
        if named == mode:
            return mode, "named by --claims-gate"
    if same_contents:
        return "same", "the content hashes are equal"
    if retrained is not None:
        return "retrained", retrained
    return "changed", "the content hashes differ"


def gating_laws(laws: Mapping[str, float]) -> dict[str, float]:
    """The laws that gate: the surest ones, as many as a sound training breaks any of in at most one
    case of twenty."""
    gating: dict[str, float] = {}
    for claim, rate in sorted(laws.items(), key=lambda law: (-law[1], law[0])):
        if false_alarms({**gating, claim: rate}) > LEVEL + 1e-9:  # rounding
            break
        gating[claim] = rate
    return gating


def false_alarms(laws: Mapping[str, float]) -> float:
    """At most how often any of them is broken by a sound training, however they depend on each
    other (Bonferroni)."""
    return min(1.0, sum(1 - rate for rate in laws.values()))
