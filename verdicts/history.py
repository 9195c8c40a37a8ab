"""Records in the order of time: every value, and in which record each claim was lost."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from verdicts.markdown import escaped
from verdicts.project import PLAIN, Project
from verdicts.record import RecordError, parse_record, read_record
from verdicts.schema import ClaimResult, Measurement, Record, SubjectResult
from verdicts.series import Series, page_of_series, render_series
from verdicts.table import Line, sign, summary
from verdicts.wording import bound, number, shown, value_of

_LATEST = 4  # records whose values fit on a line
_MISSED = {"refuted": " ✗", "unresolved": " ?"}


@dataclasses.dataclass(frozen=True)
class Loss:
    """A claim that held, and then does not. Places count from 0."""

    claim: str
    at: int
    """The first record in which it does not hold."""
    verdict: str
    moved: tuple[str, ...]
    """What misses its bound, with what it was when the claim last held."""
    back: int | None
    """The first record after it in which it holds again."""


@dataclasses.dataclass(frozen=True)
class History:
    """One subject in several records, each with a label."""

    labels: Sequence[str]
    subjects: Sequence[SubjectResult]
    partial: Sequence[bool]
    """Whether a record is of a part of the claims, so that nothing is lost that it lacks."""

    def series(self) -> Series:
        """The same as a series, its places counted from 1."""
        told: dict[str, list[str]] = {}
        for loss in self.losses():
            back = "" if loss.back is None else f", back in {loss.back + 1}"
            told.setdefault(loss.claim, []).append(f"lost in {loss.at + 1}{back}")
        return Series(
            "record",
            range(1, len(self.subjects) + 1),
            self.subjects,
            told={claim: "; ".join(words) for claim, words in told.items()},
            names=self.labels,
        )

    def results(self) -> dict[str, list[ClaimResult | None]]:
        """What came of each claim in each record; `None` where it was not judged."""
        judged = [{claim.id: claim for claim in one.claims} for one in self.subjects]
        return {claim: [one.get(claim) for one in judged] for claim in sorted(set().union(*judged))}

    def losses(self) -> list[Loss]:
        """Every time that a claim was lost, in order."""
        lost = (
            loss for claim, found in self.results().items() for loss in self._lost(claim, found)
        )
        return sorted(lost, key=lambda loss: (loss.at, loss.claim))

    def _lost(self, claim: str, found: Sequence[ClaimResult | None]) -> Iterator[Loss]:
        holds = [one is not None and one.verdict == "holds" for one in found]
        held: ClaimResult | None = None
        for at, one in enumerate(found):
            if holds[at]:
                held = one
            elif held is not None and (one is not None or not self.partial[at]):
                verdict = "vanished" if one is None else one.verdict
                back = holds.index(True, at) if any(holds[at:]) else None
                yield Loss(claim, at, verdict, tuple(_moved(held, one)), back)
                held = None


def _moved(held: ClaimResult, one: ClaimResult | None) -> Iterator[str]:
    for name, now in one.deciding.items() if one else ():
        if now.outcome != "holds":
            was = held.measurements.get(name)
            before = "" if was is None else f"{shown(was)} → "
            yield f"{name} {before}{shown(now)}, must be {bound(now)}"


def read_history(paths: Sequence[Path], *, name: str | None = None) -> History:
    """The records in files, in this order, and those of a directory by name.

    `name` is the subject to follow, where a record has several.
    """
    files = [
        file
        for path in paths
        for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])
    ]
    if not files:
        raise ValueError(f"{', '.join(map(str, paths))}: no *.json is there")
    stems = [file.stem for file in files]
    labels = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
    records = [(label, read_record(file)) for label, file in zip(labels, files, strict=True)]
    return _history(records, name)


def read_commits(path: Path, *, name: str | None = None) -> tuple[History, list[str]]:
    """One record in each commit of git that changed it, the oldest first; and why those that are
    left out hold none."""
    records, left_out = [], []
    log = _git(path, "log", "--reverse", "--format=%h %cs", "--", path.name)
    for label in log.decode().splitlines():
        try:
            content = _git(path, "show", f"{label.partition(' ')[0]}:./{path.name}")
            records.append((label, parse_record(content, source=label)))
        except ValueError as error:  # it was removed there, or has another schema
            left_out.append(str(error))
    if not records:
        raise ValueError(f"{path}: no commit holds a record{'; '.join(['', *left_out[-1:]])}")
    return _history(records, name), left_out


def _git(path: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=path.parent, capture_output=True, check=True)
    except OSError as error:
        raise ValueError(f"--commits: {path}: {error.filename}: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise ValueError(f"--commits: {path}: {said}") from None
    return done.stdout


def _history(records: Sequence[tuple[str, Record]], name: str | None) -> History:
    subjects = []
    for label, record in records:
        found = [one for one in record.subjects if name in (None, one.name)]
        if len(found) != 1:
            names = ", ".join(one.name for one in record.subjects)
            raise RecordError(f"{label}: is of {names}; name one of them with --subject")
        subjects += found
    partial = [bool(record.run.partial) for _, record in records]
    return History([label for label, _ in records], subjects, partial)


def render_history(history: History) -> Iterator[Line]:
    """The records, each claim's verdicts, the losses, and the latest values."""
    for place, (label, subject) in enumerate(zip(history.labels, history.subjects, strict=True)):
        yield f"{place + 1:>3}  {label}: {subject.name}, {summary(subject)}", {}
    yield "", {}
    yield from render_series(history.series())
    yield "", {}
    for loss in history.losses():
        yield f"{loss.claim}: {_told(history, loss)}", {"red": True}
    if not history.losses():
        yield "no claim was lost", {}
    yield "", {}
    first = max(0, len(history.subjects) - _LATEST)
    yield (
        f"what decides each claim, its bound, and its value in record {first + 1} to"
        f" {len(history.subjects)}",
        {"bold": True},
    )
    for claim, found in history.results().items():
        yield claim, {}
        for name, limits, values in _values(found[first:]):
            cells = "".join(f"{value:>13}" for value in values)
            yield f"  {name:<27} {limits:<16}{cells}".rstrip(), {}


