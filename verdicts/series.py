"""Subjects in an order, such as the epochs of one training: what holds from when on, as text and as
a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from verdicts.environment import environment
from verdicts.plots import trend
from verdicts.schema import ClaimResult, Measurement, SubjectResult
from verdicts.table import LEGEND, SIGNS, Line, sign
from verdicts.wording import bound


@dataclasses.dataclass(frozen=True)
class Row:
    """Something that is there or not at each step: its marks, and the step from which it is there
    to the end."""

    name: str
    marks: tuple[str, ...]
    """A character for each step, a space where nothing is known of it."""
    since: int | None
    last: str = ""
    """What to say of the last step."""

    @classmethod
    def of(cls, name: str, marks: Sequence[str], there: Sequence[bool], last: str = "") -> Row:
        """The row of what is there at some steps; it counts from the first after which it is never
        missing."""
        missing = [step for step, one in enumerate(there) if not one]
        since = missing[-1] + 1 if missing else 0
        return cls(name, tuple(marks), since if since < len(there) else None, last)


@dataclasses.dataclass(frozen=True)
class Chart:
    """Values by step, `None` where there is none, with their interval and the bounds that they are
    held to."""

    name: str
    values: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    bounds: tuple[float, ...] = ()
    said: str = ""
    """The bounds in words."""


@dataclasses.dataclass(frozen=True)
class Series:
    """Subjects in an order. `at` are their places, in the `unit`, such as 0, 2, 4 epochs."""

    unit: str
    at: Sequence[int]
    subjects: Sequence[SubjectResult]
    parts: Sequence[Row] = ()
    """What the project sees come and go beside the claims."""
    charts: Sequence[Chart] = ()
    """What the project draws beside the claims."""
    legend: str = ""
    """What the marks of the parts mean."""
    told: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What to say of a claim at the end of its row."""
    names: Sequence[str] = ()
    """What the places are called, where their number alone says little."""

    def rows(self) -> list[Row]:
        """The parts and all claims, the earliest first; those that are not there in the end come
        last."""
        every = [*self.parts, *(self._row(claim) for claim in self.claims())]
        return sorted(every, key=lambda row: (row.since is None, row.since or 0))

    def claims(self) -> dict[str, ClaimResult]:
        """The claims of any of the subjects by id, as the last that has one says it."""
        return {claim.id: claim for subject in self.subjects for claim in subject.claims}

    def results(self, claim: str) -> list[ClaimResult | None]:
        """What came of a claim at each step; `None` where it was not judged."""
        return [
            next((one for one in subject.claims if one.id == claim), None)
            for subject in self.subjects
        ]

    def _row(self, claim: str) -> Row:
        found = self.results(claim)
        marks = [" " if one is None else sign(one) for one in found]
        there = [one is not None and one.verdict == "holds" for one in found]
        return Row.of(claim, marks, there, self.told.get(claim, ""))

    def charts_of(self, claim: str) -> list[Chart]:
        """A chart for each single number that decides a claim."""
        found = self.results(claim)
        numbers: dict[str, list[Measurement | None]] = {}
        for step, one in enumerate(found):
            for name, measurement in (one.deciding if one else {}).items():
                if not isinstance(measurement.value, list | dict):
                    numbers.setdefault(name, [None] * len(found))[step] = measurement
        charts = []
        for name, several in numbers.items():
            held = next(one for one in reversed(several) if one is not None)
            limits = tuple(limit for limit in (held.at_least, held.at_most) if limit is not None)
            values, low, high = (
                [None if one is None else getattr(one, key) for one in several]
                for key in ("number", "low", "high")
            )
            before = dict.fromkeys(bound(one) for one in several if one is not None)
            moved = "; before ".join([bound(held), *(one for one in before if one != bound(held))])
            charts.append(Chart(name, values, low, high, limits, moved))
        return charts


def render_series(series: Series) -> Iterator[Line]:
    """What is there from when on, the earliest first, with a mark for each step."""
    rows = series.rows()
    widest = max(len(row.name) for row in rows)
    first, last = series.at[0], series.at[-1]
    yield (
        (
            f"{series.unit} {first} to {last}, a column each of {len(series.at)}; from when on it"
            " is there to the end"
        ),
        {"bold": True},
    )
    yield f"{'':<{widest}}  {_scale(series.at)}  from", {}
    for row in rows:
        since = "-" if row.since is None else str(series.at[row.since])
        yield f"{row.name:<{widest}}  {''.join(row.marks)}  {since:>4}  {row.last}".rstrip(), {}
    yield f"{series.legend}    {LEGEND}".strip(), {}


def _scale(at: Sequence[int]) -> str:
    """The places above their columns, as many as there is room for."""
    line = ""
    for column, place in enumerate(at):
        if len(line) <= column and column + len(str(place)) <= len(at):
            line = f"{line:<{column}}{place} "
    return f"{line[: len(at)]:<{len(at)}}"


def render_series_page(series: Series, *, title: str, lead: str) -> str:
    """The same as a page of its own, with a line chart for each number that decides a claim."""
    return page_of_series(series, "series.html", title=title, lead=lead)


def page_of_series(series: Series, template: str, **said: Any) -> str:
    """A page from a template that shows a series, and what it says beside."""
    drawn = {
        row.name: [_draw(series, chart) for chart in series.charts_of(row.name)]
        for row in series.rows()
        if row.name in series.claims()
    }
    return (
        environment()
        .get_template(template)
        .render(
            series=series,
            drawn=drawn,
            own=[_draw(series, chart) for chart in series.charts],
            signs={sign: verdict for verdict, sign in SIGNS.items()}
            | {"≈": "holds", " ": "absent"},
            **said,
        )
    )


def _draw(series: Series, chart: Chart) -> dict[str, Any]:
    plot = trend(
        series.at,
        chart.values,
        low=chart.low,
        high=chart.high,
        bounds=chart.bounds,
        x=series.unit,
        y=chart.name.replace("_", " "),
        names=series.names,
    )
    return {"name": chart.name, "said": chart.said, "plot": plot}
