"""What a claim stands or falls with, then and now, and which of it moved by more than chance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

from verdicts.gates import Bounds, Gate, Move
from verdicts.paired import Change, smallest_unpaired
from verdicts.schema import ClaimResult, Measurement

SAME_WEIGHTS = 1e-4  # by which an exact measurement of the same subject may differ between machines


@dataclasses.dataclass(frozen=True)
class Pair:
    """A measure with a bound and a number on both sides."""

    measure: str
    old: Measurement
    new: Measurement
    was: float
    now: float
    """The two numbers."""

    @property
    def bounds(self) -> Bounds:
        """Those that it is held to now."""
        return Bounds.of(self.new)

    @property
    def intervals(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """The old and the new one; `None` where either is missing."""
        old, new = self.old, self.new
        if old.low is None or old.high is None or new.low is None or new.high is None:
            return None
        return (old.low, old.high), (new.low, new.high)

    @property
    def apart(self) -> bool:
        """Whether the two intervals are there and have no number in common."""
        if self.intervals is None:
            return False
        old, new = self.intervals
        return new[1] < old[0] or new[0] > old[1]


def moves_of(before: ClaimResult | None, now: ClaimResult | None, gate: Gate) -> list[Move]:
    """The measures that a claim stands or falls with, then and now, where it holds in both."""
    if before is None or now is None or {before.verdict, now.verdict} != {"holds"}:
        return []
    return [
        Move(
            pair.measure,
            pair.was,
            pair.now,
            pair.bounds,
            _significant(pair, now.evidence, gate, gate.changes.get((now.id, pair.measure))),
            gate.changes.get((now.id, pair.measure)),
        )
        for pair in gating_pairs(before, now)
    ]


def gating_pairs(before: ClaimResult, now: ClaimResult) -> Iterator[Pair]:
    """The measures of a claim with a bound and a number on both sides."""
    since = now.deciding
    for name, old in before.deciding.items():
        new = since.get(name)
        if new is not None and old.number is not None and new.number is not None:
            yield Pair(name, old, new, old.number, new.number)


def _significant(pair: Pair, evidence: str, gate: Gate, change: Change | None) -> bool:
    """Whether a measure changed by more than chance: in pairs, or by intervals that fall apart, or
    where there is no chance in it."""
    if change is not None:
        return change.significant
    same = gate.mode == "same"
    beyond = abs(pair.now - pair.was) > pair.bounds.negligible(pair.was)
    if pair.intervals is None:
        close = math.isclose(pair.was, pair.now, rel_tol=SAME_WEIGHTS, abs_tol=SAME_WEIGHTS)
        return evidence in ("exact", "proved") and (not close if same else beyond)
    return pair.apart and (same or beyond)


def smallest_changes(
    before: Mapping[str, ClaimResult], now: Mapping[str, ClaimResult], gate: Gate
) -> dict[str, dict[str, float]]:
    """The smallest change of each measure that would have been seen in four cases of five."""
    found: dict[str, dict[str, float]] = {}
    for name in before.keys() & now.keys():
        for pair in gating_pairs(before[name], now[name]):
            change = gate.changes.get((name, pair.measure))
            if change is not None:
                smallest = change.smallest
            elif pair.intervals is None:
                continue
            else:
                smallest = smallest_unpaired(*pair.intervals)
            found.setdefault(name, {})[pair.measure] = float(f"{smallest:.3g}")
    return dict(sorted(found.items()))
