"""What a run leaves: record, summary, page, ledger. A part of a run replaces none of a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from verdicts.compare import comparison_complaints
from verdicts.markdown import markdown
from verdicts.nulls import null_complaints
from verdicts.plugin.options import selections
from verdicts.plugin.run import Run
from verdicts.plugin.subjects import labels
from verdicts.record import as_ledger, place_for, write_record, write_text
from verdicts.schema import Description, Record
from verdicts.table import summary


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
        self.run.complaints = list(self._complaints(record))
        if self.run.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if record is None:
            return
        try:
            if (path := self._output("claims_json")) is not None:
                write_record(path, record)
            if (path := self._output("claims_markdown")) is not None:
                write_text(path, markdown(record, self.run.complaints))
            if self.run.config.getoption("claims_accept"):
                self._accept(record, session)
        except OSError as error:  # a disk that is full by now; what was measured is still shown
            self.run.complaints.append(
                f"{error.filename or 'the record'}: not written: {error.strerror}"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if (path := self.run.config.getoption("claims_page")) is not None:
            if self.run.partial is None:
                self._write_page(path, record, session)
            else:
                self.run.messages.append(f"--claims-page={path}: not written: {self.run.partial}")

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
                f", {self.run.broken_files} files could not be collected"
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

    def _write_page(self, path: Path, record: Record, session: pytest.Session) -> None:
        """The page of the record; its extras is of the first subject, which only the workers have
        under xdist."""
        from verdicts.page import (
            render_page,
        )  # drawing takes time to import, and most runs have no page

        try:
            subjects = self.run.subjects or self.run.config.hook.pytest_claims_subjects(
                config=self.run.config
            )
            result = record.subjects[0]
            judged = next(
                one for one in subjects if Description.of(one).content_hash == result.content_hash
            )
            extras = self.run.config.hook.pytest_claims_page_extras(subject=judged, result=result)
            write_text(path, render_page(record, extras, project=self.run.project))
        except (
            Exception
        ) as error:  # neither a full disk nor a figure that breaks may take the verdicts with it
            self.run.complaints.append(
                f"--claims-page={path}: not written: {type(error).__name__}: {error}"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _complaints(self, record: Record | None) -> Iterator[str]:
        if record is None and self.run.baseline is not None:
            yield "--claims-baseline: no claim was judged, so nothing was compared"
        subjects = () if record is None else record.subjects
        names = labels(subjects)
        for result in subjects:
            of = f"{names[result.content_hash]}: " if len(names) > 1 else ""
            yield from (of + complaint for complaint in null_complaints(result.claims))
            if result.comparison:
                yield from (
                    of + complaint for complaint in comparison_complaints(result.comparison)
                )

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
            judged.ledger_path.parent.mkdir(parents=True, exist_ok=True)
            write_record(judged.ledger_path, as_ledger(record, result))
            written.append(f"{judged.ledger_path} ({summary(result)})")
        self.run.messages.append(f"--claims-accept: wrote {', '.join(written)}")
