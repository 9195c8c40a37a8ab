"""Several seeds trained in one process with their weights stacked, so that a GPU takes hardly
longer than for one (`torch.func`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from models.config import ModelConfig, TrainConfig
from models.training import Run, autocast, batches_of, new_optimizer, open_run
from models.transformer import Transformer
from verdicts.lock import hold


def train_stacked(
    directories: Mapping[int, Path],
    *,
    model_config: ModelConfig,
    train_config: TrainConfig,
    device: torch.device,
) -> dict[int, str]:
    """Train each seed into its directory, or go on with what was stopped there; returns why those
    failed that did, by seed.

    Each seed has the graphs, the order and the start that it has alone, and the state that it
    leaves is the same file. Its weights are those of a run alone but for the order of sums (see
    `train`). Those that are behind catch up first. All directories are held meanwhile; `InUseError`
    where another process holds one.
    """
    with ExitStack() as held:
        for directory in directories.values():
            held.enter_context(hold(directory))
        runs = {
            seed: open_run(
                directory,
                seed=seed,
                model_config=model_config,
                train_config=train_config,
                device=device,
            )
            for seed, directory in directories.items()
        }
        return _train(runs, train_config, device)


def _train(
    runs: Mapping[int, Run],
    train_config: TrainConfig,
    device: torch.device,
) -> dict[int, str]:
    failed: dict[int, str] = {}
    while waiting := [
        run
        for run in runs.values()
        if run.epochs_done < train_config.epochs and run.seed not in failed
    ]:
        behind = min(run.epochs_done for run in waiting)
        failed |= _epoch([run for run in waiting if run.epochs_done == behind], device)
    for run in runs.values():
        if run.seed not in failed:
            run.finish()
    return failed


class _Unchecked(nn.Module):
    """The model on adjacency matrices that need not be looked at again: `vmap` cannot branch on
    them."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, adjacency: Float[Tensor, "batch vertex sender"]
    ) -> Float[Tensor, "batch n_classes"]:
        return self.model.of_adjacency(adjacency)


def _epoch(runs: Sequence[Run], device: torch.device) -> dict[int, str]:
    """One epoch of runs that are equally far, each saved; returns why those failed that did."""
    config, first = runs[0].config, runs[0].state
    model = _Unchecked(cast(Transformer, first.model))
    names = [f"model.{name}" for name, _ in first.model.named_parameters()]
    weights = [
        nn.Parameter(torch.stack(one))
        for one in zip(*(list(run.state.model.parameters()) for run in runs), strict=True)
    ]
    optimizer, scheduler = new_optimizer(weights, config, steps=first.scheduler.total_steps)
    optimizer.load_state_dict(_stacked([run.state.optimizer.state_dict() for run in runs]))
    scheduler.load_state_dict(first.scheduler.state_dict())

    def losses_and_hits(
        weights: Sequence[Tensor],
        graphs: Float[Tensor, "batch vertex sender"],
        labels: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        logits = functional_call(model, dict(zip(names, weights, strict=True)), (graphs,)).float()
        return F.cross_entropy(logits, labels), (logits.argmax(-1) == labels).sum()

    sums = torch.zeros(2, len(runs), device=device)
    batches = zip(*(batches_of(run.training, config, run.chance()) for run in runs), strict=True)
    for batch in batches:
        graphs, labels = (torch.stack(part).to(device) for part in zip(*batch, strict=True))
        with autocast(config.precision, device):
            losses, hits = vmap(losses_and_hits)(weights, graphs, labels)
        optimizer.zero_grad()
        losses.sum().backward()  # no weight is in two of the losses
        optimizer.step()
        scheduler.step()
        sums += torch.stack([losses.detach(), hits]) * torch.tensor(
            [[labels.shape[1]], [1]], device=device
        )
    return _unstack(runs, weights, optimizer, scheduler, (sums / len(runs[0].training)).T.tolist())


def _stacked(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One optimizer's state out of several; the number of steps is the same in all."""
    moments = {
        index: {
            key: (
                values[key]
                if key == "step"
                else torch.stack([state["state"][index][key] for state in states])
            )
            for key in values
        }
        for index, values in states[0]["state"].items()
    }
    return {"state": moments, "param_groups": states[0]["param_groups"]}


def _unstack(
    runs: Sequence[Run],
    weights: Sequence[Tensor],
    optimizer: torch.optim.AdamW,
    scheduler: Any,
    fitted: Sequence[Sequence[float]],
) -> dict[int, str]:
    """Give each run its part, and save it."""
    failed = {}
    state = optimizer.state_dict()
    lr = float(scheduler.get_last_lr()[0])
    for place, (run, (loss, accuracy)) in enumerate(zip(runs, fitted, strict=True)):
        if not math.isfinite(loss):
            failed[run.seed] = (
                f"the training loss became {loss}; lower lr_max, or use precision = 'float32'"
            )
            continue
        with torch.no_grad():
            for parameter, stack in zip(run.state.model.parameters(), weights, strict=True):
                parameter.copy_(stack[place])
        moments = {
            index: {
                key: value.clone() if key == "step" else value[place].clone()
                for key, value in values.items()
            }
            for index, values in state["state"].items()
        }
        run.state.optimizer.load_state_dict(
            {"state": moments, "param_groups": state["param_groups"]}
        )
        run.state.scheduler.load_state_dict(scheduler.state_dict())
        run.end_epoch({"train_loss": loss, "train_accuracy": accuracy, "lr": lr})
    return failed
