"""How often each interval that a claim uses covers a known truth: at ties, at skew, on few graphs,
at rates near 0 and 1.

`make coverage` draws 2,000 times for each case, prints the table that `docs/coverage.md` shows, and
ends with 1 where one covers less than 93 of 100.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import circuits.statistics
from circuits.attention import cutoff_degree, mean_over
from circuits.residual import correlation, largest_correlation, main_axis, r_squared
from circuits.statistics import (
    bootstrap,
    difference,
    highest,
    lowest,
    only,
    paired_difference,
    rate_upper_bound,
    ratio,
    second_highest,
    vertex_rate,
    worst_rate,
)
from models.randomness import named_generator
from verdicts.statistics import Estimate, clopper_pearson

DRAWS = 2000
ENOUGH = 0.93
SIZES = (3, 5, 12, 30, 100)
RATES = (0.0, 0.001, 0.01, 0.99, 1.0)
MEMBERS = 9
VERTICES = 6

Interval = Callable[[torch.Generator], Estimate | None]
Noise = Callable[..., torch.Tensor]
NOISES: dict[str, Noise] = {
    "normal": lambda *shape, generator: torch.randn(*shape, generator=generator),
    "lognormal": lambda *shape, generator: (
        (torch.randn(*shape, generator=generator).exp() - math.exp(0.5)) / _SPREAD
    ),
}
_SPREAD = math.sqrt((math.e - 1) * math.e)  # of a lognormal


def _rate(rate: float, n: int) -> Interval:
    return lambda g: clopper_pearson(int((torch.rand(n, generator=g) < rate).sum()), n)


def _upper(rate: float, n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate:
        seen = int((torch.rand(n, generator=g) < rate).sum())
        return Estimate(seen / n, 0.0, rate_upper_bound(seen, n))

    return interval


def _vertex_rate(rate: float, n: int, vertices: int, *, alike: bool) -> Interval:
    def interval(g: torch.Generator) -> Estimate:
        hits = torch.rand(n, 1 if alike else vertices, generator=g).expand(n, vertices) < rate
        return vertex_rate(hits, torch.ones(n, vertices, dtype=torch.bool))

    return interval


def _rate_difference(n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate:
        everywhere = torch.ones(n, 2, dtype=torch.bool)
        first, second = (
            vertex_rate(torch.rand(n, 2, generator=g) < rate, everywhere, confidence=0.975)
            for rate in (0.3, 0.01)
        )
        return difference(first, second)

    return interval


def _paired(n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate:
        draws = torch.rand(n, generator=g)
        return paired_difference(int((draws < 0.03).sum()), int((draws > 0.99).sum()), n)

    return interval


def _worst(n: int, rates: list[float]) -> Interval:
    group = torch.arange(len(rates)).repeat_interleave(n).double()
    truth = torch.tensor(rates).repeat_interleave(n)
    return lambda g: worst_rate(torch.rand(len(truth), generator=g) < truth, group)


def _mean(noise: Noise, n: int) -> Interval:
    return lambda g: bootstrap(noise(n, 1, generator=g), only, generator=g)


def _mean_over(noise: Noise, n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate | None:
        chosen = torch.rand(n, VERTICES, generator=g) < 0.3
        values = noise(n, 1, generator=g) + noise(n, VERTICES, generator=g)
        return mean_over(values, chosen, generator=g) if chosen.any() else None

    return interval


def _ratio(noise: Noise, n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate:
        below = 3 + torch.randn(n, generator=g).exp()
        return bootstrap(
            torch.stack([0.4 * below + 0.5 * noise(n, generator=g), below], dim=1),
            ratio,
            generator=g,
        )

    return interval


def _members(noise: Noise, n: int, truths: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return truths[:, None, None] + noise(len(truths), n, 1, generator=g)


def _extreme(
    which: Callable[..., Estimate], noise: Noise, n: int, truths: torch.Tensor
) -> Interval:
    return lambda g: which(_members(noise, n, truths, g), only, generator=g)


def _degrees(n: int, g: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 7, (n, VERTICES), generator=g)


def _correlation(noise: Noise, n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate | None:
        degree = _degrees(n, g)  # variance 4, so r = 2a/√(4a² + 1) with a = 3/8 is 0.6
        return correlation(0.375 * degree + noise(n, VERTICES, generator=g), degree, generator=g)

    return interval


def _largest_correlation(n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate | None:
        degree = _degrees(n, g)
        return largest_correlation(
            0.375 * degree[..., None] + torch.randn(n, VERTICES, 40, generator=g),
            degree,
            generator=g,
        )

    return interval


def _r_squared(noise: Noise, n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate:
        degree = _degrees(n, g)
        other = noise(n, VERTICES, generator=g)
        return r_squared(
            torch.stack([0.375 * degree + other, torch.randn(n, VERTICES, generator=g)], dim=-1),
            degree,
            generator=g,
        )

    return interval


def _rank_one(n: int) -> Interval:
    return lambda g: (
        main_axis(
            torch.randn(n, VERTICES, 2, generator=g) * torch.tensor([2.0, 1.0]), generator=g
        ).share
    )


def _cutoff(n: int) -> Interval:
    def interval(g: torch.Generator) -> Estimate | None:
        degree = _degrees(n, g)  # the mean falls from 0.8 at degree 2 to 0.3 at degree 3
        mean = torch.tensor([0.9, 0.85, 0.8, 0.3, 0.1, 0.05, 0.0])[degree]
        return cutoff_degree(
            mean + 0.2 * torch.randn(n, VERTICES, generator=g), degree, generator=g
        )

    return interval


TIED = torch.zeros(MEMBERS)
APART = torch.linspace(0, 1, MEMBERS)


def cases() -> Iterator[tuple[str, str, int, Interval, float]]:
    """Kind, what the data are like, number of graphs, the interval, and the truth."""
    for n in SIZES:
        for rate in RATES:
            yield "rate", f"{rate:g}", n, _rate(rate, n), rate
            yield "upper bound of a rate", f"{rate:g}", n, _upper(rate, n), rate
            for vertices in (2, 10):
                for alike in (True, False):
                    data = (
                        f"{rate:g}, {vertices} vertices a graph,"
                        f" {'all alike' if alike else 'independent'}"
                    )
                    yield (
                        "rate over vertices",
                        data,
                        n,
                        _vertex_rate(rate, n, vertices, alike=alike),
                        rate,
                    )
        yield "difference of rates over vertices", "0.3 and 0.01", n, _rate_difference(n), 0.29
        yield "paired difference", "lost 0.03, gained 0.01", n, _paired(n), 0.02
        yield "worst of several rates", "tied at 0.9", n, _worst(n, [0.9] * MEMBERS), 0.9
        yield "worst of several rates", "0.95, 0.9, 0.97", n, _worst(n, [0.95, 0.9, 0.97]), 0.9
        for data, noise in NOISES.items():
            yield "mean", data, n, _mean(noise, n), 0.0
            yield "mean over chosen vertices", data, n, _mean_over(noise, n), 0.0
            yield "ratio of means", data, n, _ratio(noise, n), 0.4
            yield "lowest of 9 means", f"{data}, tied", n, _extreme(lowest, noise, n, TIED), 0.0
            yield "lowest of 9 means", f"{data}, apart", n, _extreme(lowest, noise, n, APART), 0.0
            yield "highest of 9 means", f"{data}, tied", n, _extreme(highest, noise, n, TIED), 0.0
            yield (
                "second of 9 means",
                f"{data}, tied",
                n,
                _extreme(second_highest, noise, n, TIED),
                0.0,
            )
            yield "correlation", data, n, _correlation(noise, n), 0.6
            yield "R²", data, n, _r_squared(noise, n), 0.36
        yield "largest r of 40", "normal, tied", n, _largest_correlation(n), 0.6
        yield "rank-1 share", "normal", n, _rank_one(n), 0.8
        yield "cutoff degree", "normal", n, _cutoff(n), 2.6


def covered(name: str, interval: Interval, truth: float, *, draws: int) -> float:
    """Share of draws in which the interval holds the truth; one that cannot be had is open at both
    ends, and does."""
    generator = named_generator(0, f"coverage of {name}")
    found = [interval(generator) for _ in range(draws)]
    return sum(one is None or one.low - 1e-12 <= truth <= one.high + 1e-12 for one in found) / draws


def _row(index: int, draws: int) -> tuple[str, str, int, float]:
    torch.set_num_threads(1)
    circuits.statistics.RESAMPLES = 500  # as good for this; a quarter of the time
    kind, data, n, interval, truth = list(cases())[index]
    return kind, data, n, covered(f"{kind}, {data}, {n}", interval, truth, draws=draws)


def table(rows: list[tuple[str, str, int, float]], draws: int) -> str:
    """Markdown: a line for each kind and sort of data, a column for each number of graphs."""
    shares: dict[tuple[str, str], dict[int, float]] = {}
    for kind, data, n, share in rows:
        shares.setdefault((kind, data), {})[n] = share
    head = (
        f"| interval ({draws:,} draws each) | data | "
        + " | ".join(f"n = {n}" for n in SIZES)
        + " |"
    )
    lines = [head, "|---|---|" + "---|" * len(SIZES)]
    for (kind, data), by_size in sorted(shares.items()):
        lines.append(
            f"| {kind} | {data} | " + " | ".join(f"{by_size[n]:.3f}" for n in SIZES) + " |"
        )
    return "\n".join(lines)


def main() -> int:
    """Exit code 0 where every interval covers enough."""
    parser = argparse.ArgumentParser(
        description="Measure how often every interval covers a known truth."
    )
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"for each case (default {DRAWS})")
    parser.add_argument(
        "--jobs", type=int, default=2, help="processes of one core each (default 2)"
    )
    parser.add_argument("--out", type=Path, help="a Markdown file with the table as well")
    options = parser.parse_args()
    count = len(list(cases()))
    with ProcessPoolExecutor(options.jobs) as executor:
        rows = list(executor.map(_row, range(count), [options.draws] * count))
    text = table(rows, options.draws)
    print(text)
    short = [
        f"{kind}, {data}, n = {n}: {share:.3f}" for kind, data, n, share in rows if share < ENOUGH
    ]
    print(
        "\n".join(["covers less than it should:", *short])
        if short
        else f"{count} cases, each covers at least {ENOUGH}"
    )
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
