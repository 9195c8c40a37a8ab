"""Plots for a page, in SVG: lines, ranges, histograms. Text is 10 to 11 units in a drawing 340
wide, a small screen's width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from verdicts.drawing import WIDTH, Scale, short
from verdicts.wording import number

_HEIGHT = 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 332, 10, 134
_FEW = 8  # places that are each named


def _plot(
    *,
    x: Scale,
    y: Scale,
    x_name: str,
    y_name: str,
    marks: Markup,
    x_ticks: Sequence[float] | None = None,
    alt: str,
) -> Markup:
    """Axes with names and round numbers around what is plotted."""
    across = Markup("").join(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            x(tick), _BOTTOM + 13, short(tick)
        )
        for tick in (x_ticks if x_ticks is not None else x.ticks())
    )
    up = Markup("").join(
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/><text x="{}" y="{}"'
            ' text-anchor="end">{}</text>'
        ).format(_LEFT, _RIGHT, _LEFT - 4, y(tick) + 3.5, short(tick), y=y(tick))
        for tick in y.ticks()
    )
    return Markup(
        '<svg class="plot" viewBox="0 0 {width} {height}" role="img"'
        ' aria-label="{alt}">{up}{across}<text x="{middle}" y="{below}"'
        ' text-anchor="middle">{x_name}</text><text transform="translate(11 {centre}) rotate(-90)"'
        ' text-anchor="middle">{y_name}</text>{marks}</svg>'
    ).format(
        width=WIDTH,
        height=_HEIGHT,
        alt=alt,
        up=up,
        across=across,
        middle=(_LEFT + _RIGHT) / 2,
        below=_BOTTOM + 29,
        centre=_HEIGHT / 2 - 4,
        x_name=x_name,
        y_name=y_name,
        marks=marks,
    )


def lines(
    series: Mapping[str, ArrayLike],
    *,
    x: str,
    y: str,
    marked: Mapping[int, str] | None = None,
    across: float | None = None,
) -> Markup:
    """Values by index, a line each (solid, dashed, dotted); marked places are labelled; a line goes
    `across` at a value."""
    values = {name: np.asarray(line, dtype=float) for name, line in series.items()}
    every = np.concatenate([*values.values(), [0.0]])
    to_x = Scale(0, max(len(line) for line in values.values()) - 1, _LEFT, _RIGHT)
    to_y = Scale.over(
        [*every.tolist(), *([across] if across is not None else [])], _BOTTOM, _TOP, margin=0.05
    )
    drawn = [Markup("")]
    if across is not None:
        drawn.append(
            Markup('<line class="bound" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                _LEFT, _RIGHT, y=to_y(across)
            )
        )
    for order, (name, line) in enumerate(values.items()):
        points = " ".join(
            f"{to_x(place):g},{to_y(value):g}" for place, value in enumerate(line.tolist())
        )
        drawn.append(
            Markup(
                '<polyline class="line line-{}" points="{}"><title>{}</title></polyline>'
            ).format(order, points, name)
        )
    first = next(iter(values.values()))
    for place, label in (marked or {}).items():
        at_x, at_y = to_x(place), to_y(float(first[place]))
        drawn.append(
            Markup(
                '<circle class="mark" cx="{}" cy="{}" r="3.5"/><text class="mark" x="{}" y="{}"'
                ' text-anchor="{}">{}</text>'
            ).format(
                at_x,
                at_y,
                at_x + (6 if at_x < 250 else -6),
                max(at_y - 2, _TOP + 8),
                "start" if at_x < 250 else "end",
                label,
            )
        )
    alt = f"{y} by {x}: {', '.join(values)}"
    plot = _plot(x=to_x, y=to_y, x_name=x, y_name=y, marks=Markup("").join(drawn), alt=alt)
    return plot if len(values) == 1 else plot + _key(values)


def trend(
    at: Sequence[float],
    values: Sequence[float | None],
    *,
    low: Sequence[float | None] = (),
    high: Sequence[float | None] = (),
    bounds: Sequence[float] = (),
    x: str,
    y: str,
    names: Sequence[str] = (),
) -> Markup:
    """A value by its place, with a bar for its interval and a line for each bound; a gap where
    there is no value. `names` say more of the places."""
    spans = [
        (a, b, place)
        for place, a, b in zip(at, low, high, strict=False)
        if a is not None and b is not None
    ]
    seen = [value for value in values if value is not None]
    to_x = Scale.over(at, _LEFT, _RIGHT)
    to_y = Scale.over(
        [*seen, *bounds, *(limit for a, b, _ in spans for limit in (a, b))],
        _BOTTOM,
        _TOP,
        margin=0.05,
    )
    drawn = [Markup("")]
    for limit in bounds:
        drawn.append(
            Markup('<line class="bound" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                _LEFT, _RIGHT, y=to_y(limit)
            )
        )
    for a, b, place in spans:
        drawn.append(
            Markup('<line class="span" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
                to_y(a), to_y(b), x=to_x(place)
            )
        )
    runs: list[list[str]] = [[]]
    for order, (place, value) in enumerate(zip(at, values, strict=True)):
        if value is None:
            runs.append([])
            continue
        runs[-1].append(f"{to_x(place):g},{to_y(value):g}")
        called = f" ({names[order]})" if names else ""
        title = f"{x} {place:g}{called}: {number(value)}"
        drawn.append(
            Markup('<circle class="point" cx="{}" cy="{}" r="2"><title>{}</title></circle>').format(
                to_x(place), to_y(value), title
            )
        )
    for points in filter(None, runs):
        drawn.append(Markup('<polyline class="line line-0" points="{}"/>').format(" ".join(points)))
    said = f"from {number(seen[0])} to {number(seen[-1])}" if seen else "no value"
    return _plot(
        x=to_x,
        y=to_y,
        x_name=x,
        y_name="",  # the caption names it, and a small number needs the room
        marks=Markup("").join(drawn),
        x_ticks=at if len(at) <= _FEW else None,
        alt=f"{y} by {x}: {said}",
    )


def _key(names: Iterable[str]) -> Markup:
    items = (
        Markup(
            '<span><svg viewBox="0 0 24 8" aria-hidden="true"><line class="line line-{}" x1="0"'
            ' x2="24" y1="4" y2="4"/></svg>{}</span>'
        ).format(order, name)
        for order, name in enumerate(names)
    )
    return Markup('<p class="series">{}</p>').format(Markup("").join(items))


def ranges(intervals: Mapping[str, tuple[float, float]], *, x: str, y: str) -> Markup:
    """An interval for each place along x."""
    to_y = Scale.over(
        [0.0, *(limit for interval in intervals.values() for limit in interval)], _BOTTOM, _TOP
    )
    to_x = Scale(-0.5, len(intervals) - 0.5, _LEFT, _RIGHT)
    drawn = []
    for place, (label, (low, high)) in enumerate(intervals.items()):
        drawn.append(
            Markup(
                '<rect class="range" x="{}" width="14" y="{}" height="{}" rx="2"><title>{}: {} to'
                ' {}</title></rect><text x="{}" y="{}" text-anchor="middle">{}</text>'
            ).format(
                to_x(place) - 7,
                to_y(high),
                max(round(to_y(low) - to_y(high), 2), 1.5),
                label,
                number(low),
                number(high),
                to_x(place),
                _BOTTOM + 13,
                label,
            )
        )
    alt = f"{y} by {x}: " + ", ".join(
        f"{label} {number(low)} to {number(high)}" for label, (low, high) in intervals.items()
    )
    return _plot(
        x=to_x, y=to_y, x_name=x, y_name=y, marks=Markup("").join(drawn), x_ticks=[], alt=alt
    )


def histogram(draws: ArrayLike, observed: Mapping[str, float], *, x: str, bins: int = 40) -> Markup:
    """How draws are spread, with observed values as labelled lines."""
    sample = np.asarray(draws, dtype=float)
    to_x = Scale.over([*sample.tolist(), *observed.values()], _LEFT, _RIGHT, margin=0.03)
    counts, edges = np.histogram(sample, bins=bins, range=(to_x.low, to_x.high))
    to_y = Scale(0, float(counts.max()), _BOTTOM, _TOP + 12)
    drawn = [
        Markup('<rect class="range" x="{}" width="{}" y="{}" height="{}"/>').format(
            to_x(left),
            round(max(to_x(right) - to_x(left), 0.5), 2),
            to_y(count),
            round(_BOTTOM - to_y(count), 2),
        )
        for count, left, right in zip(
            counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True
        )
        if count
    ]
    for order, (name, value) in enumerate(observed.items()):
        at = to_x(value)
        drawn.append(
            Markup(
                '<line class="mark" x1="{x}" x2="{x}" y1="{}" y2="{}"/><text class="mark" x="{}"'
                ' y="{}" text-anchor="{}">{} {}</text>'
            ).format(
                _TOP + 12,
                _BOTTOM,
                at + (4 if at < 200 else -4),
                _TOP + 9 + 12 * order,
                "start" if at < 200 else "end",
                name,
                number(value),
                x=at,
            )
        )
    return _plot(
        x=to_x,
        y=to_y,
        x_name=x,
        y_name="draws",
        marks=Markup("").join(drawn),
        alt=f"{len(sample)} draws of {x}, and {dict(observed)}",
    )
