"""`gate-power`: false alarms of the gate, and the damage that it sees."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from models.arguments import Commands, imports, require_existing


def add(commands: Commands) -> None:
    """The command and its arguments."""
    power = commands.add_parser(
        "gate-power",
        help="how often the gate raises a false alarm, and what damage it sees",
        description=(
            "Judge the claims that rest on a sample on a checkpoint and on changed copies of it,"
            " and compare each pair by intervals and case by case."
        ),
    )
    power.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="what is changed; default: checkpoints/default",
    )
    power.add_argument(
        "--repeats",
        type=int,
        default=3,
        metavar="N",
        help="runs of each change, on graphs of their own (default 3)",
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
    if options.repeats < 1:
        raise ValueError(f"--repeats must be 1 or more, got {options.repeats}")
    require_existing(options.checkpoint, options.into)
    with imports():
        from circuits.subject import REGISTRY, load_subject
        from studies.laws import insert
        from studies.power import measured_claims, power, table

    claims = {claim.id: claim for claim in measured_claims()}
    for name in options.claim:
        if name not in claims:
            raise ValueError(f"--claim must be one that rests on a sample; got {name!r}")
    chosen = [claims[name] for name in options.claim or claims]
    found = power(
        load_subject(options.checkpoint or REGISTRY / "default"),
        chosen,
        repeats=options.repeats,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    text = "\n".join([f"{len(chosen)} claims, {options.repeats} runs each.", "", *table(found)])
    if options.into is None:
        print(text)
    else:
        insert(text, options.into, name="power")
    return 0
