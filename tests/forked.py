"""pytest again and again, each time in a fork of one process that has torch and what else takes
seconds to import, and nothing of the project.

It reads a line for each run, the arguments as JSON, and answers with pytest's exit code.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import networkx  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch  # noqa: F401
import transformer_lens  # noqa: F401


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: Sequence[str]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # the next line and the answers are not the tests'
        os.dup2(nowhere, standard)
    imported = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
    os._exit(pytest.main([*arguments, "-W", imported]))


if __name__ == "__main__":
    main()
