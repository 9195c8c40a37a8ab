"""One run against another: which claims hold still, which were lost or gained, and which have
drifted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from verdicts.record import RecordError
from verdicts.schema import (
    ClaimChange,
    ClaimResult,
    Comparison,
    Description,
    Measurement,
    Record,
    Status,
    SubjectResult,
)

STATUSES: tuple[Status, ...] = get_args(Status)  # worst first
FAILING = ("lost", "vanished", "drifted")
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


def compare(baseline: SubjectResult, subject: SubjectResult, *, whole: bool) -> Comparison:
    """What became of each claim of the baseline. In a run that is not `whole`, claims that were not
    judged are left out.

    A claim that holds in both has drifted where a gating measurement has moved by more than its
    interval: the two do not overlap. With other weights only a move towards the bound counts, for a
    claim that holds more strongly is no loss. Without intervals there is no drift, but with the
    same weights exact and proved measurements agree to 1e-4.
    """
    before, now = ({claim.id: claim for claim in one.claims} for one in (baseline, subject))
    same_weights = baseline.content_hash == subject.content_hash
    claims = {}
    for name in sorted(before.keys() | now.keys()):
        if name in now or whole:
            moved = (
                _moved(before[name], now[name], same_weights=same_weights)
                if name in before.keys() & now.keys()
                else []
            )
            status = _status(before.get(name), now.get(name), drifted=bool(moved))
            claims[name] = ClaimChange(status, tuple(moved))
    return Comparison(baseline.name, baseline.content_hash, claims)


def _status(before: ClaimResult | None, now: ClaimResult | None, *, drifted: bool) -> Status:
    if now is None:
        return "vanished"
    if before is None:
        return "new"
    held, holds = before.verdict == "holds", now.verdict == "holds"
    if held and holds:
        return "drifted" if drifted else "holds still"
    return "lost" if held else "gained" if holds else "fails still"


def _moved(before: ClaimResult, now: ClaimResult, *, same_weights: bool) -> list[str]:
    """Sentences on the gating measurements that moved too far, where both claims hold."""
    if {before.verdict, now.verdict} != {"holds"}:
        return []
    shared = [name for name in before.measurements if name in now.measurements]
    pairs = {name: (before.measurements[name], now.measurements[name]) for name in shared}
    exact = same_weights and now.evidence in ("exact", "proved")
    return [
        f"{name} {_shown(old)} → {_shown(new)}"
        for name, (old, new) in pairs.items()
        if old.outcome is not None
        and new.outcome is not None
        and _too_far(old, new, same_weights=same_weights, exact=exact)
    ]


def _too_far(old: Measurement, new: Measurement, *, same_weights: bool, exact: bool) -> bool:
    was, now = old.number, new.number
    if was is None or now is None:
        return False
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return exact and not math.isclose(was, now, rel_tol=SAME_WEIGHTS, abs_tol=SAME_WEIGHTS)
    apart = new.high < old.low or new.low > old.high
    return apart and (same_weights or _margin(now, new) < _margin(was, new))


def _margin(value: float, bounds: Measurement) -> float:
    """How far inside its bounds a value lies."""
    low, high = bounds.at_least, bounds.at_most
    return min(math.inf if low is None else value - low, math.inf if high is None else high - value)


def _shown(measurement: Measurement) -> str:
    if measurement.low is None or measurement.high is None:
        return f"{measurement.number:.4g}"
    return f"{measurement.number:.4g} [{measurement.low:.4g}, {measurement.high:.4g}]"


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
            yield f"{name}: {claim.status}{', ' + '; '.join(claim.moved) if claim.moved else ''}"


def changed(comparison: Comparison) -> list[tuple[Status, str, tuple[str, ...]]]:
    """What did not come out as before, the worst first: status, claim, and what moved."""
    return [
        (status, name, claim.moved)
        for status in STATUSES
        if status not in ("holds still", "fails still")
        for name, claim in comparison.claims.items()
        if claim.status == status
    ]
