"""The record of a run and the ledger of a subject: JSON under one schema, written atomically."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import jsonschema

from verdicts.judge import VERDICTS

SCHEMA_VERSION = 1
MAX_BYTES = 100_000_000
_SCHEMA = json.loads((Path(__file__).parent / "record.schema.json").read_text(encoding="utf-8"))
_PACKAGES = (
    "hypothesis",
    "numpy",
    "pytest",
    "scipy",
    "torch",
    "transformer-lens",
)  # those that are there


class RecordError(ValueError):
    """A record or ledger that cannot be used: the message names the file and what is wrong in
    it."""


def make_record(
    subjects: Iterable[Mapping[str, Any]],
    *,
    seed: int,
    device: str,
    partial: str | None = None,
    cases: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The record of a run; `subjects` are descriptions with their `claims` in the order of the run.

    `partial` says why claims may be missing, where not all of them were judged. `cases` names the
    file of what was seen case by case, and its hash.
    """
    run: dict[str, Any] = {"seed": seed, "device": device}
    if cases is not None:
        run["cases"] = dict(cases)
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "packages": {
                name: importlib.metadata.version(name) for name in _PACKAGES if _installed(name)
            },
        },
        "run": run if partial is None else {**run, "partial": partial},
        "subjects": [dict(subject) for subject in subjects],
    }


def _installed(name: str) -> bool:
    return next(iter(importlib.metadata.Distribution.discover(name=name)), None) is not None


def validate(record: object, *, source: str) -> dict[str, Any]:
    """The record, if it is one; `RecordError` names `source` and the first place that breaks the
    schema."""
    if isinstance(record, dict) and record.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(
            f"{source}: schema_version must be {SCHEMA_VERSION}, got"
            f" {brief(record.get('schema_version'))}"
        )
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(_SCHEMA).iter_errors(record)
    )
    if error is not None:
        raise RecordError(f"{source}: at {error.json_path}: {error.message[:300]}")
    assert isinstance(record, dict)
    return record


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file, held to the schema."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"it holds {size} bytes, more than the {MAX_BYTES} allowed")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a readable JSON file: {error}") from None
    return validate(value, source=str(path))


def read_whole_record(path: Path) -> dict[str, Any]:
    """As `read_record`; `RecordError` for one of a run that did not judge all its claims."""
    record = read_record(path)
    if (partial := record["run"].get("partial")) is not None:
        raise RecordError(
            f"{path}: is of a part of the claims only ({partial}); use the record of a whole run"
        )
    return record


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Validate, then `write_text`."""
    validate(record, source="record")
    write_text(path, json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside the place and put it there at once: the old file or the new, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: Path, *, option: str) -> None:
    """`RecordError` now rather than after the run, if no file can be written at `path`."""
    if path.is_dir():
        raise RecordError(f"{option}={path}: is a directory; name a file")
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    try:
        probe.touch()
    except OSError as error:
        raise RecordError(f"{option}={path}: cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


PARTIAL_SUMMARY = "> Of a part of the claims only: "
"""How a summary in Markdown begins, where not all claims were judged."""


def place_for(path: Path, *, partial: bool) -> Path:
    """Where to write: what a whole run wrote at `path` is left alone by one that judged a part."""
    if not partial or not path.exists() or _is_partial(path):
        return path
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def _is_partial(path: Path) -> bool:
    try:
        return read_record(path)["run"].get("partial") is not None
    except RecordError:
        if path.suffix == ".json":
            return True  # no record at all, so none of a whole run
        start = PARTIAL_SUMMARY.encode()
        with path.open("rb") as file:
            return file.read(len(start)) == start


def as_ledger(record: Mapping[str, Any], subject: Mapping[str, Any]) -> dict[str, Any]:
    """One subject's part of a record, without what differs between equal runs."""
    claims = [{**claim, "duration_s": 0.0} for claim in subject["claims"]]
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": {},
        "run": {key: value for key, value in record["run"].items() if key != "cases"},
        "subjects": [{**subject, "claims": claims}],
    }


def worst_first(claims: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Claims in the order of their verdicts, errors and refutations first; otherwise in the order
    they had."""
    return sorted(claims, key=lambda claim: VERDICTS.index(claim["verdict"]))
