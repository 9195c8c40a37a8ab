"""One writer at a time: a lock beside a file, which ends with the process that holds it."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def hold(path: Path, *, what: str) -> BaseFileLock:
    """The lock of what is to be written at `path`; `ValueError` says which process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        holder = Path(lock.lock_file).read_text(encoding="utf-8").strip() or "another"
        raise ValueError(
            f"{path}: {what} by process {holder} now; wait until it has ended"
        ) from None
    Path(lock.lock_file).write_text(f"{os.getpid()}\n", encoding="utf-8")
    return lock
