from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.__main__ import main
from models.checkpoint import load_checkpoint
from models.config import ModelConfig, TrainConfig
from models.graphs import validation_set
from models.randomness import named_generator
from models.training import EPOCHS, METRICS_FILE, STATE_FILE, evaluate, kept_epoch, train
from models.transformer import Transformer
from tests.processes import ROOT, one_thread

MODEL = ModelConfig(n_vertices=8, n_layers=1, n_heads=2, d_model=16, d_head=8, d_mlp=32)
TRAIN = TrainConfig(n_graphs=400, min_edges=13, max_edges=15, epochs=6, batch_size=50, relabel=True)
RECIPE = """
[model]
n_vertices = 8
n_layers = 1
n_heads = 2
d_model = 16
d_head = 8
d_mlp = 32
[train]
n_graphs = 400
min_edges = 13
max_edges = 15
epochs = 6
batch_size = 50
relabel = true
"""


# Alone and in a stack, on other threads or with other instructions of the processor, runs were seen
# to differ by 5e-7 in logits, 1e-6 in weights and 1e-7 in losses; where noise of a last digit
# (1.2e-7 of the largest) is put on every gradient, by as much, and by 2e-6 in weights.
LOGITS, WEIGHTS, LOSS = 2e-5, 1e-4, 1e-5
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def require_same_training(one: Path, other: Path) -> None:
    """All that training determines is the same; b_K has no gradient, so that it is noise."""
    first, second = load_checkpoint(one), load_checkpoint(other)
    assert first.recipe == second.recipe
    edge_counts = TrainConfig.from_dict(first.recipe["train"]).edge_counts
    graphs = validation_set(first.model.cfg.n_vertices, edge_counts).adjacency
    same = {"rtol": 0.0, "atol": LOGITS}
    torch.testing.assert_close(first.model(graphs), second.model(graphs), **same)
    weights = second.model.state_dict()
    for name, weight in first.model.state_dict().items():
        if not name.endswith("attn.b_K"):
            message = f"{one}, {other}: {name}"
            assert torch.allclose(weight, weights[name], rtol=0, atol=WEIGHTS), message
    for row, twin in zip(curve(one), curve(other), strict=True):
        assert row.keys() == twin.keys()
        assert row["epoch"] == twin["epoch"]
        assert row["lr"] == pytest.approx(twin["lr"], rel=1e-9)
        for split in ("train", "validation"):
            assert row[f"{split}_loss"] == pytest.approx(twin[f"{split}_loss"], abs=LOSS)
            # a graph or two may lie on the edge
            accuracies = (metrics[f"{split}_accuracy"] for metrics in (row, twin))
            assert next(accuracies) == pytest.approx(next(accuracies), abs=0.01)


def curve(directory: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (directory / METRICS_FILE).read_text().splitlines()]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def run(
    directory: Path, *, seed: int = 0, config: TrainConfig = TRAIN, keep_every: int | None = None
) -> str:
    train(
        directory,
        seed=seed,
        model_config=MODEL,
        train_config=config,
        device=torch.device("cpu"),
        keep_every=keep_every,
        progress=False,
    )
    return load_checkpoint(directory).content_hash


def test_training_learns_and_leaves_recipe_curve_and_receipt(tmp_path: Path) -> None:
    config = TrainConfig(
        n_graphs=100, min_edges=13, max_edges=15, epochs=60, batch_size=25, lr_max=1e-2
    )
    run(tmp_path / "out", config=config)
    rows = [json.loads(line) for line in (tmp_path / "out" / METRICS_FILE).read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 61))
    assert (
        rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    )  # so few graphs can be learnt by heart
    assert rows[-1]["train_accuracy"] > 0.9
    assert rows[5]["lr"] == pytest.approx(1e-2, rel=0.02)  # the peak, at 10 % of the run
    assert rows[-1]["lr"] < 1e-6
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.recipe == {"seed": 0, "train": config.to_dict()}
    assert checkpoint.metrics["validation_accuracy"] == rows[-1]["validation_accuracy"]
    assert {
        "wall_time_s",
        "torch",
        "threads",
        "training_graphs_isomorphic_to_a_validation_graph",
    } <= set(checkpoint.metrics)
    assert not (tmp_path / "out" / STATE_FILE).exists()


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path) -> None:
    assert run(tmp_path / "a") == run(tmp_path / "b")
    assert run(tmp_path / "c", seed=1) != load_checkpoint(tmp_path / "a").content_hash


def test_bfloat16_trains_other_weights_in_float32(tmp_path: Path) -> None:
    config = TrainConfig(**{**TRAIN.to_dict(), "precision": "bfloat16"})
    if not torch.backends.mkldnn.is_available():
        with pytest.raises(ValueError, match="needs a CPU build of torch with oneDNN"):
            run(tmp_path / "half", config=config)
        return
    half = run(tmp_path / "half", config=config)
    assert half != run(tmp_path / "full")
    assert load_checkpoint(tmp_path / "half").model.W_E.dtype == torch.float32


