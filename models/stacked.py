"""Several seeds trained in one process with their weights stacked, so that a GPU takes hardly
longer than for one (`torch.func`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from models.config import ModelConfig, TrainConfig
from models.training import DivergedError, Run, autocast, batches_of, new_optimizer, open_run
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
    leaves is the same file. Its weights are those of a run alone on the same device, but for the
    order of sums (see `train`). Those that are behind catch up first. All directories are held
    meanwhile; `InUseError` where another process holds one.
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
        ahead = [run.epochs_done for run in waiting if run.epochs_done > behind]
        stack = _Stack([run for run in waiting if run.epochs_done == behind], device)
        for _ in range(behind, min(ahead, default=train_config.epochs)):
            lost = stack.train_epoch()
            failed |= lost
            if lost:
                break  # the others go on in a stack of their own
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


_Gradients = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


class _Stack:
    """Runs that are equally far, trained epoch by epoch in one step for all."""

    def __init__(self, runs: Sequence[Run], device: torch.device) -> None:
        self.runs = runs
        self.device = device
        self.config = runs[0].config
        first = runs[0].state
        self.weights = [
            nn.Parameter(torch.stack(one))
            for one in zip(*(list(run.state.model.parameters()) for run in runs), strict=True)
        ]
        self.optimizer, self.scheduler = new_optimizer(
            self.weights, self.config, steps=first.scheduler.total_steps
        )
        self.optimizer.load_state_dict(_stacked([run.state.optimizer.state_dict() for run in runs]))
        self.scheduler.load_state_dict(first.scheduler.state_dict())
        model = _Unchecked(cast(Transformer, first.model))
        names = [f"model.{name}" for name, _ in first.model.named_parameters()]

        def losses_and_hits(
            weights: Sequence[Tensor],
            graphs: Float[Tensor, "batch vertex sender"],
            labels: Int[Tensor, " batch"],
        ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
            logits = functional_call(model, dict(zip(names, weights, strict=True)), (graphs,))
            return F.cross_entropy(logits.float(), labels), (logits.argmax(-1) == labels).sum()

        self.losses_and_hits = vmap(losses_and_hits)
        self.recorded: dict[torch.Size, _Gradients] = {}

    def train_epoch(self) -> dict[int, str]:
        """One epoch of all runs, each saved; returns why those failed that did."""
        with ThreadPoolExecutor() as pool:
            parts = list(
                pool.map(lambda run: batches_of(run.training, self.config, run.chance()), self.runs)
            )
        sums = torch.zeros(2, len(self.runs), device=self.device)
        for batch in zip(*parts, strict=True):
            graphs, labels = (
                torch.stack(part).to(self.device) for part in zip(*batch, strict=True)
            )
            losses, hits, *gradients = self._recorded_gradients(graphs, labels)
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight.grad = gradient
            self.optimizer.step()
            self.scheduler.step()
            sums += torch.stack([losses * labels.shape[1], hits])
        return self._unstack((sums / len(self.runs[0].training)).T.tolist())

    def _recorded_gradients(self, graphs: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """`_gradients`, on a GPU with the kernels recorded once for each size of a batch: to start
        them one by one takes longer than to run them."""
        if self.device.type != "cuda":
            return self._gradients(graphs, labels)
        if graphs.shape not in self.recorded:
            self.recorded[graphs.shape] = cast(
                _Gradients, torch.cuda.make_graphed_callables(self._gradients, (graphs, labels))
            )
        return self.recorded[graphs.shape](graphs, labels)

    def _gradients(
        self,
        graphs: Float[Tensor, "seed batch vertex sender"],
        labels: Int[Tensor, "seed batch"],
    ) -> tuple[Tensor, ...]:
        """Losses and numbers of right answers of all runs, and the gradient of each weight."""
        with autocast(self.config.precision, self.device):
            losses, hits = self.losses_and_hits(self.weights, graphs, labels)
        gradients = torch.autograd.grad(losses.sum(), self.weights)  # none is in two of the losses
        # fused AdamW goes through the memory of weight and gradient side by side
        return losses.detach(), hits, *(gradient.contiguous() for gradient in gradients)

    def _unstack(self, fitted: Sequence[Sequence[float]]) -> dict[int, str]:
        """Give each run its part, and save it."""
        failed: dict[int, str] = {}
        state = self.optimizer.state_dict()
        lr = float(self.scheduler.get_last_lr()[0])
        for place, (run, (loss, accuracy)) in enumerate(zip(self.runs, fitted, strict=True)):
            with torch.no_grad():
                for parameter, stack in zip(
                    run.state.model.parameters(), self.weights, strict=True
                ):
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
            run.state.scheduler.load_state_dict(self.scheduler.state_dict())
            try:
                run.end_epoch({"train_loss": loss, "train_accuracy": accuracy, "lr": lr})
            except DivergedError as error:
                failed[run.seed] = str(error)
        return failed


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
