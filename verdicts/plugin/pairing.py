"""The other half of a comparison in pairs: what the baseline saw case by case, where it lies, and
what can be compared with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verdicts.cases import CasesOfSubject, Seen, read_cases
from verdicts.compare import gating_pairs
from verdicts.gates import Bounds
from verdicts.packing import unpack_answers
from verdicts.paired import Change, Key, changes, comparable
from verdicts.record import RecordError


def cases_of_baseline(
    baseline: Mapping[str, Any], record: Mapping[str, Any], *, source: Path, named: Path | None
) -> tuple[CasesOfSubject, str]:
    """What the baseline's run saw of a subject, and why it is not all of it, where it is not.

    The file is `named`, or lies beside the record under the name that the record gives. A named one
    that cannot be used is refused with `RecordError`; without any the answers that the record
    itself keeps are left.
    """
    if importlib.util.find_spec("numpy") is None:
        return {}, "numpy is not installed"
    kept = record["run"].get("cases")
    if named is not None:
        return read_cases(named, baseline, sha256=None if kept is None else kept["sha256"]), ""
    if kept is None:
        return _answers(baseline, source), f"{source} names no file of cases"
    try:
        return read_cases(
            source.parent / Path(kept["file"]).name, baseline, sha256=kept["sha256"]
        ), ""
    except RecordError as error:
        return _answers(baseline, source), str(error)


def _answers(baseline: Mapping[str, Any], source: Path) -> dict[Key, Seen]:
    import numpy as np

    try:
        return {
            (claim["id"], name): Seen("share", (np.array(unpack_answers(m["answers"]), bool),))
            for claim in baseline["claims"]
            for name, m in claim["measurements"].items()
            if "answers" in m
        }
    except ValueError as error:
        raise RecordError(f"{source}: {error}") from None


def compared_in_pairs(
    baseline: Mapping[str, Any],
    subject: Mapping[str, Any],
    before: CasesOfSubject,
    now: CasesOfSubject,
) -> tuple[dict[Key, Change], int]:
    """How each measure with a bound changed, of those of which both sides have their cases; and how
    many measures have a bound."""
    then = {claim["id"]: claim for claim in baseline["claims"]}
    pairs, margins, gating = {}, {}, 0
    for claim in subject["claims"]:
        for name, old, new in gating_pairs(then.get(claim["id"], {"measurements": {}}), claim):
            gating += 1
            key = (claim["id"], name)
            if key in before and key in now and comparable(before[key], now[key]):
                pairs[key] = (before[key], now[key])
                bounds = Bounds(new["at_least"], new["at_most"])
                margins[key] = bounds.negligible(old["value"])
    return (changes(pairs, negligible=margins) if pairs else {}), gating


def said_of_pairs(compared: int, gating: int, missing: str) -> str:
    """What was compared in pairs, in a sentence."""
    if compared == gating and gating:
        return f"compared in pairs: all {gating} measures with a bound"
    rest = f"; by intervals: the other {gating - compared}" if compared else ": by intervals alone"
    found = (
        f"compared in pairs: {compared} of {gating} measures with a bound"
        if compared
        else ("compared")
    )
    return f"{found}{rest}{f', for {missing}' if missing else ''}"
