"""Command line: `python -m verdicts page`, `compare` and `history`. They need records alone, no
project and no subject."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verdicts.project import PLAIN, Project

Commands = Any
"""The subparsers that commands are added to; argparse has no public name for their type."""
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


def add_commands(commands: Commands, project: Callable[[], Project] = lambda: PLAIN) -> None:
    """`compare` and `history`, in the words of a project."""
    compare = commands.add_parser(
        "compare",
        help="write a page of two or more records side by side, on one axis a measurement",
    )
    compare.add_argument(
        "records", type=_path, nargs="+", metavar="RECORD", help="records or ledgers, in order"
    )
    compare.add_argument("--out", type=_path, required=True, metavar="PATH", help="where it goes")
    compare.set_defaults(run=_compare, project=project)
    history = commands.add_parser(
        "history", help="show in which of several records each claim was lost, and every value"
    )
    history.add_argument(
        "records",
        type=_path,
        nargs="+",
        metavar="RECORD",
        help="records in the order of time, or a directory of them, which are taken by name",
    )
    history.add_argument(
        "--commits", action="store_true", help="one record, in each commit of git that changed it"
    )
    history.add_argument(
        "--subject", metavar="NAME", help="which to follow, where a record has several"
    )
    for option, kind in (("--markdown", "a summary in Markdown"), ("--page", "a page")):
        history.add_argument(option, type=_path, metavar="PATH", help=f"write {kind}, too")
    history.set_defaults(run=_history, project=project)


def _compare(options: argparse.Namespace) -> None:
    from verdicts.files import write_text, wrote
    from verdicts.record import require_writable
    from verdicts.side_by_side import render_side_by_side

    require_writable(options.out, option="--out")
    write_text(options.out, render_side_by_side(options.records, project=options.project()))
    print(wrote(f"{', '.join(map(str, options.records))} side by side", options.out))


def _history(options: argparse.Namespace) -> None:
    from verdicts.files import write_text, wrote
    from verdicts.history import (
        history_markdown,
        read_commits,
        read_history,
        render_history,
        render_history_page,
    )
    from verdicts.record import require_writable

    if options.markdown is not None and options.markdown == options.page:
        raise ValueError(f"--markdown and --page are both {options.page}; name two files")
    for option in ("markdown", "page"):
        if (path := getattr(options, option)) is not None:
            require_writable(path, option=f"--{option}")
    if options.commits:
        if len(options.records) != 1:
            raise ValueError(f"--commits is of one record, got {len(options.records)}")
        history, left_out = read_commits(options.records[0], name=options.subject)
        print(*(f"left out: {reason}" for reason in left_out), sep="\n", file=sys.stderr)
    else:
        history = read_history(options.records, name=options.subject)
    print(*(text for text, _ in render_history(history)), sep="\n")
    page = functools.partial(render_history_page, project=options.project())
    for path, render in ((options.markdown, history_markdown), (options.page, page)):
        if path is not None:
            write_text(path, render(history))
            print(wrote("the history", path), file=sys.stderr)


def _add_page(commands: Commands) -> None:
    page = commands.add_parser("page", help="write the page of a record")
    page.add_argument("record", type=_path, metavar="RECORD", help="what --claims-json wrote")
    page.add_argument("--bundle", type=_path, metavar="BUNDLE", help="what --claims-bundle wrote")
    page.add_argument("--out", type=_path, required=True, metavar="PATH", help="where it goes")
    page.set_defaults(run=_page)


def _page(options: argparse.Namespace) -> None:
    from verdicts.bundle import page_of_record
    from verdicts.files import write_text, wrote
    from verdicts.record import require_writable

    require_writable(options.out, option="--out")
    write_text(options.out, page_of_record(options.record, options.bundle, lacking=LACKING))
    print(wrote(f"the page of {options.record}", options.out))


def main(arguments: list[str] | None = None) -> int:
    """0, or 2 with one sentence for what cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m verdicts", description="What can be made of records alone."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_page(commands)
    add_commands(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except BrokenPipeError:  # whoever reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
