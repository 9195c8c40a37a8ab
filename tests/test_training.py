from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from models.__main__ import main
from models.checkpoint import load_checkpoint
from models.config import ModelConfig, TrainConfig
from models.training import METRICS_FILE, STATE_FILE, train

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


def run(directory: Path, *, seed: int = 0, config: TrainConfig = TRAIN) -> str:
    train(directory, seed=seed, model_config=MODEL, train_config=config, device=torch.device("cpu"), progress=False)
    return load_checkpoint(directory).content_hash


def test_training_learns_and_leaves_recipe_curve_and_receipt(tmp_path: Path) -> None:
    config = TrainConfig(n_graphs=100, min_edges=13, max_edges=15, epochs=60, batch_size=25, lr_max=1e-2)
    run(tmp_path / "out", config=config)
    rows = [json.loads(line) for line in (tmp_path / "out" / METRICS_FILE).read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 61))
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]  # so few graphs can be learnt by heart
    assert rows[-1]["train_accuracy"] > 0.9
    assert rows[5]["lr"] == pytest.approx(1e-2, rel=0.02)  # the peak, at 10 % of the run
    assert rows[-1]["lr"] < 1e-6
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.recipe == {"seed": 0, "train": config.to_dict()}
    assert checkpoint.metrics["validation_accuracy"] == rows[-1]["validation_accuracy"]
    assert {"wall_time_s", "torch", "threads", "training_graphs_isomorphic_to_a_validation_graph"} <= set(checkpoint.metrics)
    assert not (tmp_path / "out" / STATE_FILE).exists()


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path) -> None:
    assert run(tmp_path / "a") == run(tmp_path / "b")
    assert run(tmp_path / "c", seed=1) != load_checkpoint(tmp_path / "a").content_hash


def test_bfloat16_trains_other_weights_in_float32(tmp_path: Path) -> None:
    half = run(tmp_path / "half", config=TrainConfig(**{**TRAIN.to_dict(), "precision": "bfloat16"}))
    assert half != run(tmp_path / "full")
    assert load_checkpoint(tmp_path / "half").model.W_E.dtype == torch.float32


def test_a_run_that_is_killed_ends_with_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    command = [sys.executable, "-m", "models", "train", "--seed", "0", "--config", str(tmp_path / "recipe.toml"), "--device", "cpu"]
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and epochs(killed) < 1 and time.monotonic() < deadline:
        time.sleep(0.002)  # until an epoch is saved
    process.kill()
    process.wait()
    assert epochs(killed) < 6, "the run was over before it could be killed"
    subprocess.run([*command, "--out", str(killed)], check=True, capture_output=True)
    assert load_checkpoint(killed).content_hash == run(tmp_path / "whole")
    assert epochs(killed) == epochs(tmp_path / "whole") == 6


def epochs(directory: Path) -> int:
    path = directory / METRICS_FILE
    return len(path.read_text().splitlines()) if path.exists() else 0


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


def test_edge_counts_without_a_class_end_in_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text("[model]\nn_vertices = 7\n[train]\nmin_edges = 16\nmax_edges = 17\n", encoding="utf-8")
    assert main(["train", "--out", str(tmp_path / "out"), "--seed", "0", "--config", str(tmp_path / "recipe.toml"), "--device", "cpu"]) == 2
    assert "m = 16" in capsys.readouterr().err
