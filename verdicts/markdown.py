"""The summary of a record in Markdown, for a pull request or the step summary of a CI run: worst
first, and never too long."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

from verdicts.gates import FAILING
from verdicts.matrices import NOT_ASKED, STAYS, Matrix, Row, controls, gauges
from verdicts.record import PARTIAL_SUMMARY, worst_first
from verdicts.schema import ClaimResult, Record, ShownCase, SubjectResult
from verdicts.sentences import Told, changed, comparison_summary, headline, smallest_seen, titles
from verdicts.table import beside_chance, summary
from verdicts.wording import counted, short_hash, stated

MAX_BYTES = 900_000  # a CI step summary takes a megabyte
_SIGN = {"error": "💥", "refuted": "❌", "unresolved": "❔", "absent": "➖", "holds": "✅"}


def markdown(record: Record, complaints: Sequence[str] = ()) -> str:
    """The summary, cut at a whole line below 900 kB with a word on what was left out."""
    lines = [line for part in _lines(record, complaints) for line in part.splitlines() or [""]]
    size = 0
    for index, line in enumerate(lines):
        size += len(line.encode()) + 1
        if size > MAX_BYTES - 200:
            return "\n".join(
                [
                    *lines[:index],
                    "",
                    f"*{len(lines) - index} more lines are left out; the record has them.*",
                    "",
                ]
            )
    return "\n".join(lines) + "\n"


def _lines(record: Record, complaints: Sequence[str]) -> Iterator[str]:
    if record.run.partial:
        yield f"{PARTIAL_SUMMARY}{escaped(record.run.partial)}"
        yield ""
    for complaint in complaints:
        yield f"> ❌ {escaped(complaint)}"
        yield ""
    for subject in record.subjects:
        yield f"## {escaped(subject.name)}: {summary(subject)}"
        yield ""
        if subject.comparison:
            yield from _comparison(subject)
        yield f"`{short_hash(subject.content_hash)}`, seed {record.run.seed}, {record.run.device}"
        yield ""
        claims = worst_first(subject.claims)
        if subject.comparison:  # which says what matters
            yield from _folded(f"All {counted(len(claims), 'claim', 'claims')}", _table(claims))
        else:
            yield from _table([claim for claim in claims if claim.verdict != "holds"])
            holding = [claim for claim in claims if claim.verdict == "holds"]
            if holding:
                yield from _folded(counted(len(holding), "holds"), _table(holding))
        if (matrix := controls(subject)) is not None:
            yield from _folded(f"Controls: {_controls(matrix)}", _matrix(matrix, matrix.rows))
        if (matrix := gauges(subject)) is not None:
            told = [row for row in matrix.rows if set(row.marks) != {STAYS}]
            yield from _folded(f"Gauges: {_gauges(matrix)}", _matrix(matrix, told))


def _comparison(subject: SubjectResult) -> Iterator[str]:
    comparison = subject.comparison
    assert comparison
    yield f"Against **{escaped(titles(subject)[1])}**: {comparison_summary(comparison)}"
    yield ""
    yield from (f"- {escaped(line)}" for line in headline(comparison))
    yield ""
    for answers in comparison.answers:
        yield from _cases(answers.shown)
    for part, claims in changed(comparison):
        if part is not None:
            yield f"- **{escaped(part)}**"
        for one in claims:
            if one[0] != "moved":
                yield f"{'' if part is None else '  '}{_became(one)}"
    yield ""
    told = [one for _, claims in changed(comparison) for one in claims]
    if moved := [_became(one) for one in told if one[0] == "moved"]:
        yield from _folded(f"{len(moved)} moved, which fails nothing", [*moved, ""])
    if seen := smallest_seen(comparison):
        yield from _folded(
            "The smallest change that would have been seen in four cases of five",
            [
                "| claim | measure | change |",
                "|---|---|---|",
                *(f"| `{claim}` | {escaped(name)} | {least:.3g} |" for claim, name, least in seen),
                "",
            ],
        )


def _became(told: Told) -> str:
    status, name, moved = told
    sign = "❌ " if status in FAILING else ""
    return f"- {sign}**{status}**: `{name}` {escaped('; '.join(moved))}".rstrip()


def _cases(shown: Sequence[ShownCase]) -> Iterator[str]:
    """The first cases that came out otherwise, by their names, with what the project draws."""
    for now in ("wrong", "right"):
        names = [case.name for case in shown if case.now == now]
        if names:
            listed = ", ".join(f"<code>{escaped(name)}</code>" for name in names)
            yield f"{now.capitalize()} now: {listed}"
            yield ""
    if drawn := list(_drawn(shown)):
        yield from _folded("Their pictures", drawn)


def _drawn(shown: Sequence[ShownCase]) -> Iterator[str]:
    for case in shown:
        if case.picture:
            yield f"<code>{escaped(case.name)}</code>, {case.now} now"
            yield f"\n```mermaid\n{case.picture.replace('`', '')}\n```\n"


def _table(claims: Sequence[ClaimResult]) -> Iterator[str]:
    if claims:
        yield "| | claim | measured |"
        yield "|---|---|---|"
        yield from map(_claim, claims)
    yield ""


def _claim(claim: ClaimResult) -> str:
    missed = {name: m for name, m in claim.deciding.items() if m.outcome != "holds"}
    chosen = missed or claim.deciding
    measured = "<br>".join(
        f"{escaped(name)} {escaped(stated(m))}" for name, m in chosen.items()
    ) or escaped(claim.reason or "")
    verdict = ", ".join(filter(None, [claim.verdict, beside_chance(claim)]))
    return (
        f"| {_SIGN[claim.verdict]} {verdict} | {escaped(claim.statement)}<br>`{claim.id}`"
        f" | {measured} |"
    )


def _controls(matrix: Matrix) -> str:
    """How many claims are broken as they must be, how many are not, and of how many it was not
    asked."""
    wrong = sum(row.wrong for row in matrix.rows)
    unasked = sum(set(row.marks) == {NOT_ASKED} for row in matrix.rows)
    counts = (
        (len(matrix.rows) - wrong - unasked, "broken as it must be", "broken as they must be"),
        (wrong, "<b>not broken, and must be</b>", None),
        (unasked, "not asked", None),
    )
    return ", ".join(counted(*one) for one in counts if one[0])


def _gauges(matrix: Matrix) -> str:
    """How many claims change under a gauge, as they say or not."""
    wrong = sum(row.wrong for row in matrix.rows)
    changing = sum("×" in row.marks and not row.wrong for row in matrix.rows)
    counts = (
        (len(matrix.rows) - wrong - changing, "depends on none", "depend on none"),
        (changing, "changes as it says", "change as they say"),
        (wrong, "<b>not as it says</b>", "<b>not as they say</b>"),
    )
    return ", ".join(counted(*one) for one in counts if one[0])


def _matrix(matrix: Matrix, rows: Sequence[Row]) -> Iterator[str]:
    """These rows, what is wrong first, and the columns in which anything but `·` is."""
    if not rows:
        return
    columns = [
        place
        for place in range(len(matrix.columns))
        if any(row.marks[place] != STAYS for row in rows)
    ]
    names = [escaped(matrix.columns[place]) for place in columns]
    beside = [matrix.beside] if matrix.beside else []
    yield f"| claim | {' | '.join([*names, *beside])} |"
    yield f"|---|{':-:|' * len(columns)}{'---|' * len(beside)}"
    for row in sorted(rows, key=lambda row: not row.wrong):
        marks = (row.marks[place] for place in columns)
        yield f"| `{row.claim}` | {' | '.join([*marks, *([row.beside] if beside else [])])} |"
    yield ""
    legend = dataclasses.replace(matrix, rows=tuple(rows)).legend
    yield "; ".join(f"{mark} {words}" for mark, words in legend.items())
    yield ""


def _folded(summary: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines behind their summary, which stands alone where there are none."""
    inside = list(lines)
    if not inside:
        yield summary
        yield ""
        return
    yield f"<details><summary>{summary}</summary>"
    yield ""
    yield from inside
    yield "</details>"
    yield ""


def escaped(text: str) -> str:
    """Text from outside, as text: no cell ends early, nothing becomes markup."""
    return " ".join(
        re.sub(r"[\\`*_{}\[\]<>|#&]", lambda match: f"&#{ord(match[0])};", text).split()
    )
