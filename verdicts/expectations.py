"""`expect`: bounds on measurements, each with the reason for its number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from verdicts.nulls import Draws, NullTest
from verdicts.packing import pack_answers
from verdicts.schema import Count, Measurement, Number, Outcome, Plain
from verdicts.statistics import PerCase

SIGNIFICANT_DIGITS = 6  # what float32 measurements carry; more would differ between machines


def plain(value: object) -> Plain:
    """A measured value as JSON can hold it: numbers to six digits, lists, mappings by text; NaN and
    infinity as `None`."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.compare  # what an estimate is made of is no part of it
        }
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return float(f"{number:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(number) else None
    raise TypeError(
        f"a measurement must be a number, a list or a mapping of them, got {type(value).__name__}"
    )


def rounded(value: float | None) -> Number | None:
    """A number to six digits; `None` where it is not finite."""
    recorded = plain(value)
    assert not isinstance(recorded, list | dict)
    return recorded


def exact(value: float | None) -> Number | None:
    """A number as JSON holds it, every digit of it; a whole number stays one."""
    if value is None:
        return None
    return int(value) if isinstance(value, int) else float(value)


class Expect:
    """Records what a claim measures. A miss is not raised: every measurement of a claim is taken,
    then it is judged."""

    def __init__(self, *, cases: str = "cases") -> None:
        self._cases = cases
        self.measurements: dict[str, Measurement] = {}
        self.counts: dict[str, Count] = {}
        self.nulls: dict[str, NullTest] = {}
        self.unasked: str | None = None
        self.counterexample: dict[str, Any] | None = None
        self.per_case: dict[str, PerCase] = {}
        """What measures are made of, case by case, where that is known."""
        self.members: dict[str, Plain] = {}
        """Of measures that are an extreme, all the values that they are the extreme of."""
        self.unmoved_by: set[str] = set()
        """Gauges that the claim names and that cannot move it on this subject."""
        self._among: dict[str, str] = {}

    def __call__(
        self,
        name: str,
        value: object,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        within: tuple[float, float] | None = None,
        because: str | None = None,
        from_controls: bool = False,
        note: str | None = None,
        among: str | None = None,
        kept: bool = False,
    ) -> None:
        """Record `value` under `name` and hold it to its bounds, which need a `because`.

        `value` is a number, a list or mapping (recorded, not judged), `None` with a `note` (does
        not exist here, and meets no bound), or has `value`, `low` and `high`, and perhaps `cases`,
        the size of the sample: then the whole interval must meet the bound, and where it straddles
        the bound the claim is unresolved. `from_controls` says that the bound lies between the
        trained value and the best control. `among` names the kind of `enough` that it was measured
        on; without it every kind that the claim counts must be seen often enough. `kept` puts the
        answers that a share is of into record and ledger, a bit a case, so that a later run names
        those that are newly wrong.
        """
        if name in self.measurements:
            raise ValueError(
                f"expect({name!r}): measured twice; give each quantity a name of its own"
            )
        if within is not None:
            if at_least is not None or at_most is not None:
                raise ValueError(
                    f"expect({name!r}): within={within} already sets at_least and at_most"
                )
            at_least, at_most = within
        at_least, at_most = exact(at_least), exact(at_most)
        bounds = [bound for bound in (at_least, at_most) if bound is not None]
        if any(not math.isfinite(bound) for bound in bounds):
            raise ValueError(
                f"expect({name!r}): a bound must be finite, or nothing could miss it; got {bounds}"
            )
        if at_least is not None and at_most is not None and at_least > at_most:
            raise ValueError(
                f"expect({name!r}): no number is at least {at_least} and at most {at_most}"
            )
        if bounds and not (because and because.strip()):
            raise ValueError(f"expect({name!r}): say because=… why the bound is {bounds}")
        if from_controls and not bounds:
            raise ValueError(
                f"expect({name!r}): from_controls says where a bound comes from, but there is none"
            )
        if value is None and not note:
            raise ValueError(
                f"expect({name!r}): a missing value needs note=… that says why it does not exist"
            )
        point, low, high = _interval(value)
        if bounds and isinstance(plain(point), (list, dict)):
            raise ValueError(
                f"expect({name!r}): a bound judges one number, got {type(point).__name__}; expect"
                " each number it is about"
            )
        outcome = _outcome(point, low, high, at_least=at_least, at_most=at_most) if bounds else None
        recorded = plain(point)
        if recorded is None and value is not None:
            note = f"not a finite number{f'; {note}' if note else ''}"
        if low == -math.inf and high == math.inf:
            seen = getattr(value, "cases", None)
            too_few = f"too few {self._cases} for an interval" + (
                "" if seen is None else f": {seen:,}"
            )
            note = "; ".join(filter(None, [note, too_few]))
        if outcome == "unresolved" and (settling := _cases_to_settle(value, bounds)) is not None:
            seen = getattr(value, "cases", None)
            settled = (
                f"about {settling:,} {self._cases} would settle it four times in five, "
                f"{seen:,} were seen"
            )
            note = "; ".join(filter(None, [note, settled]))
        if among is not None:
            if among not in self.counts:
                raise ValueError(
                    f"expect({name!r}): among={among!r} names nothing that was counted; call"
                    " expect.enough first"
                )
            self._among[name] = among
        per_case: PerCase | None = getattr(value, "per_case", None)
        if per_case is not None:
            self.per_case[name] = per_case
        self.members[name] = plain(getattr(value, "members", ()))
        answers: str | UnsetType = UNSET
        if kept:
            if per_case is None or per_case.kind != "share":
                raise ValueError(
                    f"expect({name!r}): kept=True keeps right or wrong of each case; give an"
                    " Estimate whose per_case is a share"
                )
            answers = pack_answers(per_case.columns[0])
        self.measurements[name] = Measurement(
            recorded,
            rounded(low),
            rounded(high),
            at_least,
            at_most,
            because,
            from_controls,
            note,
            outcome,
            answers,
        )

    def enough(self, kind: str, seen: int, *, needed: int) -> None:
        """Say how many cases of a kind were seen; with fewer than `needed` the claim is unresolved,
        not true of nothing."""
        if needed < 1:
            raise ValueError(
                f"enough({kind!r}): needed must be at least 1, or a claim about nothing would hold;"
                f" got {needed}"
            )
        self.counts[kind] = Count(int(seen), int(needed))

    @property
    def scarce(self) -> dict[str, str]:
        """What was seen too seldom, in words, by its kind."""
        short = {kind: count for kind, count in self.counts.items() if count.seen < count.needed}
        return {
            kind: f"{count.seen} {kind}, {count.needed} needed" for kind, count in short.items()
        }

    def leave_open_what_saw_too_little(self) -> None:
        """No bound is met or missed on too few cases; but one counterexample is enough, whatever
        was counted."""
        for name, measured in self.measurements.items():
            kinds = [self._among[name]] if name in self._among else self.counts
            too_few = [self.scarce[kind] for kind in kinds if kind in self.scarce]
            shown = self.counterexample is not None and measured.outcome == "refuted"
            if measured.outcome is not None and too_few and not shown:
                note = "; ".join(filter(None, [measured.note, *too_few]))
                self.measurements[name] = replace(measured, outcome="unresolved", note=note)

    def null(
        self, name: str, observed: float, draws: Draws | Sequence[float], *, kind: str
    ) -> None:
        """Rank what was observed among draws of a `kind` of chance; larger is further from chance.

        The p-value of a claim is the largest of its nulls. Those of a run are corrected together,
        and one that holds and is not told from chance fails the run, unless its marker says in
        `at_chance` why it is worth stating.
        """
        if name in self.nulls:
            raise ValueError(
                f"expect.null({name!r}): ranked twice; give each statistic a name of its own"
            )
        self.nulls[name] = NullTest.of(float(observed), draws, kind=kind)

    def not_asked(self, why: str) -> None:
        """Say why the claim is not compared with chance, where it would be on another subject."""
        self.unasked = why

    def unmoved(self, *gauges: str) -> None:
        """Say which of the gauges that the claim names move nothing on a subject of this kind."""
        self.unmoved_by.update(gauges)

    @property
    def p(self) -> float | None:
        """The largest p-value of its nulls: it claims all of them together. `None` where it has
        none."""
        return max((null.p for null in self.nulls.values()), default=None)

    def show_counterexample(self, **facts: object) -> None:
        """Keep the smallest case found against the claim, as facts to print and to replay."""
        self.counterexample = {
            name: str(fact) if isinstance(fact, str) else plain(fact)
            for name, fact in facts.items()
        }


def _interval(value: object) -> tuple[object, float | None, float | None]:
    if all(hasattr(value, name) for name in ("value", "low", "high")):
        return value.value, value.low, value.high  # type: ignore[attr-defined]
    return value, None, None


# (1.96 + 0.84)/1.96: half-widths from the bound at which an interval clears it four times in five
POWER = 1.43


def _cases_to_settle(value: object, bounds: list[float]) -> int | None:
    """How many cases would bring the interval clear of the bounds four times in five, if the value
    stayed.

    Its width falls with the square root of their number; at the distance of one half-width it
    clears half the time.
    """
    point, low, high = _interval(value)
    cases = getattr(value, "cases", None)
    if cases is None or low is None or high is None:
        return None
    at = float(point)  # type: ignore[arg-type]
    if not all(map(math.isfinite, (at, low, high))):
        return None
    reaches = [
        (bound - at, (high if bound > at else low) - at) for bound in bounds if low <= bound <= high
    ]
    if not reaches or any(gap == 0 for gap, _ in reaches):
        return None
    return math.ceil(cases * max(POWER * reach / gap for gap, reach in reaches) ** 2)


def _outcome(
    point: object,
    low: float | None,
    high: float | None,
    *,
    at_least: float | None,
    at_most: float | None,
) -> Outcome:
    """`holds` if the whole interval meets the bound, `refuted` if it lies wholly outside,
    `unresolved` otherwise."""
    if point is None:
        return "unresolved"
    value = float(point)  # type: ignore[arg-type]
    if not math.isfinite(value):
        return "refuted"
    ends = [value] if low is None or high is None else [low, high]
    if any(map(math.isnan, ends)):
        return "unresolved"
    floor = -math.inf if at_least is None else at_least
    ceiling = math.inf if at_most is None else at_most
    if floor <= min(ends) and max(ends) <= ceiling:
        return "holds"
    return "refuted" if max(ends) < floor or min(ends) > ceiling else "unresolved"
