"""In how many of several subjects each claim holds: what is a law of the task, and what an accident
of a seed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from verdicts.schema import Measurement, Number, SubjectResult
from verdicts.statistics import clopper_pearson
from verdicts.table import LEGEND, WIDTH, Line, sign
from verdicts.wording import bound, number


def frequency(subjects: Sequence[SubjectResult], claim: str) -> tuple[int, float, float]:
    """How many of the subjects a claim holds in, with the exact (Clopper–Pearson) 95 % interval of
    the rate."""
    count = sum(
        one.id == claim and one.verdict == "holds" for subject in subjects for one in subject.claims
    )
    rate = clopper_pearson(count, len(subjects))
    return count, rate.low, rate.high


def render_frequencies(
    subjects: Mapping[str, SubjectResult], beside: Mapping[str, SubjectResult] | None = None
) -> Iterator[Line]:
    """Claims × subjects, both by name, the most frequent claims first; those `beside` are shown and
    not counted."""
    beside = beside or {}
    columns, others = (
        [_signs(subject) for subject in several.values()] for several in (subjects, beside)
    )
    counted = {
        name: frequency(list(subjects.values()), name) for name in sorted(set().union(*columns))
    }
    widest = max([len("claim"), *map(len, counted)])
    letters = "  ".join(chr(ord("a") + index) for index in range(len(others)))
    yield from (
        (line, {"bold": True}) for line in textwrap.wrap(f"in order: {', '.join(subjects)}", WIDTH)
    )
    yield from (
        (f"{chr(ord('a') + index)}  {name}, not counted", {}) for index, name in enumerate(beside)
    )
    yield (
        (
            f"{'claim':<{widest}}  {'':<{len(columns)}} "
            f" {letters}{'  ' if letters else ''}{'holds':>5}  95 % interval"
        ),
        {},
    )
    for name, (count, low, high) in sorted(counted.items(), key=lambda item: -item[1][0]):
        signs = "".join(one.get(name, " ") for one in columns)
        marks = "  ".join(one.get(name, " ") for one in others)
        share = f"{count}/{len(columns)}"
        yield (
            (
                f"{name:<{widest}}  {signs}  {marks}{'  ' if letters else ''}{share:>5} "
                f" [{low:.2f}, {high:.2f}]"
            ),
            {},
        )
    yield LEGEND, {}


def render_ranges(subjects: Mapping[str, SubjectResult]) -> Iterator[Line]:
    """Lowest and highest value over the subjects of every measurement that decides a claim, with
    its bound."""
    found: dict[str, dict[str, list[tuple[Number, Measurement]]]] = {}
    for subject in subjects.values():
        for claim in subject.claims:
            for name, m in claim.deciding.items():
                if m.number is not None:
                    found.setdefault(claim.id, {}).setdefault(name, []).append((m.number, m))
    yield (
        "lowest, median and highest value of what decides each claim, and its bound",
        {"bold": True},
    )
    for id_, measurements in sorted(found.items()):
        yield id_, {}
        for name, several in measurements.items():
            values = sorted(value for value, _ in several)
            middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
            of = f"{len(values)} of {len(subjects)}" if len(values) < len(subjects) else ""
            shown = f"{number(values[0]):>9} {number(middle):>9} {number(values[-1]):>9}"
            yield f"    {name:<36} {shown}   {bound(several[0][1]):<22} {of}".rstrip(), {}


def _signs(subject: SubjectResult) -> dict[str, str]:
    return {claim.id: sign(claim) for claim in subject.claims}
