"""What is judged here: the model in weights/, or the one that --weights names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from subject import Subject, Variants

    from verdicts.project import Project


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("claims").addoption(
        "--weights", type=Path, metavar="FILE", help="default: weights/model.safetensors"
    )


def pytest_claims_project() -> Project:
    from verdicts.project import EVIDENCE, Project

    exact = "Read off the weights. No sample, so no interval."
    return Project(
        subject="model",
        cases="sequences",
        contents="weights",
        evidence={**EVIDENCE, "exact": exact},
    )


def pytest_claims_subjects(config: pytest.Config) -> list[Subject]:
    from subject import Subject

    weights = config.getoption("weights") or Path(__file__).parent / "weights" / "model.safetensors"
    if not weights.exists():
        raise ValueError(f"--weights={weights}: no such file; python train.py writes one")
    return [Subject.of(weights, seed=config.getoption("claims_seed"))]


def pytest_claims_variants() -> Variants:
    from subject import Variants

    return Variants()
