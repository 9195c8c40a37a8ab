"""Whether a claim can fail: judged on broken copies of its subject, and on equivalent ones.

A control breaks a subject; a claim that survives one that is meant to break it says nothing. A
gauge changes a subject and leaves its function alone; a claim must change under exactly those that
it names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from verdicts.judge import Claim, Verdict, judge
from verdicts.schema import ClaimResult, Plain, Specificity, Trial

TOLERANCE = 1e-5  # relative: measurements are recorded to six digits


class Control(Protocol):
    """One way to break a subject."""

    @property
    def name(self) -> str:
        """What the run calls it."""

    @property
    def breaks_all(self) -> bool:
        """Whether every claim must be broken by it, unless it says why it cannot be."""

    def apply(self, subject: Any) -> Any:
        """The broken subject; an exception with `verdict = "absent"` where it has nothing to
        break."""


class Variants(Protocol):
    """What a project offers so that its claims can be put to the test."""

    @property
    def controls(self) -> Sequence[Control]:
        """All controls."""

    @property
    def gauges(self) -> Sequence[str]:
        """All names of gauges."""

    def for_controls(self, subject: Any) -> Any:
        """The smaller subject that controls start from."""

    def for_gauges(self, subject: Any) -> Any:
        """The smaller subject that gauges start from."""

    def under_gauge(self, subject: Any, gauge: str) -> Any:
        """The subject changed, and its function not."""

    def other_parts(self, subject: Any, about: str) -> Mapping[str, Any]:
        """The subject with every other part in the role that a claim is about."""


CONTROL = tuple(name for name in vars(Control) if not name.startswith("_"))
"""Names of all that a control has."""
VARIANTS = tuple(name for name in vars(Variants) if not name.startswith("_"))
"""Names of all that a project offers."""


def require_known(claim: Claim, variants: Variants) -> None:
    """`ValueError` for a control or gauge that does not exist, in the words of the claim that names
    it."""
    controls = {control.name for control in variants.controls}
    for name in [*claim.broken_by, *claim.spared]:
        if name not in controls:
            raise ValueError(
                f"{claim.id}: there is no control {name!r}; there are {', '.join(sorted(controls))}"
            )
    for name in claim.gauge:
        if name not in variants.gauges:
            raise ValueError(
                f"{claim.id}: there is no gauge {name!r}; there are {', '.join(variants.gauges)}"
            )


def must_break(claim: Claim, controls: Sequence[Control]) -> set[str]:
    """The controls under which the claim must not hold."""
    return {
        control.name
        for control in controls
        if control.breaks_all and control.name not in claim.spared
    } | claim.broken_by


class VariantRunner:
    """Variants of one subject, each made when it is first needed."""

    def __init__(self, variants: Variants, subject: Any) -> None:
        self.variants = variants
        self._subject = subject
        self._made: dict[tuple[str, str], Any] = {}

    def _make(self, kind: str, name: str) -> Any:
        """A variant, or the exception that says why this subject has none."""
        if (kind, name) not in self._made:
            try:
                self._made[kind, name] = self._build(kind, name)
            except Exception as error:
                if getattr(type(error), "verdict", None) != "absent":
                    raise
                self._made[kind, name] = error
        return self._made[kind, name]

    def _build(self, kind: str, name: str) -> Any:
        if kind == "control":
            base = self._make("base", "control")
            return (
                next(control for control in self.variants.controls if control.name == name).apply(
                    base
                )
                if name
                else base
            )
        if kind == "gauge":
            base = self._make("base", "gauge")
            return self.variants.under_gauge(base, name) if name else base
        if kind == "other parts":
            return self.variants.other_parts(self._make("base", "control"), name)
        return (
            self.variants.for_controls(self._subject)
            if name == "control"
            else self.variants.for_gauges(self._subject)
        )

    def controls(self, claim: Claim) -> dict[str, Trial]:
        """Verdict and values of the claim under each control; `absent` where the subject has
        nothing to break."""
        trials, required = {}, must_break(claim, self.variants.controls)
        for control in self.variants.controls:
            broken = self._make("control", control.name)
            must = control.name in required
            trials[control.name] = (
                Trial("absent", str(broken), values={}, missed=(), required=must)
                if isinstance(broken, Exception)
                else _trial(judge(claim, broken), required=must)
            )
        return trials

    def specificity(self, claim: Claim) -> Specificity | None:
        """Which other parts would pass in the place of the one that the claim is about; `None` for
        a claim about none."""
        if claim.about is None:
            return None
        others = self._make("other parts", claim.about)
        if isinstance(others, Exception):
            return None
        passing = tuple(
            name for name, subject in others.items() if judge(claim, subject).verdict == "holds"
        )
        return Specificity(claim.about, passing, others=len(others))

    def gauges(self, claim: Claim) -> dict[str, tuple[str, ...]]:
        """The measurements, and `verdict`, that change under each gauge."""
        base = judge(claim, self._make("gauge", ""))
        found = {}
        for gauge in self.variants.gauges:
            after = judge(claim, self._make("gauge", gauge))
            found[gauge] = tuple(changes(base, after))
        return found


def _trial(verdict: Verdict, *, required: bool) -> Trial:
    values = {
        name: measurement.value
        for name, measurement in verdict.expect.measurements.items()
        if measurement.outcome is not None
    }
    missed = tuple(
        name
        for name, m in verdict.expect.measurements.items()
        if m.outcome in ("refuted", "unresolved")
    )
    return Trial(verdict.verdict, verdict.reason, values, missed, required)


def changes(before: Verdict, after: Verdict) -> Iterator[str]:
    """Names of the measurements that differ by more than rounding; `verdict` where that does.

    Numbers in a list or mapping are compared in order of size, since heads and vertices may be
    renamed. An extreme differs where any of its members does: which of them is the lowest is an
    accident, and the bound is on each.
    """
    if before.verdict != after.verdict:
        yield "verdict"
    for name, measurement in before.expect.measurements.items():
        other = after.expect.measurements.get(name)
        if (
            other is None
            or not _close(measurement.value, other.value)
            or not _close(before.expect.members[name], after.expect.members[name])
        ):
            yield name
    yield from (
        name for name in after.expect.measurements if name not in before.expect.measurements
    )


def _close(a: Plain, b: Plain) -> bool:
    left, right = sorted(_numbers(a)), sorted(_numbers(b))
    if len(left) != len(right):
        return False
    scale = max([abs(value) for value in left + right], default=0.0)
    return all(
        math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=max(TOLERANCE * scale, 1e-9))
        for x, y in zip(left, right, strict=True)
    )


def _numbers(value: Plain) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif value is not None:
        yield float(value)


def control_complaints(
    claim: Claim,
    result: ClaimResult,
    trials: Mapping[str, Trial],
    controls: Sequence[Control],
) -> Iterator[str]:
    """What is wrong with the claim by what its controls show, in sentences that say what to do."""
    for name, trial in trials.items():
        if trial.verdict == "error":
            yield (
                f"{claim.id} breaks under the control {name!r} instead of failing: {trial.reason}"
            )
        if trial.verdict == "holds" and trial.required:
            yield (
                f"{claim.id} also holds under the control {name!r}, so it says nothing about the"
                " subject itself; tighten what it measures, or say in spared={…} why this control"
                " cannot break it"
            )
    for control in controls:
        if not control.breaks_all or control.name in claim.spared:
            continue
        trial = trials[control.name]
        derived = [
            name
            for name, m in result.measurements.items()
            if m.from_controls and result.verdict == "holds"
        ]
        for measure in derived:
            if measure in trial.values and measure not in trial.missed:
                yield (
                    f"{claim.id}: the bound of {measure} is said to lie between the trained value"
                    f" and the best control, but under {control.name!r} it is"
                    f" {trial.values[measure]} and meets the bound, too"
                )


def gating(result: ClaimResult) -> set[str]:
    """What a claim is judged by: its verdict, and the measurements that have a bound."""
    return {"verdict", *result.deciding}


def gauge_complaints(result: ClaimResult, found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Labels that lie, either way; a number that is only reported may change, and an absent part
    shows nothing."""
    judged_by = gating(result)
    for gauge, changed in found.items():
        decisive = [name for name in changed if name in judged_by]
        if decisive and gauge not in result.gauge:
            yield (
                f"{result.id} does not name the gauge {gauge!r}, but under it these change:"
                f" {', '.join(decisive)}; measure something that does not depend on coordinates, or"
                " name the gauge"
            )
        if not decisive and gauge in result.gauge and result.verdict != "absent":
            yield (
                f"{result.id} names the gauge {gauge!r}, but nothing that it is judged by changes"
                " under it; drop the label"
            )
