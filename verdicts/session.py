"""One run of claims: its subjects, one `judge` per claim, the expected failures, and what is
written at the end."""

from __future__ import annotations

import functools
import inspect
import json
import unittest
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from verdicts.compare import baseline_for, compare, comparison_complaints
from verdicts.judge import Claim, ClaimNotHeld, Verdict, judge
from verdicts.lock import hold
from verdicts.markdown import markdown
from verdicts.nulls import null_complaints, with_corrected
from verdicts.options import selections
from verdicts.project import PLAIN, Project
from verdicts.record import (
    RecordError,
    as_ledger,
    make_record,
    place_for,
    read_whole_record,
    write_record,
    write_text,
)
from verdicts.subjects import JudgedSubject, labels, obtain_subjects
from verdicts.table import (
    render,
    render_comparison,
    render_controls,
    render_gauges,
    render_side_by_side,
    shown,
    summary,
)
from verdicts.variants import (
    VARIANTS,
    VariantRunner,
    Variants,
    control_complaints,
    gauge_complaints,
    must_break,
    require_known,
)

_RESULT = pytest.StashKey[dict[str, Any]]()


def _is_claim(node: pytest.Item) -> bool:
    return node.get_closest_marker("claim") is not None


def _asked_for(item: pytest.Function) -> list[str]:
    """The fixtures and parameters of a claim beside its subject and `expect`."""
    return [
        name
        for name in inspect.signature(item.function).parameters
        if name not in ("subject", "expect", "self", "cls")
    ]


def _case_of(item: pytest.Function) -> str:
    """What tells the claims of one function apart: its own parameters, the subject left out."""
    own = {name: value for name, value in item.callspec.params.items() if name != "subject"}
    return ", ".join(f"{name}={value}" for name, value in sorted(own.items()))


def _subject_of(item: pytest.Function) -> JudgedSubject:
    return cast(JudgedSubject, item.callspec.params["subject"])


