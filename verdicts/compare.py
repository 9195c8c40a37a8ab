"""One run against another: which claims hold still, which were lost or gained, and which have
drifted."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import UNSET

from verdicts.gates import AS_BEFORE, FAILING, STATUSES, Bounds, Gate, Move, mode_of
from verdicts.paired import Change, smallest_unpaired
from verdicts.record import RecordError
from verdicts.schema import (
    AnswersChange,
    ClaimChange,
    ClaimResult,
    Comparison,
    Description,
    Measurement,
    PartChange,
    Record,
    Status,
    SubjectResult,
)

LOST = ("lost", "law broken", "acknowledged", "gone")
SAME_WEIGHTS = 1e-4  # by which an exact measurement of the same weights may differ between machines


def baseline_for(baseline: Record, subject: Description, *, source: Path) -> SubjectResult:
    """The subject of a record to compare with: the only one, or that of the same weights;
    `RecordError` where there is none."""
    subjects = baseline.subjects
    same = [one for one in subjects if one.content_hash == subject.content_hash]
    if len(subjects) > 1 and not same:
        names = ", ".join(one.name for one in subjects)
        raise RecordError(
            f"{source}: is of {names}, and none has the weights of {subject.name}; compare with"
            " a record of one subject"
        )
    found = (same or subjects)[0]
    then, now = found.validation_set or None, subject.validation_set or None
    if then != now:
        raise RecordError(
            f"{source}: was judged on the data {then}, but {subject.name} on {now}; what was"
            " measured on other data cannot be compared"
        )
    return found


def compare(
    baseline: SubjectResult, subject: SubjectResult, *, whole: bool, gate: Gate | None = None
) -> Comparison:
    """What became of each claim of the baseline, by the rule of the gate; without one the hashes
    say which. In a run that is not `whole`, claims that were not judged are left out."""
    before, now = ({claim.id: claim for claim in one.claims} for one in (baseline, subject))
    same = baseline.content_hash == subject.content_hash
    asked = gate or Gate(*mode_of(None, same_weights=same, retrained=None))
    claims = {}
    for name in sorted(before.keys() | now.keys()):
        if name in now or whole:
            then, since = before.get(name), now.get(name)
            drift = UNSET if since is None else since.drift
            gate = dataclasses.replace(asked, drift=asked.drift if drift is UNSET else drift)
            moves = moves_of(then, since, gate)
            was, is_now = (None if one is None else one.verdict for one in (then, since))
            status = gate.status(name, was, is_now, moves)
            told = _told(then, since, status, moves, gate)
            claims[name] = ClaimChange(status, tuple(told))
    return Comparison(
        name=baseline.name,
        content_hash=baseline.content_hash,
        mode=asked.mode,
        why=asked.why,
        rule=asked.rule,
        pairs=asked.pairs,
        parts=tuple(_parts(baseline, subject, claims)),
        looks_like=_looks_like(before, claims),
        answers=tuple(_answers(now, asked)),
        smallest=_smallest(before, now, asked),
        claims=claims,
    )


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


def _told(
    before: ClaimResult | None,
    now: ClaimResult | None,
    status: Status,
    moves: Sequence[Move],
    gate: Gate,
) -> Iterator[str]:
    """What there is to say of a claim, in sentences: what moved, or what it misses and by how
    much, and what the team said of it."""
    if status in ("drifted", "moved"):
        assert before is not None
        assert now is not None
        failing = [move for move in moves if move.fails(gate.mode, gate.drift)]
        for move in failing if status == "drifted" else moves:
            if move.significant:
                yield _move(move, *(one.measurements[move.measure] for one in (before, now)))
    if now is None or status not in ("lost", "law broken", "acknowledged", "gone"):
        return
    yield from _misses(before, now)
    if now.id in gate.laws:
        yield f"it holds in {gate.laws[now.id]:.0%} of trainings"
    if (known := gate.acknowledgement(now.id)) is not None:
        over = (
            ""
            if status == "acknowledged"
            else (
                "; that day is over" if known.expired(gate.today) else f"; but as {known.verdict}"
            )
        )
        yield f"{known}{over}"


def _move(move: Move, old: Measurement, new: Measurement) -> str:
    parts = [f"{move.measure} {_shown(old)} → {_shown(new)}"]
    if (change := move.change) is not None:
        parts.append(
            f"{change.difference:+.3g} [{change.low:+.3g}, {change.high:+.3g}] in pairs,"
            f" p = {change.p_corrected:.2g}"
        )
    if 0 < move.lost < math.inf:
        parts.append(f"{move.lost:.0%} of the way to {_bound(new)}")
    return ", ".join(parts)


def _misses(before: ClaimResult | None, now: ClaimResult) -> Iterator[str]:
    """Old and new value, bound and reason of what a claim misses."""
    was = "" if before is None else f"{before.verdict} → "
    missed = {name: m for name, m in now.deciding.items() if m.outcome != "holds"}
    if now.reason or not missed:
        yield f"{was}{now.verdict}" + (f": {now.reason}" if now.reason else "")
        return
    for name, new in missed.items():
        old = None if before is None else before.measurements.get(name)
        then = "" if old is None or old.number is None else f"{_shown(old)} → "
        yield f"{was}{now.verdict}: {name} {then}{_shown(new)}, {_bound(new)} ({new.because})"


def _bound(measurement: Measurement) -> str:
    limits = (("≥", measurement.at_least), ("≤", measurement.at_most))
    return " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)


def _shown(measurement: Measurement) -> str:
    if measurement.number is None:
        return "none"
    if measurement.low is None or measurement.high is None:
        return f"{measurement.number:.4g}"
    return f"{measurement.number:.4g} [{measurement.low:.4g}, {measurement.high:.4g}]"


def _parts(
    baseline: SubjectResult, subject: SubjectResult, claims: Mapping[str, ClaimChange]
) -> Iterator[PartChange]:
    """The roles that are gone or elsewhere, each with the claims that were lost and hang on it."""
    about = {claim.id: claim for one in (baseline, subject) for claim in one.claims}
    told = set[str]()
    for role, was in baseline.roles.items():
        now = subject.roles.get(role)
        if was is None or now == was:
            continue
        hanging = [
            name
            for name, claim in claims.items()
            if claim.status in LOST and role in (about[name].parts or ()) and name not in told
        ]
        told.update(hanging)
        reasons = (about[name].reason for name in hanging if about[name].verdict == "absent")
        why = next(filter(None, reasons), None)
        became = f"now {_role(now)}" if now is not None else f"gone{f': {why}' if why else ''}"
        yield PartChange(role, f"was {_role(was)}, {became}", tuple(hanging))


LIKE = 0.7  # claims that are lost and broken by the control, over those that are either
_FEWEST = 3  # lost claims: fewer are a pattern of many things


def _looks_like(before: Mapping[str, ClaimResult], claims: Mapping[str, ClaimChange]) -> str:
    """The control of the baseline that breaks the claims that are lost and few others, if there is
    one: what the change looks like, not what it is."""
    lost = {name for name, claim in claims.items() if claim.status in LOST}
    tried = {
        name: judged.controls
        for name in claims
        if (judged := before.get(name)) and judged.controls and judged.verdict == "holds"
    }
    best, share = "", 0.0
    for control in dict.fromkeys(control for trials in tried.values() for control in trials):
        broken = {
            name
            for name, trials in tried.items()
            if control in trials and trials[control].verdict != "holds"
        }
        both = len(lost & broken)
        if both / max(1, len(lost | broken)) > share:
            share = both / len(lost | broken)
            best = (
                f"looks like the control “{control}”: it breaks {both} of the {len(lost)} claims"
                f" that are lost, and {len(broken - lost)} others"
            )
    return best if share >= LIKE and len(lost) >= _FEWEST else ""


def _role(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _answers(now: Mapping[str, ClaimResult], gate: Gate) -> Iterator[AnswersChange]:
    """Of each measure that keeps its answers, which cases came out otherwise."""
    for (claim, measure), change in gate.changes.items():
        measured = now[claim].measurements.get(measure) if claim in now else None
        if measured is not None and measured.answers:
            yield AnswersChange(
                claim,
                measure,
                change.newly_wrong,
                change.newly_right,
                change.p,
                said=(
                    f"{measure}: {len(change.newly_wrong):,} of {change.cases:,} {gate.cases} newly"
                    f" wrong, {len(change.newly_right):,} newly right (p = {change.p:.2g})"
                ),
                shown=(),
            )


def _smallest(
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


def comparison_summary(comparison: Comparison) -> str:
    """How many claims came out how, worst first: `1 lost, 41 holds still`."""
    counts = Counter(claim.status for claim in comparison.claims.values())
    return (
        ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
        or "nothing was compared"
    )


def comparison_complaints(comparison: Comparison) -> Iterator[str]:
    """Why the run fails by the comparison, in sentences."""
    claims = comparison.claims
    if all(claim.status in ("new", "vanished") for claim in claims.values()):
        yield f"no claim of this run is in the baseline, {comparison.name}: nothing was compared"
    for name, claim in claims.items():
        if claim.status in FAILING:
            yield f"{name}: {', '.join([claim.status, '; '.join(claim.moved)]).rstrip(', ')}"


def headline(comparison: Comparison) -> list[str]:
    """Which question was asked and why, what was compared in pairs, and which answers changed."""
    if not comparison.mode:  # of a record from before there were three
        return []
    return [
        f"{comparison.rule} ({comparison.why})",
        *filter(None, [comparison.pairs, comparison.looks_like]),
        *(one.said for one in comparison.answers),
    ]


Told = tuple[Status, str, tuple[str, ...]]
"""What became of a claim, which, and what there is to say of it."""


def changed(comparison: Comparison) -> list[tuple[str | None, list[Told]]]:
    """What did not come out as before: first the parts that are gone or elsewhere, each with the
    claims that hang on it, then the rest, the worst first."""
    told: list[Told] = [
        (status, name, claim.moved)
        for status in STATUSES
        if status not in AS_BEFORE
        for name, claim in comparison.claims.items()
        if claim.status == status
    ]
    groups: list[tuple[str | None, list[Told]]] = []
    folded = set[str]()
    for part in comparison.parts:
        hanging = [one for one in told if one[1] in part.claims]
        folded.update(part.claims)
        count = f"{len(hanging)} claims hang on it" if len(hanging) != 1 else "1 claim hangs on it"
        groups.append((f"{part.part}: {part.became}; {count}", hanging))
    return [*groups, (None, [one for one in told if one[1] not in folded])]


def smallest_seen(comparison: Comparison) -> list[tuple[str, str, float]]:
    """Claim, measure and the smallest change that would have been seen in four cases of five."""
    return [
        (claim, measure, smallest)
        for claim, measures in comparison.smallest.items()
        for measure, smallest in measures.items()
    ]
