"""One `judge` for each claim, what controls and gauges show of it, and how it gets to the end."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from verdicts.judge import Claim, ClaimNotHeld, Verdict, judge
from verdicts.packing import Packed, pack
from verdicts.plugin.collection import claim_of, subject_of
from verdicts.plugin.run import Results, Run
from verdicts.plugin.subjects import JudgedSubject
from verdicts.schema import ClaimResult, Description, Mode
from verdicts.variants import control_complaints, gauge_complaints
from verdicts.wording import shown


class Report(msgspec.Struct):
    """What travels with the report of a test."""

    subject: Description
    device: str
    place: int
    """Of the subject among those of the run."""
    claim: ClaimResult
    accepted: str
    """The verdict that is expected of it."""
    collected: int
    cases: dict[str, Packed]
    """What was seen case by case, by measure, where it is of use."""
    gate: tuple[Mode, str, dict[str, float]] | None
    """Which question is asked of the subject, why, and the laws; `None` without a baseline."""


LOST = "lost since the baseline"
"""How the failure of a claim begins that the gate has more to say of."""
_REPORT = pytest.StashKey[Report]()


def _asked_for(item: pytest.Function) -> list[str]:
    """The fixtures and parameters of a claim beside its subject and `expect`."""
    return [
        name
        for name in inspect.signature(item.function).parameters
        if name not in ("subject", "expect", "self", "cls")
    ]


class Judging:
    """Under xdist the workers judge; results travel in the reports."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        __tracebackhide__ = True
        if not pyfuncitem.get_closest_marker("claim"):
            return None
        judged = subject_of(pyfuncitem)
        given = {
            name: value
            for name, value in pyfuncitem.funcargs.items()
            if name in _asked_for(pyfuncitem)
        }
        claim = claim_of(pyfuncitem, self.run.project).given(given)
        verdict = judge(claim, judged)
        about = Description.of(judged)
        result, complaints = self._put_to_the_test(claim, verdict.result(), about.content_hash)
        gate = self.run.gates.get(about.content_hash)
        pyfuncitem.stash[_REPORT] = Report(
            subject=about,
            device=judged.device,
            place=self._place_of(judged),
            claim=result,
            accepted=self.run.accepted(about.content_hash).get(claim.id, "holds"),
            collected=self.run.collected,
            cases=(
                {name: pack(per_case) for name, per_case in verdict.expect.per_case.items()}
                if self.run.keeps_cases
                else {}
            ),
            gate=None if gate is None else (gate.mode, gate.why, dict(gate.laws)),
        )
        pyfuncitem.user_properties += junit_properties(result)
        if complaints and verdict.error is None:
            raise pytest.fail.Exception("\n".join(complaints), pytrace=False)
        self._raise_unless_held(verdict, about.content_hash)
        return True

    def _place_of(self, judged: JudgedSubject) -> int:
        return next(place for place, one in enumerate(self.run.subjects) if one is judged)

    def _put_to_the_test(
        self, claim: Claim, result: ClaimResult, content_hash: str
    ) -> tuple[ClaimResult, list[str]]:
        """The result with what controls and gauges show, and what is wrong with the claim by
        them."""
        complaints: list[str] = []
        runner = self.run.runners.get(content_hash)
        if runner is not None and self.run.config.getoption("claims_controls"):
            trials = runner.controls(claim)
            result = replace(result, controls=trials, specificity=runner.specificity(claim))
            complaints += control_complaints(claim, result, trials, runner.variants.controls)
        if runner is not None and self.run.config.getoption("claims_gauge"):
            found = runner.gauges(claim)
            result = replace(result, gauges=found)
            complaints += gauge_complaints(result, found)
        return result, complaints

    def _raise_unless_held(self, verdict: Verdict, content_hash: str) -> None:
        __tracebackhide__ = True
        if verdict.error is not None:
            raise verdict.error
        if verdict.verdict == "error":
            raise pytest.fail.Exception(f"{verdict.claim.id}: {verdict.reason}", pytrace=False)
        if verdict.verdict == "holds" or self.run.config.getoption("claims_accept"):
            return
        accepted = self.run.accepted(content_hash).get(verdict.claim.id)
        if self.run.baseline is not None:
            gate, claim = self.run.gates[content_hash], verdict.claim.id
            if accepted in (None, "holds") and gate.forgives(claim, accepted, verdict.verdict):
                status = gate.status(claim, accepted, verdict.verdict)
                pytest.xfail(f"{gate.acknowledgement(claim) or status}; {verdict.verdict}")
            lost = f"{LOST}; " if accepted == "holds" else ""
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
        if call.when == "call" and _REPORT in item.stash:
            report.claim = msgspec.json.encode(item.stash[_REPORT]).decode()  # type: ignore[attr-defined]  # xdist carries a report's attributes
        raised = None if call.excinfo is None else call.excinfo.value
        if report.failed and _is_finding(raised) and _REPORT in item.stash:
            report.longrepr = str(raised)  # the traceback is this plugin's; all of it is hidden
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "claim"):
            return
        found = msgspec.json.decode(report.claim, type=Report)
        key = found.subject.content_hash
        self.run.results.setdefault(key, Results(found.subject, found.device, found.place))
        self.run.results[key].claims.append(found.claim)
        self.run.known.setdefault(key, {})[found.claim.id] = found.accepted
        self.run.collected = found.collected  # xdist's controller collects nothing itself
        self.run.seen.setdefault(key, {}).update(
            {(found.claim.id, measure): packed for measure, packed in found.cases.items()}
        )
        if found.gate is not None:
            self.run.gates[key] = self.run.gate(*found.gate)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker of xdist could not use: it must not raise, so it tells."""
        self.run.refused = getattr(node, "workeroutput", {}).get("claims_refused", self.run.refused)


def _is_finding(raised: BaseException | None) -> bool:
    """Whether all that there is to know of a failure is its message."""
    return isinstance(raised, ClaimNotHeld) or (
        isinstance(raised, pytest.fail.Exception) and not raised.pytrace
    )


def junit_properties(claim: ClaimResult) -> list[tuple[str, object]]:
    """Verdict, evidence and measurements of a claim as text: JUnit files carry them as properties
    of the test case."""
    found: list[tuple[str, object]] = [("verdict", claim.verdict), ("evidence", claim.evidence)]
    if claim.p is not None:
        found.append(("p", f"{claim.p:.3g}"))
    found.append(("above_chance", claim.above_chance))
    found += [
        (f"measured {name}", shown(measurement)) for name, measurement in claim.measurements.items()
    ]
    return [
        *found,
        *((f"seen {kind}", str(count.seen)) for kind, count in claim.counts.items()),
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
