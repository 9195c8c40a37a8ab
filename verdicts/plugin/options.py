"""The options of a run, and what cannot be asked for."""

from __future__ import annotations

import argparse
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from verdicts.cases import require_numpy
from verdicts.gates import DRIFT, MODES
from verdicts.record import RecordError, require_writable

DRAWN = ("--claims-page", "--claims-bundle")
"""Outputs that are of a whole run alone."""
OUTPUTS = ("--claims-json", "--claims-markdown", "--claims-cases", *DRAWN)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a file")
    return Path(text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a share of 0 or more, got {text}")
    return value


def _add_gate_options(group: pytest.OptionGroup, parser: pytest.Parser) -> None:
    group.addoption(
        "--claims-cases",
        type=_path,
        metavar="PATH",
        help="write what was seen case by case, for a comparison in pairs: an .npz beside the"
        " record, which names it",
    )
    group.addoption(
        "--claims-baseline-cases",
        type=_path,
        metavar="PATH",
        help="what the baseline's run wrote with --claims-cases; default: beside the baseline",
    )
    group.addoption(
        "--claims-gate",
        choices=MODES,
        help="what is asked: the same subject, a changed one, or one trained anew; default: by the"
        " hashes and by what the project says",
    )
    group.addoption(
        "--claims-drift",
        type=_share,
        metavar="SHARE",
        help="of the distance to its bound, that a measure of a changed subject may lose; also the"
        f" ini option claims_drift (default {DRIFT})",
    )
    group.addoption(
        "--claims-acknowledged",
        type=_path,
        metavar="PATH",
        help="TOML of the lost claims that the team accepts for a while; also the ini option"
        " claims_acknowledged",
    )
    parser.addini("claims_drift", "as --claims-drift")
    parser.addini("claims_acknowledged", "as --claims-acknowledged, from the root", type="paths")


def drift_of(config: pytest.Config) -> float:
    """How far a measure may drift; `UsageError` where the ini option is no share."""
    chosen: float | None = config.getoption("claims_drift")
    if chosen is None:
        try:
            chosen = _share(config.getini("claims_drift") or str(DRIFT))
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise pytest.UsageError(f"claims_drift: {error}") from None
    return chosen


def acknowledged_of(config: pytest.Config) -> Path | None:
    """The file of acknowledgements, if there is one."""
    named: Path | None = config.getoption("claims_acknowledged")
    paths: list[Path] = config.getini("claims_acknowledged")
    return named or next(iter(paths), None)


def add_options(parser: pytest.Parser) -> None:
    """All options, in one group."""
    group = parser.getgroup("claims", "claims that can fail")
    group.addoption("--claims-json", type=_path, metavar="PATH", help="write the record of the run")
    group.addoption(
        "--claims-markdown",
        type=_path,
        metavar="PATH",
        help="write a summary in Markdown, for a pull request or a CI step",
    )
    group.addoption(
        "--claims-page",
        type=_path,
        metavar="PATH",
        help="write a page that shows the claims and what the project adds",
    )
    group.addoption(
        "--claims-bundle",
        type=_path,
        metavar="PATH",
        help="write what the project adds to a page, so that one can be made from the record alone",
    )
    group.addoption(
        "--claims-baseline",
        type=_path,
        metavar="PATH",
        help=(
            "another run's record or a ledger: its verdicts are what is expected, and a claim that"
            " is lost, gone or drifted fails the run"
        ),
    )
    group.addoption(
        "--claims-accept",
        action="store_true",
        help="write this run's verdicts as the ledger of its subject",
    )
    group.addoption(
        "--claims-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of every sample, search and bootstrap (default 0)",
    )
    group.addoption(
        "--claims-controls",
        action="store_true",
        help="judge every claim on broken copies of its subject, too",
    )
    group.addoption(
        "--claims-gauge",
        action="store_true",
        help="judge every claim on copies that differ and do the same, too",
    )
    _add_gate_options(group, parser)


def check_options(config: pytest.Config) -> None:
    """`UsageError` for what cannot be done, before anything is measured."""
    if config.getoption("claims_seed") < 0:
        raise pytest.UsageError(
            f"--claims-seed must be 0 or more, got {config.getoption('claims_seed')}"
        )
    if config.getoption("claims_accept"):
        _require_plain_run(config)
    if config.getoption("claims_baseline") is None:
        for option in ("--claims-baseline-cases", "--claims-gate", "--claims-acknowledged"):
            if (value := config.getoption(option)) is not None:
                raise pytest.UsageError(f"{option}={value}: is for a run with --claims-baseline")
    for drawn in DRAWN:
        for option, value in selections(config).items():
            if (path := config.getoption(drawn)) is not None:
                raise pytest.UsageError(f"{drawn}={path} draws a whole run; drop {option} {value}")
    _require_different_files(config)
    try:
        if config.getoption("claims_cases") is not None:
            require_numpy("--claims-cases")
        for option in OUTPUTS:
            if (path := config.getoption(option)) is not None:
                require_writable(path, option=option)
    except RecordError as error:
        raise pytest.UsageError(str(error)) from None


def _require_different_files(config: pytest.Config) -> None:
    """No output may replace another, nor what the run is compared with."""
    options = (*OUTPUTS, "--claims-baseline", "--claims-baseline-cases", "--junitxml")
    dests = {"--junitxml": "xmlpath"}
    paths = {option: config.getoption(dests.get(option, option), None) for option in options}
    for (first, one), (second, other) in combinations(paths.items(), 2):
        if one and other and Path(one).resolve() == Path(other).resolve():
            raise pytest.UsageError(f"{first} and {second} are both {one}; name two files")


def selections(config: pytest.Config) -> dict[str, Any]:
    """The options by which only a part of the claims is run."""
    options = {
        "-k": config.getoption("keyword", ""),
        "-m": config.getoption("markexpr", ""),
        "--deselect": config.getoption("deselect", None),
        "a part of the claims": [
            argument for argument in config.args if "::" in argument or argument.endswith(".py")
        ],
    }
    return {option: value for option, value in options.items() if value}


def _require_plain_run(config: pytest.Config) -> None:
    """A ledger of some of the claims would say of the others that they were never judged."""
    if config.getoption("claims_baseline") is not None:
        raise pytest.UsageError(
            "--claims-accept takes whatever comes out as right; drop --claims-baseline"
        )
    processes = {"-n": value} if (value := getattr(config.option, "numprocesses", None)) else {}
    for option, value in {**selections(config), **processes}.items():
        raise pytest.UsageError(
            f"--claims-accept writes the ledger of a whole run in one process; drop {option}"
            f" {value}"
        )
