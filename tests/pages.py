"""The page of the shipped checkpoint on a sixteenth of its validation graphs, and of models that
lack something."""

from __future__ import annotations

import functools
from typing import Any

from circuits.roles import Roles
from circuits.subject import REGISTRY, Subject, load_subject
from claims.catalogue import all_claims
from claims.project import PROJECT
from figures.extras import page_extras
from models.config import ModelConfig
from models.graphs import validation_set
from models.randomness import named_generator
from models.transformer import Transformer
from verdicts.judge import judge_all
from verdicts.page import PageExtras, render_page
from verdicts.record import make_record, read_record
from verdicts.schema import Record


@functools.cache
def shipped() -> tuple[Subject, Record]:
    """The subject, with few graphs, and its ledger."""
    subject = load_subject(REGISTRY / "default").every(16)
    return subject, read_record(subject.ledger_path)


@functools.cache
def shipped_extras() -> PageExtras:
    subject, ledger = shipped()
    return page_extras(subject, ledger.subjects[0])


@functools.cache
def shipped_page(*, served: bool = False) -> str:
    return render_page(shipped()[1], shipped_extras(), project=PROJECT, served=served)


def untrained_subject(*, roles: dict[str, Any] | None = None, **changes: Any) -> Subject:
    """A small untrained model with the given roles, or none."""
    cfg = ModelConfig(
        **{"n_vertices": 7, "d_model": 16, "n_heads": 2, "d_head": 4, "d_mlp": 12, **changes}
    )
    model = Transformer(cfg).initialise(named_generator(0, "untrained")).requires_grad_(False)
    graphs = validation_set(cfg.n_vertices, range(9, 12), count=60)
    return Subject(
        "untrained",
        "sha256:untrained",
        model,
        Roles(roles or {}),
        graphs,
        range(9, 12),
        0,
        REGISTRY / "none",
        searching=False,
    )


def page_of(subject: Subject) -> str:
    """The page of a subject judged on what little it has."""
    result = judge_all(all_claims(), subject)
    return render_page(
        make_record([result], seed=0, device="cpu"), page_extras(subject, result), project=PROJECT
    )
