"""Calls for processes that are started anew: a module that imports nothing heavy."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def killed() -> None:
    """As a process that is out of memory ends."""
    os.kill(os.getpid(), signal.SIGKILL)


def process_id(path: str | None, seconds: float = 0.0) -> int:
    """The process that this runs in, written to a file, too, and held for some seconds."""
    if path is not None:
        Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()
