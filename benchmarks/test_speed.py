"""The table of what must be fast. A ratio is of two times taken in one run; results of both ways
must agree to 1e-6."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import networkx as nx
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from circuits.attention import attention_log_odds, scores_of
from circuits.bounds import anchor_attention
from circuits.patching import PatchScores, every_set, path_patching
from circuits.roles import Head
from circuits.subject import answer
from claims.search import Domain, ForAll, climb, hypothesis_search
from models.checkpoint import load_checkpoint
from models.graphs import Adjacency, is_planar, named_graph, random_graphs, validation_set
from models.randomness import named_generator
from models.transformer import Transformer
from tests.naive import naive_logits
from tests.naive_climb import naive_climb
from tests.naive_patching import NaivePatching

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "default"
POINTER, TARGET, READER, ANCHORS = Head(1, 3), 3, Head(0, 3), (2, 3, 4)
Blocks = list[tuple[list[int], list[int]]]
SETS = every_set(8).tolist()
NOTEBOOK = [
    (SETS, [0, 1])
]  # 512 query sets with nothing or Embed into the key: 1,024 configurations
EVERYTHING = [(SETS, SETS)]  # 2¹⁸
SAMPLED = 32  # configurations by which the naive way is extrapolated
MEBIBYTE = 1024  # of ru_maxrss, which Linux gives in KiB


def fastest(benchmark: BenchmarkFixture) -> float:
    """Seconds of the fastest round."""
    assert benchmark.stats is not None, "nothing was timed"
    return float(benchmark.stats.stats.min)


def model() -> Transformer:
    return load_checkpoint(CHECKPOINT).model


def graphs(count: int) -> Adjacency:
    return validation_set(count=count).adjacency


def lattice(subject: Transformer, clean: Adjacency, *, blocks: Blocks) -> PatchScores:
    (scores,) = path_patching(subject, clean, named_graph("petersen"), head=POINTER, blocks=blocks)
    return scores


def peak_of_lattice(count: int, *, blocks: Blocks) -> float:
    """Largest resident memory, in MiB, of a process that does this and nothing else, imports
    included."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_peak, count, blocks).result()


def _peak(count: int, blocks: Blocks) -> float:
    lattice(model(), graphs(count), blocks=blocks)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE


def naive_seconds(count: int, configurations: list[tuple[int, int]], scores: PatchScores) -> float:
    """Time of the naive way for these configurations; its results must be those of the lattice."""
    naive = NaivePatching(model(), graphs(count), named_graph("petersen"), head=POINTER)
    seconds = 0.0
    with in_torch_alone():
        naive.scores(1, 0)  # the first pass is slower
        for query_set, key_set in configurations:
            started = time.perf_counter()
            expected = naive.scores(query_set, key_set)
            seconds += time.perf_counter() - started
            assert scores.score[query_set, key_set].item() == pytest.approx(
                expected.double().mean().item(), abs=1e-6
            )
    return seconds


