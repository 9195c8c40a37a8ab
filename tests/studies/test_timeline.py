"""The life of a circuit: what is there from when on, and the claims judged on every epoch that a
training kept."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.training import EPOCHS, train
from studies.__main__ import main
from studies.timeline import series, unsearched
from tests.processes import ROOT, one_thread
from tests.records import subject_of
from tests.studies.test_seeds import MODEL, TRAIN
from verdicts.plots import trend
from verdicts.record import read_record, write_record
from verdicts.schema import SubjectResult
from verdicts.series import Row, Series, render_series, render_series_page

CLAIMS = ("classifies_the_validation_set", "layer_0_neurons_follow_degree")


def measured(value: float | None, *, at_least: float = 0.9) -> dict[str, Any]:
    return {
        "value": value,
        "low": value,
        "high": value,
        "at_least": at_least,
        "at_most": None,
        "outcome": "holds",
    }


def step(verdict: str, value: float | None = 1.0, **measurements: Any) -> SubjectResult:
    claim = {
        "id": "it_learns",
        "statement": "It learns.",
        "verdict": verdict,
        "measurements": {"accuracy": measured(value), **measurements},
    }
    return subject_of(claim)


SERIES = Series(
    "epoch",
    [0, 2, 4, 6],
    [step("absent", None), step("holds", 0.95), step("refuted", 0.5), step("holds", 0.97)],
)


@pytest.mark.parametrize(
    ("there", "since"),
    [("1111", 0), ("0111", 1), ("0101", 3), ("1110", None), ("0000", None), ("1", 0), ("0", None)],
)
def test_what_counts_is_from_when_on_it_is_never_missing(there: str, since: int | None) -> None:
    assert Row.of("x", there, [mark == "1" for mark in there]).since == since


def test_claims_and_parts_are_ordered_by_when_they_come_to_stay() -> None:
    early = Row.of("reader", " ■■■", [False, True, True, True], "0.3")
    never = Row.of("pointer", "    ", [False] * 4)
    lines = [
        text
        for text, _ in render_series(Series("epoch", SERIES.at, SERIES.subjects, [never, early]))
    ]
    assert lines[1] == "           0 4   from"
    assert lines[2:5] == [
        "reader      ■■■     2  0.3",
        "it_learns  -✓✗✓     6",
        "pointer             -",
    ]


def test_a_claim_that_was_not_judged_at_a_step_leaves_a_gap() -> None:
    series = Series("epoch", [0, 1], [subject_of(), step("holds")])
    assert series.rows()[0].marks == (" ", "✓")
    (chart,) = series.charts_of("it_learns")
    assert chart.values == [None, 1.0]


def test_a_chart_is_of_each_single_number_that_decides() -> None:
    words = {**measured(1.0), "value": {"0.1": 1.0}}
    aside = {**measured(1.0), "outcome": None}
    series = Series("epoch", [0], [step("holds", words=words, aside=aside)])
    (chart,) = series.charts_of("it_learns")
    assert (chart.name, chart.bounds, chart.said) == ("accuracy", (0.9,), "≥ 0.9")


def test_a_trend_has_gaps_bands_and_bounds() -> None:
    drawn = trend(
        [0, 2, 4, 6],
        [0.1, 0.2, None, 0.4],
        low=[0.0, None, None, 0.3],
        high=[0.2, 1.0, None, 0.5],
        bounds=[0.25],
        x="epoch",
        y="r",
    )
    assert drawn.count("<polyline") == 2
    assert drawn.count('class="span"') == 2
    assert drawn.count('class="bound"') == 1
    assert "epoch 2: 0.2" in drawn
    assert "r by epoch: from 0.1 to 0.4" in drawn
    assert "no value" in trend([0, 1], [None, None], x="epoch", y="r")


def test_the_page_escapes_what_a_record_says() -> None:
    hostile = subject_of({"id": "<b>two</b>", "measurements": {"accuracy": measured(1.0)}})
    series = Series("epoch", [*SERIES.at, 8], [*SERIES.subjects, hostile])
    page = render_series_page(series, title="<b>one</b>", lead="a & b")
    assert "<b>" not in page
    assert "a &amp; b" in page
    assert page.count("<svg") == 2


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that kept every second."""
    import torch

    out = tmp_path_factory.mktemp("run") / "seed-0"
    with one_thread():
        train(
            out,
            seed=0,
            model_config=MODEL,
            train_config=TRAIN,
            device=torch.device("cpu"),
            keep_every=2,
            progress=False,
        )
    return out


