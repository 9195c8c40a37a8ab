"""One table at the end of a run: what was timed, its yardstick, their ratio, and the peak
memory."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
import torch

LEAST_SHOWN = 0.1
COLUMNS = "{:<58} {:>10} {:>12} {:>8} {:>8} {:>9}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = [bench for bench in config._benchmarksession.benchmarks if bench.extra_info]  # type: ignore[attr-defined]
    if not rows:
        return
    terminalreporter.section("benchmarks")
    terminalreporter.write_line(
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; torch"
        f" {torch.__version__}"
    )
    terminalreporter.write_line(
        COLUMNS.format("work", "time", "yardstick", "ratio", "wanted", "memory")
    )
    for bench in rows:
        info = bench.extra_info
        terminalreporter.write_line(
            COLUMNS.format(
                info["work"],
                _seconds(bench.stats.min / info.get("parts", 1)),
                _seconds(info["yardstick_s"]) if "yardstick_s" in info else "—",
                f"{info['ratio']:.0f}×" if "ratio" in info else "—",
                info["wanted"],
                f"{info['peak_mib']:.0f} MiB" if "peak_mib" in info else "—",
            )
        )
    for bench in rows:
        if "by_claim" in bench.extra_info:
            unit, by_claim = bench.extra_info["by_claim"]
            terminalreporter.write_line(f"{unit} by claim, those of a tenth or more:")
            for name, cost in sorted(by_claim.items(), key=lambda pair: -pair[1]):
                if cost >= LEAST_SHOWN:
                    terminalreporter.write_line(f"{cost:8.1f}  {name}")


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def _processor() -> str:
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if Path("/proc/cpuinfo").exists()
        else []
    )
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
