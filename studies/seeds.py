"""Many seeds: each trained, its roles found and every claim judged; what is done is told by its
content and not done again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from circuits.finder import find_roles
from circuits.roles import keep_roles
from circuits.subject import load_subject
from claims.catalogue import all_claims
from models.checkpoint import Checkpoint, load_checkpoint
from models.config import ModelConfig, TrainConfig
from models.graphs import load_validation_set, validation_set
from models.stacked import train_stacked
from models.training import METRICS_FILE, train
from studies.registration import RegistrationError
from verdicts.files import remove_leftovers
from verdicts.judge import Claim, judge_all
from verdicts.lock import hold
from verdicts.record import RecordError, make_record, place_for, read_record, write_record
from verdicts.schema import SubjectResult

STACK = 32
"""Seeds that one process trains together on a GPU."""
PATIENCE = 60.0
"""Seconds that a worker waits for a seed: those of a run that was killed need a moment to end."""


@dataclasses.dataclass(frozen=True)
class Study:
    """How every seed is trained and judged. `claims` are the ids of those to judge; where none is
    named, all but those that rest on a census, which a study does not take."""

    model_config: ModelConfig
    train_config: TrainConfig
    device: str = "cpu"
    validation: Path | None = None
    claims_seed: int = 0
    claims: tuple[str, ...] = ()
    registration: Mapping[str, str] | None = None
    """Commit and hash of the predictions that the seeds are judged for; every record names them."""

    def chosen(self) -> list[Claim]:
        """The claims to judge; `ValueError` for one that there is not."""
        claims = {claim.id: claim for claim in all_claims()}
        for name in self.claims:
            if name not in claims:
                raise ValueError(
                    f"--claim must be the id of a claim, like {min(claims)}; got {name!r}"
                )
        return (
            [claims[name] for name in self.claims]
            if self.claims
            else [claim for claim in claims.values() if claim.evidence != "exhausted"]
        )

    @property
    def partial(self) -> str | None:
        """Why its records are of a part of the claims; `None` where all are judged."""
        return f"--claim {' '.join(self.claims)}" if self.claims else None

    def place_of(self, target: Target) -> Path:
        """Where the record of a target goes: that of a part never replaces one of all claims."""
        return place_for(target.record, partial=self.partial is not None)

    def graphs_hash(self) -> str:
        """Content hash of the validation set that all are judged on; `ValueError` where it cannot
        be read."""
        n = self.model_config.n_vertices
        graphs = (
            load_validation_set(self.validation, n_vertices=n)
            if self.validation
            else validation_set(n, self.train_config.edge_counts)
        )
        return graphs.content_hash


@dataclasses.dataclass(frozen=True)
class Target:
    """A checkpoint to judge, and where its record goes; one with a seed is trained first."""

    name: str
    path: Path
    record: Path
    seed: int | None = None
    epoch: int | None = None
    """Of which epoch the weights are, where they are one of several that one training kept."""

    @classmethod
    def of_seed(cls, out: Path, seed: int) -> Target:
        """Everything of a seed is in a directory of its own."""
        return cls(f"seed {seed}", out / f"seed-{seed}", out / f"seed-{seed}" / "record.json", seed)

    @classmethod
    def of_epoch(cls, path: Path, epoch: int, *, record: Path) -> Target:
        """The weights that a training kept after so many epochs."""
        return cls(f"epoch {epoch}", path, record, epoch=epoch)

    @classmethod
    def of_checkpoint(cls, out: Path, path: Path) -> Target:
        """A checkpoint that is there already. `CheckpointError` where it cannot be used."""
        name = load_checkpoint(path).name
        return cls(name, path, out / f"{name}.json")

    @property
    def trained(self) -> bool:
        """Whether the weights are there."""
        return self.seed is None or (self.path / "config.json").exists()

    @property
    def epochs_done(self) -> int:
        """Epochs of its training that are saved."""
        metrics = self.path / METRICS_FILE
        return len(metrics.read_bytes().splitlines()) if metrics.exists() else 0


def run_study(
    study: Study,
    targets: Sequence[Target],
    executor: Executor,
    *,
    report: Callable[[str | None], None],
) -> tuple[dict[str, SubjectResult], dict[str, str]]:
    """Train and judge what is not done yet, on an executor whose workers see the same files; one
    that fails loses no other.

    Returns the subjects of the records and the reasons why there is none, both by name. `report`
    gets a line on each that is done or failed, and `None` every second. `ValueError` for what
    cannot be used, before anything is begun.
    """
    graphs_hash = study.graphs_hash()
    missing = [target for target in targets if judged(study, target, graphs_hash) is None]
    size = 1 if study.device == "cpu" else STACK
    units = [missing[start : start + size] for start in range(0, len(missing), size)]
    waiting = {executor.submit(train_and_judge, study, unit): unit for unit in units}
    failed: dict[str, str] = {}
    try:
        while waiting:
            for future in wait(waiting, timeout=1, return_when="FIRST_COMPLETED").done:
                names, error = [target.name for target in waiting.pop(future)], future.exception()
                failed |= future.result() if error is None else dict.fromkeys(names, _lost(error))
                for name in names:
                    report(f"{name}: {failed.get(name, 'done')}")
            report(None)
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    found = {target.name: judged(study, target, graphs_hash) for target in targets}
    for name, subject in found.items():
        if subject is None:
            failed.setdefault(
                name,
                "its worker is through, but its record is not there; every worker must see the"
                " directory of --out",
            )
    return {name: subject for name, subject in found.items() if subject is not None}, failed


def judged(study: Study, target: Target, graphs_hash: str) -> SubjectResult | None:
    """The subject in a target's record, if that is of these weights, graphs, seed and claims;
    `None` where it is to be judged.

    `ValueError` where the weights are there and follow from another recipe, or were judged for
    other predictions.
    """
    if not target.trained:
        return None
    checkpoint = load_checkpoint(target.path)
    if target.seed is not None:
        wanted = (study.model_config, target.seed, study.train_config.to_dict())
        if (
            checkpoint.model.cfg,
            checkpoint.recipe.get("seed"),
            checkpoint.recipe.get("train"),
        ) != wanted:
            raise ValueError(
                f"{target.path}: was trained by another recipe; name another --out, or the recipe"
                " that it was trained by"
            )
    try:
        record = read_record(study.place_of(target))
    except RecordError:
        return None
    subject = record.subjects[0]
    if study.registration is not None and target.seed is not None:
        _require_registration(study, target, subject.about.get("registration"))
    ids = sorted(claim.id for claim in study.chosen())
    run = record.run
    judged_as = (subject.content_hash, subject.validation_set, run.seed, run.device)
    wanted_as = (checkpoint.content_hash, graphs_hash, study.claims_seed, study.device)
    found = [claim.id for claim in subject.claims]
    return subject if judged_as == wanted_as and found == ids else None


def _require_registration(study: Study, target: Target, found: Mapping[str, str] | None) -> None:
    """Whether a seed was judged when these predictions stood, and not before or for others."""
    assert study.registration is not None
    if (found or {}).get("sha256") != study.registration["sha256"]:
        then = f"for those of commit {found['commit']}" if found else "without any"
        raise RegistrationError(
            f"{study.place_of(target)}: was judged {then}; a prediction is of seeds that nobody has"
            " seen"
        )


def train_and_judge(study: Study, targets: Sequence[Target]) -> dict[str, str]:
    """What a worker does: one target alone, several seeds in a stack. Returns by name why those
    failed that did."""
    if study.device == "cpu":
        torch.set_num_threads(
            1
        )  # as many workers as cores; and weights depend on the number of threads
    with ExitStack() as held:
        failed = _hold(held, targets)
        ours = [target for target in targets if target.name not in failed]
        return failed | _train_and_judge(study, ours)


def _hold(held: ExitStack, targets: Sequence[Target]) -> dict[str, str]:
    """Keep others out of the directories of seeds; returns by name why some cannot be had."""
    failed: dict[str, str] = {}
    for target in targets:
        if target.seed is not None:
            try:
                held.enter_context(hold(target.path, patience=0.0 if failed else PATIENCE))
                remove_leftovers(target.path)
            except (ValueError, OSError) as error:
                failed[target.name] = _lost(error)
    return failed


def _train_and_judge(study: Study, targets: Sequence[Target]) -> dict[str, str]:
    failed: dict[str, str] = {}
    untrained = {
        target.seed: target.path
        for target in targets
        if target.seed is not None and not target.trained
    }
    device = torch.device(study.device)
    try:
        if len(untrained) > 1:
            lost = train_stacked(
                untrained,
                model_config=study.model_config,
                train_config=study.train_config,
                device=device,
            )
            failed |= {f"seed {seed}": text for seed, text in lost.items()}
        for seed, path in untrained.items() if len(untrained) == 1 else ():
            train(
                path,
                seed=seed,
                model_config=study.model_config,
                train_config=study.train_config,
                device=device,
                progress=False,
            )
    except (
        Exception
    ) as error:  # whatever keeps a seed from being trained is reported as its outcome
        failed |= dict.fromkeys([f"seed {seed}" for seed in untrained], _lost(error))
    for target in targets:
        if target.name not in failed:
            try:
                _judge(study, target)
            except Exception as error:
                failed[target.name] = _lost(error)
    return failed


def _judge(study: Study, target: Target) -> None:
    about: dict[str, Any] = {}
    if target.seed is not None or target.epoch is not None:
        checkpoint = load_checkpoint(target.path)
        roles, scores = find_roles(checkpoint.model)
        path = target.path / "roles.json"
        keep_roles(
            path,
            roles,
            cfg=checkpoint.model.cfg,
            content_hash=checkpoint.content_hash,
            scores=scores,
        )
        about = {"training": _receipt(target, checkpoint), "role_scores": scores}
        if study.registration is not None:
            about["registration"] = dict(study.registration)
    subject = load_subject(
        target.path, validation=study.validation, seed=study.claims_seed, device=study.device
    )
    judged_now = judge_all(study.chosen(), subject)
    if about:
        judged_now = replace(judged_now, about=about)
    record = make_record(
        [judged_now], seed=study.claims_seed, device=study.device, partial=study.partial
    )
    write_record(study.place_of(target), record)


def _receipt(target: Target, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the weights follow from, and how they were learnt."""
    recipe = {
        **checkpoint.recipe,
        "model": checkpoint.model.cfg.to_dict(),
        "metrics": checkpoint.metrics,
    }
    if target.epoch is not None:
        return {**recipe, "epochs_done": target.epoch}
    rows = [json.loads(line) for line in (target.path / METRICS_FILE).read_bytes().splitlines()]
    curve = {
        key: [float(f"{row[key]:.4g}") for row in rows]
        for key in ("train_loss", "validation_loss", "validation_accuracy")
    }
    return {**recipe, "curve": curve}


def _lost(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return "its process was killed; the same command goes on where it was"
    return f"{type(error).__name__}: {error}".rstrip(": ")
