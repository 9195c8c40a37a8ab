"""Acknowledgements: read strictly, and over when their day is."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from verdicts.acknowledged import read_acknowledged, require_known
from verdicts.record import RecordError

ENTRY = {
    "claim": '"x_is_large"',
    "verdict": '"refuted"',
    "reason": '"x is being rebuilt"',
    "who": '"Ada"',
    "until": "2026-03-01",
}


def written(tmp_path: Path, *entries: dict[str, str], rest: str = "") -> Path:
    path = tmp_path / "acknowledged.toml"
    tables = (
        "[[acknowledged]]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items())
        for entry in entries
    )
    path.write_text(rest + "\n".join(tables))
    return path


def test_an_entry_covers_its_verdict_up_to_its_day(tmp_path: Path) -> None:
    (entry,) = read_acknowledged(written(tmp_path, ENTRY))
    last = datetime.date(2026, 3, 1)
    assert entry.covers("refuted", last)
    assert not entry.covers("absent", last)
    assert not entry.covers("refuted", last + datetime.timedelta(1))
    assert str(entry) == "acknowledged by Ada until 2026-03-01: x is being rebuilt"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reason": '" "'}, r"entry 1, x_is_large: needs reason, a text; got ' '"),
        ({"who": "3"}, r"entry 1, x_is_large: needs who, a text; got 3"),
        ({"claim": '""'}, r"entry 1, : needs claim, a text"),
        (
            {"verdict": '"holds"'},
            r"verdict must be one of refuted, unresolved, absent, got 'holds'",
        ),
        ({"until": '"soon"'}, r"needs until, a date such as 2026-01-31; got 'soon'"),
        ({"until": "2026-03-01T10:00:00"}, r"needs until, a date"),
        ({"because": '"so"'}, r"entry 1: has claim, verdict, reason, who, until, and nothing else"),
    ],
)
def test_what_is_not_said_or_misspelt_is_refused(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        read_acknowledged(written(tmp_path, {**ENTRY, **changes}))


def test_what_is_no_list_of_entries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="x_is_large is acknowledged twice"):
        read_acknowledged(written(tmp_path, ENTRY, ENTRY))
    with pytest.raises(RecordError, match=r"and nothing else; got \['other'\]"):
        read_acknowledged(written(tmp_path, ENTRY, rest="other = 1\n"))
    with pytest.raises(RecordError, match="not a readable TOML file"):
        read_acknowledged(tmp_path / "none.toml")
    (tmp_path / "empty.toml").write_text("")
    assert read_acknowledged(tmp_path / "empty.toml") == []


def test_an_unknown_claim_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY)
    require_known(read_acknowledged(path), ["x_is_large"], source=path)
    with pytest.raises(RecordError, match=r"acknowledged.toml: there is no claim x_is_large"):
        require_known(read_acknowledged(path), ["y"], source=path)
