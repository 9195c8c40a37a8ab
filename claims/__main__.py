"""Command line: `python -m claims seeds --count N --out DIR`, `table RECORD …`, and `page` and `serve` of a checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.arguments import Parser, imports, require_directory, require_existing

if TYPE_CHECKING:
    from circuits.subject import Subject

EXECUTORS = "process, or dask://HOST:PORT of a scheduler whose workers see the same files"


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when all is judged, 1 when a seed failed, 2 on a bad argument, 130 when interrupted."""
    parser = Parser(prog="python -m claims", description="Claims about checkpoints.")
    commands = parser.add_subparsers(dest="command", required=True)
    seeds = commands.add_parser(
        "seeds", help="train many seeds and judge every claim on each",
        description="Train seeds 0 to N - 1, find their roles, judge every claim, and count in how many each holds. Stopped at any moment, "
        "the same command goes on where it was; what is done is not done again.",
    )  # fmt: skip
    seeds.add_argument("--count", type=int, required=True, metavar="N", help="how many seeds")
    seeds.add_argument("--out", type=Path, required=True, metavar="DIR", help="where checkpoints, roles and records go")
    seeds.add_argument("--config", type=Path, metavar="FILE.toml", help="recipe with [model] and [train]; default: the author's")
    seeds.add_argument("--beside", type=Path, action="append", default=[], metavar="PATH", help="a checkpoint to judge alike, not counted")
    seeds.add_argument("--claim", action="append", default=[], metavar="ID", help="judge this claim, and others so named; default: all")
    seeds.add_argument("--executor", default="process", help=f"{EXECUTORS} (default: process)")
    seeds.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="processes at a time (default: one a core)")
    seeds.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: cuda where there is one")
    seeds.add_argument("--validation-set", type=Path, metavar="NPZ", help="data [n, v, v] and labels [n]; default: from a fixed seed")
    seeds.add_argument("--claims-seed", type=int, default=0, metavar="N", help="seed of every sample, search and bootstrap (default 0)")
    table = commands.add_parser("table", help="in how many of several records each claim holds")
    table.add_argument("records", type=Path, nargs="+", metavar="RECORD", help="records or ledgers, of a checkpoint each")
    table.add_argument("--beside", type=Path, action="append", default=[], metavar="RECORD", help="one that is shown and not counted")
    page = commands.add_parser("page", help="write the page of a checkpoint from its record, without judging it again")
    page.add_argument("--out", type=Path, required=True, metavar="PATH", help="where the page goes")
    serve = commands.add_parser("serve", help="show the page with the model behind it, for graphs typed in, on this machine alone")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="where on 127.0.0.1 (default 8000; 0 takes any that is free)")
    for command in (page, serve):
        command.add_argument("checkpoint", type=Path, nargs="?", metavar="PATH", help="default: checkpoints/default")
        command.add_argument("--record", type=Path, metavar="RECORD", help="what --claims-json wrote; default: the checkpoint's ledger")
        command.add_argument("--validation-set", type=Path, metavar="NPZ", help="that of the record; default: from a fixed seed")
    options = parser.parse_args(arguments)
    try:
        return {"seeds": _seeds, "table": _table, "page": _page, "serve": _serve}[options.command](options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = f"; the same command goes on where it was, in {options.out}" if options.command == "seeds" else ""
        print(f"\nstopped{goes_on}", file=sys.stderr)
        return 130


def _seeds(options: argparse.Namespace) -> int:
    for name, least in (("count", 1), ("jobs", 1), ("claims_seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} must be {least} or more, got {getattr(options, name)}")

    from models.config import ModelConfig, TrainConfig, read_recipe

    model_config, train_config = read_recipe(options.config) if options.config else (ModelConfig(), TrainConfig())
    if not isinstance(model_config, ModelConfig):
        raise ValueError(f"--config {options.config}: is of an MLP; the claims are about transformers")
    require_existing(options.validation_set, *options.beside)
    require_directory(options.out, option="--out")

    with imports():  # after all that can be looked at without torch
        import torch
        from tqdm import tqdm

        from claims.executors import open_executor
        from claims.seeds import Study, Target, run_study
        from models.lock import hold

    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine has no CUDA device")
    study = Study(model_config, train_config, device, options.validation_set, options.claims_seed, tuple(options.claim))
    study.chosen()
    seeds = [Target.of_seed(options.out, seed) for seed in range(options.count)]
    beside = [Target.of_checkpoint(options.out, path) for path in options.beside]
    with (
        hold(options.out),
        open_executor(options.executor, jobs=options.jobs) as executor,
        tqdm(total=len(seeds) * train_config.epochs, unit="epoch", disable=None, dynamic_ncols=True) as bar,
    ):

        def report(line: str | None) -> None:
            if line is not None:
                bar.write(line)
                sys.stdout.flush()  # whoever reads a log wants it now
            bar.update(sum(target.epochs_done for target in seeds) - bar.n)

        subjects, failed = run_study(study, [*seeds, *beside], executor, report=report)
    trained, others = ({t.name: subjects[t.name] for t in targets if t.name in subjects} for targets in (seeds, beside))
    if trained:
        _print_tables(trained, others)
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _table(options: argparse.Namespace) -> int:
    from verdicts.record import read_record

    subjects: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for paths, found in zip((options.records, options.beside), subjects, strict=True):
        for path in paths:
            for subject in read_record(path)["subjects"]:
                if any(subject["name"] in known for known in subjects):
                    raise ValueError(f"{path}: a second record of {subject['name']}")
                found[subject["name"]] = subject
    _print_tables(*subjects)
    return 0


def _page(options: argparse.Namespace) -> int:
    from verdicts.record import require_writable, write_text

    require_writable(options.out, option="--out")
    page = _render(*_load(options))
    write_text(options.out, page)
    print(f"{options.out}: {len(page.encode()) / 1e6:.1f} MB")
    return 0


def _serve(options: argparse.Namespace) -> int:
    if not 0 <= options.port < 65536:
        raise ValueError(f"--port must be from 0 to 65535, got {options.port}")

    from claims.serve import PageServer, reserve

    with reserve(options.port) as listener:  # a port in use is refused before anything is drawn
        subject, record = _load(options)
        server = PageServer(subject, _render(subject, record, served=True), listener)
        server.ready = lambda: print(f"{server.address} (Ctrl-C stops it)", flush=True)
        gc.freeze()  # all this lives until the end, and to search it for cycles then takes a second
        server.run()
    raise KeyboardInterrupt  # it has been stopped, by whatever means


def _load(options: argparse.Namespace) -> tuple[Subject, dict[str, Any]]:
    """A checkpoint, and its record or ledger with what it says of that checkpoint first."""
    require_existing(options.checkpoint, options.validation_set)
    if options.record is not None:
        _require_record(options.record)

    with imports():  # after all that can be looked at without torch
        from circuits.subject import REGISTRY, load_subject
        from verdicts.record import read_whole_record

    subject = load_subject(options.checkpoint or REGISTRY / "default", validation=options.validation_set)
    path = options.record or subject.ledger_path
    _require_record(path)
    record, about = read_whole_record(path), subject.describe()
    subjects = sorted(record["subjects"], key=lambda one: one["content_hash"] != about["content_hash"])
    if subjects[0]["content_hash"] != about["content_hash"]:
        raise ValueError(f"{path}: says nothing of {subject.name}, {about['content_hash'][:19]}…")
    then = subjects[0]["validation_set"]
    if then != about["validation_set"]:
        raise ValueError(f"{path}: was measured on another validation set, {then[:19]}…; name it with --validation-set")
    return dataclasses.replace(subject, seed=record["run"]["seed"]), {**record, "subjects": subjects}


def _require_record(path: Path) -> None:
    if not os.path.exists(path):
        command = "pytest claims --checkpoint=… --claims-json=PATH"
        raise ValueError(f"{path}: no such record; write one with: {command}")


def _render(subject: Subject, record: Mapping[str, Any], *, served: bool = False) -> str:
    with imports():
        from claims.figures import exhibit
        from verdicts.page import render_page

    return render_page(record, exhibit(subject, record["subjects"][0]), served=served)


def _print_tables(subjects: Mapping[str, Mapping[str, Any]], beside: Mapping[str, Mapping[str, Any]]) -> None:
    from verdicts.frequencies import render_frequencies, render_ranges

    print("", *_roles_table({**subjects, **beside}), "", sep="\n")
    for lines in (render_frequencies(subjects, beside), render_ranges(subjects)):
        print(*(text for text, _ in lines), "", sep="\n")


def _roles_table(subjects: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Accuracy and roles of each; a role that no part plays clearly is a dash."""
    rows = [["", "accuracy", *next(iter(subjects.values()))["roles"]]]
    for name, subject in subjects.items():
        right = next((claim for claim in subject["claims"] if claim["id"] == "classifies_the_validation_set"), None)
        accuracy = f"{right['measurements']['accuracy']['value']:.4f}" if right and right["measurements"] else "-"
        rows.append([name, accuracy, *("-" if value is None else str(value) for value in subject["roles"].values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


if __name__ == "__main__":
    sys.exit(main())
