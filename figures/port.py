"""The port of a served page, held before the model is loaded: nothing heavy is imported here."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"


def reserve(port: int) -> socket.socket:
    """A socket that holds the port and does not listen yet: nobody is answered without a page.

    `ValueError` for a port that there is not, `OSError` for one that is taken or not allowed.
    """
    if not 0 <= port < 65536:
        raise ValueError(f"--port must be from 0 to 65535, got {port}")
    listener = socket.socket()
    # so that what was stopped can be started again at once
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        with port_named(port):
            listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def port_named(port: int) -> Iterator[None]:
    """What the system says against the port, as a sentence about `--port`."""
    try:
        yield
    except OSError as error:
        raise OSError(f"--port {port}: {error.strerror}") from None
