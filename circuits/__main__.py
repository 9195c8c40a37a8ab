"""Command line: `python -m circuits roles CHECKPOINT`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.arguments import Parser, imports, require_existing, require_file

if TYPE_CHECKING:
    from circuits.roles import Roles


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the roles stand in their file, 2 where they cannot, 130 when interrupted."""
    parser = Parser(prog="python -m circuits", description="Measurements of a checkpoint.")
    commands = parser.add_subparsers(dest="command", required=True)
    roles = commands.add_parser("roles", help="find which head, position or dimension plays which part, and write it down")
    roles.add_argument("checkpoint", type=Path, help="a directory, .safetensors or the author's .pt")
    roles.add_argument("--out", type=Path, metavar="FILE", help="where they are written; default: the roles.json that claims read")
    options = parser.parse_args(arguments)

    try:
        require_existing(options.checkpoint)
        if options.out is not None:
            require_file(options.out, option="--out")

        with imports():  # after all that can be looked at without torch
            from circuits.finder import find_roles
            from circuits.roles import ROLES, keep_roles
            from circuits.subject import home_of
            from models.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(options.checkpoint)
        found, scores = find_roles(checkpoint.model)
        print(f"{checkpoint.name}  {checkpoint.content_hash}")
        for role in ROLES:
            value = found.to_dict()[role]
            print(f"  {role:<10} {found.reasons[role].partition(':')[0] if value is None else value!s:<16} {_scored(role, found, scores)}")
        path = options.out or home_of(checkpoint) / "roles.json"
        written = keep_roles(path, found, cfg=checkpoint.model.cfg, content_hash=checkpoint.content_hash, scores=scores)
        print(f"wrote {path}" if written else f"{path} says the same")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _scored(role: str, found: Roles, scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a role is given to no one, or the score of who has it, what is needed, and who is next."""
    if role in found.reasons:
        return found.reasons[role].partition(": ")[2]
    score = scores[role]
    line = f"score {score['score']:.3f}, floor {score['floor']:.3g}"
    if score["runner_up"] is None:
        return f"{line}; no other candidate"
    return f"{line}; ahead of {score['runner_up']} ({score['runner_up_score']:.3f}), margin {score['margin']:.3g}"


if __name__ == "__main__":
    sys.exit(main())
