"""Values, bounds, roles, counts and hashes of a record as text, the same in every report."""

from __future__ import annotations

from collections.abc import Mapping

from verdicts.schema import Measurement

_DIGITS, _MOST_DIGITS = 4, 6  # a record has no more than six
_HASH = 12  # characters of a hash that tell subjects apart
_MANY = {"holds": "hold", "holds still": "hold still", "fails still": "fail still"}


def shown(measurement: Measurement) -> str:
    """Value and interval of a measurement, as text."""
    value, low, high = value_of(measurement), measurement.low, measurement.high
    if low is None and high is None:
        return value
    ends = (
        ("−∞" if low is None else _told_apart(low, measurement)),
        ("∞" if high is None else _told_apart(high, measurement)),
    )
    return f"{value} [{', '.join(ends)}]"


def value_of(measurement: Measurement) -> str:
    """The value alone, as text."""
    value = measurement.value
    return _told_apart(value, measurement) if isinstance(value, float) else text_of(value)


def bound(measurement: Measurement) -> str:
    """`≥ 0.9`, `≤ 0.1` or `in [2, 3]`; empty where there is none."""
    low, high = (
        None if limit is None else number(limit, _digits_of(limit, measurement))
        for limit in (measurement.at_least, measurement.at_most)
    )
    if low is not None and high is not None:
        return f"in [{low}, {high}]"
    return f"≥ {low}" if low is not None else f"≤ {high}" if high is not None else ""


def _told_apart(at: float, measurement: Measurement) -> str:
    """A value or an end of its interval, with digits enough to tell it from a bound that it is
    not."""
    bounds = [one for one in (measurement.at_least, measurement.at_most) if one is not None]
    return number(at, max((_digits(at, one) for one in bounds), default=_DIGITS))


def _digits_of(limit: float, measurement: Measurement) -> int:
    """The digits of a bound: as many as what is told from it has."""
    found = (measurement.value, measurement.low, measurement.high)
    return max((_digits(at, limit) for at in found if isinstance(at, float)), default=_DIGITS)


def _digits(at: float, limit: float) -> int:
    """How many digits tell a number from another; four, too, where six do not."""
    enough = range(_DIGITS, _MOST_DIGITS + 1)
    return next((n for n in enough if number(at, n) != number(limit, n)), _DIGITS)


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


def number(value: float, digits: int = _DIGITS) -> str:
    """So many significant digits, whole numbers whole."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.{digits}g}"


def counted(count: int, word: str, many: str | None = None) -> str:
    """`1 claim hangs` or `2 claims hang`; verdicts know their own plural: `2 hold`."""
    return f"{count:,} {word if count == 1 else many or _MANY.get(word, word)}"


def short_hash(whole: str) -> str:
    """The first twelve characters of a hash, without the name of its kind; `…` where it is cut."""
    digits = whole.removeprefix("sha256:")
    return digits if len(digits) <= _HASH else f"{digits[:_HASH]}…"


def role(value: object) -> str:
    """What plays a role, as text."""
    if value is None:
        return "absent"
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list) else str(value)
