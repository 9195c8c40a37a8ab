"""The training loop: stopped at any moment, it goes on where it was and ends with the same
weights."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import safetensors
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from models.checkpoint import save_checkpoint
from models.config import AnyModelConfig, MLPConfig, TrainConfig
from models.graphs import (
    Adjacency,
    GraphSet,
    balanced_set,
    count_isomorphic,
    relabel,
    validation_set,
)
from models.mlp import MLPBaseline
from models.randomness import named_generator
from models.refusal import in_one_line
from models.transformer import Transformer
from verdicts.files import remove_leftovers, write_bytes
from verdicts.lock import hold

STATE_FILE = "training-state.safetensors"
METRICS_FILE = "metrics.jsonl"
EPOCHS = "epochs"
"""Directory in that of a run, with a checkpoint of each epoch that was kept."""
_METADATA_KEY = "training"


class DivergedError(ValueError):
    """A loss is no number any more."""


@dataclasses.dataclass
class TrainingState:
    """All that the rest of a run depends on; `rows` are the metrics of the epochs that are done."""

    model: Transformer | MLPBaseline
    optimizer: torch.optim.AdamW
    scheduler: torch.optim.lr_scheduler.OneCycleLR
    rows: list[dict[str, float]]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


@dataclasses.dataclass
class Run:
    """One training run on its way: where it goes, what it learns from, and how far it is."""

    directory: Path
    seed: int
    config: TrainConfig
    training: GraphSet
    validation: GraphSet
    state: TrainingState
    started: float
    keep_every: int | None = None

    @property
    def epochs_done(self) -> int:
        """Whole epochs, all of them saved."""
        return len(self.state.rows)

    @property
    def recipe(self) -> dict[str, Any]:
        """What the weights follow from, beside the sizes of the model."""
        return {"seed": self.seed, "train": self.config.to_dict()}

    def chance(self) -> torch.Generator:
        """Order and relabelling of the epoch to come: they follow from the seed and the epoch
        alone."""
        return named_generator(self.seed, f"epoch {self.epochs_done}")

    def end_epoch(self, fitted: Mapping[str, float]) -> None:
        """Add a row of metrics and save all; `DivergedError`, and nothing is saved, where a loss is
        no number."""
        elapsed = round(time.perf_counter() - self.started, 1)
        row = {
            "epoch": self.epochs_done + 1,
            **fitted,
            **evaluate(self.state.model, self.validation),
            "elapsed_s": elapsed,
        }
        _require_finite("training", row["train_loss"])
        _require_finite("validation", row["validation_loss"])
        self.state.rows.append(row)
        self.keep()
        _save(self.directory, self.state, self.recipe)

    def keep(self) -> None:
        """Keep the weights as they are, where they are of an epoch to be kept; those of the last
        are the checkpoint."""
        done = self.epochs_done
        if self.keep_every is None or done % self.keep_every or done == self.config.epochs:
            return
        kept = kept_epoch(self.directory, done)
        kept.mkdir(parents=True, exist_ok=True)
        remove_leftovers(kept)
        metrics = self.state.rows[-1] if done else {}
        save_checkpoint(
            kept, self.state.model, recipe={**self.recipe, "epochs_done": done}, metrics=metrics
        )

    def finish(self) -> None:
        """Put the checkpoint in place of the state."""
        last = self.state.rows[-1]
        receipt = {
            **{
                key: last[key]
                for key in (
                    "train_loss",
                    "train_accuracy",
                    "validation_loss",
                    "validation_accuracy",
                )
            },
            "wall_time_s": last["elapsed_s"],
            "validation_graphs": len(self.validation),
            "training_graphs_isomorphic_to_a_validation_graph": count_isomorphic(
                self.training.adjacency, self.validation.adjacency
            ),
            "torch": torch.__version__,
            "device": self.state.device.type,
            **self._gpu(),
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
        }
        save_checkpoint(self.directory, self.state.model, recipe=self.recipe, metrics=receipt)
        (self.directory / STATE_FILE).unlink()

    def _gpu(self) -> dict[str, str]:
        device = self.state.device
        return {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}


def kept_epoch(directory: Path, epoch: int) -> Path:
    """Where a run keeps the weights after so many epochs; those after none are its start."""
    return directory / EPOCHS / f"epoch-{epoch:03}"


def open_run(
    directory: Path,
    *,
    seed: int,
    model_config: AnyModelConfig,
    train_config: TrainConfig,
    device: torch.device,
    keep_every: int | None = None,
) -> Run:
    """A run that starts, or goes on where it was stopped, in a directory that the caller holds.

    `ValueError` where it cannot.
    """
    if keep_every is not None and keep_every < 1:
        raise ValueError(f"keep_every must be 1 or more, got {keep_every}")
    remove_leftovers(directory)
    if (directory / "config.json").exists():
        (directory / STATE_FILE).unlink(
            missing_ok=True
        )  # killed between writing the one and deleting the other
        raise ValueError(f"{directory}: already holds a trained checkpoint; name another directory")
    if (
        device.type == "cpu"
        and train_config.precision == "bfloat16"
        and not torch.backends.mkldnn.is_available()
    ):
        raise ValueError(
            "precision 'bfloat16' needs a CPU build of torch with oneDNN; use 'float32'"
        )
    validation = validation_set(model_config.n_vertices, train_config.edge_counts)
    training = balanced_set(
        model_config.n_vertices,
        train_config.edge_counts,
        count=train_config.n_graphs,
        generator=named_generator(seed, "training set"),
        exclude=validation,
    )
    state = _start(
        seed,
        model_config,
        train_config,
        device,
        steps_per_epoch=-(-len(training) // train_config.batch_size),
    )
    run = Run(
        directory, seed, train_config, training, validation, state, time.perf_counter(), keep_every
    )
    if (directory / STATE_FILE).exists():
        _restore(directory / STATE_FILE, state, run.recipe)
        run.started -= state.rows[-1]["elapsed_s"]
    _write_metrics(
        directory, state.rows
    )  # if nothing can be written there, that is known now and not after an epoch
    if run.epochs_done == 0:
        run.keep()
    return run


def train(
    directory: Path,
    *,
    seed: int,
    model_config: AnyModelConfig,
    train_config: TrainConfig,
    device: torch.device,
    keep_every: int | None = None,
    progress: bool = True,
) -> Path:
    """Train one model into `directory`, or go on with the run that was stopped there; returns the
    directory.

    With `keep_every` the weights before the first epoch and after every so many are kept as
    checkpoints of their own (see `kept_epoch`).

    Every epoch's order and relabelling follow from the seed and the epoch, so the state that is
    written after each epoch holds all. On one machine with one number of threads the weights are
    the same however often it is stopped.

    The graphs, their order and relabelling, and the recipe are the same on every machine, and so is
    the start but for its last digits. Another machine or number of threads adds up in another
    order: that, too, changes last digits only, but over many steps they grow until all weights are
    others, and even which head plays which role. b_K is noise from the first step on: softmax
    leaves it without a gradient, and AdamW makes whole steps of what rounding puts there. A GPU
    differs in more than that where the precision is `bfloat16`: torch takes softmax in float32
    there, and in bfloat16 on a CPU.

    While it trains it holds the directory: `InUseError` where another process does.
    """
    with hold(directory):
        run = open_run(
            directory,
            seed=seed,
            model_config=model_config,
            train_config=train_config,
            device=device,
            keep_every=keep_every,
        )
        batches = -(-len(run.training) // train_config.batch_size)
        with tqdm(
            total=train_config.epochs * batches,
            initial=run.epochs_done * batches,
            unit="batch",
            disable=not progress,
            desc=f"seed {seed}",
            mininterval=0.5,
            dynamic_ncols=True,
        ) as bar:
            while run.epochs_done < train_config.epochs:
                run.end_epoch(_run_epoch(run, bar=bar))
        run.finish()
    return directory


@torch.no_grad()
def evaluate(
    model: Transformer | MLPBaseline, graphs: GraphSet, *, batch_size: int = 512
) -> dict[str, float]:
    """Mean cross-entropy and accuracy over a set of graphs."""
    logits = torch.cat([model(batch).cpu() for batch in graphs.adjacency.split(batch_size)])
    loss = F.cross_entropy(logits, graphs.labels).item()
    accuracy = (logits.argmax(-1) == graphs.labels).double().mean().item()
    return {"validation_loss": loss, "validation_accuracy": accuracy}


def _start(
    seed: int,
    model_config: AnyModelConfig,
    train_config: TrainConfig,
    device: torch.device,
    *,
    steps_per_epoch: int,
) -> TrainingState:
    untrained = (
        MLPBaseline(model_config)
        if isinstance(model_config, MLPConfig)
        else Transformer(model_config)
    )
    model = untrained.initialise(named_generator(seed, "weights")).to(device)
    optimizer, scheduler = new_optimizer(
        model.parameters(), train_config, steps=train_config.epochs * steps_per_epoch
    )
    return TrainingState(model, optimizer, scheduler, [])


def new_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: TrainConfig, *, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW and its schedule over so many steps, as the recipe says."""
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.lr_max,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.lr_max,
        total_steps=steps,
        pct_start=config.lr_pct_start,
        cycle_momentum=False,
    )
    return optimizer, scheduler


