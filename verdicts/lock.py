"""One process at a time in a directory, or at a file; a second one is told who is there."""

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
    """Where another process is at work: the message names both."""


@contextlib.contextmanager
def hold(directory: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Keep every other process that asks out of `directory`, which is made where there is none.

    `InUseError` says who holds it, if it is still held after so many seconds. The lock is the
    operating system's: it ends with its process, however that ends. Whoever holds a directory may
    hold it once more.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / LOCK_FILE, is_singleton=True)
    refusal = "at work there; wait for it, or name another directory"
    with _held(lock, directory, refusal, patience=patience):
        yield


@contextlib.contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """Keep every other process that asks from writing a file; `InUseError` says who writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with _held(lock, path, "writing it; wait until it has ended"):
        yield


@contextlib.contextmanager
def _held(lock: FileLock, place: Path, refusal: str, *, patience: float = 0.0) -> Iterator[None]:
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise InUseError(f"{place}: {_holder(path)} is {refusal}") from None
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
