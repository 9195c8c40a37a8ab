"""`wrong-graphs`: whether models are wrong about the same graphs."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.arguments import Commands, require_existing


def add(commands: Commands) -> None:
    """The command and its arguments."""
    wrong_graphs = commands.add_parser(
        "wrong-graphs",
        help="how often models are wrong, and whether about the same graphs, in Markdown",
    )
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
    wrong_graphs.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Its work; 0. `ValueError` for what cannot be done."""
    if options.again < 0:
        raise ValueError(f"--again must be 0 or more, got {options.again}")
    require_existing(*options.censuses, options.nauty, options.into)

    from studies.nauty import Nauty

    nauty = Nauty(options.nauty)
    nauty.require()

    from studies.pages import insert
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
