"""Every kind of interval covers a known truth in at least 93 of 100 draws (95 nominal), over 1,000 draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from circuits.attention import cutoff_degree, mean_over
from circuits.residual import correlation, main_axis, r_squared
from circuits.statistics import Estimate, bootstrap, clopper_pearson, only, paired_difference, rate_upper_bound, ratio, worst_rate
from models.randomness import named_generator

DRAWS = 1000
GRAPHS, VERTICES = 150, 6

Case = tuple[Callable[[torch.Generator], Estimate | None], float]


def _clustered(generator: torch.Generator) -> torch.Tensor:
    """Values with a part that all vertices of a graph share, so that vertices are not independent."""
    return torch.randn(GRAPHS, 1, generator=generator) + torch.randn(GRAPHS, VERTICES, generator=generator)


def _mean(generator: torch.Generator) -> Estimate:
    return bootstrap(_clustered(generator).mean(1, keepdim=True), only, generator=generator)


def _ratio(generator: torch.Generator) -> Estimate:
    below = 3 + torch.randn(GRAPHS, generator=generator).exp()
    return bootstrap(torch.stack([0.4 * below + 0.5 * torch.randn(GRAPHS, generator=generator), below], dim=1), ratio, generator=generator)


def _mean_over(generator: torch.Generator) -> Estimate:
    chosen = torch.rand(GRAPHS, VERTICES, generator=generator) < 0.3
    return mean_over(_clustered(generator) + 2.0, chosen, generator=generator)


def _rate(generator: torch.Generator) -> Estimate:
    return clopper_pearson(int((torch.rand(GRAPHS, generator=generator) < 0.93).sum()), GRAPHS)


def _upper(generator: torch.Generator) -> Estimate:
    seen = int((torch.rand(2000, generator=generator) < 0.002).sum())
    return Estimate(seen / 2000, 0.0, rate_upper_bound(seen, 2000))


def _worst(generator: torch.Generator) -> Estimate:
    group = torch.arange(3).repeat_interleave(100).double()
    truth = torch.tensor([0.95, 0.9, 0.97]).repeat_interleave(100)
    return worst_rate(torch.rand(300, generator=generator) < truth, group)


def _paired(generator: torch.Generator) -> Estimate:
    draws = torch.rand(500, generator=generator)
    return paired_difference(int((draws < 0.03).sum()), int((draws > 0.99).sum()), 500)


def _degrees(generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 7, (GRAPHS, VERTICES), generator=generator)


def _correlation(generator: torch.Generator) -> Estimate | None:
    degree = _degrees(generator)  # variance 4, so r = 2a/√(4a² + 1) with a = 3/8 is 0.6
    return correlation(0.375 * degree + torch.randn(GRAPHS, VERTICES, generator=generator), degree, generator=generator)


def _r_squared(generator: torch.Generator) -> Estimate:
    degree = _degrees(generator)
    noise = torch.randn(GRAPHS, VERTICES, generator=generator)
    return r_squared(torch.stack([0.375 * degree + noise, noise.roll(1, 0)], dim=-1), degree, generator=generator)


def _rank_one(generator: torch.Generator) -> Estimate:
    values = torch.randn(GRAPHS, VERTICES, 2, generator=generator) * torch.tensor([2.0, 1.0])
    return main_axis(values, generator=generator).share


def _cutoff(generator: torch.Generator) -> Estimate | None:
    degree = _degrees(generator)  # the mean falls from 0.8 at degree 2 to 0.3 at degree 3
    mean = torch.tensor([0.9, 0.85, 0.8, 0.3, 0.1, 0.05, 0.0])[degree]
    return cutoff_degree(mean + 0.2 * torch.randn(GRAPHS, VERTICES, generator=generator), degree, generator=generator)


CASES: dict[str, Case] = {
    "mean": (_mean, 0.0), "ratio of means": (_ratio, 0.4), "mean over chosen vertices": (_mean_over, 2.0), "rate": (_rate, 0.93),
    "upper bound of a rate": (_upper, 0.002), "worst of several rates": (_worst, 0.9), "paired difference": (_paired, 0.02),
    "correlation": (_correlation, 0.6), "R²": (_r_squared, 0.36), "rank-1 share": (_rank_one, 0.8), "cutoff degree": (_cutoff, 2.6),
}  # fmt: skip


@pytest.mark.parametrize("interval", CASES)
def test_an_interval_covers_the_truth(interval: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuits.statistics.RESAMPLES", 500)  # as good for this; a quarter of the time
    estimate, truth = CASES[interval]
    generator = named_generator(0, f"coverage of {interval}")
    covered = 0
    for _ in range(DRAWS):
        found = estimate(generator)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert covered / DRAWS >= 0.93
