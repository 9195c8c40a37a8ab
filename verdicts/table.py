"""The closing table: 100 columns, plain text that a CI log keeps, worst first."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from verdicts.gates import FAILING
from verdicts.judge import VERDICTS
from verdicts.matrices import Matrix, controls, gauges
from verdicts.project import PLAIN, Project
from verdicts.record import worst_first
from verdicts.schema import ClaimResult, Comparison, Measurement, Status, SubjectResult
from verdicts.sentences import changed, comparison_summary, headline, smallest_seen, titles
from verdicts.wording import against, counted, number, role, short_hash, shown, text_of

WIDTH = 100
_INDENT = 12  # width of the verdict column
AS_CHANCE = "≈"
SIGNS = {"error": "!", "refuted": "✗", "unresolved": "?", "absent": "-", "holds": "✓"}
_UNBROKEN = "\xa0"  # a space at which no line is broken
_STYLE = {
    "error": "red",
    "refuted": "red",
    "unresolved": "yellow",
    "absent": "yellow",
    "holds": "green",
}

Line = tuple[str, dict[str, bool]]
"""A line of text with its terminal markup."""


def summary(subject: SubjectResult) -> str:
    """How many claims came out how, worst first: `1 refuted, 17 hold`."""
    counts = Counter(claim.verdict for claim in subject.claims)
    return ", ".join(counted(counts[verdict], verdict) for verdict in VERDICTS if counts[verdict])


def render(
    subject: SubjectResult,
    *,
    accepted: Mapping[str, str],
    by: str = "ledger",
    project: Project = PLAIN,
) -> Iterator[Line]:
    """The table of one subject of a record; `accepted` are the verdicts by claim of the ledger or
    baseline."""
    yield from _heading(subject)
    for claim in worst_first(subject.claims):
        verdict = accepted.get(claim.id, "holds")
        known = "" if verdict == "holds" else f"; {verdict} in the {by}"
        yield "", {}
        yield from _claim(claim, known, project)
    yield "", {}
    yield f"{subject.name}: {summary(subject)}", {"bold": True}


def render_matrices(subject: SubjectResult, *, project: Project = PLAIN) -> Iterator[Line]:
    """Claims × controls and claims × gauges, where the record has them."""
    for matrix in (controls(subject), gauges(subject, project)):
        if matrix is not None:
            yield from _matrix(subject, matrix)


def _matrix(subject: SubjectResult, matrix: Matrix) -> Iterator[Line]:
    yield "", {}
    yield f"{subject.name} {matrix.title}", {"bold": True}
    legend = "   ".join(f"{_letter(place)} {name}" for place, name in enumerate(matrix.columns))
    yield from ((line, {}) for line in textwrap.wrap(legend, WIDTH))
    widest = max(len(row.claim) for row in matrix.rows)
    yield f"{'claim':<{widest}}  {_letters(len(matrix.columns))}  {matrix.beside}".rstrip(), {}
    for row in matrix.rows:
        cells = " ".join(f"{mark:^3}" for mark in row.marks)
        yield f"{row.claim:<{widest}}  {cells}  {row.beside}".rstrip(), {"red": row.wrong}
    words = [f"{mark}  {said}".replace(" ", _UNBROKEN) for mark, said in matrix.legend.items()]
    for line in textwrap.wrap("    ".join(words), WIDTH):
        yield line.replace(_UNBROKEN, " "), {}


def _letter(place: int) -> str:
    return chr(ord("a") + place)


def _letters(count: int) -> str:
    return " ".join(f"{_letter(place):^3}" for place in range(count))


def render_comparison(subject: SubjectResult, *, verbose: bool = False) -> Iterator[Line]:
    """What became of each claim of the baseline, worst first, those that came out the same as a
    number only."""
    comparison = subject.comparison
    if not comparison:
        return
    yield "", {}
    heading = " against ".join(titles(subject))
    yield f"{heading}: {comparison_summary(comparison)}", {"bold": True}
    for line in headline(comparison):
        yield from ((part, {}) for part in textwrap.wrap(line, WIDTH))
    for answers in comparison.answers:
        for now in ("wrong", "right"):
            names = [case.name for case in answers.shown if case.now == now]
            if names:
                listed = textwrap.wrap(f"{now} now: {', '.join(names)}", WIDTH - 2)
                yield from ((f"  {part}", {}) for part in listed)
    for part, claims in changed(comparison):
        if part is not None:
            yield part, {"bold": True}
        for status, name, moved in claims:
            yield from _became(status, name, moved, indent=0 if part is None else 2)
    if verbose:
        yield from _smallest(comparison)


def _became(status: Status, name: str, moved: Sequence[str], *, indent: int) -> Iterator[Line]:
    style = "red" if status in FAILING else "green" if status == "gained" else "yellow"
    word = status.upper() if status in FAILING else status
    said = f"{word:<{_INDENT - 1}} {name}  {'; '.join(moved)}".rstrip()
    said = re.sub("([≥≤=→]) ", rf"\1{_UNBROKEN}", said)
    for line in textwrap.wrap(
        said, WIDTH - indent, subsequent_indent=" " * _INDENT, break_on_hyphens=False
    ):
        yield " " * indent + line.replace(_UNBROKEN, " "), {style: True}


def _smallest(comparison: Comparison) -> Iterator[Line]:
    seen = smallest_seen(comparison)
    if seen:
        yield "", {}
        yield "the smallest change that would have been seen in four cases of five", {"bold": True}
    for claim, measure, smallest in seen:
        yield f"{smallest:<{_INDENT}.3g}{claim}, {measure}", {}


def render_side_by_side(subjects: Sequence[SubjectResult]) -> Iterator[Line]:
    """Claims × subjects, where a run has several."""
    if len(subjects) < 2:
        return
    verdicts = [{claim.id: sign(claim) for claim in subject.claims} for subject in subjects]
    names = sorted(set().union(*verdicts))
    widest = max(map(len, names))
    yield "", {}
    yield from (
        (f"{_letter(index)}  {subject.name}: {summary(subject)}", {"bold": True})
        for index, subject in enumerate(subjects)
    )
    yield f"{'claim':<{widest}}  {_letters(len(subjects))}".rstrip(), {}
    for name in names:
        cells = " ".join(f"{one.get(name, ' '):^3}" for one in verdicts)
        yield f"{name:<{widest}}  {cells}".rstrip(), {}
    yield LEGEND, {}


def _heading(subject: SubjectResult) -> Iterator[Line]:
    yield f"{subject.name}  {short_hash(subject.content_hash)}", {"bold": True}
    roles = "  ".join(f"{name} {role(value)}" for name, value in subject.roles.items())
    yield from ((line, {}) for line in textwrap.wrap(roles, WIDTH))
    yield "─" * WIDTH, {}
    yield (
        (
            f"{'verdict':<{_INDENT}}statement, then what was measured: value [95 % interval], its"
            " bound, evidence"
        ),
        {},
    )
    yield "─" * WIDTH, {}


def _claim(claim: ClaimResult, known: str, project: Project) -> Iterator[Line]:
    verdict = claim.verdict
    also = beside_chance(claim)
    first, *rest = textwrap.wrap(
        f"{claim.statement}{f' ({also[0].upper()}{also[1:]}.)' if also else ''}", WIDTH - _INDENT
    )
    yield (
        f"{verdict.upper() if verdict != 'holds' else verdict:<{_INDENT}}{first}",
        {_STYLE[verdict]: True},
    )
    for line in rest:
        yield " " * _INDENT + line, {_STYLE[verdict]: True}
    tail = f"{claim.evidence}, {project.cite(claim.source)}{known}"
    yield from _wrapped(f"{claim.id}  ({tail})", indent=_INDENT)
    if claim.reason:
        yield from _wrapped(claim.reason, indent=_INDENT + 2)
    width = max(27, *map(len, claim.measurements)) if claim.measurements else 0
    for name, measurement in claim.measurements.items():
        yield from _measurement(f"{name:<{width}}", measurement)
    yield from _chance(claim)
    for kind, count in claim.counts.items():
        yield from _wrapped(
            f"seen: {count.seen:,} {kind} (at least {count.needed:,} needed)",
            indent=_INDENT + 2,
        )
    if claim.counterexample:
        yield from _wrapped(
            "counterexample: "
            + ", ".join(f"{k} {text_of(v)}" for k, v in claim.counterexample.items()),
            indent=_INDENT + 2,
        )


def beside_chance(claim: ClaimResult) -> str:
    """What to say after the verdict of a claim that holds and is as true of chance; empty for all
    others."""
    if claim.verdict != "holds" or claim.above_chance != "no":
        return ""
    if not claim.nulls:  # a record that was trimmed
        return "chance does as well"
    reached = max(claim.nulls.values(), key=lambda null: null.p or 0.0)
    return f"{reached.kind} do as well"


def sign(claim: ClaimResult) -> str:
    """One character for the verdict, and for one that holds as chance does."""
    return AS_CHANCE if beside_chance(claim) else SIGNS[claim.verdict]


LEGEND = (
    f"✓  holds    {AS_CHANCE}  holds, and of chance as well    ✗  refuted    ?  unresolved    - "
    " absent    !  error"
)


def _chance(claim: ClaimResult) -> Iterator[Line]:
    """Where the claim stands among draws of chance: beside its verdict, not part of it."""
    for name, null in claim.nulls.items():
        among = (
            f"of {null.draws:,} {null.kind} {null.as_large:,} reach it,"
            f" {number(null.largest)} at most"
        )
        yield from _wrapped(f"{name} {text_of(null.observed)}: {among}", indent=_INDENT + 2)
    if claim.p is not None and claim.p_corrected is not None:
        p = f"p = {number(claim.p_corrected)}, corrected over the run ({number(claim.p)} alone)"
        yield from _wrapped(f"above chance: {claim.above_chance}, {p}", indent=_INDENT + 2)
    if claim.not_asked is not None:
        yield from _wrapped(f"above chance: not asked, {claim.not_asked}", indent=_INDENT + 2)
    if claim.above_chance == "no" and claim.at_chance is not None:
        yield from _wrapped(f"worth stating all the same: {claim.at_chance}", indent=_INDENT + 4)


def _measurement(name: str, measurement: Measurement) -> Iterator[Line]:
    value, stands = shown(measurement), against(measurement)
    sign = {"refuted": "  ✗", "unresolved": _why_open(measurement)}.get(
        measurement.outcome or "", ""
    )
    line = f"{name} {value:<{60 - len(name)}} {stands}{sign}"
    if len(line) + _INDENT + 2 <= WIDTH:
        yield " " * (_INDENT + 2) + line.rstrip(), {"bold": bool(sign)}
    else:
        yield from _wrapped(f"{name.rstrip()}  {value}  {stands}{sign}", indent=_INDENT + 2)
    if measurement.note:
        yield from _wrapped(f"({measurement.note})", indent=_INDENT + 4)


def _why_open(measurement: Measurement) -> str:
    low, high = measurement.low, measurement.high
    bounds = [at for at in (measurement.at_least, measurement.at_most) if at is not None]
    straddles = low is not None and high is not None and any(low <= at <= high for at in bounds)
    return "  ? straddles it" if straddles else "  ? too little to say"


def _wrapped(text: str, *, indent: int) -> Iterator[Line]:
    for line in textwrap.wrap(text, WIDTH - indent, subsequent_indent="  ", break_on_hyphens=False):
        yield " " * indent + line, {}
