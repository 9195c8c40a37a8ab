"""What a run leaves: record, summary, page, ledger. A part of a run replaces none of a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, cast

import pytest
from msgspec import UNSET

from verdicts.cases import write_cases
from verdicts.files import write_text
from verdicts.markdown import markdown
from verdicts.nulls import null_complaints
from verdicts.plugin.options import DRAWN, selections
from verdicts.plugin.run import Run
from verdicts.plugin.subjects import JudgedSubject, labels
from verdicts.project import Case
from verdicts.record import as_ledger, place_for, write_record
from verdicts.schema import AnswersChange, Description, Record, ShownCase, SubjectResult
from verdicts.sentences import comparison_complaints
from verdicts.table import summary
from verdicts.wording import counted

SHOWN_CASES = 10


class Writing:
    """At the end of the session, in the process that has all results."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.run.broken_files += report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self.run.config, "workerinput"):
            return
        if self.run.refused is not None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        self.run.partial = self._why_partial(exitstatus)
        record = self.run.record()
        if record is not None:
            record = self._with_cases(record)
        self.run.complaints = list(self._complaints(record))
        if self.run.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if record is None:
            return
        try:
            if (path := self._output("claims_json")) is not None:
                write_record(path, record)
                self._wrote("--claims-json", path)
            if (path := self._output("claims_markdown")) is not None:
                write_text(path, markdown(record, self.run.complaints))
                self._wrote("--claims-markdown", path)
            if self.run.config.getoption("claims_accept"):
                self._accept(record, session)
        except OSError as error:  # a disk that is full by now; what was measured is still shown
            self.run.complaints.append(
                f"{error.filename or 'the record'}: not written: {error.strerror}"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        drawn = [f"{option}={path}" for option in DRAWN if (path := self._drawn(option))]
        if drawn and self.run.partial is not None:
            self.run.messages += [f"{one}: not written: {self.run.partial}" for one in drawn]
        elif drawn:
            self._draw(record, session, drawn)

    def _with_cases(self, record: Record) -> Record:
        """The record with the names of the cases that came out otherwise, and of the file of all of
        them, once it is written."""
        for result in record.subjects:
            found = result.comparison.answers if result.comparison else ()
            if any(one.newly_wrong or one.newly_right for one in found):
                self.run.shown[result.content_hash] = tuple(self._shown(result, found))
        if (path := self.run.config.getoption("claims_cases")) is not None:
            try:
                place = place_for(path, partial=self.run.partial is not None)
                self.run.cases = write_cases(
                    place,
                    [(one, self.run.cases_of(one.content_hash)) for one in record.subjects],
                )
                self._wrote("--claims-cases", place)
            except OSError as error:
                self.run.complaints.append(f"{path}: not written: {error.strerror}")
        return self.run.record() or record

    def _shown(
        self, result: SubjectResult, answers: Sequence[AnswersChange]
    ) -> Iterator[ShownCase]:
        """The first cases that are newly wrong, and then newly right, as the project names them."""
        chosen: dict[int, Literal["wrong", "right"]] = {
            **{case: "wrong" for one in answers for case in one.newly_wrong},
            **{case: "right" for one in answers for case in one.newly_right},
        }
        for case, now in list(chosen.items())[:SHOWN_CASES]:
            named = self._case(result.content_hash, case) or Case(f"no. {case}")
            picture = UNSET if named.mermaid is None else named.mermaid
            yield ShownCase(case, now, named.name, picture)
            if named.drawing is not None:
                self.run.drawings[case] = named.drawing

    def _case(self, content_hash: str, case: int) -> Case | None:
        hook = self.run.config.hook.pytest_claims_case
        judged = self._judged(content_hash) if hook.get_hookimpls() else None
        return None if judged is None else cast(Case, hook(subject=judged, case=case))

    def _judged(self, content_hash: str) -> JudgedSubject:
        """The subject itself, which only the workers have under xdist."""
        if not self.run.subjects:
            self.run.subjects = self.run.config.hook.pytest_claims_subjects(config=self.run.config)
        return next(
            one for one in self.run.subjects if Description.of(one).content_hash == content_hash
        )

    def _why_partial(self, exitstatus: int) -> str | None:
        """Why not all claims that were collected have a verdict, or those collected are not all;
        `None` where they have."""
        if selected := selections(self.run.config):
            return "; ".join(f"{option} {value}" for option, value in selected.items())
        missing = self.run.collected - sum(
            len(result.claims) for result in self.run.results.values()
        )
        if exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
            return f"interrupted, {missing} of {self.run.collected} claims not judged"
        if missing or self.run.broken_files:
            broken = (
                f", {counted(self.run.broken_files, 'file', 'files')} could not be collected"
                if self.run.broken_files
                else ""
            )
            return f"{missing} of {self.run.collected} claims not judged{broken}"
        return None

    def _output(self, option: str) -> Path | None:
        path: Path | None = self.run.config.getoption(option)
        if path is None:
            return None
        place = place_for(path, partial=self.run.partial is not None)
        if self.run.partial is not None:
            beside = "" if place == path else f"; {path} is left as it was"
            self.run.messages.append(
                f"{place}: of a part of the claims ({self.run.partial}){beside}"
            )
        return place

    def _wrote(self, option: str, path: Path) -> None:
        """What is said of a file, but with `-q`, and once."""
        said = any(message.startswith(f"{path}: ") for message in self.run.messages)
        if self.run.config.getoption("verbose") >= 0 and not said:
            self.run.messages.append(f"{option}: wrote {path}")

    def _drawn(self, option: str) -> Path | None:
        path: Path | None = self.run.config.getoption(option)
        return path

    def _draw(self, record: Record, session: pytest.Session, wanted: Sequence[str]) -> None:
        """Page and bundle; what they show is of the first subject, which only the workers have
        under xdist."""
        from verdicts.bundle import write_bundle  # drawing takes time to import, and most runs
        from verdicts.page import PageExtras, render_page  # have no page

        project = self.run.project
        try:
            result = record.subjects[0]
            judged = self._judged(result.content_hash)
            extras = self.run.config.hook.pytest_claims_page_extras(subject=judged, result=result)
            if self.run.drawings:
                extras = dataclasses.replace(extras or PageExtras(), cases=self.run.drawings)
            if (path := self._drawn("--claims-page")) is not None:
                write_text(path, render_page(record, extras, project=project))
                self._wrote("--claims-page", path)
            if (path := self._drawn("--claims-bundle")) is not None:
                write_bundle(path, record, extras or PageExtras(), project=project)
                self._wrote("--claims-bundle", path)
        except (
            Exception
        ) as error:  # neither a full disk nor a figure that breaks may take the verdicts with it
            self.run.complaints.append(
                f"{', '.join(wanted)}: not written: {type(error).__name__}: {error}"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _complaints(self, record: Record | None) -> Iterator[str]:
        if record is None and self.run.baseline is not None:
            yield "--claims-baseline: no claim was judged, so nothing was compared"
        subjects = () if record is None else record.subjects
        names = labels(subjects)
        for result in subjects:
            of = f"{names[result.content_hash]}: " if len(names) > 1 else ""
            if result.comparison:
                yield from (
                    of + complaint for complaint in comparison_complaints(result.comparison)
                )
            yield from (of + complaint for complaint in null_complaints(result.claims))

    def _accept(self, record: Record, session: pytest.Session) -> None:
        broken = [
            claim.id
            for result in record.subjects
            for claim in result.claims
            if claim.verdict == "error"
        ]
        if broken or session.testsfailed or self.run.complaints or self.run.partial:
            why = ", ".join(broken) or self.run.partial or "see above"
            self.run.messages.append(
                f"--claims-accept: no ledger written, for there were errors: {why}"
            )
            return
        written = []
        for judged in self.run.subjects:
            result = next(
                r for r in record.subjects if r.content_hash == Description.of(judged).content_hash
            )
            write_record(judged.ledger_path, as_ledger(record, result))
            written.append(f"{judged.ledger_path} ({summary(result)})")
        self.run.messages.append(f"--claims-accept: wrote {', '.join(written)}")
