"""Programs as processes of their own, each a fork of one that has what takes seconds to import.

`tests.forked` is for copies of the project: it starts in one, and imports nothing of this one.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

PATIENCE = 600.0  # seconds that no machine needs, after which something never comes
_IMPORTED = ["networkx", "scipy.stats", "starlette", "torch", "transformer_lens", "uvicorn"]


class Program:
    """A module run as a program, in a fork, with its output in pipes; it ends with the block."""

    def __init__(self, module: str, *arguments: str) -> None:
        # elsewhere than on Linux a fork of a process with torch in it may not live
        forks = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        forks.set_forkserver_preload(_IMPORTED)
        (output, its_output), (errors, its_errors) = (forks.Pipe(duplex=False) for _ in range(2))
        self._process = forks.Process(
            target=_run, args=(module, arguments, its_output, its_errors), daemon=True
        )
        self._process.start()
        its_output.close()
        its_errors.close()
        self.output, self._errors = (os.fdopen(os.dup(it.fileno())) for it in (output, errors))

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self.output.close()
        self._errors.close()

    def interrupted(self) -> tuple[int | None, str]:
        """What it ends with after an interrupt, and what it says of it."""
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(self._process.pid, signal.SIGINT)
        self._process.join(PATIENCE)
        assert not self._process.is_alive()
        return self._process.exitcode, self._errors.read()


def _run(module: str, arguments: Sequence[str], output: Connection, errors: Connection) -> None:
    for standard, pipe in ((1, output), (2, errors)):
        os.dup2(pipe.fileno(), standard)
        pipe.close()
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a fork is not taken down as a program is
