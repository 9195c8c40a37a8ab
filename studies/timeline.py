"""The life of a circuit: the claims judged on the weights of every epoch that a training kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claims.catalogue import all_claims
from models.checkpoint import load_checkpoint
from models.config import ModelConfig, TrainConfig
from models.training import EPOCHS
from studies.seeds import Study, Target
from verdicts.schema import SubjectResult
from verdicts.series import Chart, Row, Series

SPLITS = ("train_loss", "validation_loss", "validation_accuracy")


def unsearched() -> tuple[str, ...]:
    """The claims that need neither a search nor a census: those are what takes long."""
    return tuple(
        claim.id for claim in all_claims() if claim.evidence not in ("searched", "exhausted")
    )


def kept_targets(run: Path, claims: tuple[str, ...]) -> list[Target]:
    """The epochs that a run has kept and its end, in order; `ValueError` where it kept none.

    Each choice of claims has records of its own, so that none replaces another.
    """
    chosen = hashlib.sha256(" ".join(sorted(claims)).encode()).hexdigest()[:8] if claims else "all"
    kept = [path for path in (run / EPOCHS).glob("epoch-*") if path.is_dir()]
    found = {int(path.name.removeprefix("epoch-")): path for path in kept}
    if not found:
        raise ValueError(f"{run}: has no {EPOCHS}; train it with --keep-every K")
    if (run / "config.json").exists():
        found[TrainConfig.from_dict(load_checkpoint(run).recipe["train"]).epochs] = run
    return [
        Target.of_epoch(
            found[epoch], epoch, record=run / EPOCHS / f"epoch-{epoch:03}.{chosen}.json"
        )
        for epoch in sorted(found)
    ]


def study_of(targets: Sequence[Target], claims: tuple[str, ...]) -> Study:
    """How the epochs of one run are judged: on the graphs of its own recipe, all in one way."""
    checkpoint = load_checkpoint(targets[0].path)
    cfg = checkpoint.model.cfg
    assert isinstance(cfg, ModelConfig)
    return Study(cfg, TrainConfig.from_dict(checkpoint.recipe["train"]), claims=claims)


def series(subjects: Sequence[SubjectResult]) -> Series:
    """What came and went, from the subjects of a record; `ValueError` where they are not those of a
    timeline."""
    try:
        at = [subject.about["training"]["epochs_done"] for subject in subjects]
        scores = [subject.about["role_scores"] for subject in subjects]
        metrics = [subject.about["training"]["metrics"] for subject in subjects]
        roles = [list(subject.roles) for subject in subjects][-1]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the record of a timeline: a subject has no {error}") from None
    parts = [_role(role, subjects) for role in roles]
    charts = [_curve(name, [one.get(name) for one in metrics]) for name in SPLITS]
    charts += [
        _score(role, [one.get(role, {}) for one in scores]) for role in roles if role != "target"
    ]
    legend = "■  found    □  found, but another than in the end"
    return Series("epoch", at, subjects, parts, charts, legend)


def _role(role: str, subjects: Sequence[SubjectResult]) -> Row:
    """Where a role is found: ■ by the part that plays it in the end, □ by another."""
    found = [subject.roles[role] for subject in subjects]
    marks = [" " if one is None else "■" if one == found[-1] else "□" for one in found]
    return Row.of(
        role, marks, [one is not None for one in found], "" if found[-1] is None else str(found[-1])
    )


def _curve(name: str, values: Sequence[float | None]) -> Chart:
    return Chart(name, values, [], [])


def _score(role: str, scores: Sequence[Mapping[str, Any]]) -> Chart:
    """How well the best candidate plays a role, with the floor below which nobody is picked."""
    floors = sorted({one["floor"] for one in scores if "floor" in one})
    values = [one.get("score") for one in scores]
    return Chart(
        f"{role}: best candidate",
        values,
        [],
        [],
        tuple(floors[:1]),
        f"floor {floors[0]:.3g}" if floors else "",
    )
