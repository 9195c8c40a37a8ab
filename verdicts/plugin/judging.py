"""One `judge` for each claim, what controls and gauges show of it, and how it gets to the end."""

from __future__ import annotations

import inspect
import json
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import pytest

from verdicts.judge import Claim, ClaimNotHeld, Verdict, judge
from verdicts.packing import pack
from verdicts.plugin.collection import claim_of, subject_of
from verdicts.plugin.run import Run
from verdicts.plugin.subjects import JudgedSubject
from verdicts.table import shown
from verdicts.variants import control_complaints, gauge_complaints, must_break

_RESULT = pytest.StashKey[dict[str, Any]]()


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
        about = {**judged.describe(), "device": judged.device, "place": self._place_of(judged)}
        result = verdict.to_dict()
        complaints = list(self._put_to_the_test(claim, result, about["content_hash"]))
        accepted = self.run.accepted(about["content_hash"]).get(claim.id, "holds")
        pyfuncitem.stash[_RESULT] = {
            "subject": about,
            "claim": result,
            "accepted": accepted,
            "collected": self.run.collected,
        }
        if self.run.keeps_cases:
            pyfuncitem.stash[_RESULT]["cases"] = {
                name: pack(per_case) for name, per_case in verdict.expect.per_case.items()
            }
        if (gate := self.run.gates.get(about["content_hash"])) is not None:
            pyfuncitem.stash[_RESULT]["gate"] = [gate.mode, gate.why, gate.laws]
        pyfuncitem.user_properties += junit_properties(result)
        if complaints and verdict.error is None:
            raise pytest.fail.Exception("\n".join(complaints), pytrace=False)
        self._raise_unless_held(verdict, about["content_hash"])
        return True

    def _place_of(self, judged: JudgedSubject) -> int:
        return next(place for place, one in enumerate(self.run.subjects) if one is judged)

    def _put_to_the_test(
        self, claim: Claim, result: dict[str, Any], content_hash: str
    ) -> Iterator[str]:
        """Add to the result what controls and gauges show; yield what is wrong with the claim by
        them."""
        runner = self.run.runners.get(content_hash)
        if runner is not None and self.run.config.getoption("claims_controls"):
            required = must_break(claim, runner.variants.controls)
            trials = runner.controls(claim)
            result["controls"] = {
                name: {**trial, "required": name in required} for name, trial in trials.items()
            }
            result["specificity"] = runner.specificity(claim)
            yield from control_complaints(claim, result, trials, runner.variants.controls)
        if runner is not None and self.run.config.getoption("claims_gauge"):
            result["gauges"] = runner.gauges(claim)
            yield from gauge_complaints(claim, result, result["gauges"])

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
        self.run.results.setdefault(about["content_hash"], {**about, "claims": []})[
            "claims"
        ].append(result["claim"])
        self.run.known.setdefault(about["content_hash"], {})[result["claim"]["id"]] = result[
            "accepted"
        ]
        self.run.collected = result["collected"]  # xdist's controller collects nothing itself
        self.run.seen.setdefault(about["content_hash"], {}).update(
            {
                (result["claim"]["id"], measure): packed
                for measure, packed in result.get("cases", {}).items()
            }
        )
        if "gate" in result:
            self.run.gates[about["content_hash"]] = self.run.gate(*result["gate"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker of xdist could not use: it must not raise, so it tells."""
        self.run.refused = getattr(node, "workeroutput", {}).get("claims_refused", self.run.refused)


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
