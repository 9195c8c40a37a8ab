"""Files that are written whole: the old one or the new, never half."""

from __future__ import annotations

import os
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside the place, whose directory is made where there is none, and put it there at
    once; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def wrote(what: str, path: Path) -> str:
    """What a command says when it has written a file: `wrote the page to claims.html (1.1 MB)`."""
    size = path.stat().st_size
    return f"wrote {what} to {path} ({f'{size / 1e6:.1f} MB' if size > 1e5 else f'{size:,} bytes'})"


def remove_leftovers(directory: Path) -> None:
    """Delete what a process that was killed while it wrote has left in a directory; none may be
    writing there."""
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
