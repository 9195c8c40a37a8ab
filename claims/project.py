"""How this project speaks, and what it is judged on."""

from __future__ import annotations

import pytest

from models.arguments import named_path
from verdicts.project import EVIDENCE, Project


def cite(source: str) -> str:
    """`notebook §2.1`, or what else the notebook calls a part of it."""
    return f"notebook {'§' if source[:1].isdigit() else ''}{source}"


PARTS = (
    "whole model",
    "Embed",
    "PosEmbed",
    "reader",
    "other heads",
    "first MLP",
    "dimension",
    "pointer",
    "last MLP",
)
"""What a claim may be about, from the input up."""

OF_A_MODEL = {
    "exact": "Read off the weights. No sample, so no interval.",
    "causal": (
        "Something inside the model was changed, and its effect measured on a sample. The interval"
        " holds the true effect 95 times in 100."
    ),
}
"""What two kinds of evidence mean where the subject is a model."""

EXHAUSTED = {
    "exhausted": (
        "Every graph of a range was gone through, up to renaming its vertices, in one random"
        " labelling of each. Of the other labellings nothing is known."
    )
}
"""A kind of evidence of our own: no graph is left out, and most labellings are."""

PROJECT = Project(
    subject="checkpoint",
    data="validation set",
    cases="graphs",
    contents="weights",
    cite=cite,
    parts=PARTS,
    evidence={**EVIDENCE, **OF_A_MODEL, **EXHAUSTED},
)


def add_options(parser: pytest.Parser) -> None:
    """`--checkpoint`, `--validation-set` and `--device`."""
    group = parser.getgroup("claims")
    group.addoption(
        "--checkpoint",
        action="append",
        type=named_path,
        metavar="PATH",
        help="a directory, .safetensors or the author's .pt (its .yaml beside it); write it with"
        " '='; may be repeated. Default: $CLAIMS_CHECKPOINT, or checkpoints/default",
    )
    group.addoption(
        "--validation-set",
        type=named_path,
        metavar="NPZ",
        help="data [n, v, v] and labels [n]; default: 4,992 graphs from a fixed seed",
    )
    group.addoption(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="where to run (default: cuda where there is one)",
    )


def check_options(config: pytest.Config) -> None:
    """`UsageError` for a path that leads nowhere."""
    named = [("--checkpoint", path) for path in config.getoption("checkpoint") or []]
    for option, path in [*named, ("--validation-set", config.getoption("validation_set"))]:
        if path is not None and not path.exists():
            raise pytest.UsageError(f"{option}={path}: no such file or directory")