@contextlib.contextmanager
def in_this_process(name: str, *, jobs: int) -> Iterator[Executor]:
    """In place of the processes of `--jobs`, each of which takes seconds to import torch."""
    with ThreadPoolExecutor(1) as executor, one_thread():
        yield executor


def timeline(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studies.executors.open_executor", in_this_process)
        return main(["timeline", *map(str, arguments), "--jobs=1"])


def test_every_epoch_is_judged_once_and_the_table_can_be_made_from_the_record(
    kept: Path, tmp_path: Path, capsys: Any
) -> None:
    record, page = tmp_path / "record.json", tmp_path / "page.html"
    claims = [f"--claim={claim}" for claim in CLAIMS]
    assert timeline(kept, *claims, f"--out={record}", f"--page={page}") == 0
    printed = capsys.readouterr().out
    assert "epoch 0 to 3, a column each of 3;" in printed
    assert re.search(r"^classifies_the_validation_set  ✗✗✗     -$", printed, flags=re.MULTILINE)
    subjects = read_record(record).subjects
    assert [subject.about["training"]["epochs_done"] for subject in subjects] == [0, 2, 3]
    assert len({subject.content_hash for subject in subjects}) == 3
    assert subjects[1].about["training"]["metrics"]["epoch"] == 2
    assert "reader" in subjects[0].about["role_scores"]
    assert (
        page.read_text(encoding="utf-8").count("<svg") == 3 + 4 + 2
    )  # curves, roles but the target, and what decides the two claims

    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.json")}
    assert timeline(kept, *claims) == 0
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.json")} == before
    assert timeline(record) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.long
def test_a_run_that_goes_on_is_judged_as_far_as_it_is(
    kept: Path, tmp_path: Path, capsys: Any
) -> None:
    """By a process of its own, as a command is run."""
    shutil.copytree(kept / EPOCHS, tmp_path / "run" / EPOCHS)
    assert main(["timeline", str(tmp_path / "run"), f"--claim={CLAIMS[0]}", "--jobs=1"]) == 0
    assert "epoch 0 to 2, a column each of 2;" in capsys.readouterr().out


def test_searches_are_left_out_unless_asked_for() -> None:
    assert "low_degree_vertices_attend_to_the_target" not in unsearched()
    assert len(unsearched()) > 40


def test_bad_arguments_are_told_in_one_sentence(kept: Path, tmp_path: Path, capsys: Any) -> None:
    record = tmp_path / "ledger.json"
    write_record(record, read_record(ROOT / "checkpoints" / "default" / "verdicts.json"))
    plain = tmp_path / "plain"
    plain.mkdir()
    for arguments, message in [
        ([tmp_path / "none"], f"{tmp_path / 'none'}: no such file or directory"),
        ([plain], f"{plain}: has no epochs; train it with --keep-every K"),
        ([record], "not the record of a timeline: a subject has no 'training'"),
        ([kept, f"--out={plain}"], f"--out={plain}: is a directory; name a file"),
        ([kept, "--claim=none"], "--claim must be the id of a claim"),
        (
            [kept, "--claim=a", "--searches"],
            "--claim and --searches: name the claims, or ask for all",
        ),
        ([record, "--claim=a"], "--claim and --searches are for a run; a record is shown as it is"),
        ([kept, "--out=x", "--page=x"], "--out and --page are both x; name two files"),
    ]:
        assert timeline(*arguments) == 2
        assert message in capsys.readouterr().err


SAID = {
    "some neuron of the first MLP follows degree": "layer_0_neurons_follow_degree",
    "a reader is found": "reader",
    "a pointer is found": "pointer",
    "taking the reader away costs answers on one graph in twenty": "reader_is_necessary",
    "right on 95 in 100 graphs of every number of edges": "accurate_at_every_edge_count",
    "the positional query is −2v": "position_subtracts_two_neighbours",
    "right on 99 in 100 graphs of the validation set": "classifies_the_validation_set",
    "renaming the vertices changes fewer than 1 answer in 100": "answers_survive_relabelling",
    "clear anchors": "anchors",
}


def test_the_docs_say_what_the_shipped_timelines_say() -> None:
    told = (ROOT / "docs" / "timeline.md").read_text(encoding="utf-8")
    columns = []
    for name in ("seed-8", "seed-9"):
        shown = series(read_record(ROOT / "studies" / "timelines" / f"{name}.json").subjects)
        since = {row.name: row.since for row in shown.rows()}
        columns.append([since[row] for row in SAID.values()])
        at = shown.at
    for words, *steps in zip(SAID, *columns, strict=True):
        cells = ["–" if step is None else str(at[step]) for step in steps]
        assert f"| {words} | {' | '.join(cells)} |" in told
