"""`timeline`: the claims on every epoch that a training kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from models.arguments import Commands, imports, require_existing, require_file
from studies.commands.parallel import add_jobs

if TYPE_CHECKING:
    from verdicts.schema import Record


def add(commands: Commands) -> None:
    """The command and its arguments."""
    timeline = commands.add_parser(
        "timeline",
        help="judge the claims on every epoch that a training kept",
        description=(
            "Judge the claims on the weights of every epoch that models train --keep-every kept,"
            " and tell what appears when. Stopped at any moment, the same command goes on where it"
            " was."
        ),
    )
    timeline.add_argument(
        "run_directory",
        type=Path,
        metavar="RUN",
        help="directory of the training, or the record that --out wrote of it",
    )
    timeline.add_argument(
        "--out", type=Path, metavar="RECORD", help="write the record of all epochs there"
    )
    timeline.add_argument(
        "--page",
        type=Path,
        metavar="HTML",
        help="write a page with a line chart for every number there",
    )
    timeline.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="ID",
        help="judge this claim, and others so named",
    )
    timeline.add_argument(
        "--searches",
        action="store_true",
        help="judge the claims that search, too, which takes long",
    )
    add_jobs(timeline)
    timeline.set_defaults(run=run, resumes="run_directory")


def run(options: argparse.Namespace) -> int:
    """Its work; 0. `ValueError` for what cannot be done."""
    if options.jobs < 1:
        raise ValueError(f"--jobs must be 1 or more, got {options.jobs}")
    if options.claim and options.searches:
        raise ValueError("--claim and --searches: name the claims, or ask for all")
    require_existing(options.run_directory)
    if options.out is not None and options.out == options.page:
        raise ValueError(f"--out and --page are both {options.out}; name two files")
    if options.run_directory.is_file() and (options.claim or options.searches):
        raise ValueError("--claim and --searches are for a run; a record is shown as it is")
    for name in ("out", "page"):
        if getattr(options, name) is not None:
            require_file(getattr(options, name), option=f"--{name}")
    record = _judge_epochs(options) if options.run_directory.is_dir() else None

    from studies.timeline import series
    from studies.trim import trimmed, write_lines
    from verdicts.files import write_text
    from verdicts.record import read_record
    from verdicts.series import render_series, render_series_page

    if record is None:
        record = read_record(options.run_directory)
    shown = series(record.subjects)
    if options.out is not None:
        write_lines(options.out, trimmed(record))
    if options.page is not None:
        training = record.subjects[-1].about["training"]
        right = training["metrics"].get("validation_accuracy")
        said = "" if right is None else f" {right:.2%} of the validation graphs are right then."
        options.page.parent.mkdir(parents=True, exist_ok=True)
        page = render_series_page(
            shown,
            title=f"The life of a circuit: seed {training['seed']}",
            lead=f"Seed {training['seed']}, to epoch {shown.at[-1]}.{said}",
        )
        write_text(options.page, page)
    print(*(text for text, _ in render_series(shown)), sep="\n")
    return 0


def _judge_epochs(options: argparse.Namespace) -> Record:
    """The record of every epoch, judged where that is not done yet."""
    with imports():
        from tqdm import tqdm

        from studies.executors import open_executor
        from studies.seeds import run_study
        from studies.timeline import kept_targets, study_of, unsearched
        from verdicts.lock import hold
        from verdicts.record import make_record

    claims = tuple(options.claim) or (() if options.searches else unsearched())
    targets = kept_targets(options.run_directory, claims)
    study = study_of(targets, claims)
    study.chosen()
    with (
        hold(options.run_directory),
        open_executor("process", jobs=options.jobs) as executor,
        tqdm(total=len(targets), unit="epoch", disable=None, dynamic_ncols=True) as bar,
    ):

        def report(line: str | None) -> None:
            bar.update(line is not None)

        subjects, failed = run_study(study, targets, executor, report=report)
    if failed:
        raise ValueError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    return make_record(
        [subjects[target.name] for target in targets],
        seed=study.claims_seed,
        device=study.device,
        partial=study.partial,
    )
