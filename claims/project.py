"""How this project speaks: its subjects are checkpoints, and its claims cite the notebook."""

from __future__ import annotations

from verdicts.project import Project


def cite(source: str) -> str:
    """`notebook §2.1`, or what else the notebook calls a part of it."""
    return f"notebook {'§' if source[:1].isdigit() else ''}{source}"


PROJECT = Project(subject="checkpoint", data="validation set", cases="graphs", cite=cite)
