"""The other half of a comparison in pairs: what the baseline saw case by case, where it lies, and
what can be compared with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from verdicts.cases import CasesOfSubject, Seen, read_cases
from verdicts.moves import gating_pairs
from verdicts.packing import unpack_answers
from verdicts.paired import Change, Key, changes, comparable
from verdicts.record import RecordError
from verdicts.schema import Record, SubjectResult


def cases_of_baseline(
    baseline: SubjectResult, record: Record, *, source: Path, named: Path | None
) -> tuple[CasesOfSubject, str]:
    """What the baseline's run saw of a subject, and why it is not all of it, where it is not.

    The file is `named`, or lies beside the record under the name that the record gives. A named one
    that cannot be used is refused with `RecordError`; without any the answers that the record
    itself keeps are left.
    """
    if importlib.util.find_spec("numpy") is None:
        return {}, "numpy is not installed"
    kept = record.run.cases
    if named is not None:
        return read_cases(named, baseline, sha256=kept.sha256 if kept else None), ""
    if not kept:
        return _answers(baseline, source), f"{source} names no file of cases"
    try:
        return read_cases(source.parent / Path(kept.file).name, baseline, sha256=kept.sha256), ""
    except RecordError as error:
        return _answers(baseline, source), str(error)


def _answers(baseline: SubjectResult, source: Path) -> dict[Key, Seen]:
    import numpy as np

    try:
        return {
            (claim.id, name): Seen("share", (np.array(unpack_answers(m.answers), bool),))
            for claim in baseline.claims
            for name, m in claim.measurements.items()
            if m.answers
        }
    except ValueError as error:
        raise RecordError(f"{source}: {error}") from None


def compared_in_pairs(
    baseline: SubjectResult,
    subject: SubjectResult,
    before: CasesOfSubject,
    now: CasesOfSubject,
) -> tuple[dict[Key, Change], int]:
    """How each measure with a bound changed, of those of which both sides have their cases; and how
    many measures have a bound."""
    then = {claim.id: claim for claim in baseline.claims}
    pairs, margins, gating = {}, {}, 0
    for claim in subject.claims:
        for pair in gating_pairs(then[claim.id], claim) if claim.id in then else ():
            gating += 1
            key = (claim.id, pair.measure)
            if key in before and key in now and comparable(before[key], now[key]):
                pairs[key] = (before[key], now[key])
                margins[key] = pair.bounds.negligible(pair.was)
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
