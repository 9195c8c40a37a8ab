"""A comparison in words, the same in the terminal, in Markdown and on the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from verdicts.causes import LOST
from verdicts.gates import AS_BEFORE, FAILING, STATUSES, Gate, Move
from verdicts.schema import ClaimResult, Comparison, Measurement, Status, SubjectResult
from verdicts.wording import against, bound, counted, short_hash, shown


def said_of(
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
    if now is None or status not in LOST:
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
    parts = [f"{move.measure} {shown(old)} → {shown(new)}"]
    if (change := move.change) is not None:
        parts.append(
            f"{change.difference:+.3g} [{change.low:+.3g}, {change.high:+.3g}] in pairs,"
            f" p = {change.p_corrected:.2g}"
        )
    if 0 < move.lost < math.inf:
        parts.append(f"{move.lost:.0%} of the way to its bound, {bound(new)}")
    return ", ".join(parts)


def _misses(before: ClaimResult | None, now: ClaimResult) -> Iterator[str]:
    """Old and new value, bound and reason of what a claim misses."""
    was = "" if before is None else f"{before.verdict} → "
    missed = {name: m for name, m in now.deciding.items() if m.outcome != "holds"}
    if now.reason or not missed:
        yield f"{was}{now.verdict}" + (f": {now.reason}" if now.reason else "")
        return
    verdict = f"{was}{now.verdict}: "
    for name, new in missed.items():
        old = None if before is None else before.measurements.get(name)
        then = "" if old is None or old.number is None else f"{shown(old)} → "
        yield f"{verdict}{name} {then}{shown(new)}, {against(new)} ({new.because})"
        verdict = ""  # is said once


def comparison_summary(comparison: Comparison) -> str:
    """How many claims came out how, worst first: `1 lost, 41 hold still`."""
    counts = Counter(claim.status for claim in comparison.claims.values())
    return (
        ", ".join(counted(counts[status], status) for status in STATUSES if counts[status])
        or "nothing was compared"
    )


def comparison_complaints(comparison: Comparison) -> Iterator[str]:
    """Why the run fails by the comparison, in sentences; `changed` says which claims."""
    claims = comparison.claims
    if all(claim.status in ("new", "vanished") for claim in claims.values()):
        yield f"no claim of this run is in the baseline, {comparison.name}: nothing was compared"
    counts = Counter(claim.status for claim in claims.values())
    if failing := [counted(counts[status], status) for status in FAILING if counts[status]]:
        yield f"the gate fails against {comparison.name}: {', '.join(failing)}"


def banner(comparison: Comparison) -> tuple[bool, str]:
    """Whether the gate passes, and the sentence that says so."""
    complaints = "; ".join(comparison_complaints(comparison))
    passes = f"the gate passes against {comparison.name}: {comparison_summary(comparison)}"
    return not complaints, complaints or passes


def titles(subject: SubjectResult) -> tuple[str, str]:
    """What to call a subject and its baseline: their names, with their hashes where both have
    one name."""
    assert subject.comparison
    both = (subject, subject.comparison)
    if subject.name != subject.comparison.name:
        return subject.name, subject.comparison.name
    now, then = (f"{one.name} ({short_hash(one.content_hash)})" for one in both)
    return now, then


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
        _, _, cause = part.became.partition(", gone: ")
        hanging = [
            (status, name, tuple(text.removesuffix(f": {cause}") for text in said))
            for status, name, said in told
            if name in part.claims
        ]  # the cause is said once, with the part
        folded.update(part.claims)
        hang = counted(len(hanging), "claim hangs", "claims hang")
        count = f"; {hang} on it" if hanging else ""
        groups.append((f"{part.part}: {part.became}{count}", hanging))
    return [*groups, (None, [one for one in told if one[1] not in folded])]


def smallest_seen(comparison: Comparison) -> list[tuple[str, str, float]]:
    """Claim, measure and the smallest change that would have been seen in four cases of five."""
    return [
        (claim, measure, smallest)
        for claim, measures in comparison.smallest.items()
        for measure, smallest in measures.items()
    ]
