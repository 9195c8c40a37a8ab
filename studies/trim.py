"""Records with what tables and charts need and no more: verdicts, and the numbers that decide."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from verdicts.record import validate, write_text

Named = Collection[tuple[str | None, str | None]]
"""Claims with a measurement each."""


def trimmed(record: Mapping[str, Any], also: Named = ()) -> dict[str, Any]:
    """The record without what only a page of one checkpoint shows; `also` names numbers to keep
    though they decide nothing."""
    subjects = [
        {**subject, "claims": [_trimmed(claim, also) for claim in subject["claims"]]}
        for subject in record["subjects"]
    ]
    return {**record, "environment": {}, "subjects": subjects}


def _trimmed(claim: Mapping[str, Any], also: Named) -> dict[str, Any]:
    measurements = {
        name: {**measurement, "note": None}
        for name, measurement in claim["measurements"].items()
        if measurement["outcome"] is not None or (claim["id"], name) in also
    }
    emptied: dict[str, Any] = {"counts": {}, "nulls": {}, "counterexample": None, "duration_s": 0.0}
    return {**claim, **emptied, "measurements": measurements}


def write_lines(place: Path, record: Mapping[str, Any]) -> None:
    """Write a record with a line for each claim: short, and easy to compare."""
    validate(record, source="record")
    subjects = []
    for subject in record["subjects"]:
        claims = ",\n".join(map(_line, subject["claims"]))
        rest = _line({key: value for key, value in subject.items() if key != "claims"})
        subjects.append(f'{rest[:-1]}, "claims": [\n{claims}\n]}}')
    head = _line({key: value for key, value in record.items() if key != "subjects"})
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, f'{head[:-1]}, "subjects": [\n' + ",\n".join(subjects) + "\n]}\n")


def _line(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
