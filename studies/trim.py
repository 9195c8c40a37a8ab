"""Records with what tables and charts need and no more: verdicts, and the numbers that decide."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from verdicts.files import write_text
from verdicts.record import as_json
from verdicts.schema import ClaimResult, Environment, Record

Named = Collection[tuple[str | None, str | None]]
"""Claims with a measurement each."""


def trimmed(record: Record, also: Named = ()) -> Record:
    """The record without what only a page of one checkpoint shows; `also` names numbers to keep
    though they decide nothing."""
    subjects = tuple(
        replace(subject, claims=tuple(_trimmed(claim, also) for claim in subject.claims))
        for subject in record.subjects
    )
    return replace(record, environment=Environment(), subjects=subjects)


def _trimmed(claim: ClaimResult, also: Named) -> ClaimResult:
    measurements = {
        name: replace(measurement, note=None)
        for name, measurement in claim.measurements.items()
        if measurement.outcome is not None or (claim.id, name) in also
    }
    return replace(
        claim, measurements=measurements, counts={}, nulls={}, counterexample=None, duration_s=0.0
    )


def write_lines(place: Path, record: Record) -> None:
    """Write a record with a line for each claim: short, and easy to compare."""
    value, subjects = as_json(record), []
    for subject in value.pop("subjects"):
        claims = ",\n".join(map(_line, subject.pop("claims")))
        subjects.append(f'{_line(subject)[:-1]}, "claims": [\n{claims}\n]}}')
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, f'{_line(value)[:-1]}, "subjects": [\n' + ",\n".join(subjects) + "\n]}\n")


def _line(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
