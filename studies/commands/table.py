"""`table`: in how many of several records each claim holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.arguments import Commands


def add(commands: Commands) -> None:
    """The command and its arguments."""
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
    table.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Its work; 0. `ValueError` for what cannot be done."""
    from studies.tables import print_tables, read_subjects

    print_tables(*read_subjects(options.records, options.reference))
    return 0
