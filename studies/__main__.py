"""Command line: `python -m studies seeds`, `table`, `laws`, `timeline`, `gate-power`, `census` and
`wrong-graphs`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from models.arguments import (
    Commands,
    chosen_device,
    imports,
    main_of,
    require_directory,
    require_existing,
    require_file,
)

if TYPE_CHECKING:
    from studies.registration import Registration
    from verdicts.schema import Record

EXECUTORS = "process, or dask://HOST:PORT of a scheduler whose workers see the same files"


def add_commands(commands: Commands) -> None:
    """`seeds`, `table`, `laws`, `timeline`, `gate-power`, `census` and `wrong-graphs`."""
    _add_seeds(
        commands.add_parser(
            "seeds",
            help="train many seeds and judge every claim on each",
            description=(
                "Train seeds, find their roles, judge every claim, and count in how many each"
                " holds. Stopped at any moment, the same command goes on where it was; what is done"
                " is not done again."
            ),
        )
    )
    table = commands.add_parser("table", help="in how many of several records each claim holds")
    table.add_argument(
        "records",
        type=Path,
        nargs="+",
        metavar="RECORD",
        help="records or ledgers, of a checkpoint each",
    )
    table.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="RECORD",
        help="one that is shown and not counted",
    )
    laws = commands.add_parser(
        "laws", help="which registered predictions are confirmed, failed or open, in Markdown"
    )
    laws.add_argument(
        "--registered",
        type=Path,
        metavar="FILE.toml",
        help="the predictions; default: studies/registered.toml",
    )
    laws.add_argument(
        "--records",
        type=Path,
        metavar="DIR",
        help="with a directory of each recipe; default: studies/records",
    )
    laws.add_argument(
        "--into", type=Path, metavar="FILE.md", help="write them into a page, between its marks"
    )
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
    timeline.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="processes at a time (default: one a core)",
    )
    power = commands.add_parser(
        "gate-power",
        help="how often the gate raises a false alarm, and what damage it sees",
        description=(
            "Judge the claims that rest on a sample on a checkpoint and on changed copies of it,"
            " and compare each pair by intervals and case by case. Stopped at any moment, the same"
            " command goes on where it was."
        ),
    )
    power.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="what is changed; default: checkpoints/default",
    )
    power.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE.jsonl",
        help="a line for each run; those in it are not done again",
    )
    power.add_argument(
        "--nulls",
        type=int,
        default=20,
        metavar="N",
        help="runs of each change that changes nothing, on graphs of their own (default 20)",
    )
    power.add_argument(
        "--damage",
        type=int,
        default=5,
        metavar="N",
        help="runs of each damage, on graphs of their own (default 5)",
    )
    power.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="processes of one core each (default 2)"
    )
    power.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="ID",
        help="judge this claim, and others so named",
    )
    power.add_argument(
        "--into",
        type=Path,
        metavar="FILE.md",
        help="write the table into a page, between its marks",
    )
    for command, run in (
        (table, _table),
        (laws, _laws),
        (timeline, _timeline),
        (power, _power),
    ):
        command.set_defaults(run=run)
    timeline.set_defaults(resumes="run_directory")
    _add_census(
        commands.add_parser(
            "census",
            help="ask a model about every graph of its range",
            description=(
                "Ask a model about every graph with the numbers of edges that it was trained on, up"
                " to isomorphism, and write what it gets wrong. Stopped at any moment, the same"
                " command goes on where it was."
            ),
        )
    )
    _add_wrong_graphs(
        commands.add_parser(
            "wrong-graphs",
            help="how often models are wrong, and whether about the same graphs, in Markdown",
        )
    )


def _add_seeds(seeds: argparse.ArgumentParser) -> None:
    seeds.add_argument("--count", type=int, required=True, metavar="N", help="how many seeds")
    seeds.add_argument(
        "--first", type=int, default=0, metavar="N", help="the first of them (default 0)"
    )
    seeds.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where checkpoints, roles and records go",
    )
    seeds.add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml",
        help="recipe with [model] and [train]; default: the author's",
    )
    seeds.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="a checkpoint to judge alike, not counted",
    )
    seeds.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="ID",
        help="judge this claim, and others so named; default: all",
    )
    seeds.add_argument(
        "--registered",
        type=Path,
        metavar="FILE.toml",
        help="committed predictions that every record is to name",
    )
    seeds.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="write what the tables need of each record there, too",
    )
    seeds.add_argument("--executor", default="process", help=f"{EXECUTORS} (default: process)")
    seeds.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="processes at a time (default: one a core)",
    )
    seeds.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="default: cuda where there is one",
    )
    seeds.add_argument(
        "--validation-set",
        type=Path,
        metavar="NPZ",
        help="data [n, v, v] and labels [n]; default: from a fixed seed",
    )
    seeds.add_argument(
        "--claims-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of every sample, search and bootstrap (default 0)",
    )
    seeds.set_defaults(run=_seeds, resumes="out")


def _add_census(census: argparse.ArgumentParser) -> None:
    census.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="as of --checkpoint")
    census.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where census.json and census.wrong.tsv go; default: beside the checkpoint",
    )
    census.add_argument(
        "--labellings",
        type=int,
        default=1,
        metavar="K",
        help="ask about so many random labellings of each graph (default 1)",
    )
    census.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the labellings (default 0)"
    )
    census.add_argument(
        "--nauty", type=Path, metavar="DIR", help="where nauty's programs are; default: the PATH"
    )
    census.add_argument("--executor", default="process", help=f"{EXECUTORS} (default: process)")
    census.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="processes at a time (default: one a core)",
    )
    census.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="default: cuda where there is one",
    )
    census.set_defaults(run=_census, resumes="out")


def _add_wrong_graphs(wrong_graphs: argparse.ArgumentParser) -> None:
    wrong_graphs.add_argument(
        "censuses",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="directories with census.json and census.wrong.tsv",
    )
    wrong_graphs.add_argument(
        "--into", type=Path, metavar="FILE.md", help="write them into a page, between its marks"
    )
    wrong_graphs.add_argument(
        "--nauty", type=Path, metavar="DIR", help="where nauty's programs are; default: the PATH"
    )
    wrong_graphs.add_argument(
        "--again",
        type=int,
        default=0,
        metavar="K",
        help="ask each model about K other labellings of the graphs that it gets wrong",
    )
    wrong_graphs.set_defaults(run=_wrong_graphs)


def _seeds(options: argparse.Namespace) -> int:
    for name, least in (("count", 1), ("first", 0), ("jobs", 1), ("claims_seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(
                f"--{name.replace('_', '-')} must be {least} or more, got {getattr(options, name)}"
            )

    from models.config import ModelConfig, TrainConfig, read_recipe

    model_config, train_config = (
        read_recipe(options.config) if options.config else (ModelConfig(), TrainConfig())
    )
    if not isinstance(model_config, ModelConfig):
        raise ValueError(
            f"--config {options.config}: is of an MLP; the claims are about transformers"
        )
    require_existing(options.validation_set, *options.reference)
    require_directory(options.out, option="--out")
    if options.keep is not None:
        require_directory(options.keep, option="--keep")
    registration, commit = _registration(options)
    if options.keep is not None and options.claim:
        raise ValueError("--keep takes records of all claims; drop --claim")
    if commit is not None:
        _require_plan(options, registration, (model_config, train_config))

    with imports():  # after all that can be looked at without torch
        from tqdm import tqdm

        from studies.executors import open_executor
        from studies.laws import keep
        from studies.seeds import Study, Target, run_study
        from verdicts.lock import hold

    named = {"commit": commit, "sha256": registration.sha256} if commit is not None else None
    study = Study(
        model_config=model_config,
        train_config=train_config,
        device=chosen_device(options.device),
        validation=options.validation_set,
        claims_seed=options.claims_seed,
        claims=tuple(options.claim),
        registration=named,
    )
    study.chosen()
    seeds = [
        Target.of_seed(options.out, seed)
        for seed in range(options.first, options.first + options.count)
    ]
    beside = [Target.of_checkpoint(options.out, path) for path in options.reference]
    with (
        hold(options.out),
        open_executor(options.executor, jobs=options.jobs) as executor,
        tqdm(
            total=len(seeds) * train_config.epochs, unit="epoch", disable=None, dynamic_ncols=True
        ) as bar,
    ):

        def report(line: str | None) -> None:
            if line is not None:
                bar.write(line)
                sys.stdout.flush()  # whoever reads a log wants it now
            bar.update(sum(target.epochs_done for target in seeds) - bar.n)

        subjects, failed = run_study(study, [*seeds, *beside], executor, report=report)
    from studies.tables import print_tables

    trained, others = (
        {t.name: subjects[t.name] for t in targets if t.name in subjects}
        for targets in (seeds, beside)
    )
    if trained:
        print_tables(trained, others)
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    for target in seeds if options.keep is not None else ():
        if target.name in trained:
            keep(study.place_of(target), registration, options.keep / f"seed-{target.seed}.json")
    return 1 if failed else 0


def _registration(options: argparse.Namespace) -> tuple[Registration, str | None]:
    """The predictions that are named, or those of this project; and the commit that a record is to
    name."""
    from studies.laws import REGISTERED
    from studies.registration import read_registration, registered_commit

    registration = read_registration(options.registered or REGISTERED)
    return registration, registered_commit(registration) if options.registered is not None else None


def _require_plan(
    options: argparse.Namespace, registration: Registration, recipe: tuple[object, object]
) -> None:
    """`ValueError` for a run that is not the one that was registered: nobody may choose later."""
    from models.config import read_recipe
    from studies.registration import registered_recipe

    seeds = range(options.first, options.first + options.count)
    plan = registration.seeds
    if seeds[0] < plan[0] or seeds[-1] > plan[-1]:
        raise ValueError(
            f"--registered: is of seeds {plan[0]} to {plan[-1]}, not {seeds[0]} to {seeds[-1]}"
        )
    if options.claims_seed != registration.claims_seed:
        raise ValueError(
            f"--registered: is of --claims-seed {registration.claims_seed}, not"
            f" {options.claims_seed}"
        )
    if options.validation_set is not None:
        raise ValueError("--registered: is of the usual graphs; drop --validation-set")
    if recipe != read_recipe(registered_recipe(registration)):
        raise ValueError(f"--registered: is of --config {registration.recipe}, and of no other")


def _table(options: argparse.Namespace) -> int:
    from studies.tables import print_tables, read_subjects

    print_tables(*read_subjects(options.records, options.reference))
    return 0


def _laws(options: argparse.Namespace) -> int:
    from studies.laws import RECORDS, REGISTERED, insert, report
    from studies.registration import read_registration

    require_existing(options.records, options.into)
    text = report(read_registration(options.registered or REGISTERED), options.records or RECORDS)
    if options.into is None:
        print(text)
    else:
        insert(text, options.into)
    return 0


def _power(options: argparse.Namespace) -> int:
    for name, least in (("nulls", 1), ("damage", 0), ("jobs", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be {least} or more, got {getattr(options, name)}")
    require_file(options.out, option="--out")
    require_existing(options.checkpoint, options.into)
    with imports():
        from circuits.subject import REGISTRY
        from studies.laws import insert
        from studies.power import false_alarms, measured_claims, power, table

    claims = [claim.id for claim in measured_claims()]
    for name in options.claim:
        if name not in claims:
            raise ValueError(f"--claim must be one that rests on a sample; got {name!r}")
    chosen = options.claim or claims
    found = power(
        options.checkpoint or REGISTRY / "default",
        chosen,
        nulls=options.nulls,
        damage=options.damage,
        jobs=options.jobs,
        out=options.out,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    text = "\n".join([f"{len(chosen)} claims. {false_alarms(found)}", "", *table(found)])
    if options.into is None:
        print(text)
    else:
        insert(text, options.into, name="power")
    return 0


def _timeline(options: argparse.Namespace) -> int:
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


def _census(options: argparse.Namespace) -> int:
    for name, least in (("labellings", 1), ("seed", 0), ("jobs", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be {least} or more, got {getattr(options, name)}")
    require_existing(options.checkpoint, options.nauty)
    if options.out is not None:
        require_directory(options.out, option="--out")

    from studies.nauty import Nauty

    nauty = Nauty(options.nauty)
    nauty.require()
    with imports():
        from tqdm import tqdm

        from studies.census import Plan, take
        from studies.counting import Counted
        from studies.executors import open_executor
        from studies.wrong_graphs import table
        from verdicts.lock import hold

    plan = Plan.of(
        options.checkpoint,
        out=options.out,
        labellings=options.labellings,
        seed=options.seed,
        device=chosen_device(options.device),
        nauty=nauty,
    )
    options.out = plan.out
    require_directory(plan.out, option="--out")
    with (
        hold(plan.out),
        open_executor(options.executor, jobs=options.jobs) as executor,
        tqdm(total=len(plan.parts), unit="part", disable=None, dynamic_ncols=True) as bar,
    ):
        graphs = wrong = 0

        def report(counted: Counted) -> None:
            nonlocal graphs, wrong
            graphs, wrong = graphs + counted.graphs, wrong + counted.wrong.count("\n")
            bar.set_postfix_str(f"{wrong:,} of {graphs:,} graphs wrong")
            bar.update()

        census = take(plan, executor, report=report)
    print(*table(census), sep="\n")
    return 0


def _wrong_graphs(options: argparse.Namespace) -> int:
    if options.again < 0:
        raise ValueError(f"--again must be 0 or more, got {options.again}")
    require_existing(*options.censuses, options.nauty, options.into)

    from studies.nauty import Nauty

    nauty = Nauty(options.nauty)
    nauty.require()

    from studies.laws import insert
    from studies.wrong_graphs import Taken, asked_again, report

    taken = [Taken.read(directory, nauty=nauty) for directory in options.censuses]
    text = report(taken)
    if options.again:
        text += f"\n\n{asked_again(taken, options.again)}"
    if options.into is None:
        print(text)
    else:
        insert(text, options.into, name="census")
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


main = main_of(
    add_commands, prog="python -m studies", description="What is said of many checkpoints."
)

if __name__ == "__main__":
    sys.exit(main())
