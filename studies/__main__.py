"""Command line: `python -m studies seeds`, `table`, `laws`, `timeline`, `gate-power`, `census` and
`wrong-graphs`."""

from __future__ import annotations

import sys

from models.arguments import Commands, main_of
from studies.commands import census, gate_power, laws, seeds, table, timeline, wrong_graphs


def add_commands(commands: Commands) -> None:
    """Those of this room, in the order in which `--help` has them."""
    for command in (seeds, table, laws, timeline, gate_power, census, wrong_graphs):
        command.add(commands)


main = main_of(
    add_commands, prog="python -m studies", description="What is said of many checkpoints."
)

if __name__ == "__main__":
    sys.exit(main())
