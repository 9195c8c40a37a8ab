"""What a command does before its work: paths are looked at, then the rest is imported."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Parser(argparse.ArgumentParser):
    """A parser that takes an empty text for no path; `Path` makes the working directory of it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.register("type", Path, named_path)


def named_path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got ''")
    return Path(text)


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Ctrl-C ends the process at once, for some libraries swallow it while they are imported.

    They would go on half made. Nothing is begun yet that could be lost.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(*_: object) -> None:
    os.write(2, b"\nstopped\n")
    os._exit(130)


def require_existing(*paths: Path | None) -> None:
    """`ValueError` names the first of the paths that are given at which there is nothing."""
    for path in paths:
        if path is not None and not os.path.exists(path):  # unlike `Path.exists` it never raises
            raise ValueError(f"{path}: no such file or directory")


def require_directory(path: Path, *, option: str) -> None:
    """`ValueError` now and not after the work if `path` cannot be a directory to write in."""
    if os.path.isfile(path):
        raise ValueError(f"{option}={path}: is a file; name a directory")
    _require_room(path, option=option, path=path)


def require_file(path: Path, *, option: str) -> None:
    """`ValueError` now and not after the work if no file can be written at `path`."""
    if os.path.isdir(path):
        raise ValueError(f"{option}={path}: is a directory; name a file")
    _require_room(path.parent, option=option, path=path)


def _require_room(directory: Path, *, option: str, path: Path) -> None:
    """Whether files can be made there or, where it is to be made, in the nearest that is there."""
    nearest = next(place for place in (directory, *directory.parents) if os.path.lexists(place))
    try:
        with tempfile.TemporaryFile(dir=nearest):  # no other way is sure; it leaves nothing behind
            pass
    except OSError as error:
        reason = f"{nearest}: {error.strerror}"
        raise ValueError(f"{option}={path}: cannot be written: {reason}") from None
