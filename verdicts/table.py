"""The closing table: 100 columns, plain text that a CI log keeps, worst first."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import UNSET

from verdicts.compare import changed, comparison_summary, headline, smallest_seen
from verdicts.gates import FAILING
from verdicts.judge import VERDICTS
from verdicts.project import PLAIN, Project
from verdicts.record import worst_first
from verdicts.schema import ClaimResult, Comparison, Measurement, Status, SubjectResult, Trial
from verdicts.variants import gating

WIDTH = 100
_INDENT = 12  # width of the verdict column
AS_CHANCE = "≈"
SIGNS = {"error": "!", "refuted": "✗", "unresolved": "?", "absent": "-", "holds": "✓"}
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
    """How many claims came out how, worst first: `1 refuted, 17 holds`."""
    counts = Counter(claim.verdict for claim in subject.claims)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])


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


def render_controls(subject: SubjectResult) -> Iterator[Line]:
    """Claims × controls, where the record has them; nothing otherwise."""
    claims = [(one, one.controls) for one in subject.claims if one.controls is not UNSET]
    if not claims:
        return
    names = list(claims[0][1])
    yield "", {}
    yield (
        f"{subject.name} under controls: a claim must be broken by those marked ×",
        {"bold": True},
    )
    yield from _legend(names)
    widest = max(len(claim.id) for claim, _ in claims)
    yield f"{'claim':<{widest}}  {_letters(names)}  other parts in its place that pass", {}
    for claim, controls in claims:
        survives = [trial.required and trial.verdict == "holds" for trial in controls.values()]
        cells = " ".join(f"{_cell(trial):^3}" for trial in controls.values())
        special = claim.specificity
        passing = f"{len(special.passing)} of {special.others} ({special.role})" if special else ""
        yield f"{claim.id:<{widest}}  {cells}  {passing}".rstrip(), {"red": any(survives)}
    yield (
        (
            "×  broken, as it must be    o  broken, too    =  holds still    !  holds, and must not"
            "    -  nothing to break"
        ),
        {},
    )


def _legend(names: list[str]) -> Iterator[Line]:
    legend = "   ".join(f"{chr(ord('a') + index)} {name}" for index, name in enumerate(names))
    yield from ((line, {}) for line in textwrap.wrap(legend, WIDTH))


def _letters(names: list[str]) -> str:
    return " ".join(f"{chr(ord('a') + index):^3}" for index in range(len(names)))


def _cell(trial: Trial) -> str:
    if trial.verdict == "absent":
        return "-"
    if trial.verdict == "holds":
        return "!" if trial.required else "="
    return "×" if trial.required else "o"


def render_comparison(subject: SubjectResult, *, verbose: bool = False) -> Iterator[Line]:
    """What became of each claim of the baseline, worst first, those that came out the same as a
    number only."""
    comparison = subject.comparison
    if not comparison:
        return
    yield "", {}
    yield (
        f"{subject.name} against {comparison.name}: {comparison_summary(comparison)}",
        {"bold": True},
    )
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
            yield _became(status, name, moved, indent="" if part is None else "  ")
    if verbose:
        yield from _smallest(comparison)


def _became(status: Status, name: str, moved: Sequence[str], *, indent: str) -> Line:
    style = "red" if status in FAILING else "green" if status == "gained" else "yellow"
    word = status.upper() if status in FAILING else status
    return f"{indent}{word:<{_INDENT - 1}} {name}  {'; '.join(moved)}".rstrip(), {style: True}


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
        (f"{chr(ord('a') + index)}  {subject.name}: {summary(subject)}", {"bold": True})
        for index, subject in enumerate(subjects)
    )
    yield f"{'claim':<{widest}}  {_letters([subject.name for subject in subjects])}".rstrip(), {}
    for name in names:
        cells = " ".join(f"{one.get(name, ' '):^3}" for one in verdicts)
        yield f"{name:<{widest}}  {cells}".rstrip(), {}
    yield LEGEND, {}


def render_gauges(subject: SubjectResult) -> Iterator[Line]:
    """Claims × gauges, where the record has them; nothing otherwise."""
    claims = [(one, one.gauges) for one in subject.claims if one.gauges is not UNSET]
    if not claims:
        return
    names = list(claims[0][1])
    yield "", {}
    yield (
        (
            f"{subject.name} under gauges: what changes with the weights although the function"
            " does not"
        ),
        {"bold": True},
    )
    yield from _legend(names)
    widest = max(len(claim.id) for claim, _ in claims)
    yield f"{'claim':<{widest}}  {_letters(names)}  companion", {}
    for claim, gauges in claims:
        marks = {name: _gauge_mark(claim, name, gauges[name]) for name in names}
        cells = " ".join(f"{mark:^3}" for mark in marks.values())
        yield (
            f"{claim.id:<{widest}}  {cells}  {claim.companion or ''}".rstrip(),
            {"red": "!" in marks.values()},
        )
    yield (
        (
            "·  stays    ~  only numbers without a bound change    ×  changes, as it says    !  not"
            " as it says"
        ),
        {},
    )


def _gauge_mark(claim: ClaimResult, gauge: str, changed: Sequence[str]) -> str:
    decisive = gating(claim).intersection(changed)
    if bool(decisive) != (gauge in claim.gauge) and (decisive or claim.verdict != "absent"):
        return "!"
    return "×" if decisive else "~" if changed else "·"


def _heading(subject: SubjectResult) -> Iterator[Line]:
    yield f"{subject.name}  {subject.content_hash[:19]}…", {"bold": True}
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


def role(value: object) -> str:
    """What plays a role, as text."""
    if value is None:
        return "absent"
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)


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
            + ", ".join(f"{k} {_text(v)}" for k, v in claim.counterexample.items()),
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
        yield from _wrapped(f"{name} {_text(null.observed)}: {among}", indent=_INDENT + 2)
    if claim.p is not None and claim.p_corrected is not None:
        p = f"p = {number(claim.p_corrected)}, corrected over the run ({number(claim.p)} alone)"
        yield from _wrapped(f"above chance: {claim.above_chance}, {p}", indent=_INDENT + 2)
    if claim.not_asked is not None:
        yield from _wrapped(f"above chance: not asked, {claim.not_asked}", indent=_INDENT + 2)
    if claim.above_chance == "no" and claim.at_chance is not None:
        yield from _wrapped(f"worth stating all the same: {claim.at_chance}", indent=_INDENT + 4)


def _measurement(name: str, measurement: Measurement) -> Iterator[Line]:
    value = shown(measurement)
    limits = bound(measurement)
    missed = {"refuted": "  ✗ misses it", "unresolved": _why_open(measurement)}.get(
        measurement.outcome or "", ""
    )
    line = f"{name} {value:<{60 - len(name)}} {limits}{missed if limits else ''}"
    if len(line) + _INDENT + 2 <= WIDTH:
        yield " " * (_INDENT + 2) + line.rstrip(), {"bold": bool(missed)}
    else:
        yield from _wrapped(
            f"{name.rstrip()}  {value}  {limits}{missed if limits else ''}", indent=_INDENT + 2
        )
    if measurement.note:
        yield from _wrapped(f"({measurement.note})", indent=_INDENT + 4)


def _why_open(measurement: Measurement) -> str:
    low, high = measurement.low, measurement.high
    bounds = [at for at in (measurement.at_least, measurement.at_most) if at is not None]
    straddles = low is not None and high is not None and any(low <= at <= high for at in bounds)
    return "  ? straddles it" if straddles else "  ? too little to say"


def shown(measurement: Measurement) -> str:
    """Value and interval of a measurement, as text."""
    value = _text(measurement.value)
    low, high = measurement.low, measurement.high
    if low is None and high is None:
        return value
    return (
        f"{value} [{'−∞' if low is None else number(low)}, {'∞' if high is None else number(high)}]"
    )


def bound(measurement: Measurement) -> str:
    """`≥ 0.9`, `≤ 0.1` or `in [2, 3]`; empty where there is none."""
    low, high = measurement.at_least, measurement.at_most
    if low is not None and high is not None:
        return f"in [{number(low)}, {number(high)}]"
    return (
        f"≥ {number(low)}" if low is not None else f"≤ {number(high)}" if high is not None else ""
    )


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        if set(value) == {"low", "high"}:
            return f"[{_text(value['low'])}, {_text(value['high'])}]"
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "(" + ", ".join(_text(item) for item in value) + ")"
    return (
        "—"
        if value is None
        else (
            number(value)
            if isinstance(value, float)
            else f"{value:,}"
            if isinstance(value, int)
            else str(value)
        )
    )


def number(value: float) -> str:
    """Four significant digits, whole numbers whole: enough to compare with a bound."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.4g}"


def _wrapped(text: str, *, indent: int) -> Iterator[Line]:
    for line in textwrap.wrap(text, WIDTH - indent, subsequent_indent="  ", break_on_hyphens=False):
        yield " " * indent + line, {}
