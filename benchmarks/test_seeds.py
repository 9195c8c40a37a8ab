"""Many seeds: what one costs does not grow with their number, and a stack shares the cost of each step."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from models.config import ModelConfig, TrainConfig
from models.stacked import train_stacked
from models.training import train

MODEL = ModelConfig(n_heads=2, d_model=16, d_head=8, d_mlp=16)
TRAIN = TrainConfig(n_graphs=1000, epochs=5, batch_size=50, relabel=True)
RECIPE = "[model]\nn_heads = 2\nd_model = 16\nd_head = 8\nd_mlp = 16\n[train]\nn_graphs = 300\nepochs = 2\n"
CPU = torch.device("cpu")


def many(out: Path, count: int) -> float:
    """Largest resident memory, in MiB, of any process of a run of so many seeds."""
    (out / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    script = (
        "import resource, sys; from claims.__main__ import main; code = main(sys.argv[1:]);"
        "print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024); sys.exit(code)"
    )
    arguments = ["seeds", "--count", str(count), "--out", str(out / str(count)), "--config", str(out / "recipe.toml"), "--device", "cpu"]
    command = [sys.executable, "-c", script, *arguments, "--claim", "classifies_the_validation_set"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


def test_a_seed_costs_the_same_among_two_and_among_sixteen(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    started = time.perf_counter()
    few = many(tmp_path, 2)
    yardstick = (time.perf_counter() - started) / 2
    peaks: list[float] = []
    benchmark.pedantic(lambda: peaks.append(many(tmp_path, 16)), rounds=1)
    taken = benchmark.stats.stats.min / 16
    benchmark.extra_info.update(
        work="one of 16 tiny seeds, beside one of 2", yardstick_s=yardstick, ratio=yardstick / taken, peak_mib=peaks[0],
        wanted="≥ 0.8×", parts=16,
    )  # fmt: skip
    assert yardstick / taken >= 0.8
    assert peaks[0] <= 1.1 * few


def test_a_stack_of_eight(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    seeds = range(8)

    def stacked() -> None:
        train_stacked({seed: tmp_path / f"stacked-{seed}" for seed in seeds}, model_config=MODEL, train_config=TRAIN, device=CPU)

    benchmark.pedantic(stacked, rounds=1)
    started = time.perf_counter()
    for seed in seeds:
        train(tmp_path / f"alone-{seed}", seed=seed, model_config=MODEL, train_config=TRAIN, device=CPU, progress=False)
    yardstick = time.perf_counter() - started
    ratio = yardstick / benchmark.stats.stats.min
    benchmark.extra_info.update(work="8 tiny seeds in a stack, beside one after another", yardstick_s=yardstick, ratio=ratio, wanted="≥ 1×")
    assert ratio >= 1
