"""One axis for one measurement: its value and interval against its bound, and what its controls
reach."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from verdicts.drawing import WIDTH, Scale, short
from verdicts.schema import Measurement, Trial
from verdicts.table import bound, number, shown

_LEFT, _RIGHT = 14, WIDTH - 14
_MIDDLE, _CONTROLS, _TICKS = 20, 38, 58
_HEIGHT = 62


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
        f"; {len(reached)} control{'s' * (len(reached) > 1)}" if reached else ""
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
        Markup('<line class="rule" x1="{}" x2="{}" y1="46" y2="46"/>').format(_LEFT, _RIGHT),
        *(
            Markup(
                '<line class="rule" x1="{x}" x2="{x}" y1="43" y2="46"/><text x="{x}" y="{y}"'
                ' text-anchor="middle">{tick}</text>'
            ).format(x=scale(tick), y=_TICKS, tick=short(tick))
            for tick in scale.ticks()
        ),
        *(_control(control, other, scale) for control, other in reached.items()),
    ]
    if len(interval) == 2:
        parts.append(
            Markup('<path class="interval" d="M{a} {y}H{b}M{a} {t}v8M{b} {t}v8"/>').format(
                a=scale(interval[0]), b=scale(interval[1]), y=_MIDDLE, t=_MIDDLE - 4
            )
        )
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
