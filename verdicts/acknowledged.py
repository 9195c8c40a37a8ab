"""What a team accepts for a while: a file of the repository that names lost claims, each with the
reason, who says so, and until when.

The ledger says what is true of a subject; this says what is knowingly gone on with.
"""

from __future__ import annotations

import dataclasses
import datetime
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from verdicts.judge import VERDICTS
from verdicts.record import RecordError

TABLE = "acknowledged"
_FAILING = tuple(verdict for verdict in VERDICTS if verdict not in ("holds", "error"))


@dataclasses.dataclass(frozen=True)
class Acknowledgement:
    """One entry of the file: this claim may have this verdict up to and with that day."""

    claim: str
    verdict: str
    reason: str
    who: str
    until: datetime.date

    def covers(self, verdict: str | None, today: datetime.date) -> bool:
        """Whether the claim passes with this verdict today."""
        return verdict == self.verdict and not self.expired(today)

    def expired(self, today: datetime.date) -> bool:
        """Whether its day is over."""
        return today > self.until

    def __str__(self) -> str:
        return f"acknowledged by {self.who} until {self.until}: {self.reason}"


def read_acknowledged(path: Path) -> list[Acknowledgement]:
    """The entries of a TOML file, `[[acknowledged]]` each; `RecordError` names the first that is
    wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a readable TOML file: {error}") from None
    entries = data.pop(TABLE, [])
    if data or not isinstance(entries, list):
        raise RecordError(f"{path}: holds [[{TABLE}]] entries, and nothing else; got {list(data)}")
    found = [_entry(entry, f"{path}: entry {at}") for at, entry in enumerate(entries, 1)]
    for at, one in enumerate(found):
        if one.claim in {other.claim for other in found[:at]}:
            raise RecordError(f"{path}: entry {at + 1}: {one.claim} is acknowledged twice")
    return found


def _entry(entry: Any, source: str) -> Acknowledgement:
    fields = [field.name for field in dataclasses.fields(Acknowledgement)]
    if not isinstance(entry, dict) or set(entry) - set(fields):
        raise RecordError(f"{source}: has {', '.join(fields)}, and nothing else; got {entry!r}")
    if isinstance(entry.get("claim"), str):
        source = f"{source}, {entry['claim']}"
    for field in fields[:-1]:
        if not isinstance(entry.get(field), str) or not entry[field].strip():
            raise RecordError(f"{source}: needs {field}, a text; got {entry.get(field)!r}")
    if entry["verdict"] not in _FAILING:
        raise RecordError(
            f"{source}: verdict must be one of {', '.join(_FAILING)}, got {entry['verdict']!r}"
        )
    until = entry.get("until")
    if not isinstance(until, datetime.date) or isinstance(until, datetime.datetime):
        raise RecordError(f"{source}: needs until, a date such as 2026-01-31; got {until!r}")
    return Acknowledgement(**entry)


def require_known(
    entries: Sequence[Acknowledgement], claims: Iterable[str], *, source: Path
) -> None:
    """`RecordError` for an entry whose claim neither run nor baseline has: a name that was misspelt
    would acknowledge nothing."""
    known = set(claims)
    for entry in entries:
        if entry.claim not in known:
            raise RecordError(f"{source}: there is no claim {entry.claim}, in the run or baseline")
