"""pytest again and again, each time in a fork of one process that has torch and what else takes
seconds to import, and nothing of the project.

It reads a line for each run, the arguments as JSON, and answers with pytest's exit code.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

import networkx  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch  # noqa: F401
import transformer_lens  # noqa: F401


def main() -> None:
    _forget_plugins()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _forget_plugins() -> None:
    """pytest rewrites the packages of its plugins as they are imported, and warns of those that are
    there already."""
    for entry in entry_points(group="pytest11"):
        package = entry.value.partition(":")[0].partition(".")[0]
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]


def _run(arguments: Sequence[str]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # the next line and the answers are not the tests'
        os.dup2(nowhere, standard)
    os._exit(pytest.main(list(arguments)))


if __name__ == "__main__":
    main()
