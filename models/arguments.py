"""What every command shares: its parser, its exit codes, and what it does before its work."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that takes an empty text for no path; `Path` makes the working directory of it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.register("type", Path, named_path)


def named_path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got ''")
    return Path(text)


def chosen_device(name: str) -> str:
    """`cpu` or `cuda` by what `--device` says; `ValueError` where there is no CUDA device."""
    import torch  # here and not above: what can be refused without it is refused before

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("--device cuda: this machine has no CUDA device")
    return name if name != "auto" else "cuda" if there else "cpu"


Commands = Any
"""The subparsers that a room adds its commands to; argparse has no public name for their type."""


def main_of(
    add_commands: Callable[[Commands], None], *, prog: str, description: str
) -> Callable[..., int]:
    """`main(arguments=None)` of a command line whose commands set `run`, from options to an exit
    code, or `None` for 0.

    It returns 2 for a `ValueError` or `OSError`, whose text is the error, and 130 when interrupted.
    A command that goes on where it was names in `resumes` the option with its directory.
    """

    def main(arguments: list[str] | None = None) -> int:
        parser = Parser(prog=prog, description=description)
        add_commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
        options = parser.parse_args(arguments)
        try:
            return options.run(options) or 0
        except BrokenPipeError:  # whoever reads has seen enough, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            place = getattr(options, getattr(options, "resumes", ""), None)
            goes_on = f"; the same command goes on where it was, in {place}" if place else ""
            print(f"\nstopped{goes_on}", file=sys.stderr)
            return 130

    return main


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Ctrl-C ends the process at once, for some libraries swallow it while they are imported.

    They would go on half made. Nothing is begun yet that could be lost.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def stop(*_: object) -> NoReturn:
    """End the process as Ctrl-C does, at once: taking torch down costs a busy machine seconds."""
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
