"""The arguments of the commands that use several processes."""

from __future__ import annotations

import argparse
import os


def add_parallel(command: argparse.ArgumentParser) -> None:
    """`--executor`, `--jobs` and `--device`."""
    command.add_argument(
        "--executor",
        default="process",
        help=(
            "process, or dask://HOST:PORT of a scheduler whose workers see the same files"
            " (default: process)"
        ),
    )
    add_jobs(command)
    command.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="default: cuda where there is one",
    )


def add_jobs(command: argparse.ArgumentParser) -> None:
    """`--jobs`."""
    command.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="processes at a time (default: one a core)",
    )
