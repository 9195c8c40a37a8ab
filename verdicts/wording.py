"""Values, bounds and roles of a record as text, the same in every report."""

from __future__ import annotations

from collections.abc import Mapping

from verdicts.schema import Measurement


def shown(measurement: Measurement) -> str:
    """Value and interval of a measurement, as text."""
    value = text_of(measurement.value)
    low, high = measurement.low, measurement.high
    if low is None and high is None:
        return value
    return (
        f"{value} [{'−∞' if low is None else number(low)}, {'∞' if high is None else number(high)}]"
    )


def bound(measurement: Measurement) -> str:
    """`≥ 0.9`, `≤ 0.1` or `in [2, 3]`; empty where there is none."""
    low, high = measurement.at_least, measurement.at_most
    if low is not None and high is not None:
        return f"in [{number(low)}, {number(high)}]"
    return (
        f"≥ {number(low)}" if low is not None else f"≤ {number(high)}" if high is not None else ""
    )


def against(measurement: Measurement) -> str:
    """How it stands to its bound: `≥ 0.9` where it meets it, else `not ≥ 0.9` or `perhaps ≥ 0.9`;
    empty where there is none."""
    limits = bound(measurement)
    word = {"refuted": "not ", "unresolved": "perhaps "}.get(measurement.outcome or "", "")
    return f"{word}{limits}" if limits else ""


def stated(measurement: Measurement) -> str:
    """Both in one: `0.9421 [0.93, 0.95] ≥ 0.9`, or `0.8714 [0.86, 0.88], not ≥ 0.9`."""
    joint = " " if measurement.outcome == "holds" else ", "
    return joint.join(filter(None, [shown(measurement), against(measurement)]))


def text_of(value: object) -> str:
    """A value of a record: a number, or lists and mappings of numbers."""
    if isinstance(value, Mapping):
        if set(value) == {"low", "high"}:
            return f"[{text_of(value['low'])}, {text_of(value['high'])}]"
        return ", ".join(f"{key}: {text_of(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "(" + ", ".join(text_of(item) for item in value) + ")"
    return (
        "—"
        if value is None
        else (
            number(value)
            if isinstance(value, float)
            else f"{value:,}"
            if isinstance(value, int)
            else str(value)
        )
    )


def number(value: float) -> str:
    """Four significant digits, whole numbers whole: enough to compare with a bound."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.4g}"


def role(value: object) -> str:
    """What plays a role, as text."""
    if value is None:
        return "absent"
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)
