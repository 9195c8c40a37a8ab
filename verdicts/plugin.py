"""The pytest plugin: options, subjects, one `judge` per claim, the ledger's expected failures, record and table."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from verdicts.judge import Claim, ClaimNotHeld, Verdict, judge
from verdicts.nulls import null_complaints, with_corrected
from verdicts.record import (
    RecordError,
    accepted_verdicts,
    as_ledger,
    make_record,
    read_record,
    require_writable,
    write_record,
)
from verdicts.table import render, render_controls, render_gauges, summary
from verdicts.variants import Variants, Workbench, control_complaints, gauge_complaints, must_break, require_known

_PROPERTY = "claim"


class JudgedSubject(Protocol):
    """What a project's subjects must offer; everything else about them is between the subject and its claims."""

    @property
    def ledger_path(self) -> Path:
        """Where the accepted verdicts of this subject are kept."""

    @property
    def device(self) -> str:
        """Where it runs."""

    def describe(self) -> dict[str, Any]:
        """`name`, `content_hash`, `roles` and `validation_set` (its hash), as the record holds them."""


class ClaimsHooks:
    """Hooks that a project's conftest implements."""

    @pytest.hookspec(firstresult=True)
    def pytest_claims_variants(self) -> Variants:  # type: ignore[empty-body]
        """Controls and gauges of the project."""

    @pytest.hookspec(firstresult=True)
    def pytest_claims_subjects(self, config: pytest.Config) -> list[JudgedSubject]:  # type: ignore[empty-body]
        """The subjects of this run, one for each `--checkpoint`; `ValueError` for what cannot be judged."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(ClaimsHooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("claims", "claims about a checkpoint")
    group.addoption(
        "--checkpoint", action="append", metavar="PATH",
        help="a directory, .safetensors or the author's .pt (its .yaml beside it); write it with '='; may be repeated. "
        "Default: $CLAIMS_CHECKPOINT, or checkpoints/default",
    )  # fmt: skip
    group.addoption(
        "--validation-set", type=Path, metavar="NPZ", help="data [n, v, v] and labels [n]; default: 4,992 graphs from a fixed seed"
    )
    group.addoption("--claims-json", type=Path, metavar="PATH", help="write the record of the run")
    group.addoption("--claims-accept", action="store_true", help="write this run's verdicts as the checkpoint's ledger")
    group.addoption("--claims-seed", type=int, default=0, metavar="N", help="seed of every sample, search and bootstrap (default 0)")
    group.addoption("--claims-controls", action="store_true", help="judge every claim on broken copies of the checkpoint, too")
    group.addoption("--claims-gauge", action="store_true", help="judge every claim on copies with other weights and the same function, too")
    group.addoption("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to run (default: cuda where there is one)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "claim(source, evidence, gauge): a claim; source is the notebook's section, evidence one of exact, "
        "proved, searched, estimated, causal, gauge the changes of weights that it depends on",
    )  # fmt: skip
    if config.getoption("claims_seed") < 0:
        raise pytest.UsageError(f"--claims-seed must be 0 or more, got {config.getoption('claims_seed')}")
    if config.getoption("claims_accept"):
        _require_whole_run(config)
    try:
        if (path := config.getoption("claims_json")) is not None:
            require_writable(path, option="--claims-json")
    except RecordError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(ClaimsSession(config), "claims-session")


def _require_whole_run(config: pytest.Config) -> None:
    """A ledger of some of the claims would say of the others that they were never judged."""
    parts = [argument for argument in config.args if "::" in argument or argument.endswith(".py")]
    selections = {
        "-k": config.getoption("keyword", ""),
        "-m": config.getoption("markexpr", ""),
        "--deselect": config.getoption("deselect", None),
    }
    for option, value in {**selections, "-n": getattr(config.option, "numprocesses", None), "a part of the claims": parts}.items():
        if value:
            raise pytest.UsageError(f"--claims-accept writes the ledger of a whole run in one process; drop {option} {value}")


def _claim_items(items: list[pytest.Item]) -> list[pytest.Function]:
    return [item for item in items if isinstance(item, pytest.Function) and item.get_closest_marker("claim")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    checkpoints = metafunc.config.getoption("checkpoint") or []
    if len(checkpoints) > 1 and "subject" in metafunc.fixturenames and any(metafunc.definition.iter_markers("claim")):
        metafunc.parametrize("subject", range(len(checkpoints)), indirect=True, ids=[Path(path).stem for path in checkpoints])


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> JudgedSubject:
    """The checkpoint that the claims are about."""
    session = cast(ClaimsSession, request.config.pluginmanager.getplugin("claims-session"))
    return session.subjects[getattr(request, "param", 0)]


@pytest.fixture
def expect() -> None:
    """Placeholder for the recorder: `judge` makes a fresh one for each claim that it judges."""


class ClaimsSession:
    """What one run knows: its subjects, their ledgers, and the verdicts as they come in."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.subjects: list[JudgedSubject] = []
        self.workbenches: dict[str, Workbench] = {}
        """Broken and equivalent copies of each subject, by its content hash, where they were asked for."""
        self.ledgers: dict[str, dict[str, Any]] = {}
        self.complaints: list[str] = []
        """What is wrong with the claims of the run taken together."""
        self.accept_message: str | None = None
        self.results: dict[str, dict[str, Any]] = {}
        """Description of each subject with its claims, by content hash, from reports: the same under xdist."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        functions = _claim_items(items)
        if not functions:
            return
        try:
            claims = {item: Claim.from_function(item.function) for item in functions}
            seen: dict[str, str] = {}
            for item, claim in claims.items():
                if seen.setdefault(claim.id, str(item.path)) != str(item.path):
                    raise ValueError(f"two claims are called {claim.id}: in {seen[claim.id]} and {item.path}")
            self.subjects = self.config.hook.pytest_claims_subjects(config=self.config)
            for judged in self.subjects:
                self._read_ledger(judged)
            if self.config.getoption("claims_controls") or self.config.getoption("claims_gauge"):
                variants = self.config.hook.pytest_claims_variants()
                for claim in claims.values():
                    require_known(claim, variants)
                self.workbenches = {judged.describe()["content_hash"]: Workbench(variants, judged) for judged in self.subjects}
            if len({judged.describe()["content_hash"] for judged in self.subjects}) < len(self.subjects):
                raise ValueError("--checkpoint names the same weights twice")
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
        for item, claim in claims.items():
            index = int(item.callspec.params.get("subject", 0)) if hasattr(item, "callspec") else 0  # type: ignore[call-overload]
            self._expect_what_the_ledger_accepts(item, claim, self.subjects[index])

    def _read_ledger(self, judged: JudgedSubject) -> None:
        description = judged.describe()
        if not judged.ledger_path.exists():
            return
        ledger = read_record(judged.ledger_path)
        if ledger["subjects"][0]["content_hash"] != description["content_hash"]:
            raise RecordError(
                f"{judged.ledger_path}: is of other weights: {ledger['subjects'][0]['content_hash']}, not {description['content_hash']}"
            )
        self.ledgers[description["content_hash"]] = ledger

    def accepted(self, content_hash: str) -> dict[str, str]:
        """The ledger's verdicts by claim; none where there is no ledger."""
        return accepted_verdicts(self.ledgers[content_hash]) if content_hash in self.ledgers else {}

    def _expect_what_the_ledger_accepts(self, item: pytest.Function, claim: Claim, judged: JudgedSubject) -> None:
        verdict = self.accepted(judged.describe()["content_hash"]).get(claim.id, "holds")
        if verdict != "holds" and not self.config.getoption("claims_accept"):
            reason = f"the ledger accepts this claim as {verdict}; where that has changed, run with --claims-accept"
            item.add_marker(pytest.mark.xfail(raises=ClaimNotHeld, strict=True, reason=reason))

    def pytest_report_collectionfinish(self) -> list[str]:
        lines = []
        for judged in self.subjects:
            about = judged.describe()
            lines.append(f"checkpoint: {about['name']} {about['content_hash'][:19]}…, validation set {about['validation_set'][:19]}…")
            lines.append(f"device: {judged.device}, seed: {self.config.getoption('claims_seed')}")
            lines += self._about_the_ledger(judged, about)
        return lines

    def _about_the_ledger(self, judged: JudgedSubject, about: Mapping[str, Any]) -> Iterator[str]:
        ledger = self.ledgers.get(about["content_hash"])
        if ledger is None:
            yield "ledger: none; every claim must hold"
            return
        yield f"ledger: {summary(ledger['subjects'][0])}"
        now = {"validation set": about["validation_set"], "seed": self.config.getoption("claims_seed"), "device": judged.device}
        then = {"validation set": ledger["subjects"][0]["validation_set"], **ledger["run"]}
        yield from (f"ledger: accepted with {key} {then[key]}, but this run has {now[key]}" for key in now if now[key] != then[key])

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        __tracebackhide__ = True
        if not pyfuncitem.get_closest_marker("claim"):
            return None
        judged = cast(JudgedSubject, pyfuncitem.funcargs["subject"])
        claim = Claim.from_function(pyfuncitem.function)
        verdict = judge(claim, judged)
        about = {**judged.describe(), "device": judged.device}
        result = verdict.to_dict()
        complaints = list(self._put_to_the_test(claim, result, about["content_hash"]))
        pyfuncitem.user_properties.append((_PROPERTY, json.dumps({"subject": about, "claim": result})))
        if complaints and verdict.error is None:
            raise pytest.fail.Exception("\n".join(complaints), pytrace=False)
        self._raise_unless_held(verdict, about["content_hash"])
        return True

    def _put_to_the_test(self, claim: Claim, result: dict[str, Any], content_hash: str) -> Iterator[str]:
        """Add to the result what controls and gauges show; yield what is wrong with the claim by them."""
        bench = self.workbenches.get(content_hash)
        if bench is not None and self.config.getoption("claims_controls"):
            required = must_break(claim, bench.variants.controls)
            trials = bench.controls(claim)
            result["controls"] = {name: {**trial, "required": name in required} for name, trial in trials.items()}
            result["specificity"] = bench.specificity(claim)
            yield from control_complaints(claim, result, trials, bench.variants.controls)
        if bench is not None and self.config.getoption("claims_gauge"):
            result["gauges"] = bench.gauges(claim)
            yield from gauge_complaints(claim, result["gauges"])

    def _raise_unless_held(self, verdict: Verdict, content_hash: str) -> None:
        __tracebackhide__ = True
        if verdict.error is not None:
            raise verdict.error
        if verdict.verdict == "error":
            raise pytest.fail.Exception(f"{verdict.claim.id}: {verdict.reason}", pytrace=False)
        if verdict.verdict == "holds" or self.config.getoption("claims_accept"):
            return
        accepted = self.accepted(content_hash).get(verdict.claim.id)
        if accepted is not None and accepted not in ("holds", verdict.verdict):
            message = (
                f"{verdict.claim.id} is {verdict.verdict}, but the ledger accepts {accepted}; run with --claims-accept if that is right"
            )
            raise pytest.fail.Exception(message, pytrace=False)
        raise ClaimNotHeld(f"{verdict.verdict}: {_misses(verdict)}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.excinfo is not None and call.excinfo.errisinstance(ClaimNotHeld) and report.failed:
            report.longrepr = str(call.excinfo.value)  # the traceback is this plugin's; the finding is the message
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        values = dict(report.user_properties)
        if report.when != "call" or _PROPERTY not in values:
            return
        result = json.loads(str(values[_PROPERTY]))
        about = result["subject"]
        self.results.setdefault(about["content_hash"], {**about, "claims": []})["claims"].append(result["claim"])

    def record(self) -> dict[str, Any] | None:
        """The record of the run so far; `None` where no claim was judged."""
        if not self.results:
            return None
        subjects = [{key: value for key, value in result.items() if key != "device"} for result in self.results.values()]
        for result in subjects:
            result["claims"] = with_corrected(sorted(result["claims"], key=lambda claim: claim["id"]))  # xdist reports in any order
        device = next(iter(self.results.values()))["device"]
        return make_record(subjects, seed=self.config.getoption("claims_seed"), device=device)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput"):
            return
        record = self.record()
        if record is None:
            return
        if (path := self.config.getoption("claims_json")) is not None:
            write_record(path, record)
        self.complaints = [complaint for result in record["subjects"] for complaint in null_complaints(result["claims"])]
        if self.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.config.getoption("claims_accept"):
            self._accept(record, session)

    def _accept(self, record: Mapping[str, Any], session: pytest.Session) -> None:
        broken = [claim["id"] for result in record["subjects"] for claim in result["claims"] if claim["verdict"] == "error"]
        if broken or session.testsfailed or self.complaints:
            self.accept_message = f"--claims-accept: no ledger written, for there were errors: {', '.join(broken) or 'see above'}"
            return
        written = []
        for judged in self.subjects:
            result = next(r for r in record["subjects"] if r["content_hash"] == judged.describe()["content_hash"])
            judged.ledger_path.parent.mkdir(parents=True, exist_ok=True)
            write_record(judged.ledger_path, as_ledger(record, result))
            written.append(f"{judged.ledger_path} ({summary(result)})")
        self.accept_message = f"--claims-accept: wrote {', '.join(written)}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        record = self.record()
        if record is None:
            return
        terminalreporter.section("claims", "=")
        for result in record["subjects"]:
            for line, markup in render(result, accepted=self.accepted(result["content_hash"])):
                terminalreporter.write_line(line, **markup)
            for line, markup in [*render_controls(result), *render_gauges(result)]:
                terminalreporter.write_line(line, **markup)
        for complaint in self.complaints:
            terminalreporter.write_line(complaint, red=True)
        if self.accept_message:
            terminalreporter.write_line(self.accept_message)


def _misses(verdict: Verdict) -> str:
    """One line on what keeps a claim from holding."""
    if verdict.reason:
        return verdict.reason
    parts = []
    for name, m in verdict.expect.measurements.items():
        if m.outcome in ("refuted", "unresolved"):
            interval = f" [{m.low:g}, {m.high:g}]" if m.low is not None and m.high is not None else ""
            bounds = " and ".join(
                f"at {word} {bound:g}" for word, bound in (("least", m.at_least), ("most", m.at_most)) if bound is not None
            )
            parts.append(f"{name} is {m.value}{interval}, expected {bounds} ({m.because})")
    return "; ".join(parts)