def _run_epoch(run: Run, *, bar: tqdm[Any]) -> dict[str, float]:
    state, training, config = run.state, run.training, run.config
    loss_sum = correct = 0.0
    for graphs, labels in batches_of(training, config, run.chance()):
        labels = labels.to(state.device)
        with autocast(config.precision, state.device):
            logits = state.model(graphs.to(state.device))
        loss, hits = _step(state, logits.float(), labels)
        loss_sum, correct = loss_sum + loss * len(labels), correct + hits
        bar.update()
        bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{hits / len(labels):.1%}", refresh=False)
    return {
        "train_loss": loss_sum / len(training),
        "train_accuracy": correct / len(training),
        "lr": float(state.scheduler.get_last_lr()[0]),
    }


def batches_of(
    training: GraphSet, config: TrainConfig, generator: torch.Generator
) -> Iterator[tuple[Adjacency, Int[Tensor, " batch"]]]:
    """Graphs and labels of one epoch in a random order, relabelled where the recipe says so: a copy
    of the set, that is cut into batches."""
    order = torch.randperm(len(training), generator=generator)
    graphs = training.adjacency[order]
    if config.relabel:
        graphs = relabel(graphs, generator)
    size = config.batch_size
    return zip(graphs.split(size), training.labels[order].split(size), strict=True)


