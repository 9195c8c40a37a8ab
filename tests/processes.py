"""Processes that are started anew, and calls for them: a module that imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MINUTES = 600.0
"""Seconds for what takes moments: whoever waits so long waits for nothing."""


def killed() -> None:
    """As a process that is out of memory ends."""
    os.kill(os.getpid(), signal.SIGKILL)


def process_id(path: str | None, seconds: float = 0.0) -> int:
    """The process that this runs in, written to a file, too, and held for some seconds."""
    if path is not None:
        Path(f"{path}.part").write_text(str(os.getpid()))
        Path(f"{path}.part").replace(path)
    time.sleep(seconds)
    return os.getpid()


def wait_until(condition: Callable[[], bool]) -> None:
    """Until something is so that will be so."""
    deadline = time.monotonic() + MINUTES
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Weights depend on the number of threads, and what ran before may have set it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def killing_once(
    directory: Path,
    *,
    at: Path,
    after: Path,
    whom: str = "os.getpid()",
) -> dict[str, str]:
    """An environment in which who puts a new `at` in place is killed, once, if `after` is there.

    `whom` are expressions for it and those that are killed before it.
    """
    (directory / "sitecustomize.py").write_text(f"""
import os, signal, sys

def hook(event, arguments):
    if event == "os.rename" and str(arguments[1]) == {str(at)!r} and os.path.exists({str(after)!r}):
        if not os.path.exists(done := {str(directory / "killed")!r}):
            open(done, "x").close()
            for process in ({whom},):
                os.kill(process, signal.SIGKILL)

sys.addaudithook(hook)
""")
    path = os.pathsep.join([str(directory), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


_HOLD = """
import sys
from pathlib import Path
from verdicts.lock import hold

with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holding(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a directory until its input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()
