"""`python -m claims` is no more: says what stands in its place."""

from __future__ import annotations

import sys

INSTEAD = {"page": "figures", "serve": "figures", "seeds": "studies", "table": "studies"}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2, with the command that does it now."""
    words = sys.argv[1:] if arguments is None else arguments
    room = INSTEAD.get(words[0] if words else "")
    now = (
        f"circuit-claims {words[0]}, or python -m {room} {words[0]}"
        if room
        else "pytest claims, and circuit-claims --help for the rest"
    )
    print(f"error: python -m claims is no command any more; use {now}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
