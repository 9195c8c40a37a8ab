"""One run against another: which claims hold still, which were lost or gained, and which have
drifted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import UNSET

from verdicts.causes import looks_like, parts_that_changed
from verdicts.gates import Gate, mode_of
from verdicts.moves import moves_of, smallest_changes
from verdicts.record import RecordError
from verdicts.schema import (
    AnswersChange,
    ClaimChange,
    ClaimResult,
    Comparison,
    Description,
    Record,
    SubjectResult,
)
from verdicts.sentences import said_of


def baseline_for(baseline: Record, subject: Description, *, source: Path) -> SubjectResult:
    """The subject of a record to compare with: the only one, or that of the same hash;
    `RecordError` where there is none."""
    subjects = baseline.subjects
    same = [one for one in subjects if one.content_hash == subject.content_hash]
    if len(subjects) > 1 and not same:
        names = ", ".join(one.name for one in subjects)
        raise RecordError(
            f"{source}: is of {names}, and none has the content hash of {subject.name}; compare"
            " with a record of one subject"
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
    asked = gate or Gate(*mode_of(None, same_contents=same, retrained=None))
    claims = {}
    for name in sorted(before.keys() | now.keys()):
        if name in now or whole:
            then, since = before.get(name), now.get(name)
            drift = UNSET if since is None else since.drift
            gate = dataclasses.replace(asked, drift=asked.drift if drift is UNSET else drift)
            moves = moves_of(then, since, gate)
            was, is_now = (None if one is None else one.verdict for one in (then, since))
            status = gate.status(name, was, is_now, moves)
            told = said_of(then, since, status, moves, gate)
            claims[name] = ClaimChange(status, tuple(told))
    return Comparison(
        name=baseline.name,
        content_hash=baseline.content_hash,
        mode=asked.mode,
        why=asked.why,
        rule=asked.rule,
        pairs=asked.pairs,
        parts=tuple(parts_that_changed(baseline, subject, claims)),
        looks_like=looks_like(before, claims),
        answers=tuple(_answers(now, asked)),
        smallest=smallest_changes(before, now, asked),
        claims=claims,
    )


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
