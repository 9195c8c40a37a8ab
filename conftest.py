"""Wiring: the plugin that judges, and the subjects that it judges here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from circuits.subject import Subject
    from circuits.variants import Variants
    from verdicts.page import PageExtras
    from verdicts.project import Project
    from verdicts.schema import SubjectResult

pytest_plugins = ["verdicts.plugin", "studies.gate", "figures.cases"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """What this project is judged on; the rest are the plugin's."""
    from claims.project import add_options

    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """A path that leads nowhere is said before anything is imported that takes seconds."""
    from claims.project import check_options

    check_options(config)


def pytest_claims_project() -> Project:
    """What this project calls things."""
    from claims.project import PROJECT

    return PROJECT


def pytest_claims_subjects(config: pytest.Config) -> list[Subject]:
    """One subject for each `--checkpoint`, all on the same validation set, seed and device."""
    import torch  # here and not above: `pytest --help` need not wait for it

    from circuits.subject import REGISTRY, load_subject
    from models.arguments import chosen_device

    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)  # as many workers as cores
    device = chosen_device(config.getoption("device"))
    paths = config.getoption("checkpoint") or [
        os.environ.get("CLAIMS_CHECKPOINT") or REGISTRY / "default"
    ]
    validation, seed = config.getoption("validation_set"), config.getoption("claims_seed")
    return [load_subject(path, validation=validation, seed=seed, device=device) for path in paths]


def pytest_claims_variants() -> Variants:
    """The controls and gauges of `circuits`."""
    from circuits.variants import Variants

    return Variants()


def pytest_claims_page_extras(subject: Subject, result: SubjectResult) -> PageExtras:
    """The figures of `claims`, for the page."""
    from figures.extras import page_extras

    return page_extras(subject, result)
