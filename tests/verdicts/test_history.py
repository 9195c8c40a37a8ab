"""Records in the order of time: the first in which each claim was lost, and every value."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import circuit_claims
from tests.verdicts.test_gate import claim, measurement, subject
from verdicts.__main__ import main
from verdicts.history import (
    History,
    history_markdown,
    read_commits,
    read_history,
    render_history,
    render_history_page,
)
from verdicts.record import make_record, write_record
from verdicts.schema import SubjectResult

HOSTILE = "<script>alert('x')</script>|`*"


def judged(value: float, **changes: Any) -> dict[str, Any]:
    outcome = "holds" if value >= 0.5 else "refuted"
    return {**claim(outcome, m=measurement(value, outcome=outcome)), **changes}


def of(*records: SubjectResult, partial: int | None = None) -> History:
    labels = [f"day {place}" for place in range(len(records))]
    return History(labels, list(records), [place == partial for place in range(len(records))])


def lost(history: History) -> list[tuple[str, int, str, int | None]]:
    return [(one.claim, one.at, one.verdict, one.back) for one in history.losses()]


def text_of(history: History) -> str:
    return "\n".join(line for line, _ in render_history(history))


def test_a_claim_is_lost_in_the_first_record_in_which_it_does_not_hold() -> None:
    history = of(
        subject(c=judged(0.9), d=judged(0.1)),
        subject(c=judged(0.4), d=judged(0.2)),
        subject(c=judged(0.3), d=judged(0.9)),
    )
    assert lost(history) == [("c", 1, "refuted", None)]
    assert "c: lost in day 1, refuted: m 0.9 → 0.4, must be ≥ 0.5" in text_of(history)


def test_it_may_come_back_and_be_lost_again() -> None:
    history = of(*(subject(c=judged(value)) for value in (0.9, 0.4, 0.8, 0.3, 0.2)))
    assert lost(history) == [("c", 1, "refuted", 2), ("c", 3, "refuted", None)]
    assert "lost in 2, back in 3; lost in 4" in text_of(history)
    assert "m 0.8 → 0.3" in text_of(history), "against what it was when it last held"


def test_what_vanishes_is_lost_but_not_in_a_part_of_a_run() -> None:
    records = (subject(c=judged(0.9)), subject(d=judged(0.9)), subject(d=judged(0.9)))
    assert lost(of(*records)) == [("c", 1, "vanished", None)]
    assert lost(of(*records, partial=1)) == [("c", 2, "vanished", None)]
    assert lost(of(*records[:2], partial=1)) == []
    assert "no claim was lost" in text_of(of(*records[:2], partial=1))


def test_the_latest_values_stand_in_the_terminal_and_all_in_markdown() -> None:
    values = [0.91, 0.92, 0.93, 0.94, 0.95, 0.41, 0.97]
    history = of(*(subject(c=judged(value)) for value in values))
    assert re.search(r"m +≥ 0.5 +0.94 +0.95 +0.41 ✗ +0.97\n?", text_of(history))
    assert all(len(line) <= 100 for line in text_of(history).splitlines())
    told = history_markdown(history)
    assert "| m | ≥ 0.5 | 0.91 | 0.92 | 0.93 | 0.94 | 0.95 | 0.41 ✗ | 0.97 |" in told
    assert "- `c` lost in day 5, refuted: m 0.95 → 0.41, must be ≥ 0.5; it holds again" in told


def test_what_is_no_single_number_and_what_is_missing_have_no_value() -> None:
    listed = {**judged(0.9), "measurements": {"m": measurement([1.0, 2.0])}}
    history = of(subject(c=judged(0.9)), subject(c=listed), subject(d=judged(0.9)))
    assert "| m | ≥ 0.5 | 0.9 | … |  |" in history_markdown(history)


def test_the_page_has_a_chart_with_the_bound_and_names_the_record() -> None:
    moved = {**measurement(0.4), "at_least": 0.25}
    history = of(
        subject(c=judged(0.9)),
        subject(c=judged(0.4)),
        subject(c={**claim(), "measurements": {"m": moved}}),
    )
    page = render_history_page(history)
    section = page[page.index('id="lost"') :].partition("</section>")[0]
    assert re.search(r"<h3>day 1 <small>record 2</small></h3>\s*<ul", section)
    assert 'href="#c"' in section
    assert "(holds again in day 2)" in section
    chart = page[page.index('<figure class="panel">') :].partition("</figure>")[0]
    assert chart.count('class="point"') == 3
    assert chart.count('class="bound"') == 1
    assert "≥ 0.25; before ≥ 0.5" in chart, "a bound that was moved is said"
    assert "record 2 (day 1): 0.4" in chart
    assert re.findall(r'text-anchor="middle">(\d)</text>', chart) == ["1", "2", "3"]
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert len(ids) == len(set(ids))


def test_text_from_outside_stays_text() -> None:
    bad = {**claim("refuted"), "measurements": {HOSTILE: measurement(0.1, outcome="refuted")}}
    toys = [replace(one, name=HOSTILE) for one in (subject(c=claim(), d=bad), subject(c=bad))]
    history = History([HOSTILE] * 2, toys, [False] * 2)
    assert "<script" not in render_history_page(history)
    told = history_markdown(history)
    assert "<script" not in told
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows[:4]} == {4}
    assert {line.count("|") for line in rows[4:]} == {5}


# where the records come from


def written(directory: Path, name: str, value: float, **changes: Any) -> Path:
    path = directory / name
    record = make_record([replace(subject(c=judged(value)), **changes)], seed=0, device="cpu")
    write_record(path, record)
    return path


def test_a_directory_is_read_by_name_and_files_in_their_order(tmp_path: Path) -> None:
    second, first = written(tmp_path, "b.json", 0.4), written(tmp_path, "a.json", 0.9)
    assert list(read_history([tmp_path]).labels) == ["a", "b"]
    assert list(read_history([second, first]).labels) == ["b", "a"]
    (tmp_path / "other").mkdir()
    third = written(tmp_path / "other", "a.json", 0.9)
    assert list(read_history([first, third]).labels) == [str(first), str(third)]


def git(directory: Path, *arguments: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=directory, check=True, capture_output=True)


def test_a_ledger_is_followed_through_its_commits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").mkdir()
    for text in ("{}", 0.9, 0.4):
        if isinstance(text, str):
            (tmp_path / "a" / "verdicts.json").write_text(text)
        else:
            written(tmp_path / "a", "verdicts.json", text)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", "m", "--date=2026-01-02T00:00:00")
    path = tmp_path / "a" / "verdicts.json"
    history, left_out = read_commits(path)
    assert all(re.fullmatch(r"[0-9a-f]{7,} \d{4}-\d\d-\d\d", label) for label in history.labels)
    assert lost(history) == [("c", 1, "refuted", None)]
    assert len(left_out) == 1
    assert "schema_version must be 1" in left_out[0]
    assert main(["history", str(path), "--commits"]) == 0
    told = capsys.readouterr()
    assert f"c: lost in {history.labels[1]}, refuted" in told.out
    assert told.err.startswith("left out: ")


def test_the_command_writes_all_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, "a.json", 0.9)
    written(tmp_path, "b.json", 0.4)
    page, told = tmp_path / "h.html", tmp_path / "h.md"
    for command in (main, circuit_claims.main):
        assert command(["history", str(tmp_path), f"--page={page}", f"--markdown={told}"]) == 0
        said = capsys.readouterr()
        assert "c: lost in b, refuted" in said.out
        assert f"wrote the history to {told} (" in said.err
        assert f"wrote the history to {page} (" in said.err
        assert "lost in b" in told.read_text(encoding="utf-8")
        assert "<h3>b " in html.unescape(page.read_text(encoding="utf-8"))
        page.unlink()
        told.unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none.json"], "none.json: cannot be read: No such file or directory"),
        (["{tmp}/empty"], "empty: no *.json is there"),
        (["{tmp}/two.json"], "two: is of toy, other; name one of them with --subject"),
        (["{tmp}/a.json", "--subject", "x"], "a: is of toy; name one of them with --subject"),
        (["{tmp}/a.json", "{tmp}/a.json", "--commits"], "--commits is of one record, got 2"),
        (["{tmp}/a.json", "--commits"], "--commits: {tmp}/a.json: fatal: not a git repository"),
        (["{tmp}/a.json", "--page=p", "--markdown=p"], "--markdown and --page are both p"),
        (["{tmp}/a.json", "--page={tmp}"], "--page={tmp}: is a directory; name a file"),
    ],
)
def test_what_has_no_history_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "empty").mkdir()
    written(tmp_path, "a.json", 0.9)
    two = [subject(c=judged(0.9)), replace(subject("sha256:b", c=judged(0.9)), name="other")]
    write_record(tmp_path / "two.json", make_record(two, seed=0, device="cpu"))
    assert main(["history", *(one.format(tmp=tmp_path) for one in arguments)]) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err


def test_one_of_several_subjects_is_followed(tmp_path: Path) -> None:
    two = [subject(c=judged(0.9)), replace(subject("sha256:b", c=judged(0.1)), name="other")]
    write_record(tmp_path / "two.json", make_record(two, seed=0, device="cpu"))
    history = read_history([tmp_path / "two.json"], name="other")
    assert [one.name for one in history.subjects] == ["other"]
