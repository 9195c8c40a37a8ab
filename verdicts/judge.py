"""`judge(claim, subject)`: the one way in which anything is judged."""

from __future__ import annotations

import dataclasses
import inspect
import re
import time
from collections.abc import Callable
from typing import Any

from verdicts.expectations import Expect

EVIDENCE = ("exact", "proved", "searched", "estimated", "causal")
VERDICTS = ("error", "refuted", "unresolved", "absent", "holds")  # worst first


class ClaimNotHeld(AssertionError):
    """A claim that is refuted, unresolved or absent on a subject: a finding about the subject."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that could be wrong, and the function that measures whether it is."""

    id: str
    statement: str
    source: str
    evidence: str
    gauge: frozenset[str]
    function: Callable[[Any, Expect], None]

    @classmethod
    def from_function(cls, function: Callable[[Any, Expect], None]) -> Claim:
        """The claim that a function `test_<id>(subject, expect)` marked with `pytest.mark.claim` makes."""
        name = function.__name__
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "claim"]
        if len(marks) != 1:
            raise ValueError(f"{name}: a claim is marked once with @pytest.mark.claim(source=…, evidence=…)")
        values = marks[0].kwargs
        if marks[0].args or not {"source", "evidence"} <= set(values) <= {"source", "evidence", "gauge"}:
            raise ValueError(f"{name}: @pytest.mark.claim takes source=, evidence= and gauge= by name, got {values}")
        if values["evidence"] not in EVIDENCE:
            raise ValueError(f"{name}: evidence must be one of {', '.join(EVIDENCE)}, got {values['evidence']!r}")
        gauge = values.get("gauge", frozenset())
        if isinstance(gauge, str) or not all(isinstance(label, str) for label in gauge):
            raise ValueError(f"{name}: gauge must be a set of names, got {gauge!r}")
        statement = (inspect.getdoc(function) or "").partition("\n")[0].strip()
        if not statement:
            raise ValueError(f"{name}: the first line of its docstring must be the statement, one sentence that could be wrong")
        if not name.startswith("test_") or list(inspect.signature(function).parameters) != ["subject", "expect"]:
            raise ValueError(f"{name}: a claim is a function test_<id>(subject, expect) and takes nothing else")
        return cls(name.removeprefix("test_"), statement, str(values["source"]), values["evidence"], frozenset(gauge), function)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of one claim on one subject, with everything that was measured on the way."""

    claim: Claim
    verdict: str
    expect: Expect
    reason: str | None
    """Why it is absent, or what broke."""
    error: Exception | None
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        """As the record holds it."""
        claim = self.claim
        return {
            "id": claim.id,
            "statement": claim.statement,
            "source": claim.source,
            "evidence": claim.evidence,
            "gauge": sorted(claim.gauge),
            "verdict": self.verdict,
            "reason": self.reason,
            "measurements": {name: m.to_dict() for name, m in self.expect.measurements.items()},
            "counts": {kind: dataclasses.asdict(count) for kind, count in self.expect.counts.items()},
            "counterexample": self.expect.counterexample,
            "duration_s": round(self.duration_s, 3),
        }


def judge(claim: Claim, subject: Any) -> Verdict:
    """Measure a claim on a subject. Never raises for a false claim, nor for a broken one: that is the verdict `error`.

    An exception that carries a class attribute `verdict = "absent"` means that the subject lacks what the claim is about.
    """
    expect = Expect()
    started = time.perf_counter()
    reason: str | None = None
    broken: Exception | None = None
    try:
        claim.function(subject, expect)
        verdict, reason = _conclude(expect)
    except Exception as error:  # whatever a claim's body raises is its verdict
        verdict = "absent" if getattr(type(error), "verdict", None) == "absent" else "error"
        reason = str(error) if verdict == "absent" else _without_addresses(f"{type(error).__name__}: {error}")
        broken = error if verdict == "error" else None
    return Verdict(claim, verdict, expect, reason, broken, time.perf_counter() - started)


def _conclude(expect: Expect) -> tuple[str, str | None]:
    outcomes = {m.outcome for m in expect.measurements.values()} - {None}
    if not outcomes:
        return "error", "the claim expects nothing: hold at least one measurement to a bound"
    scarce = [f"{count.seen} {kind}, {count.needed} needed" for kind, count in expect.counts.items() if count.seen < count.needed]
    if "refuted" in outcomes:
        return "refuted", None
    if scarce:
        return "unresolved", f"too little to judge: {'; '.join(scarce)}"
    return ("unresolved" if "unresolved" in outcomes else "holds"), None


def _without_addresses(text: str) -> str:
    """Memory addresses differ from run to run, and the record must not."""
    return re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
