"""Command line: `python -m circuits roles CHECKPOINT` and `python -m circuits untrained`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.arguments import Commands, imports, main_of, require_existing, require_file

if TYPE_CHECKING:
    from circuits.roles import Roles


def add_commands(commands: Commands) -> None:
    """`roles` and `untrained`."""
    roles = commands.add_parser(
        "roles", help="find which head, position or dimension plays which part, and write it down"
    )
    roles.add_argument(
        "checkpoint", type=Path, help="a directory, .safetensors or the author's .pt"
    )
    roles.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where they are written; default: the roles.json that claims read",
    )
    roles.set_defaults(run=_roles)
    untrained = commands.add_parser(
        "untrained",
        help="measure many untrained models, for claims to be compared with",
        description=(
            "Measure untrained models. Stopped at any moment, the same command goes on where it"
            " was."
        ),
    )
    untrained.add_argument(
        "--like",
        type=Path,
        metavar="CHECKPOINT",
        help="of its architecture; default: the shipped one",
    )
    untrained.add_argument(
        "--models",
        type=int,
        default=3000,
        metavar="N",
        help="how many (default 3000: for the 0.999 quantile)",
    )
    untrained.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="processes of one core each (default 2)"
    )
    untrained.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: circuits/untrained.json, which claims read",
    )
    untrained.set_defaults(run=_untrained)


def _roles(options: argparse.Namespace) -> None:
    require_existing(options.checkpoint)
    if options.out is not None:
        require_file(options.out, option="--out")

    with imports():  # after all that can be looked at without torch
        from circuits.finder import find_roles
        from circuits.roles import ROLES, keep_roles
        from circuits.subject import directory_of
        from models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(options.checkpoint)
    path = options.out or directory_of(checkpoint) / "roles.json"
    require_file(path, option="--out")
    found, scores = find_roles(checkpoint.model)
    print(f"{checkpoint.name}  {checkpoint.content_hash}")
    for role in ROLES:
        value = found.to_dict()[role]
        print(
            f"  {role:<10}"
            f" {found.reasons[role].partition(':')[0] if value is None else value!s:<16}"
            f" {_scored(role, found, scores)}"
        )
    written = keep_roles(
        path, found, cfg=checkpoint.model.cfg, content_hash=checkpoint.content_hash, scores=scores
    )
    print(f"wrote {path}" if written else f"{path} says the same")


def _untrained(options: argparse.Namespace) -> None:
    for option in ("models", "jobs"):
        if (value := getattr(options, option)) < 1:
            raise ValueError(f"--{option} must be at least 1, got {value}")
    require_existing(options.like)
    if options.out is not None:
        require_file(options.out, option="--out")

    with imports():
        from circuits.subject import trained_on
        from circuits.untrained import UNTRAINED, draw
        from models.checkpoint import load_checkpoint
        from models.config import ModelConfig
        from models.graphs import usual_edge_counts

    if options.like is None:
        cfg, edge_counts = ModelConfig(), usual_edge_counts(10)
    else:
        checkpoint = load_checkpoint(options.like)
        cfg = checkpoint.model.cfg
        edge_counts = trained_on(checkpoint) or usual_edge_counts(cfg.n_vertices)
    out = options.out or UNTRAINED
    draw(cfg, edge_counts=edge_counts, models=options.models, jobs=options.jobs, out=out)
    print(f"wrote {out}")


def _scored(role: str, found: Roles, scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a role is given to no one, or the score of who has it, what is needed, and who is
    next."""
    if role in found.reasons:
        return found.reasons[role].partition(": ")[2]
    score = scores[role]
    line = f"score {score['score']:.3f}, floor {score['floor']:.3g}"
    if score["runner_up"] is None:
        return f"{line}; no other candidate"
    return (
        f"{line}; ahead of {score['runner_up']} ({score['runner_up_score']:.3f}), margin"
        f" {score['margin']:.3g}"
    )


main = main_of(
    add_commands,
    prog="python -m circuits",
    description="Measurements of a checkpoint, and of untrained models to compare it with.",
)

if __name__ == "__main__":
    sys.exit(main())
