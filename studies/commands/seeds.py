"""`seeds`: many seeds trained, and every claim judged on each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from models.arguments import Commands, chosen_device, imports, require_directory, require_existing
from studies.commands.parallel import add_parallel

if TYPE_CHECKING:
    from studies.registration import Registration


def add(commands: Commands) -> None:
    """The command and its arguments."""
    seeds = commands.add_parser(
        "seeds",
        help="train many seeds and judge every claim on each",
        description=(
            "Train seeds, find their roles, judge every claim, and count in how many each"
            " holds. Stopped at any moment, the same command goes on where it was; what is done"
            " is not done again."
        ),
    )
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
    add_parallel(seeds)
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
    seeds.set_defaults(run=run, resumes="out")


def run(options: argparse.Namespace) -> int:
    """Its work; 1 where a seed failed. `ValueError` for what cannot be done."""
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
