"""A page served from a thread and, as a program, by the command with little to load or draw."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import figures.__main__
from circuits.subject import Subject
from figures.port import reserve
from figures.serve import PageServer
from tests.forks import PATIENCE
from tests.pages import untrained_subject


@contextlib.contextmanager
def serving(subject: Subject, page: str, *, seconds: float = PATIENCE) -> Iterator[PageServer]:
    """A server that answers, and is stopped in the end; `seconds` is its deadline."""
    ready = threading.Event()
    with reserve(0) as listener:
        server = PageServer(subject, page, listener, seconds=seconds, ready=ready.set)
        thread = threading.Thread(target=server.run)
        thread.start()
        assert ready.wait(PATIENCE)
        try:
            yield server
        finally:
            server.should_exit = True
            thread.join()


def main() -> int:
    """Serve a page that says how a connection ended while it was drawn; the model is untrained."""
    if sys.argv[1:] == ["interrupt-ignored"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(os.write, 2, b"the libraries were taken down, which may take seconds\n")
    held: list[socket.socket] = []

    def reserve_and_tell(port: int) -> socket.socket:
        held.append(reserve(port))
        return held[0]

    def load(options: argparse.Namespace) -> tuple[Subject, dict[str, Any]]:
        return untrained_subject(), {}

    def render(subject: Subject, record: dict[str, Any], *, served: bool) -> str:
        with socket.socket() as early:
            return f"{early.connect_ex(held[0].getsockname())}" + " " * 50_000_000

    figures.__main__.reserve = reserve_and_tell
    figures.__main__._load, figures.__main__._render = load, render
    return figures.__main__.main(["serve", "--port", "0"])


if __name__ == "__main__":
    sys.exit(main())
