"""What judging all claims costs, in plain forward passes over the validation graphs.

The plain pass is `tests.naive`, in torch's own operations, which no change of the model makes
faster. *Passes* are the time of judging over that of a plain pass in the same process. How fast the
machine is does not change them, but its make does: what is written for one processor gains less on
another. So what fails where it has grown is the arithmetic of matrix products, which is counted and
the same everywhere.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.test_speed import CHECKPOINT, MEBIBYTE
from circuits.subject import Subject, load_subject
from claims.catalogue import all_claims
from claims.project import PROJECT
from figures.extras import page_extras
from tests.naive import naive_logits
from verdicts.judge import Claim, judge
from verdicts.page import render_page
from verdicts.record import read_record

ROOT = CHECKPOINT.parent.parent
STORED = Path(__file__).with_name("arithmetic.json")
GROWTH = 1.25  # times what is stored: more is a fault
LARGEST_PEAK = 1536  # MiB of one process, the goal
BATCH, EVERY = 256, 8
T = TypeVar("T")
FREE = "position_subtracts_two_neighbours"  # a claim that costs nothing


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run of all claims took, on one thread."""

    plain_s: float
    """Of one plain pass, the mean of all."""
    by_claim: dict[str, float]
    """Passes of each claim, by the plain ones before and after it."""
    peak_mib: float
    page_s: float
    """Of the page, drawn of what the claims have left."""

    @property
    def passes(self) -> float:
        """Of the whole run, from the first claim to the last."""
        return sum(self.by_claim.values())


def cost_of_all_claims() -> Cost:
    """Judges every claim on the shipped checkpoint, a part of a plain pass before and after each:
    other work on the machine slows both."""
    torch.set_num_threads(1)
    subject = load_subject(CHECKPOINT)
    plain_pass(subject)  # the first is slower
    plain, by_claim = [plain_pass(subject)], {}
    for claim in all_claims():
        started = time.process_time()
        judge_without_error(claim, subject)
        seconds = time.process_time() - started
        plain.append(plain_pass(subject))
        by_claim[claim.id] = 2 * seconds / (plain[-2] + plain[-1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE
    started = time.process_time()
    draw_page(subject)
    return Cost(sum(plain) / len(plain), by_claim, peak, time.process_time() - started)


def arithmetic_of_all_claims() -> dict[str, float]:
    """Operations in the matrix products of each claim, over those of a plain pass."""
    torch.set_num_threads(1)
    subject = load_subject(CHECKPOINT)
    plain = operations(lambda: plain_pass(subject)) * EVERY
    return {
        claim.id: operations(partial(judge_without_error, claim, subject)) / plain
        for claim in all_claims()
    }


def judge_without_error(claim: Claim, subject: Subject) -> None:
    """A claim that ends in an error costs too little."""
    verdict = judge(claim, subject)
    assert verdict.verdict != "error", verdict.reason


def operations(work: Callable[[], object]) -> int:
    """Additions and multiplications in the matrix products of some work, oneDNN's included."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise")  # not to every build of torch
    ours = {torch.ops.mkldnn._linear_pointwise: _affine_operations} if known else {}
    with FlopCounterMode(display=False, custom_mapping=ours) as counter:
        work()
    return counter.get_total_flops()


def _affine_operations(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Of `torch.ops.mkldnn._linear_pointwise`, by the shapes of what it takes."""
    return 2 * math.prod(x) * weight[0]


def draw_page(subject: Subject) -> str:
    """The page of the subject with the verdicts that it is known to have."""
    record = read_record(CHECKPOINT / "verdicts.json")
    return render_page(record, page_extras(subject, record.subjects[0]), project=PROJECT)


@torch.no_grad()
def plain_pass(subject: Subject) -> float:
    """Seconds of processor time of one plain pass, by an eighth of the graphs."""
    model, graphs = subject.model, subject.graphs.adjacency[::EVERY]
    state, started = model.state_dict(), time.process_time()
    for batch in graphs.split(BATCH):
        naive_logits(state, model.cfg, batch)
    return EVERY * (time.process_time() - started)


def test_passes_of_all_claims(benchmark: BenchmarkFixture) -> None:
    cost = in_a_process_of_its_own(benchmark, cost_of_all_claims)
    benchmark.extra_info.update(
        work=f"all claims, {cost.passes:.1f} passes of {cost.plain_s:.2f} s, one thread; then the"
        f" page, {cost.page_s:.1f} s",
        wanted=f"≤ 40 passes, ≤ {LARGEST_PEAK} MiB",
        peak_mib=cost.peak_mib,
        by_claim=("passes", cost.by_claim),
    )
    assert cost.peak_mib <= LARGEST_PEAK


def test_arithmetic_of_all_claims(benchmark: BenchmarkFixture) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))["plain_passes"]
    by_claim = in_a_process_of_its_own(benchmark, arithmetic_of_all_claims)
    total = sum(by_claim.values())
    benchmark.extra_info.update(
        work=f"the matrix products of all claims, {total:.1f} times those of a plain pass",
        wanted=f"≤ {GROWTH * stored:.0f} times",
        by_claim=("arithmetic, in plain passes,", by_claim),
    )
    assert total <= GROWTH * stored, by_claim


def in_a_process_of_its_own(benchmark: BenchmarkFixture, work: Callable[[], T]) -> T:
    """What the work gives; nothing that another benchmark has left is there."""
    found: list[T] = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        benchmark.pedantic(lambda: found.append(executor.submit(work).result()), rounds=1)
    return found[0]


def test_first_verdict(benchmark: BenchmarkFixture) -> None:
    command = [sys.executable, "-m", "pytest", "claims", "-q", "-k", FREE, "-pno:cacheprovider"]
    run = partial(
        subprocess.run, command, cwd=ROOT, env=os.environ, check=True, capture_output=True
    )
    benchmark.pedantic(run, rounds=3)
    benchmark.extra_info.update(work="from `pytest claims` to the first verdict", wanted="—")


def test_page(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(lambda: draw_page(load_subject(CHECKPOINT)), rounds=1, warmup_rounds=1)
    benchmark.extra_info.update(work="the page of a record", wanted="—")
