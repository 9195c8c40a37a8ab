"""One process at a time in a directory; a second one is told who is there."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_FILE = ".lock"


class InUseError(ValueError):
    """A directory in which another process is at work: the message names both."""


@contextlib.contextmanager
def hold(directory: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Keep every other process that asks out of `directory`, which is made where there is none.

    `InUseError` says who holds it, if it is still held after so many seconds. The lock is the
    operating system's: it ends with its process, however that ends. Whoever holds a directory may
    hold it once more.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK_FILE
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        holder = f"{_holder(path)} is at work there"
        raise InUseError(f"{directory}: {holder}; wait for it, or name another directory") from None
    # held once and not twice; where flock is missing, it has become one that minds its file itself
    ours = lock.lock_counter == 1 and isinstance(lock, FileLock)
    try:
        if ours:
            path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        if ours:
            path.unlink(missing_ok=True)  # while it is held: who waits for it then opens it anew
        lock.release()


def _holder(path: Path) -> str:
    try:
        process, host, *_ = path.read_text(encoding="utf-8").split()
        since = datetime.datetime.fromtimestamp(path.stat().st_mtime)
    except (OSError, ValueError):  # it has not written its number yet, or has just gone
        return "another process"
    return f"process {process} on {host}, since {since:%Y-%m-%d %H:%M:%S},"
