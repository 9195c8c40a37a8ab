"""`census`: a model asked about every graph of its range."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.arguments import Commands, chosen_device, imports, require_directory, require_existing
from studies.commands.parallel import add_parallel


def add(commands: Commands) -> None:
    """The command and its arguments."""
    census = commands.add_parser(
        "census",
        help="ask a model about every graph of its range",
        description=(
            "Ask a model about every graph with the numbers of edges that it was trained on, up"
            " to isomorphism, and write what it gets wrong. Stopped at any moment, the same"
            " command goes on where it was."
        ),
    )
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
    add_parallel(census)
    census.set_defaults(run=run, resumes="out")


def run(options: argparse.Namespace) -> int:
    """Its work; 0. `ValueError` for what cannot be done."""
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