KILLED_AFTER_AN_EPOCH = """
import os, signal, sys
import models.training
from models.__main__ import main

def save(*arguments):
    models.training.saved(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

models.training.saved, models.training._save = models.training._save, save
main(sys.argv[1:])
"""


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_run_that_is_killed_ends_with_the_same_weights(tmp_path: Path, kills: int) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    killed, recipe = tmp_path / "killed", str(tmp_path / "recipe.toml")
    command = ["train", f"--out={killed}", "--seed=0", f"--config={recipe}", "--device=cpu"]
    for epoch in range(1, kills + 1):
        code = [sys.executable, "-c", KILLED_AFTER_AN_EPOCH, *command]
        process = subprocess.run(code, cwd=ROOT, env=ONE_THREAD, capture_output=True, check=False)
        assert process.returncode == -signal.SIGKILL
        assert epochs(killed) == epoch
    whole = [sys.executable, "-m", "models", *command]
    subprocess.run(whole, cwd=ROOT, env=ONE_THREAD, check=True, capture_output=True)
    assert load_checkpoint(killed).content_hash == run(tmp_path / "whole")
    assert epochs(killed) == epochs(tmp_path / "whole") == 6


def epochs(directory: Path) -> int:
    path = directory / METRICS_FILE
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_epochs_are_kept_where_asked_and_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    out = tmp_path / "kept"
    command = [f"--out={out}", "--seed=0", f"--config={tmp_path / 'recipe.toml'}", "--device=cpu"]
    assert main(["train", *command, "--keep-every=4"]) == 0
    assert load_checkpoint(out).content_hash == run(tmp_path / "plain")
    assert sorted(path.name for path in (out / EPOCHS).iterdir()) == ["epoch-000", "epoch-004"]
    start, fourth = (load_checkpoint(kept_epoch(out, epoch)) for epoch in (0, 4))
    assert torch.equal(
        start.model.W_E, Transformer(MODEL).initialise(named_generator(0, "weights")).W_E
    )
    assert fourth.recipe == {"seed": 0, "train": TRAIN.to_dict(), "epochs_done": 4}
    assert fourth.metrics == curve(out)[3]
    graphs = validation_set(8, TRAIN.edge_counts)
    row = evaluate(fourth.model, graphs)
    assert row["validation_loss"] == pytest.approx(fourth.metrics["validation_loss"], abs=LOSS)


def test_every_epoch_is_kept_of_a_run_that_was_stopped(tmp_path: Path) -> None:
    def stop(*arguments: object) -> None:
        raise OSError("stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "models.training._save", stop
        )  # an epoch that is kept and not yet saved is done again
        with pytest.raises(OSError, match="stopped"):
            run(tmp_path / "out", keep_every=1)
    assert kept_epoch(tmp_path / "out", 1).exists()
    run(tmp_path / "out", keep_every=1)
    run(tmp_path / "whole", keep_every=1)
    for epoch in range(TRAIN.epochs):
        one, other = (
            load_checkpoint(kept_epoch(tmp_path / name, epoch)) for name in ("out", "whole")
        )
        assert one.content_hash == other.content_hash


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    def full_disk(*arguments: object, **keywords: object) -> None:
        raise OSError("disk full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.save_checkpoint", full_disk)
        with pytest.raises(OSError, match="disk full"):
            run(tmp_path / "out")
    with pytest.raises(ValueError, match="another recipe or seed"):
        run(tmp_path / "out", seed=1)
    (tmp_path / "out" / STATE_FILE).write_bytes(b"half")
    with pytest.raises(ValueError, match="not a training state"):
        run(tmp_path / "out")


def test_a_finished_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    before = run(tmp_path / "out")
    with pytest.raises(ValueError, match="already holds a trained checkpoint"):
        run(tmp_path / "out", seed=1)
    assert load_checkpoint(tmp_path / "out").content_hash == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["--seed", "0", "--config", "none.toml"], "none.toml: no such file"),
        (["--seed", "0", "--device", "cuda"], "no CUDA device"),
        (["--seed", "0", "--keep-every", "0"], "--keep-every must be 1 or more, got 0"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    if torch.cuda.is_available() and "cuda" in arguments:
        arguments = ["--seed", "-1"]
        message = "--seed"
    assert main(["train", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_edge_counts_without_a_class_end_in_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(
        "[model]\nn_vertices = 7\n[train]\nmin_edges = 16\nmax_edges = 17\n", encoding="utf-8"
    )
    assert (
        main(
            [
                "train",
                "--out",
                str(tmp_path / "out"),
                "--seed",
                "0",
                "--config",
                str(tmp_path / "recipe.toml"),
                "--device",
                "cpu",
            ]
        )
        == 2
    )
    assert "m = 16" in capsys.readouterr().err
