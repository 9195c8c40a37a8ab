"""Command line: `python -m verdicts page`, of records alone: it needs no project and no weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LACKING = (
    "This page was made from a record alone. It lacks what the project draws beside its claims, and"
    " the project's words. A run with --claims-bundle=PATH leaves them in a file, from which"
    " --bundle PATH draws them."
)
"""What a page without a bundle says."""


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got ''")
    return Path(text)


def _add_page(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    page = commands.add_parser("page", help="write the page of a record")
    page.add_argument("record", type=_path, metavar="RECORD", help="what --claims-json wrote")
    page.add_argument("--bundle", type=_path, metavar="BUNDLE", help="what --claims-bundle wrote")
    page.add_argument("--out", type=_path, required=True, metavar="PATH", help="where it goes")
    page.set_defaults(run=_page)


def _page(options: argparse.Namespace) -> None:
    from verdicts.bundle import page_of_record
    from verdicts.record import require_writable, write_text

    require_writable(options.out, option="--out")
    write_text(options.out, page_of_record(options.record, options.bundle, lacking=LACKING))


def main(arguments: list[str] | None = None) -> int:
    """0, or 2 with one sentence for what cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m verdicts", description="What can be made of records alone."
    )
    _add_page(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
