"""Claims × controls and claims × gauges, as marks: the same in the terminal and in Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from msgspec import UNSET

from verdicts.project import PLAIN, Project
from verdicts.schema import ClaimResult, SubjectResult, Trial
from verdicts.variants import gating

WRONG, NOT_ASKED, STAYS = "!", "/", "·"
CONTROL_MARKS = {
    "×": "broken, as it must be",
    "o": "broken, too",
    "=": "holds still",
    WRONG: "holds or breaks off, and must not",
    "-": "nothing to break",
    NOT_ASKED: "not asked, for it fails on the subject itself",
}
GAUGE_MARKS = {
    STAYS: "stays",
    "~": "only numbers without a bound change",
    "×": "changes, as it says",
    WRONG: "not as it says",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One claim and its mark under each variant; `beside` is what else there is to say of it."""

    claim: str
    marks: tuple[str, ...]
    beside: str

    @property
    def wrong(self) -> bool:
        """Whether it fails the run."""
        return WRONG in self.marks


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A row for each claim, a column for each control or gauge."""

    title: str
    columns: tuple[str, ...]
    beside: str
    """What stands beside the marks; empty where no row has it."""
    rows: tuple[Row, ...]
    meaning: Mapping[str, str]
    """Of each mark."""

    @property
    def legend(self) -> dict[str, str]:
        """The marks that there are, with their meaning."""
        there = {mark for row in self.rows for mark in row.marks}
        return {mark: words for mark, words in self.meaning.items() if mark in there}


def controls(subject: SubjectResult) -> Matrix | None:
    """Which controls break which claims; `None` where the record has none."""
    claims = [(one, one.controls) for one in subject.claims if one.controls is not UNSET]
    if not claims:
        return None
    rows = [
        Row(claim.id, tuple(_control(claim, trial) for trial in trials.values()), _passing(claim))
        for claim, trials in claims
    ]
    return Matrix(
        title="under controls: a claim must be broken by those marked ×",
        columns=tuple(claims[0][1]),
        beside="other parts in its place that pass" if any(row.beside for row in rows) else "",
        rows=tuple(rows),
        meaning=CONTROL_MARKS,
    )


def _control(claim: ClaimResult, trial: Trial) -> str:
    if trial.verdict == "error" or (trial.verdict == "holds" and trial.required):
        return WRONG
    if claim.verdict != "holds":
        return NOT_ASKED
    if trial.verdict == "absent":
        return "-"
    if trial.verdict == "holds":
        return "="
    return "×" if trial.required else "o"


def _passing(claim: ClaimResult) -> str:
    found = claim.specificity
    return f"{len(found.passing)} of {found.others} ({found.role})" if found else ""


def gauges(subject: SubjectResult, project: Project = PLAIN) -> Matrix | None:
    """What changes under which gauges; `None` where the record has none."""
    claims = [(one, one.gauges) for one in subject.claims if one.gauges is not UNSET]
    if not claims:
        return None
    rows = [
        Row(
            claim.id,
            tuple(_gauge(claim, gauge, changed) for gauge, changed in found.items()),
            claim.companion or "",
        )
        for claim, found in claims
    ]
    return Matrix(
        title=f"under gauges: what changes with the {project.contents} although the function does"
        " not",
        columns=tuple(claims[0][1]),
        beside="companion" if any(row.beside for row in rows) else "",
        rows=tuple(rows),
        meaning=GAUGE_MARKS,
    )


def _gauge(claim: ClaimResult, gauge: str, changed: Sequence[str]) -> str:
    decisive = gating(claim).intersection(changed)
    if bool(decisive) != (gauge in claim.gauge) and (decisive or claim.verdict != "absent"):
        return WRONG
    return "×" if decisive else "~" if changed else STAYS
