"""One run against another: which claims hold still, which were lost or gained, and which have
drifted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from verdicts.record import RecordError

STATUSES = (
    "lost",
    "vanished",
    "drifted",
    "new",
    "gained",
    "fails still",
    "holds still",
)  # worst first
FAILING = ("lost", "vanished", "drifted")
SAME_WEIGHTS = 1e-4  # by which an exact measurement of the same weights may differ between machines


def baseline_for(
    baseline: Mapping[str, Any], subject: Mapping[str, Any], *, source: Path
) -> dict[str, Any]:
    """The subject of a record to compare with: the only one, or that of the same weights;
    `RecordError` where there is none."""
    subjects = baseline["subjects"]
    same = [one for one in subjects if one["content_hash"] == subject["content_hash"]]
    if len(subjects) > 1 and not same:
        names = ", ".join(one["name"] for one in subjects)
        raise RecordError(
            f"{source}: is of {names}, and none has the weights of {subject['name']}; compare with"
            " a record of one subject"
        )
    found = (same or subjects)[0]
    then, now = found.get("validation_set"), subject.get("validation_set")
    if then != now:
        raise RecordError(
            f"{source}: was judged on the data {then}, but {subject['name']} on {now}; what was"
            " measured on other data cannot be compared"
        )
    return dict(found)


def compare(
    baseline: Mapping[str, Any], subject: Mapping[str, Any], *, whole: bool
) -> dict[str, Any]:
    """What became of each claim of the baseline. In a run that is not `whole`, claims that were not
    judged are left out.

    A claim that holds in both has drifted where a gating measurement has moved by more than its
    interval: the two do not overlap. With other weights only a move towards the bound counts, for a
    claim that holds more strongly is no loss. Without intervals there is no drift, but with the
    same weights exact and proved measurements agree to 1e-4.
    """
    before, now = ({claim["id"]: claim for claim in one["claims"]} for one in (baseline, subject))
    same_weights = baseline["content_hash"] == subject["content_hash"]
    claims = {}
    for name in sorted(before.keys() | now.keys()):
        if name in now or whole:
            moved = (
                _moved(before[name], now[name], same_weights=same_weights)
                if name in before.keys() & now.keys()
                else []
            )
            claims[name] = {
                "status": _status(before.get(name), now.get(name), drifted=bool(moved)),
                "moved": moved,
            }
    return {"name": baseline["name"], "content_hash": baseline["content_hash"], "claims": claims}


def _status(
    before: Mapping[str, Any] | None, now: Mapping[str, Any] | None, *, drifted: bool
) -> str:
    if now is None:
        return "vanished"
    if before is None:
        return "new"
    held, holds = before["verdict"] == "holds", now["verdict"] == "holds"
    if held and holds:
        return "drifted" if drifted else "holds still"
    return "lost" if held else "gained" if holds else "fails still"


def _moved(before: Mapping[str, Any], now: Mapping[str, Any], *, same_weights: bool) -> list[str]:
    """Sentences on the gating measurements that moved too far, where both claims hold."""
    if {before["verdict"], now["verdict"]} != {"holds"}:
        return []
    shared = [name for name in before["measurements"] if name in now["measurements"]]
    pairs = {name: (before["measurements"][name], now["measurements"][name]) for name in shared}
    exact = same_weights and now["evidence"] in ("exact", "proved")
    return [
        f"{name} {_shown(old)} → {_shown(new)}"
        for name, (old, new) in pairs.items()
        if old["outcome"] is not None
        and new["outcome"] is not None
        and _too_far(old, new, same_weights=same_weights, exact=exact)
    ]


def _too_far(
    old: Mapping[str, Any], new: Mapping[str, Any], *, same_weights: bool, exact: bool
) -> bool:
    if None in (old["value"], new["value"]):
        return False
    if None in (old["low"], old["high"], new["low"], new["high"]):
        return exact and not math.isclose(
            old["value"], new["value"], rel_tol=SAME_WEIGHTS, abs_tol=SAME_WEIGHTS
        )
    apart = new["high"] < old["low"] or new["low"] > old["high"]
    return apart and (same_weights or _margin(new["value"], new) < _margin(old["value"], new))


def _margin(value: float, bounds: Mapping[str, Any]) -> float:
    """How far inside its bounds a value lies."""
    low, high = bounds["at_least"], bounds["at_most"]
    return min(math.inf if low is None else value - low, math.inf if high is None else high - value)


def _shown(measurement: Mapping[str, Any]) -> str:
    if measurement["low"] is None or measurement["high"] is None:
        return f"{measurement['value']:.4g}"
    return f"{measurement['value']:.4g} [{measurement['low']:.4g}, {measurement['high']:.4g}]"


def comparison_summary(comparison: Mapping[str, Any]) -> str:
    """How many claims came out how, worst first: `1 lost, 41 holds still`."""
    counts = Counter(claim["status"] for claim in comparison["claims"].values())
    return (
        ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
        or "nothing was compared"
    )


def comparison_complaints(comparison: Mapping[str, Any]) -> Iterator[str]:
    """Why the run fails by the comparison, in sentences."""
    claims = comparison["claims"]
    if all(claim["status"] in ("new", "vanished") for claim in claims.values()):
        yield f"no claim of this run is in the baseline, {comparison['name']}: nothing was compared"
    for name, claim in claims.items():
        if claim["status"] in FAILING:
            yield (
                f"{name}:"
                f" {claim['status']}{', ' + '; '.join(claim['moved']) if claim['moved'] else ''}"
            )


def changed(comparison: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """What did not come out as before, the worst first: status, claim, and what moved."""
    return [
        (status, name, claim["moved"])
        for status in STATUSES
        if status not in ("holds still", "fails still")
        for name, claim in comparison["claims"].items()
        if claim["status"] == status
    ]
