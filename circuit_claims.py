"""The command line of the project: `circuit-claims COMMAND`, or `python -m circuit_claims
COMMAND`."""

from __future__ import annotations

import sys

import circuits.__main__
import figures.__main__
import models.__main__
import studies.__main__
import verdicts.__main__
from models.arguments import Commands, main_of
from verdicts.project import Project


def add_commands(commands: Commands) -> None:
    """Those of every room, in the order in which they are used."""
    for room in (models.__main__, circuits.__main__, figures.__main__, studies.__main__):
        room.add_commands(commands)
    verdicts.__main__.add_commands(commands, _project)


def _project() -> Project:
    from claims.project import PROJECT

    return PROJECT


main = main_of(
    add_commands,
    prog="circuit-claims",
    description=(
        "Claims about a transformer's circuits. To judge a checkpoint: pytest claims"
        " --checkpoint=PATH."
    ),
)

if __name__ == "__main__":
    sys.exit(main())
