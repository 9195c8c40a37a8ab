"""The record of a run and the ledger of a subject: JSON under one schema, written atomically."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from verdicts.files import write_text
from verdicts.judge import VERDICTS
from verdicts.schema import (
    SCHEMA_VERSION,
    CasesFile,
    ClaimResult,
    Environment,
    Record,
    Run,
    SubjectResult,
)

MAX_BYTES = 100_000_000
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
    subjects: Iterable[SubjectResult],
    *,
    seed: int,
    device: str,
    partial: str | None = None,
    cases: CasesFile | None = None,
) -> Record:
    """The record of a run; `subjects` have their claims in the order of the run.

    `partial` says why claims may be missing, where not all of them were judged. `cases` names the
    file of what was seen case by case, and its hash.
    """
    return Record(
        schema_version=SCHEMA_VERSION,
        environment=Environment(
            python=platform.python_version(),
            machine=platform.machine(),
            packages={
                name: importlib.metadata.version(name) for name in _PACKAGES if _installed(name)
            },
        ),
        run=Run(
            seed,
            device,
            cases=UNSET if cases is None else cases,
            partial=UNSET if partial is None else partial,
        ),
        subjects=tuple(subjects),
    )


def _installed(name: str) -> bool:
    return next(iter(importlib.metadata.Distribution.discover(name=name)), None) is not None


def read_record(path: Path) -> Record:
    """The record in a file; `RecordError` names the file and the first place that breaks the
    schema."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"it holds {size} bytes, more than the {MAX_BYTES} allowed")
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RecordError(f"{path}: not a readable JSON file: {error}") from None
    return parse_record(content, source=str(path))


def parse_record(content: bytes, *, source: str) -> Record:
    """The record that a file's content is; `RecordError` names the `source`, as `read_record`."""
    try:
        return msgspec.json.decode(content, type=Record)
    except msgspec.ValidationError as error:
        raise RecordError(f"{source}: {_wrong_version(content) or _located(error)}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{source}: not a readable JSON file: {error}") from None


class _Versioned(msgspec.Struct):
    schema_version: Any = None


def _wrong_version(content: bytes) -> str | None:
    """What to say of a record of another version, where whatever else is wrong with it follows
    from that."""
    try:
        found = msgspec.json.decode(content, type=_Versioned).schema_version
    except (ValueError, RecursionError):
        return None
    if found == SCHEMA_VERSION:
        return None
    return f"schema_version must be {SCHEMA_VERSION}, got {brief(found)}"


def _located(error: msgspec.ValidationError) -> str:
    """Where it is wrong, then how."""
    message, _, place = str(error).partition(" - at `")
    return f"at {place.rstrip('`') or '$'}: {message[:300]}"


def read_whole_record(path: Path) -> Record:
    """As `read_record`; `RecordError` for one of a run that did not judge all its claims."""
    record = read_record(path)
    if record.run.partial:
        raise RecordError(
            f"{path}: is of a part of the claims only ({record.run.partial}); use the record of a"
            " whole run"
        )
    return record


def as_json(record: Record) -> dict[str, Any]:
    """The record as JSON holds it; `RecordError` for one that could not be read again."""
    value = msgspec.to_builtins(record)
    try:
        msgspec.convert(value, Record)
    except msgspec.ValidationError as error:
        raise RecordError(f"record: {_located(error)}") from None
    return value


def write_record(path: Path, record: Record) -> None:
    """`as_json`, then `write_text`."""
    text = json.dumps(as_json(record), indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


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
        return bool(read_record(path).run.partial)
    except RecordError:
        if path.suffix == ".json":
            return True  # no record at all, so none of a whole run
        start = PARTIAL_SUMMARY.encode()
        with path.open("rb") as file:
            return file.read(len(start)) == start


def as_ledger(record: Record, subject: SubjectResult) -> Record:
    """One subject's part of a record, without what differs between equal runs."""
    claims = tuple(replace(claim, duration_s=0.0) for claim in subject.claims)
    return replace(
        record,
        environment=Environment(),
        run=replace(record.run, cases=UNSET),
        subjects=(replace(subject, claims=claims),),
    )


def worst_first(claims: Iterable[ClaimResult]) -> list[ClaimResult]:
    """Claims in the order of their verdicts, errors and refutations first; otherwise in the order
    they had."""
    return sorted(claims, key=lambda claim: VERDICTS.index(claim.verdict))
