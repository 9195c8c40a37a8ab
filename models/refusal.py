"""How a file that cannot be used is refused: in one sentence."""

from __future__ import annotations


def in_one_line(error: BaseException) -> str:
    """What an error of another library says, without its line breaks, and no longer than a
    sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__
