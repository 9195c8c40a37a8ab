from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from models.config import TrainConfig
from models.stacked import train_stacked
from models.training import METRICS_FILE, STATE_FILE, train
from tests.models.test_training import MODEL, TRAIN, require_same_training

CPU = torch.device("cpu")


def stacked(directories: dict[int, Path], config: TrainConfig = TRAIN) -> dict[int, str]:
    return train_stacked(directories, model_config=MODEL, train_config=config, device=CPU)


def test_seeds_in_a_stack_end_with_the_weights_that_they_have_alone(tmp_path: Path) -> None:
    seeds = (0, 3, 7)
    for seed in seeds:
        train(
            tmp_path / f"alone-{seed}",
            seed=seed,
            model_config=MODEL,
            train_config=TRAIN,
            device=CPU,
            progress=False,
        )
    assert stacked({seed: tmp_path / f"stacked-{seed}" for seed in seeds}) == {}
    for seed in seeds:
        require_same_training(tmp_path / f"alone-{seed}", tmp_path / f"stacked-{seed}")
        assert not (tmp_path / f"stacked-{seed}" / STATE_FILE).exists()


def test_a_stack_goes_on_from_wherever_each_seed_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One seed stopped alone after two epochs, one after four, one not begun: the first two catch
    up, then all go on together."""
    whole = {seed: tmp_path / f"whole-{seed}" for seed in range(3)}
    stacked(whole)
    parts = {seed: tmp_path / f"parts-{seed}" for seed in range(3)}
    for seed, epochs in ((0, 2), (1, 4)):
        _stop_after(epochs, parts[seed], seed, monkeypatch)
    assert stacked(parts) == {}
    for seed in range(3):
        require_same_training(whole[seed], parts[seed])


def _stop_after(epochs: int, directory: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        if len((directory / METRICS_FILE).read_text().splitlines()) == epochs:
            raise KeyboardInterrupt

    from models.training import _save as save

    with monkeypatch.context() as patch:
        patch.setattr("models.training._save", stop)
        with pytest.raises(KeyboardInterrupt):
            train(
                directory,
                seed=seed,
                model_config=MODEL,
                train_config=TRAIN,
                device=CPU,
                progress=False,
            )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recorded_step_computes_what_it_does_kernel_by_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last batch is smaller, and in bfloat16."""
    config = dataclasses.replace(TRAIN, batch_size=48, precision="bfloat16")

    def train_both(name: str) -> list[Path]:
        directories = {seed: tmp_path / f"{name}-{seed}" for seed in (0, 3)}
        cuda = torch.device("cuda")
        assert (
            train_stacked(directories, model_config=MODEL, train_config=config, device=cuda) == {}
        )
        return list(directories.values())

    recorded = train_both("recorded")
    monkeypatch.setattr("torch.cuda.make_graphed_callables", lambda step, sample: step)
    for one, other in zip(recorded, train_both("plain"), strict=True):
        require_same_training(one, other)


def test_a_seed_that_diverges_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.training import open_run

    def spoiled(directory: Path, *, seed: int, **settings: object) -> object:
        run = open_run(directory, seed=seed, **settings)  # type: ignore[arg-type]
        if seed == 1:
            run.training.adjacency.fill_(torch.nan)
        return run

    alone = {0: tmp_path / "alone-0", 2: tmp_path / "alone-2"}
    stacked(alone)
    monkeypatch.setattr("models.stacked.open_run", spoiled)
    directories = {seed: tmp_path / str(seed) for seed in range(3)}
    assert stacked(directories) == {
        1: "the training loss became nan; lower lr_max, or use precision = 'float32'"
    }
    assert not (directories[1] / "config.json").exists()
    for seed, directory in alone.items():
        require_same_training(directory, directories[seed])


def test_a_seed_whose_last_step_of_an_epoch_leaves_no_numbers_takes_nobody_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loss was still finite, and its weights are not."""
    from models.stacked import _Stack

    real = _Stack.train_epoch

    def spoil(stack: _Stack) -> dict[int, str]:
        unstack = stack._unstack
        if len(stack.runs) == 3:

            def spoiled(fitted: object) -> dict[int, str]:
                with torch.no_grad():
                    stack.weights[0][1] = torch.nan
                return unstack(fitted)  # type: ignore[arg-type]

            stack._unstack = spoiled  # type: ignore[method-assign]
        return real(stack)

    monkeypatch.setattr(_Stack, "train_epoch", spoil)
    directories = {seed: tmp_path / str(seed) for seed in range(3)}
    assert stacked(directories) == {
        1: "the validation loss became nan; lower lr_max, or use precision = 'float32'"
    }
    assert (directories[0] / "config.json").exists()
    assert not (directories[1] / STATE_FILE).exists()
