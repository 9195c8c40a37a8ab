"""`judge(claim, subject)`: the one way in which anything is judged."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from msgspec import UNSET

from verdicts.expectations import Expect, exact, rounded
from verdicts.nulls import NullTest, with_corrected
from verdicts.project import PLAIN, Project
from verdicts.schema import (
    ClaimResult,
    Description,
    NullResult,
    SubjectResult,
    VerdictName,
)

_KEYWORDS = (
    "source",
    "evidence",
    "gauge",
    "companion",
    "about",
    "parts",
    "broken_by",
    "spared",
    "at_chance",
    "drift",
)
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)  # worst first


class ClaimNotHeld(AssertionError):
    """A claim that is refuted, unresolved or absent on a subject: a finding about the subject."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that could be wrong, and the function that measures whether it is."""

    id: str
    statement: str
    source: str
    """Who states it, or where: what `Project.cite` makes words of."""
    evidence: str
    """What its verdict rests on: `exact`, `proved`, `searched`, `estimated`, `causal`, or a kind
    that `Project.evidence` adds."""
    gauge: frozenset[str]
    """The gauges under which it changes, since it depends on coordinates; under no other it may."""
    companion: str | None
    """The claim that says the same without depending on any gauge."""
    about: str | None
    """The role of the part that it is about, which other parts are tried in."""
    parts: frozenset[str]
    """The parts of the subject that it speaks of, by which a page sorts and filters."""
    broken_by: frozenset[str]
    """Controls that must break it, beside those that break all claims."""
    spared: Mapping[str, str]
    """Controls that cannot break it, each with the reason."""
    at_chance: str | None
    """Why it is worth stating where it holds and chance does as well."""
    drift: float | None
    """Share of the distance to its bound that a measure may lose in a changed subject; `None` for
    what the run says."""
    function: Callable[..., None]
    project: Project = PLAIN

    @classmethod
    def from_function(cls, function: Callable[..., None], project: Project = PLAIN) -> Claim:
        """The claim that a function `test_<id>(subject, expect)` marked with `pytest.mark.claim`
        makes.

        What it takes beside these two are fixtures and parameters; `given` says what they are.
        """
        name = function.__name__
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "claim"]
        if len(marks) != 1:
            raise ValueError(
                f"{name}: a claim is marked once with @pytest.mark.claim(source=…, evidence=…)"
            )
        values = marks[0].kwargs
        if marks[0].args or not {"source", "evidence"} <= set(values) <= set(_KEYWORDS):
            raise ValueError(
                f"{name}: @pytest.mark.claim needs source= and evidence=, and takes"
                f" {', '.join(_KEYWORDS)}; got {values}"
            )
        if values["evidence"] not in project.evidence:
            raise ValueError(
                f"{name}: evidence must be one of {', '.join(project.evidence)}, got"
                f" {values['evidence']!r}"
            )
        for key in ("gauge", "broken_by", "parts"):
            labels = values.get(key, frozenset())
            if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
                raise ValueError(f"{name}: {key} must be a set of names, got {labels!r}")
        spared = values.get("spared", {})
        if not isinstance(spared, Mapping) or not all(
            isinstance(reason, str) and reason.strip() for reason in spared.values()
        ):
            raise ValueError(
                f"{name}: spared must map a control to the reason why it cannot break the claim,"
                f" got {spared!r}"
            )
        at_chance = values.get("at_chance")
        if at_chance is not None and not (isinstance(at_chance, str) and at_chance.strip()):
            raise ValueError(
                f"{name}: at_chance must say why the claim is worth stating where chance does as"
                f" well, got {at_chance!r}"
            )
        drift = values.get("drift")
        if drift is not None and not (isinstance(drift, int | float) and 0 <= drift < math.inf):
            raise ValueError(
                f"{name}: drift must be a share of the distance to the bound, 0 or more, got"
                f" {drift!r}"
            )
        if bool(values.get("gauge")) != bool(values.get("companion")):
            raise ValueError(
                f"{name}: a claim that depends on a gauge names its companion that does not, and no"
                " other claim has one"
            )
        statement = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
        if not statement:
            raise ValueError(
                f"{name}: the first line of its docstring must be the statement, one sentence that"
                " could be wrong"
            )
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise ValueError(
                f"{name}: a claim is a plain function; it is judged anew on every control, which"
                " cannot wait for it"
            )
        if not name.startswith("test_") or not {"subject", "expect"} <= set(
            inspect.signature(function).parameters
        ):
            raise ValueError(
                f"{name}: a claim is a function test_<id>(subject, expect), with fixtures or"
                " parameters beside these"
            )
        about = values.get("about")
        parts = frozenset(values.get("parts", {about} if about is not None else ()))
        if project.parts and (unknown := parts - set(project.parts)):
            raise ValueError(
                f"{name}: parts must be among {', '.join(project.parts)}, got {sorted(unknown)}"
            )
        return cls(
            id=name.removeprefix("test_"),
            statement=statement,
            source=str(values["source"]),
            evidence=values["evidence"],
            gauge=frozenset(values.get("gauge", ())),
            companion=values.get("companion"),
            about=about,
            parts=parts,
            broken_by=frozenset(values.get("broken_by", ())),
            spared=spared,
            at_chance=at_chance,
            drift=drift,
            function=function,
            project=project,
        )

    def given(self, values: Mapping[str, Any], *, case: str = "") -> Claim:
        """The claim with the values of its fixtures and parameters; `case` tells those of one
        function apart."""
        if not values and not case:
            return self
        id_ = f"{self.id}[{case}]" if case else self.id
        return dataclasses.replace(
            self, id=id_, function=functools.partial(self.function, **values)
        )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of one claim on one subject, with everything that was measured on the way."""

    claim: Claim
    verdict: VerdictName
    expect: Expect
    reason: str | None
    """Why it is absent, or what broke."""
    error: Exception | None
    duration_s: float

    def result(self) -> ClaimResult:
        """As the record holds it."""
        claim = self.claim
        return ClaimResult(
            id=claim.id,
            statement=claim.statement,
            source=claim.source,
            evidence=claim.evidence,
            gauge=tuple(sorted(claim.gauge - self.expect.unmoved_by)),
            companion=claim.companion,
            parts=tuple(sorted(claim.parts)),
            verdict=self.verdict,
            reason=self.reason,
            measurements=self.expect.measurements,
            counts=self.expect.counts,
            nulls={name: _rounded(null) for name, null in self.expect.nulls.items()},
            p=rounded(self.expect.p),
            p_corrected=None,
            not_asked=self.expect.unasked,
            at_chance=claim.at_chance,
            counterexample=self.expect.counterexample,
            duration_s=round(self.duration_s, 3),
            drift=UNSET if (drift := exact(claim.drift)) is None else drift,
        )


def _rounded(null: NullTest) -> NullResult:
    largest = rounded(null.largest)
    assert largest is not None, "draws are finite"
    return NullResult(
        kind=null.kind,
        observed=rounded(null.observed),
        draws=null.draws,
        as_large=null.as_large,
        largest=largest,
        p=rounded(null.p),
    )


def judge(claim: Claim, subject: Any) -> Verdict:
    """Measure a claim on a subject. Never raises for a false claim, nor for a broken one: that is
    the verdict `error`.

    An exception that carries a class attribute `verdict = "absent"` means that the subject lacks
    what the claim is about.
    """
    expect = Expect(cases=claim.project.cases)
    started = time.perf_counter()
    reason: str | None = None
    broken: Exception | None = None
    try:
        claim.function(subject=subject, expect=expect)
        verdict, reason = _conclude(claim, expect)
    except Exception as error:  # whatever a claim's body raises is its verdict
        verdict = "absent" if getattr(type(error), "verdict", None) == "absent" else "error"
        reason = (
            str(error)
            if verdict == "absent"
            else _without_addresses(f"{type(error).__name__}: {error}")
        )
        broken = error if verdict == "error" else None
    return Verdict(claim, verdict, expect, reason, broken, time.perf_counter() - started)


def judge_all(claims: Iterable[Claim], subject: Any) -> SubjectResult:
    """The subject with all its claims as a record holds them, p-values corrected over them."""
    results = sorted(
        (judge(claim, subject).result() for claim in claims), key=lambda result: result.id
    )
    return Description.of(subject).judged(with_corrected(results))


def _conclude(claim: Claim, expect: Expect) -> tuple[VerdictName, str | None]:
    if not any(m.outcome for m in expect.measurements.values()):
        return "error", "the claim expects nothing: hold at least one measurement to a bound"
    if claim.evidence in claim.project.must_count and not expect.counts:
        return (
            "error",
            (
                "a statement about all of a kind says how many it saw: call expect.enough, or it"
                " could be true of none"
            ),
        )
    expect.leave_open_what_saw_too_little()
    outcomes = {m.outcome for m in expect.measurements.values()}
    if "refuted" in outcomes:
        return "refuted", None
    if expect.scarce:
        return "unresolved", f"too little to judge: {'; '.join(expect.scarce.values())}"
    return ("unresolved" if "unresolved" in outcomes else "holds"), None


def _without_addresses(text: str) -> str:
    """Memory addresses differ from run to run, and the record must not."""
    return re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