def _told(history: History, loss: Loss) -> str:
    back = "" if loss.back is None else f"; it holds again in {history.labels[loss.back]}"
    moved = f": {'; '.join(loss.moved)}" if loss.moved else ""
    return f"lost in {history.labels[loss.at]}, {loss.verdict}{moved}{back}"


def _values(found: Sequence[ClaimResult | None]) -> Iterator[tuple[str, str, list[str]]]:
    """Of each measurement that decides a claim its name, its latest bound and its values."""
    several: dict[str, list[Measurement | None]] = {}
    for place, one in enumerate(found):
        for name, measurement in one.deciding.items() if one else ():
            several.setdefault(name, [None] * len(found))[place] = measurement
    for name, measurements in several.items():
        latest = next(one for one in reversed(measurements) if one is not None)
        yield name, bound(latest), ["" if one is None else _cell(one) for one in measurements]


def _cell(measurement: Measurement) -> str:
    value = measurement.value
    if isinstance(value, list | dict):
        text = "…"
    else:
        text = number(value) if isinstance(value, int) else value_of(measurement)
    return text + _MISSED.get(measurement.outcome or "", "")


def history_markdown(history: History) -> str:
    """The same as Markdown, with the values of all records."""
    places = [str(place + 1) for place in range(len(history.labels))]
    lines = [_cells("", "record", "what came of it"), _cells(*["---"] * 3)]
    for place, label, subject in zip(places, history.labels, history.subjects, strict=True):
        lines.append(_cells(place, escaped(label), f"{escaped(subject.name)}: {summary(subject)}"))
    losses = [f"- `{loss.claim}` {escaped(_told(history, loss))}" for loss in history.losses()]
    lines += ["", *(losses or ["No claim was lost."]), ""]
    lines += [_cells("claim", "bound", *places), _cells(*["---"] * (len(places) + 2))]
    for claim, found in history.results().items():
        marks = ["" if one is None else sign(one) for one in found]
        lines.append(_cells(f"`{claim}`", "", *marks))
        for name, limits, values in _values(found):
            lines.append(_cells(escaped(name), escaped(limits), *values))
    return "\n".join(lines) + "\n"


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def render_history_page(history: History, *, project: Project = PLAIN) -> str:
    """The same as a page, with a line chart for each number that decides a claim."""
    return page_of_series(
        history.series(),
        "history.html",
        title=f"{history.subjects[-1].name}: history",
        lead=f"{len(history.labels)} records, from {history.labels[0]} to {history.labels[-1]}.",
        history=history,
        project=project,
    )
