"""One cause, one line: the parts that are gone or elsewhere with the claims that hang on them, and
the control that the losses look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verdicts.schema import ClaimChange, ClaimResult, PartChange, Status, SubjectResult

LOST: tuple[Status, ...] = ("lost", "law broken", "acknowledged", "gone")
LIKE = 0.7  # claims that are lost and broken by the control, over those that are either
_FEWEST = 3  # lost claims: fewer are a pattern of many things


def parts_that_changed(
    baseline: SubjectResult, subject: SubjectResult, claims: Mapping[str, ClaimChange]
) -> Iterator[PartChange]:
    """The roles that are gone, then those elsewhere, each with the lost claims that hang on it."""
    about = {claim.id: claim for one in (baseline, subject) for claim in one.claims}
    told = set[str]()
    for role, was in sorted(
        baseline.roles.items(), key=lambda item: subject.roles.get(item[0]) is not None
    ):
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


def looks_like(before: Mapping[str, ClaimResult], claims: Mapping[str, ClaimChange]) -> str:
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
