"""`gate-power`: false alarms of the gate, and the damage that it sees."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from models.arguments import Commands, imports, require_existing, require_file


def add(commands: Commands) -> None:
    """The command and its arguments."""
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
    power.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Its work; 0. `ValueError` for what cannot be done."""
    for name, least in (("nulls", 1), ("damage", 0), ("jobs", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be {least} or more, got {getattr(options, name)}")
    require_file(options.out, option="--out")
    require_existing(options.checkpoint, options.into)
    with imports():
        from circuits.subject import REGISTRY
        from studies.pages import insert
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
