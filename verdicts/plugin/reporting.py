"""What a run shows in the terminal: its subjects before it begins, and the table at its end."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from verdicts.plugin.judging import LOST
from verdicts.plugin.run import Run
from verdicts.plugin.subjects import JudgedSubject, labels
from verdicts.schema import Description
from verdicts.table import (
    render,
    render_comparison,
    render_matrices,
    render_side_by_side,
    summary,
)
from verdicts.wording import counted, short_hash


class Reporting:
    """Nothing is shown of a run without claims."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._told = False

    def pytest_report_collectionfinish(self) -> list[str]:
        """Which subjects are judged, and what is expected of them."""
        return self._about_the_subjects()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """The first report of a worker of xdist has what the controller, which loads no subject,
        cannot say."""
        report = yield
        if hasattr(item.config, "workerinput") and not self._told and self.run.subjects:
            report.claims_heading = self._about_the_subjects()  # type: ignore[attr-defined]  # xdist carries a report's attributes
            self._told = True
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.run.config.pluginmanager.get_plugin("terminalreporter")
        heading = getattr(report, "claims_heading", None)
        if heading is None or terminal is None or self._told:
            return
        terminal.ensure_newline()
        for line in heading:
            terminal.write_line(line)
        self._told = True

    def _about_the_subjects(self) -> list[str]:
        lines = []
        names = labels([Description.of(judged) for judged in self.run.subjects])
        for judged in self.run.subjects:
            about = Description.of(judged)
            data = (
                f", {self.run.project.data} {short_hash(about.validation_set)}"
                if about.validation_set
                else ""
            )
            whole = f"{about.name} {short_hash(about.content_hash)}{data}"
            lines.append(f"{self.run.project.subject}: {whole}")
            of = f" of {names[about.content_hash]}" if len(names) > 1 else ""
            lines.append(
                f"device{of}: {judged.device}, seed: {self.run.config.getoption('claims_seed')}"
            )
            lines += self._about_the_ledger(judged, about, of=of)
        return lines

    def _about_the_ledger(
        self, judged: JudgedSubject, about: Description, *, of: str
    ) -> Iterator[str]:
        if (baseline := self.run.baselines.get(about.content_hash)) is not None:
            name = f"{baseline.name} {short_hash(baseline.content_hash)}"
            yield f"baseline{of}: {name}, {summary(baseline)}"
            gate = self.run.gates[about.content_hash]
            yield f"gate{of}: {gate.rule} ({gate.why})"
            return
        ledger = self.run.ledgers.get(about.content_hash)
        if about.content_hash in self.run.without_their_ledger:
            yield f"ledger{of}: {judged.ledger_path} is of another {self.run.project.subject}"
            return
        if ledger is None:
            yield f"ledger{of}: none; every claim must hold"
            return
        yield f"ledger{of}: {summary(ledger.subjects[0])}"
        now = {
            self.run.project.data: about.validation_set or None,
            "seed": self.run.config.getoption("claims_seed"),
            "device": judged.device,
        }
        then = {
            self.run.project.data: ledger.subjects[0].validation_set or None,
            "seed": ledger.run.seed,
            "device": ledger.run.device,
        }
        yield from (
            f"ledger{of}: accepted with {key} {then[key]}, but this run has {now[key]}"
            for key in now
            if now[key] != then[key]
        )

    def pytest_sessionfinish(self) -> None:
        """A lost claim is said once, by the gate; files of JUnit have what it misses by now."""
        terminal = self.run.config.pluginmanager.get_plugin("terminalreporter")
        for report in [] if terminal is None else terminal.stats.get("failed", []):
            if isinstance(report.longrepr, str) and report.longrepr.startswith(LOST):
                report.longrepr = f"{LOST}: what it misses stands under “claims”"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.run.refused is not None:
            terminalreporter.write_line(f"ERROR: {self.run.refused}", red=True)
        record = self.run.record()
        if record is not None:
            terminalreporter.section("claims", "=")
        for result in [] if record is None else record.subjects:
            by = "baseline" if self.run.baseline else "ledger"
            table = render(
                result,
                accepted=self.run.known[result.content_hash],
                by=by,
                project=self.run.project,
            )
            for line, markup in [
                *table,
                *render_matrices(result, project=self.run.project),
                *render_comparison(result, verbose=self.run.config.getoption("verbose") > 0),
            ]:
                terminalreporter.write_line(line, **markup)
        for line, markup in [] if record is None else render_side_by_side(record.subjects):
            terminalreporter.write_line(line, **markup)
        for complaint in self.run.complaints:
            terminalreporter.write_line(complaint, red=True)
        if self.run.complaints:  # or the last line could be all green where the run failed
            _, _, words = counted(
                len(self.run.complaints), "problem with the run", "problems with the run"
            ).partition(" ")
            terminalreporter.stats[words] = [_report(said) for said in self.run.complaints]
        for message in self.run.messages:
            terminalreporter.write_line(message)


def _report(complaint: str) -> pytest.TestReport:
    """What other plugins take for a report, as they do with all that is counted."""
    return pytest.TestReport("claims", ("claims", None, "claims"), {}, "failed", complaint, "call")
