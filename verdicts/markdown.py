"""The summary of a record in Markdown, for a pull request or the step summary of a CI run: worst
first, and never too long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from verdicts.compare import changed, comparison_summary, headline, smallest_seen
from verdicts.gates import FAILING
from verdicts.record import PARTIAL_SUMMARY, worst_first
from verdicts.schema import ClaimResult, Comparison, Record, ShownCase
from verdicts.table import beside_chance, bound, shown, summary

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
        yield f"{PARTIAL_SUMMARY}{escaped(record.run.partial)}\n"
    for complaint in complaints:
        yield f"> ❌ {escaped(complaint)}\n"
    for subject in record.subjects:
        yield f"## {escaped(subject.name)}: {summary(subject)}\n"
        if subject.comparison:
            yield from _comparison(subject.comparison)
        yield (f"`{subject.content_hash[:19]}…`, seed {record.run.seed}, {record.run.device}\n")
        yield "| | claim | measured | bound |\n|---|---|---|---|"
        for claim in worst_first(subject.claims):
            yield from _claim(claim)
        yield ""


def _comparison(comparison: Comparison) -> Iterator[str]:
    yield f"Against **{escaped(comparison.name)}**: {comparison_summary(comparison)}\n"
    yield ""
    yield from (f"- {escaped(line)}" for line in headline(comparison))
    yield ""
    for answers in comparison.answers:
        yield from _cases(answers.shown)
    for part, claims in changed(comparison):
        if part is not None:
            yield f"- **{escaped(part)}**"
        for status, name, moved in claims:
            yield (
                f"{'' if part is None else '  '}- {'❌ ' if status in FAILING else ''}**{status}**:"
                f" `{name}` {escaped('; '.join(moved))}".rstrip()
            )
    yield ""
    if seen := smallest_seen(comparison):
        yield (
            "<details><summary>The smallest change that would have been seen in four cases of"
            " five</summary>\n\n| claim | measure | change |\n|---|---|---|"
        )
        for claim, measure, smallest in seen:
            yield f"| `{claim}` | {escaped(measure)} | {smallest:.3g} |"
        yield "\n</details>\n\n"


def _cases(shown: Sequence[ShownCase]) -> Iterator[str]:
    """The first cases that came out otherwise, by their names, with what the project draws."""
    for now in ("wrong", "right"):
        names = [case.name for case in shown if case.now == now]
        if names:
            listed = ", ".join(f"<code>{escaped(name)}</code>" for name in names)
            yield f"{now.capitalize()} now: {listed}\n\n"
    if pictures := [(case, case.picture) for case in shown if case.picture]:
        yield "<details><summary>Their pictures</summary>\n\n"
        for case, picture in pictures:
            yield f"<code>{escaped(case.name)}</code>, {case.now} now\n\n"
            yield f"```mermaid\n{picture.replace('`', '')}\n```\n\n"
        yield "</details>\n\n"


def _claim(claim: ClaimResult) -> Iterator[str]:
    missed = {name: m for name, m in claim.deciding.items() if m.outcome != "holds"}
    chosen = missed or claim.deciding
    measured = "<br>".join(
        f"{escaped(name)} {escaped(shown(m))}" for name, m in chosen.items()
    ) or escaped(claim.reason or "")
    bounds = "<br>".join(escaped(bound(m)) for m in chosen.values())
    verdict = ", ".join(filter(None, [claim.verdict, beside_chance(claim)]))
    yield (
        f"| {_SIGN[claim.verdict]} {verdict} | {escaped(claim.statement)}<br>`{claim.id}`"
        f" | {measured} | {bounds} |"
    )


def escaped(text: str) -> str:
    """Text from outside, as text: no cell ends early, nothing becomes markup."""
    return " ".join(
        re.sub(r"[\\`*_{}\[\]<>|#&]", lambda match: f"&#{ord(match[0])};", text).split()
    )
