"""`laws`: what came of the registered predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.arguments import Commands, require_existing


def add(commands: Commands) -> None:
    """The command and its arguments."""
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
    laws.add_argument(
        "--confirmed", action="store_true", help="only the predictions that are confirmed, in short"
    )
    laws.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Its work; 0. `ValueError` for what cannot be done."""
    from studies.laws import RECORDS, REGISTERED, read_registered, report
    from studies.outcomes import table_of_confirmed
    from studies.pages import insert
    from studies.registration import read_registration

    require_existing(options.records, options.into)
    registration = read_registration(options.registered or REGISTERED)
    records = options.records or RECORDS
    if options.confirmed:
        name = "confirmed"
        seeds = read_registered(registration, records)
        text = "\n".join(table_of_confirmed(registration, seeds))
    else:
        name, text = "laws", report(registration, records)
    if options.into is None:
        print(text)
    else:
        insert(text, options.into, name=name)
    return 0
