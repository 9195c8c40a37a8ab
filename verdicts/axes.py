"""One axis for one measurement: its value and interval against its bound, and what its controls
reach, or what it is in several subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from verdicts.drawing import WIDTH, Scale, short
from verdicts.schema import Measurement, Trial
from verdicts.wording import bound, counted, number, shown

_LEFT, _RIGHT = 14, WIDTH - 14
_MIDDLE, _CONTROLS = 20, 38
_HEIGHT = 62
_LANE = 20
SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "M-4.5-4.5h9v9h-9z",
    "M0-5.5L5.5 4.5H-5.5z",
    "M0-6L6 0 0 6-6 0z",
    "M0 5.5L5.5-4.5H-5.5z",
    "M-2-5.5h4v3.5h3.5v4H2v3.5h-4V2h-3.5v-4H-2z",
)
"""One for each subject on a shared axis: circle, square, triangle, diamond, triangle, cross."""


def has_axis(measurement: Measurement) -> bool:
    """Whether it is a number that is held to a bound."""
    return measurement.number is not None and bound(measurement) != ""


def measurement_axis(
    name: str,
    measurement: Measurement,
    controls: Mapping[str, Trial],
    *,
    key: str,
) -> Markup:
    """The drawing for one measurement of a record; `controls` are the trials of its claim by name,
    which hold its values by `key`.

    A control far beyond the rest stands at the edge.
    """
    assert measurement.number is not None, "has_axis"
    value, low, high = float(measurement.number), measurement.at_least, measurement.at_most
    interval = [at for at in (measurement.low, measurement.high) if at is not None]
    limits = [*interval, *(at for at in (low, high) if at is not None)]
    reached = {
        control: float(trial.values[key])
        for control, trial in controls.items()
        if isinstance(trial.values.get(key), int | float)
    }
    own = Scale.over([value, *limits], _LEFT, _RIGHT, margin=0.15)
    span = own.high - own.low
    near = [
        other for other in reached.values() if own.low - 2 * span <= other <= own.high + 2 * span
    ]
    scale = Scale.over([own.low, own.high, *near], _LEFT, _RIGHT, margin=0.02)
    left, right = scale(low) if low is not None else 0, scale(high) if high is not None else WIDTH
    held = measurement.outcome == "holds"
    words = f"{name}: {shown(measurement)}, must be {bound(measurement)}" + (
        f"; {counted(len(reached), 'control', 'controls')}" if reached else ""
    )
    parts = [
        Markup('<rect class="allowed" x="{}" width="{}" y="6" height="28"/>').format(
            left, round(right - left, 2)
        ),
        *(
            Markup('<line class="bound" x1="{x}" x2="{x}" y1="4" y2="36"/>').format(x=scale(limit))
            for limit in (low, high)
            if limit is not None
        ),
        _rule(scale, 46),
        *(_control(control, other, scale) for control, other in reached.items()),
    ]
    if len(interval) == 2:
        parts.append(_interval(scale(interval[0]), scale(interval[1]), _MIDDLE))
    sign = (
        '<circle class="value" cx="{x}" cy="{y}" r="5"/>'
        if held
        else '<path class="value missed" d="M{a} {c}L{b} {d}M{a} {d}L{b} {c}"/>'
    )
    x = scale(value)
    parts.append(
        Markup(sign).format(x=x, y=_MIDDLE, a=x - 5, b=x + 5, c=_MIDDLE - 5, d=_MIDDLE + 5)
    )
    return Markup(
        '<svg class="axis" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, _HEIGHT, words, Markup("").join(parts))


def _rule(scale: Scale, y: float) -> Markup:
    """The line with its round numbers."""
    ticks = (
        Markup(
            '<line class="rule" x1="{x}" x2="{x}" y1="{}" y2="{}"/><text x="{x}" y="{}"'
            ' text-anchor="middle">{}</text>'
        ).format(y - 3, y, y + 12, short(tick), x=scale(tick))
        for tick in scale.ticks()
    )
    line = Markup('<line class="rule" x1="{}" x2="{}" y1="{y}" y2="{y}"/>')
    return line.format(_LEFT, _RIGHT, y=y) + Markup("").join(ticks)


def _interval(left: float, right: float, y: float, kind: str = "") -> Markup:
    return Markup('<path class="interval{}" d="M{a} {y}H{b}M{a} {t}v8M{b} {t}v8"/>').format(
        kind, a=left, b=right, y=y, t=y - 4
    )


def mark(place: int, *, held: bool, x: float = 0, y: float = 0) -> Markup:
    """The mark of the subject at a place: its own shape and colour, hollow where the bound is
    missed."""
    return Markup('<path class="of-{}{}" transform="translate({} {})" d="{}"/>').format(
        place, "" if held else " hollow", x, y, SHAPES[place]
    )


def shared_axis(name: str, measurements: Mapping[str, Measurement | None]) -> Markup | None:
    """One measurement of several subjects by name, a lane each, on one scale; `None` where it is a
    number with a bound in none of them."""
    lanes = {
        place: (label, one)
        for place, (label, one) in enumerate(measurements.items())
        if one is not None and has_axis(one)
    }
    if not lanes:
        return None
    limits = [
        at
        for _, one in lanes.values()
        for at in (one.number, one.low, one.high, one.at_least, one.at_most)
        if at is not None
    ]
    scale = Scale.over(limits, _LEFT, _RIGHT, margin=0.1)
    drawn = [part for place, (_, one) in lanes.items() for part in _lane(place, one, scale)]
    bottom = _LANE * len(measurements) + 8
    words = "; ".join(
        f"{label} {shown(one)}, must be {bound(one)}" for label, one in lanes.values()
    )
    return Markup(
        '<svg class="axis" viewBox="0 0 {} {}" role="img" aria-label="{}: {}">{}{}</svg>'
    ).format(WIDTH, bottom + 16, name, words, Markup("").join(drawn), _rule(scale, bottom))


def _lane(place: int, measurement: Measurement, scale: Scale) -> Sequence[Markup]:
    assert measurement.number is not None, "has_axis"
    top, middle = _LANE * place + 2, _LANE * (place + 0.5) + 2
    low, high = measurement.at_least, measurement.at_most
    left, right = scale(low) if low is not None else 0, scale(high) if high is not None else WIDTH
    parts = [
        Markup('<rect class="allowed" x="{}" width="{}" y="{}" height="{}"/>').format(
            left, round(right - left, 2), top, _LANE
        ),
        *(
            Markup('<line class="bound" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
                top, top + _LANE, x=scale(limit)
            )
            for limit in (low, high)
            if limit is not None
        ),
    ]
    if measurement.low is not None and measurement.high is not None:
        ends = scale(measurement.low), scale(measurement.high)
        parts.append(_interval(*ends, middle, f" of-{place}"))
    held, x = measurement.outcome == "holds", scale(float(measurement.number))
    return [*parts, mark(place, held=held, x=x, y=middle)]


def _control(name: str, value: float, scale: Scale) -> Markup:
    x = scale(value)
    if value < scale.low:
        shape = f"M{x + 4} {_CONTROLS - 3}l-5 3l5 3"
    elif value > scale.high:
        shape = f"M{x - 4} {_CONTROLS - 3}l5 3l-5 3"
    else:
        shape = f"M{x} {_CONTROLS - 4}v8"
    return Markup('<path class="control" d="{}"><title>{}: {}</title></path>').format(
        shape, name, number(value)
    )