def _step(
    state: TrainingState, logits: Float[Tensor, "batch n_classes"], labels: Int[Tensor, " batch"]
) -> tuple[float, int]:
    """One step down the gradient; returns the loss and the number of right answers before it."""
    loss = F.cross_entropy(logits, labels)
    _require_finite("training", loss.item())
    state.optimizer.zero_grad()
    loss.backward()
    state.optimizer.step()
    state.scheduler.step()
    return loss.item(), int((logits.argmax(-1) == labels).sum())


def _require_finite(kind: str, loss: float) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the {kind} loss became {loss}; lower lr_max, or use precision = 'float32'"
        )


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Under which a model runs in that precision."""
    return (
        torch.autocast(device.type, dtype=torch.bfloat16)
        if precision == "bfloat16"
        else nullcontext()
    )


def _save(directory: Path, state: TrainingState, recipe: Mapping[str, Any]) -> None:
    """The state first: it holds the metrics too, so that the file of metrics can always be written
    again."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    optimizer = state.optimizer.state_dict()
    for index, moments in optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{key}": tensor for key, tensor in moments.items()}
    schedule = state.scheduler.state_dict()
    extra = {
        "recipe": recipe,
        "rows": state.rows,
        "param_groups": optimizer["param_groups"],
        "scheduler": schedule,
    }
    metadata = {_METADATA_KEY: json.dumps(extra, sort_keys=True)}
    write_bytes(directory / STATE_FILE, save(tensors, metadata))
    _write_metrics(directory, state.rows)


def _write_metrics(directory: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    write_bytes(directory / METRICS_FILE, lines.encode())


def _restore(path: Path, state: TrainingState, recipe: Mapping[str, Any]) -> None:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            extra = json.loads(file.metadata()[_METADATA_KEY])
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: not a training state: {in_one_line(error)}; remove it to start anew"
        ) from None
    if extra["recipe"] != json.loads(json.dumps(recipe)):
        raise ValueError(
            f"{path}: belongs to another recipe or seed; name another directory, or remove it to"
            " start anew"
        )
    state.model.load_state_dict(
        {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    )
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensor
    state.optimizer.load_state_dict({"state": moments, "param_groups": extra["param_groups"]})
    state.scheduler.load_state_dict(extra["scheduler"])
    state.rows[:] = extra["rows"]
