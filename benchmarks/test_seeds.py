"""Many seeds: what one costs does not grow with their number."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_speed import fastest

RECIPE = (
    "[model]\nn_heads = 2\nd_model = 16\nd_head = 8\nd_mlp = 16\n[train]\nn_graphs = 300\nepochs"
    " = 2\n"
)


def many(out: Path, count: int) -> float:
    """Largest resident memory, in MiB, of any process of a run of so many seeds."""
    (out / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    script = (
        "import resource, sys; from studies.__main__ import main; code ="
        " main(sys.argv[1:]);print(max(resource.getrusage(who).ru_maxrss for who in"
        " (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024); sys.exit(code)"
    )
    arguments = [
        "seeds",
        "--count",
        str(count),
        "--out",
        str(out / str(count)),
        "--config",
        str(out / "recipe.toml"),
        "--device",
        "cpu",
    ]
    command = [sys.executable, "-c", script, *arguments, "--claim", "classifies_the_validation_set"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


def test_a_seed_costs_the_same_among_two_and_among_sixteen(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    started = time.perf_counter()
    few = many(tmp_path, 2)
    yardstick = (time.perf_counter() - started) / 2
    peaks: list[float] = []
    benchmark.pedantic(lambda: peaks.append(many(tmp_path, 16)), rounds=1)
    taken = fastest(benchmark) / 16
    benchmark.extra_info.update(
        work="one of 16 tiny seeds, beside one of 2",
        yardstick_s=yardstick,
        ratio=yardstick / taken,
        peak_mib=peaks[0],
        wanted="≥ 0.8×",
        parts=16,
    )
    assert yardstick / taken >= 0.8
    assert peaks[0] <= 1.1 * few
