"""Command line: `python -m figures page`, `serve` and `wrong` of a checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from figures.port import reserve
from models.arguments import Commands, imports, main_of, require_existing, require_file, stop

if TYPE_CHECKING:
    from circuits.subject import Subject
    from verdicts.schema import Record


LACKING = (
    "This page was made from a record alone. It lacks the circuit, the attention viewer, the"
    " figures, the drawings of counterexamples and the table of seeds, which are measured on the"
    " weights. A run with --claims-bundle=PATH leaves them in a file, from which --bundle PATH"
    " draws them; with the checkpoint named they are measured anew."
)
"""What the page of a record without weights and bundle says."""


def add_commands(commands: Commands) -> None:
    """`page`, `serve` and `wrong`."""
    page = commands.add_parser(
        "page",
        help="write the page of a record, without judging anything again",
        description=(
            "Write the page of a record. With --record and without PATH no weights are needed:"
            " figures are those of --bundle, and without one the page has the claims alone. With"
            " PATH, or without either, the figures are measured on the weights."
        ),
    )
    page.add_argument("--out", type=Path, required=True, metavar="PATH", help="where the page goes")
    page.add_argument(
        "--bundle",
        type=Path,
        metavar="BUNDLE",
        help="what --claims-bundle wrote in the run of the record",
    )
    page.set_defaults(run=_page)
    serve = commands.add_parser(
        "serve",
        help="show the page with the model behind it, for graphs typed in, on this machine alone",
    )
    serve.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="N",
        help="where on 127.0.0.1 (default 8000; 0 takes any that is free)",
    )
    serve.set_defaults(run=_serve)
    for command in (page, serve):
        command.add_argument(
            "checkpoint", type=Path, nargs="?", metavar="PATH", help="default: checkpoints/default"
        )
        command.add_argument(
            "--record",
            type=Path,
            metavar="RECORD",
            help="what --claims-json wrote; default: the checkpoint's ledger",
        )
        command.add_argument(
            "--validation-set",
            type=Path,
            metavar="NPZ",
            help="that of the record; default: from a fixed seed",
        )
    wrong = commands.add_parser(
        "wrong", help="draw a few of the graphs that a census found a model to get wrong, as SVG"
    )
    wrong.add_argument("census", type=Path, metavar="DIR", help="directory with census.wrong.tsv")
    wrong.add_argument("--out", type=Path, required=True, metavar="SVG", help="where it goes")
    wrong.set_defaults(run=_wrong)


def _wrong(options: argparse.Namespace) -> None:
    require_existing(options.census)
    require_file(options.out, option="--out")

    from figures.wrong import picture
    from verdicts.files import write_text, wrote

    write_text(options.out, picture(options.census))
    print(wrote(f"wrong graphs of {options.census}", options.out))


def _page(options: argparse.Namespace) -> None:
    from verdicts.files import write_text, wrote
    from verdicts.record import require_writable

    require_writable(options.out, option="--out")
    if options.bundle is not None and (options.checkpoint or options.record is None):
        raise ValueError("--bundle needs --record and no checkpoint: it has the figures already")
    if options.record is not None and options.checkpoint is None:
        page = _from_the_record(options)
    else:
        page = _render(*_load(options))
    write_text(options.out, page)
    of = options.record or options.checkpoint or "checkpoints/default"
    print(wrote(f"the page of {of}", options.out))


def _from_the_record(options: argparse.Namespace) -> str:
    """The page without weights."""
    if options.validation_set is not None:
        raise ValueError("--validation-set is for a checkpoint; name one, or drop it")
    _require_record(options.record)

    from claims.project import PROJECT
    from verdicts.bundle import page_of_record

    if options.bundle is None:
        print(LACKING, file=sys.stderr)
    return page_of_record(options.record, options.bundle, project=PROJECT, lacking=LACKING)


def _serve(options: argparse.Namespace) -> None:
    with reserve(options.port) as listener:  # before all that takes seconds
        subject, record = _load(options)
        with imports():
            from figures.serve import PageServer
        server = PageServer(subject, _render(subject, record, served=True), listener)
        server.ready = lambda: print(f"{server.address} (Ctrl-C stops it)", flush=True)
        gc.freeze()  # all this lives until the end, and to search it for cycles then takes a second
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises once it has stopped
            server.run()
    stop()  # nothing is in flight any more, and nothing can be lost


def _load(options: argparse.Namespace) -> tuple[Subject, Record]:
    """A checkpoint, and its record or ledger with what it says of that checkpoint first."""
    require_existing(options.checkpoint, options.validation_set)
    if options.record is not None:
        _require_record(options.record)

    with imports():  # after all that can be looked at without torch
        from msgspec.structs import replace

        from circuits.subject import REGISTRY, load_subject
        from verdicts.record import read_whole_record
        from verdicts.schema import Description
        from verdicts.wording import short_hash

    subject = load_subject(
        options.checkpoint or REGISTRY / "default", validation=options.validation_set
    )
    path = options.record or subject.ledger_path
    _require_record(path)
    record, about = read_whole_record(path), Description.of(subject)
    subjects = sorted(record.subjects, key=lambda one: one.content_hash != about.content_hash)
    if subjects[0].content_hash != about.content_hash:
        raise ValueError(
            f"{path}: says nothing of {subject.name}, {short_hash(about.content_hash)}"
        )
    then = subjects[0].validation_set or "which it does not name"
    if then != about.validation_set:
        raise ValueError(
            f"{path}: was measured on another validation set, {short_hash(then)}; name it with"
            " --validation-set"
        )
    return dataclasses.replace(subject, seed=record.run.seed), replace(
        record, subjects=tuple(subjects)
    )


def _require_record(path: Path) -> None:
    if not os.path.exists(path):
        command = "pytest claims --checkpoint=… --claims-json=PATH"
        raise ValueError(f"{path}: no such record; write one with: {command}")


def _render(subject: Subject, record: Record, *, served: bool = False) -> str:
    with imports():
        from claims.project import PROJECT
        from figures.extras import page_extras
        from verdicts.page import render_page

    return render_page(
        record, page_extras(subject, record.subjects[0]), project=PROJECT, served=served
    )


main = main_of(add_commands, prog="python -m figures", description="The page of a checkpoint.")

if __name__ == "__main__":
    sys.exit(main())
