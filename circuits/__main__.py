"""Command line: `python -m circuits roles CHECKPOINT`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the roles were looked for, 2 on a bad argument."""
    parser = argparse.ArgumentParser(prog="python -m circuits", description="Measurements of a checkpoint.")
    commands = parser.add_subparsers(dest="command", required=True)
    roles = commands.add_parser("roles", help="find which head, position or dimension plays which part")
    roles.add_argument("checkpoint", type=Path, help="a directory, .safetensors or the author's .pt")
    roles.add_argument("--out", type=Path, metavar="FILE", help="write them as a roles.json, too")
    options = parser.parse_args(arguments)

    from circuits.finder import find_roles  # after parsing, so that --help does not wait for torch
    from circuits.roles import ROLES, write_roles
    from models.checkpoint import load_checkpoint

    try:
        checkpoint = load_checkpoint(options.checkpoint)
        found, scores = find_roles(checkpoint.model)
        print(f"{checkpoint.name}  {checkpoint.content_hash}")
        for role in ROLES:
            value = found.to_dict()[role]
            print(f"  {role:<10} {found.reasons[role] if value is None else _line(value, scores[role])}")
        if options.out is not None:
            write_roles(options.out, found, content_hash=checkpoint.content_hash, scores=scores)
            print(f"wrote {options.out}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _line(value: object, score: dict[str, object]) -> str:
    return (
        f"{value!s:<16} score {score['score']:.3f}, runner-up {score['runner_up']} {score['runner_up_score']:.3f}, floor {score['floor']}"
    )


if __name__ == "__main__":
    sys.exit(main())