@contextmanager
def in_torch_alone() -> Iterator[None]:
    """Without `models.kernels`: as fast as a model that is written down plainly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.kernels._plain", lambda *tensors: False)
        yield


@pytest.mark.parametrize(
    ("work", "count", "blocks", "sampled", "ratio", "seconds"),
    [
        ("1,024 path patchings of 128 graphs", 128, NOTEBOOK, None, 50, None),
        ("1,024 path patchings of 1,248 graphs", 1248, NOTEBOOK, SAMPLED, 50, None),
        ("all 262,144 path patchings of 128 graphs", 128, EVERYTHING, SAMPLED, 500, 20.0),
    ],
)
def test_path_patching(
    benchmark: BenchmarkFixture,
    work: str,
    count: int,
    blocks: Blocks,
    sampled: int | None,
    ratio: float,
    seconds: float | None,
) -> None:
    scores = benchmark.pedantic(
        partial(lattice, model(), graphs(count), blocks=blocks),
        rounds=1 if seconds else 3,
        warmup_rounds=0 if seconds else 1,
    )
    every = [(query_set, key_set) for query_set in blocks[0][0] for key_set in blocks[0][1]]
    chosen = every
    if sampled:
        order = torch.randperm(len(every), generator=named_generator(0, "sampled configurations"))
        chosen = [every[i] for i in order[:sampled].tolist()]
    yardstick = naive_seconds(count, chosen, scores) * len(every) / len(chosen)
    taken = fastest(benchmark)
    peak = peak_of_lattice(count, blocks=blocks)
    benchmark.extra_info.update(
        work=work,
        yardstick_s=yardstick,
        ratio=yardstick / taken,
        peak_mib=peak,
        wanted=f"≥ {ratio}×" + (f", ≤ {seconds:.0f} s" if seconds else ""),
    )
    assert yardstick / taken >= ratio
    assert taken <= (seconds or float("inf"))
    assert peak < 2048


def test_bounds_for_every_graph(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(lambda: anchor_attention(model(), READER, ANCHORS), rounds=3)
    benchmark.extra_info.update(
        work="bounds on the reader's attention for all 2⁴⁵ graphs", wanted="≤ 1 s"
    )
    assert fastest(benchmark) <= 1.0


def test_one_hypothesis_example(benchmark: BenchmarkFixture) -> None:
    scores = scores_of(model(), POINTER)
    examples = 300

    def values(batch: Adjacency) -> torch.Tensor:
        return attention_log_odds(scores(batch), position=TARGET)

    statement = ForAll(
        values, Domain(10, 15, 20), bound=-1e9
    )  # which nothing violates, so that all examples are run
    benchmark.pedantic(
        lambda: hypothesis_search(statement, entropy=0, examples=examples),
        rounds=3,
        warmup_rounds=1,
    )
    benchmark.extra_info.update(
        work="one Hypothesis example of a searched claim, model included",
        wanted="≤ 5 ms",
        parts=examples,
    )
    assert fastest(benchmark) / examples <= 5e-3


def test_planarity_labels(benchmark: BenchmarkFixture) -> None:
    batch = random_graphs(10, 18, count=2000, generator=named_generator(0, "labels"))
    labels = benchmark.pedantic(lambda: is_planar(batch), rounds=3)
    started = time.perf_counter()
    expected = [nx.check_planarity(nx.from_numpy_array(graph.numpy()))[0] for graph in batch]
    yardstick = time.perf_counter() - started
    assert labels.tolist() == expected
    ratio = yardstick / fastest(benchmark)
    benchmark.extra_info.update(
        work="planarity of 2,000 graphs, beside networkx",
        yardstick_s=yardstick,
        ratio=ratio,
        wanted="≥ 10×",
    )
    assert ratio >= 10


@pytest.mark.parametrize("work", ["a forward pass", "a climb"])
def test_against_the_plain_way(benchmark: BenchmarkFixture, work: str) -> None:
    """What `models.kernels`, `Transformer.entering` and what a climb remembers are worth."""
    subject, batch = model(), graphs(1024)
    scores = scores_of(subject, POINTER)
    statement = ForAll(
        lambda some: attention_log_odds(scores(some), position=TARGET),
        Domain(10, 15, 20),
        bound=-1e9,
    )
    state = subject.state_dict()
    fast, slow = {
        "a forward pass": (
            lambda: answer(subject, batch),
            lambda: torch.cat(
                [naive_logits(state, subject.cfg, part) for part in batch.split(256)]
            ),
        ),
        "a climb": (
            lambda: climb(statement, steps=300, generator=named_generator(0, "climb")).value,
            lambda: naive_climb(statement, steps=300, generator=named_generator(0, "climb")).value,
        ),
    }[work]
    found = torch.no_grad()(fast)()
    benchmark.pedantic(torch.no_grad()(fast), rounds=3)
    with in_torch_alone(), torch.no_grad():
        started = time.perf_counter()
        expected = slow()
        yardstick = time.perf_counter() - started
    torch.testing.assert_close(
        torch.as_tensor(found), torch.as_tensor(expected), atol=1e-4, rtol=1e-4
    )
    benchmark.extra_info.update(
        work=f"{work}, beside the plain way",
        yardstick_s=yardstick,
        ratio=yardstick / fastest(benchmark),
        wanted="≥ 1×",
    )
    assert yardstick >= fastest(benchmark)