class ClaimsSession:
    """What one run knows: its subjects, their ledgers, and the verdicts as they come in."""

    def __init__(self, config: pytest.Config, baseline: dict[str, Any] | None) -> None:
        self.config = config
        self.baseline = baseline
        self.baselines: dict[str, dict[str, Any]] = {}
        """What each subject is compared with, by its content hash."""
        self.subjects: Sequence[JudgedSubject] = ()
        self.runners: dict[str, VariantRunner] = {}
        """Broken and equivalent copies of each subject, by its content hash, where they were asked
        for."""
        self.ledgers: dict[str, dict[str, Any]] = {}
        self.complaints: list[str] = []
        """What is wrong with the claims of the run taken together."""
        self.messages: list[str] = []
        """What was written where, and why not."""
        self.broken_files = 0
        """Files that could not be collected."""
        self.refused: str | None = None
        """Why nothing can be judged; under xdist a worker finds out, and tells."""
        self.collected = 0
        """Claims times subjects, before any was deselected."""
        self.partial: str | None = None
        """Why claims are missing, at the end of a run that did not judge all that it collected."""
        self.results: dict[str, dict[str, Any]] = {}
        """Description of each subject with its claims, by content hash, from reports: the same
        under xdist."""
        self.known: dict[str, dict[str, str]] = {}
        """Verdicts that the baseline or ledger expects, by content hash and claim, from reports as
        well."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every claim is judged on every subject: they are obtained once, and what is collected is
        they."""
        if not _is_claim(metafunc.definition) or "subject" not in metafunc.fixturenames:
            return
        if not self.subjects and self.refused is None:
            try:
                self.subjects = obtain_subjects(self.config)
            except ValueError as error:
                self.refused = str(error)
        names = labels([subject.describe() for subject in self.subjects])
        ids = list(names.values()) if len(names) > 1 else [pytest.HIDDEN_PARAM] * len(names)
        metafunc.parametrize("subject", self.subjects, ids=ids, scope="session")

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self.collected += bool(self.subjects) and _is_claim(item)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        functions = [
            item for item in items if isinstance(item, pytest.Function) and _is_claim(item)
        ]
        if not functions:
            self.refused = None
            return
        try:
            if self.refused is not None:
                raise ValueError(self.refused)
            claims = {item: self._claim_of(item) for item in functions}
            seen: dict[tuple[str, str], str] = {}
            for item, claim in claims.items():
                place = item.nodeid.partition("[")[0]
                known = seen.setdefault(
                    (claim.id, _subject_of(item).describe()["content_hash"]), place
                )
                if known != place:
                    raise ValueError(f"two claims are called {claim.id}: in {known} and {place}")
            for judged in self.subjects:
                self._prepare(judged)
            if self.config.getoption("claims_controls") or self.config.getoption("claims_gauge"):
                variants = self._variants()
                for claim in claims.values():
                    require_known(claim, variants)
                self.runners = {
                    judged.describe()["content_hash"]: VariantRunner(variants, judged)
                    for judged in self.subjects
                }
        except ValueError as error:
            self.refused = str(error)
            if not hasattr(self.config, "workerinput"):
                self.refused = None  # pytest itself says it
                raise pytest.UsageError(str(error)) from None
            self.config.workeroutput["claims_refused"] = self.refused  # type: ignore[attr-defined]
            items.clear()  # an error here would be a crash of the worker
            return
        for item, claim in claims.items():
            self._expect_what_the_ledger_accepts(item, claim, _subject_of(item))

    @functools.cached_property
    def project(self) -> Project:
        """The words of the project."""
        return self.config.hook.pytest_claims_project() or PLAIN

    def _claim_of(self, item: pytest.Function) -> Claim:
        """The claim that a test makes; its fixtures have no value yet."""
        if inspect.isclass(item.cls) and issubclass(item.cls, unittest.TestCase):
            raise ValueError(
                f"{item.nodeid}: a claim cannot be a method of a unittest.TestCase, which takes no"
                " subject"
            )
        return Claim.from_function(item.obj, self.project).given({}, case=_case_of(item))

    def _variants(self) -> Variants:
        option = (
            "--claims-controls" if self.config.getoption("claims_controls") else "--claims-gauge"
        )
        variants = self.config.hook.pytest_claims_variants()
        if variants is None:
            raise ValueError(
                f"{option} needs controls and gauges: write in conftest.py def"
                " pytest_claims_variants(): return … (what it needs is verdicts.variants.Variants)"
            )
        lacking = [name for name in VARIANTS if not hasattr(variants, name)]
        if lacking:
            raise ValueError(
                f"pytest_claims_variants returned a {type(variants).__name__} without"
                f" {', '.join(lacking)}"
            )
        return cast(Variants, variants)

    def _prepare(self, judged: JudgedSubject) -> None:
        """What is expected of a subject, and its ledger for this run alone where it is to be
        written."""
        if self.config.getoption("claims_accept"):
            try:
                lock = hold(judged.ledger_path, what="is being written")
            except OSError as error:
                raise ValueError(
                    f"--claims-accept: {judged.ledger_path}: cannot be written: {error.strerror}"
                ) from None
            self.config.add_cleanup(lock.release)
        self._read_ledger(judged)
        if self.baseline is not None:
            about = judged.describe()
            source = self.config.getoption("claims_baseline")
            self.baselines[about["content_hash"]] = baseline_for(
                self.baseline, about, source=source
            )

    def _read_ledger(self, judged: JudgedSubject) -> None:
        description = judged.describe()
        if not judged.ledger_path.exists():
            return
        ledger = read_whole_record(judged.ledger_path)
        if ledger["subjects"][0]["content_hash"] != description["content_hash"]:
            raise RecordError(
                f"{judged.ledger_path}: is of other weights:"
                f" {ledger['subjects'][0]['content_hash']}, not {description['content_hash']}"
            )
        self.ledgers[description["content_hash"]] = ledger

    def accepted(self, content_hash: str) -> dict[str, str]:
        """Verdicts by claim of the baseline, or else of the ledger; none where there is neither."""
        expected = (
            self.baselines.get(content_hash)
            or self.ledgers.get(content_hash, {"subjects": [None]})["subjects"][0]
        )
        return (
            {}
            if expected is None
            else {claim["id"]: claim["verdict"] for claim in expected["claims"]}
        )

    def _expect_what_the_ledger_accepts(
        self, item: pytest.Function, claim: Claim, judged: JudgedSubject
    ) -> None:
        verdict = self.accepted(judged.describe()["content_hash"]).get(claim.id, "holds")
        if verdict == "holds" or self.config.getoption("claims_accept"):
            return
        if self.baseline is not None:
            item.add_marker(
                pytest.mark.xfail(
                    raises=ClaimNotHeld, strict=False, reason=f"{verdict} in the baseline"
                )
            )
        else:
            reason = (
                f"the ledger accepts this claim as {verdict}; where that has changed, run with"
                " --claims-accept"
            )
            item.add_marker(pytest.mark.xfail(raises=ClaimNotHeld, strict=True, reason=reason))

    def pytest_report_collectionfinish(self) -> list[str]:
        lines = []
        names = labels([judged.describe() for judged in self.subjects])
        for judged in self.subjects:
            about = judged.describe()
            data = (
                f", {self.project.data} {about['validation_set'][:19]}…"
                if "validation_set" in about
                else ""
            )
            lines.append(
                f"{self.project.subject}: {about['name']} {about['content_hash'][:19]}…{data}"
            )
            of = f" of {names[about['content_hash']]}" if len(names) > 1 else ""
            lines.append(
                f"device{of}: {judged.device}, seed: {self.config.getoption('claims_seed')}"
            )
            lines += self._about_the_ledger(judged, about, of=of)
        return lines

    def _about_the_ledger(
        self, judged: JudgedSubject, about: Mapping[str, Any], *, of: str
    ) -> Iterator[str]:
        if (baseline := self.baselines.get(about["content_hash"])) is not None:
            yield (
                f"baseline{of}: {baseline['name']} {baseline['content_hash'][:19]}…,"
                f" {summary(baseline)}"
            )
            return
        ledger = self.ledgers.get(about["content_hash"])
        if ledger is None:
            yield f"ledger{of}: none; every claim must hold"
            return
        yield f"ledger{of}: {summary(ledger['subjects'][0])}"
        now = {
            self.project.data: about.get("validation_set"),
            "seed": self.config.getoption("claims_seed"),
            "device": judged.device,
        }
        then = {self.project.data: ledger["subjects"][0].get("validation_set"), **ledger["run"]}
        yield from (
            f"ledger{of}: accepted with {key} {then[key]}, but this run has {now[key]}"
            for key in now
            if now[key] != then[key]
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        __tracebackhide__ = True
        if not pyfuncitem.get_closest_marker("claim"):
            return None
        judged = _subject_of(pyfuncitem)
        given = {
            name: value
            for name, value in pyfuncitem.funcargs.items()
            if name in _asked_for(pyfuncitem)
        }
        claim = self._claim_of(pyfuncitem).given(given)
        verdict = judge(claim, judged)
        about = {**judged.describe(), "device": judged.device, "place": self._place_of(judged)}
        result = verdict.to_dict()
        complaints = list(self._put_to_the_test(claim, result, about["content_hash"]))
        accepted = self.accepted(about["content_hash"]).get(claim.id, "holds")
        pyfuncitem.stash[_RESULT] = {
            "subject": about,
            "claim": result,
            "accepted": accepted,
            "collected": self.collected,
        }
        pyfuncitem.user_properties += junit_properties(result)
        if complaints and verdict.error is None:
            raise pytest.fail.Exception("\n".join(complaints), pytrace=False)
        self._raise_unless_held(verdict, about["content_hash"])
        return True

    def _place_of(self, judged: JudgedSubject) -> int:
        return next(place for place, one in enumerate(self.subjects) if one is judged)

    def _put_to_the_test(
        self, claim: Claim, result: dict[str, Any], content_hash: str
    ) -> Iterator[str]:
        """Add to the result what controls and gauges show; yield what is wrong with the claim by
        them."""
        runner = self.runners.get(content_hash)
        if runner is not None and self.config.getoption("claims_controls"):
            required = must_break(claim, runner.variants.controls)
            trials = runner.controls(claim)
            result["controls"] = {
                name: {**trial, "required": name in required} for name, trial in trials.items()
            }
            result["specificity"] = runner.specificity(claim)
            yield from control_complaints(claim, result, trials, runner.variants.controls)
        if runner is not None and self.config.getoption("claims_gauge"):
            result["gauges"] = runner.gauges(claim)
            yield from gauge_complaints(claim, result, result["gauges"])

    def _raise_unless_held(self, verdict: Verdict, content_hash: str) -> None:
        __tracebackhide__ = True
        if verdict.error is not None:
            raise verdict.error
        if verdict.verdict == "error":
            raise pytest.fail.Exception(f"{verdict.claim.id}: {verdict.reason}", pytrace=False)
        if verdict.verdict == "holds" or self.config.getoption("claims_accept"):
            return
        accepted = self.accepted(content_hash).get(verdict.claim.id)
        if self.baseline is not None:
            lost = "lost since the baseline; " if accepted == "holds" else ""
            raise ClaimNotHeld(f"{lost}{verdict.verdict}: {_misses(verdict)}")
        if accepted is not None and accepted not in ("holds", verdict.verdict):
            message = (
                f"{verdict.claim.id} is {verdict.verdict}, but the ledger accepts {accepted}; run"
                " with --claims-accept if that is right"
            )
            raise pytest.fail.Exception(message, pytrace=False)
        raise ClaimNotHeld(f"{verdict.verdict}: {_misses(verdict)}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "call" and _RESULT in item.stash:
            report.claim = json.dumps(item.stash[_RESULT])  # type: ignore[attr-defined]  # xdist carries a report's attributes
        if call.excinfo is not None and call.excinfo.errisinstance(ClaimNotHeld) and report.failed:
            report.longrepr = str(
                call.excinfo.value
            )  # the traceback is this plugin's; the finding is the message
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "claim"):
            return
        result = json.loads(report.claim)
        about = result["subject"]
        self.results.setdefault(about["content_hash"], {**about, "claims": []})["claims"].append(
            result["claim"]
        )
        self.known.setdefault(about["content_hash"], {})[result["claim"]["id"]] = result["accepted"]
        self.collected = result["collected"]  # xdist's controller collects nothing itself

    def record(self) -> dict[str, Any] | None:
        """The record of the run so far; `None` where no claim was judged."""
        if not self.results:
            return None
        in_order = sorted(
            self.results.values(), key=lambda result: result["place"]
        )  # of the subjects; xdist reports in any
        subjects = [
            {key: value for key, value in result.items() if key not in ("device", "place")}
            for result in in_order
        ]
        for result in subjects:
            result["claims"] = with_corrected(
                sorted(result["claims"], key=lambda claim: claim["id"])
            )  # xdist reports in any order
            if (
                self.baseline is not None
            ):  # and not self.baselines: under xdist only the workers load the subjects
                baseline = baseline_for(
                    self.baseline, result, source=self.config.getoption("claims_baseline")
                )
                result["comparison"] = compare(baseline, result, whole=not selections(self.config))
        device = next(iter(self.results.values()))["device"]
        return make_record(
            subjects, seed=self.config.getoption("claims_seed"), device=device, partial=self.partial
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker of xdist could not use: it must not raise, so it tells."""
        self.refused = getattr(node, "workeroutput", {}).get("claims_refused", self.refused)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self.config, "workerinput"):
            return
        if self.refused is not None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        self.partial = self._why_partial(exitstatus)
        record = self.record()
        self.complaints = list(self._complaints(record))
        if self.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if record is None:
            return
        try:
            if (path := self._output("claims_json")) is not None:
                write_record(path, record)
            if (path := self._output("claims_markdown")) is not None:
                write_text(path, markdown(record, self.complaints))
            if self.config.getoption("claims_accept"):
                self._accept(record, session)
        except OSError as error:  # a disk that is full by now; what was measured is still shown
            self.complaints.append(
                f"{error.filename or 'the record'}: not written: {error.strerror}"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if (path := self.config.getoption("claims_page")) is not None:
            if self.partial is None:
                self._write_page(path, record, session)
            else:
                self.messages.append(f"--claims-page={path}: not written: {self.partial}")

    def _why_partial(self, exitstatus: int) -> str | None:
        """Why not all claims that were collected have a verdict, or those collected are not all;
        `None` where they have."""
        if selected := selections(self.config):
            return "; ".join(f"{option} {value}" for option, value in selected.items())
        missing = self.collected - sum(len(result["claims"]) for result in self.results.values())
        if exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
            return f"interrupted, {missing} of {self.collected} claims not judged"
        if missing or self.broken_files:
            broken = (
                f", {self.broken_files} files could not be collected" if self.broken_files else ""
            )
            return f"{missing} of {self.collected} claims not judged{broken}"
        return None

    def _output(self, option: str) -> Path | None:
        path: Path | None = self.config.getoption(option)
        if path is None:
            return None
        place = place_for(path, partial=self.partial is not None)
        if self.partial is not None:
            beside = "" if place == path else f"; {path} is left as it was"
            self.messages.append(f"{place}: of a part of the claims ({self.partial}){beside}")
        return place

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.broken_files += report.failed

    def _write_page(self, path: Path, record: Mapping[str, Any], session: pytest.Session) -> None:
        """The page of the record; its extras is of the first subject, which only the workers have
        under xdist."""
        from verdicts.page import (
            render_page,
        )  # drawing takes time to import, and most runs have no page

        try:
            subjects = self.subjects or self.config.hook.pytest_claims_subjects(config=self.config)
            result = record["subjects"][0]
            judged = next(
                one for one in subjects if one.describe()["content_hash"] == result["content_hash"]
            )
            extras = self.config.hook.pytest_claims_page_extras(subject=judged, result=result)
            write_text(path, render_page(record, extras, project=self.project))
        except (
            Exception
        ) as error:  # neither a full disk nor a figure that breaks may take the verdicts with it
            self.complaints.append(
                f"--claims-page={path}: not written: {type(error).__name__}: {error}"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _complaints(self, record: Mapping[str, Any] | None) -> Iterator[str]:
        if record is None and self.baseline is not None:
            yield "--claims-baseline: no claim was judged, so nothing was compared"
        subjects = [] if record is None else record["subjects"]
        names = labels(subjects)
        for result in subjects:
            of = f"{names[result['content_hash']]}: " if len(names) > 1 else ""
            yield from (of + complaint for complaint in null_complaints(result["claims"]))
            if "comparison" in result:
                yield from (
                    of + complaint for complaint in comparison_complaints(result["comparison"])
                )

    def _accept(self, record: Mapping[str, Any], session: pytest.Session) -> None:
        broken = [
            claim["id"]
            for result in record["subjects"]
            for claim in result["claims"]
            if claim["verdict"] == "error"
        ]
        if broken or session.testsfailed or self.complaints or self.partial:
            why = ", ".join(broken) or self.partial or "see above"
            self.messages.append(
                f"--claims-accept: no ledger written, for there were errors: {why}"
            )
            return
        written = []
        for judged in self.subjects:
            result = next(
                r
                for r in record["subjects"]
                if r["content_hash"] == judged.describe()["content_hash"]
            )
            judged.ledger_path.parent.mkdir(parents=True, exist_ok=True)
            write_record(judged.ledger_path, as_ledger(record, result))
            written.append(f"{judged.ledger_path} ({summary(result)})")
        self.messages.append(f"--claims-accept: wrote {', '.join(written)}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.refused is not None:
            terminalreporter.write_line(f"ERROR: {self.refused}", red=True)
        record = self.record()
        if record is not None:
            terminalreporter.section("claims", "=")
        for result in [] if record is None else record["subjects"]:
            by = "baseline" if self.baseline else "ledger"
            table = render(
                result, accepted=self.known[result["content_hash"]], by=by, project=self.project
            )
            for line, markup in [
                *table,
                *render_controls(result),
                *render_gauges(result),
                *render_comparison(result),
            ]:
                terminalreporter.write_line(line, **markup)
        for line, markup in [] if record is None else render_side_by_side(record["subjects"]):
            terminalreporter.write_line(line, **markup)
        for complaint in self.complaints:
            terminalreporter.write_line(complaint, red=True)
        for message in self.messages:
            terminalreporter.write_line(message)


def junit_properties(claim: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Verdict, evidence and measurements of a claim as text: JUnit files carry them as properties
    of the test case."""
    found = [("verdict", claim["verdict"]), ("evidence", claim["evidence"])]
    if claim["p"] is not None:
        found.append(("p", f"{claim['p']:.3g}"))
    found.append(("above_chance", claim["above_chance"]))
    found += [
        (f"measured {name}", shown(measurement))
        for name, measurement in claim["measurements"].items()
    ]
    return [
        *found,
        *((f"seen {kind}", str(count["seen"])) for kind, count in claim["counts"].items()),
    ]


def _misses(verdict: Verdict) -> str:
    """One line on what keeps a claim from holding."""
    if verdict.reason:
        return verdict.reason
    parts = []
    for name, m in verdict.expect.measurements.items():
        if m.outcome in ("refuted", "unresolved"):
            interval = (
                f" [{m.low:g}, {m.high:g}]" if m.low is not None and m.high is not None else ""
            )
            bounds = " and ".join(
                f"at {word} {bound:g}"
                for word, bound in (("least", m.at_least), ("most", m.at_most))
                if bound is not None
            )
            parts.append(f"{name} is {m.value}{interval}, expected {bounds} ({m.because})")
    return "; ".join(parts)
