from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest

from circuits.attention import mean_over
from circuits.statistics import (
    bootstrap,
    difference,
    highest,
    lowest,
    only,
    paired_difference,
    rate_upper_bound,
    ratio,
    root_ratio,
    second_highest,
    share,
    share_lost,
    smallest_rank_correlation,
    vertex_rate,
    worst_rate,
)
from models.randomness import named_generator
from verdicts.statistics import Estimate, clopper_pearson


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (7, 50), (50, 50), (4985, 4992)])
def test_clopper_pearson_is_scipys(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    estimate = clopper_pearson(successes, trials)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert estimate.value == successes / trials
    one_sided = binomtest(successes, trials, alternative="less").proportion_ci(0.95, method="exact")
    assert rate_upper_bound(successes, trials) == pytest.approx(one_sided.high)


def test_nothing_seen_bounds_the_rate_by_three_over_n() -> None:
    assert rate_upper_bound(0, 10_000) == pytest.approx(3 / 10_000, rel=0.01)


@pytest.mark.parametrize(
    ("successes", "trials", "message"),
    [(1, 0, "trials must be at least 1"), (5, 4, "successes must be from 0"), (-1, 4, "successes")],
)
def test_rates_that_cannot_be_are_refused(successes: int, trials: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clopper_pearson(successes, trials)


def test_the_worst_of_several_rates_is_wider_than_one_alone() -> None:
    hits = torch.tensor([True] * 90 + [False] * 10 + [True] * 99 + [False])
    group = torch.tensor([0.0] * 100 + [1.0] * 100)
    worst = worst_rate(hits, group)
    alone = clopper_pearson(90, 100)
    assert worst.value == 0.9
    assert worst.low == alone.low  # the lowest rate lies above it, so all do
    assert worst.high == pytest.approx(clopper_pearson(90, 100, confidence=0.975).high)
    assert worst.high > alone.high


def test_coverage_of_the_worst_rate() -> None:
    generator = named_generator(0, "coverage of the worst rate")
    truth = torch.tensor([0.95, 0.9, 0.97])
    group = torch.arange(3).repeat_interleave(200).double()
    covered = 0
    for _ in range(300):
        estimate = worst_rate(
            torch.rand(600, generator=generator) < truth.repeat_interleave(200), group
        )
        covered += estimate.low <= 0.9 <= estimate.high
    assert covered / 300 >= 0.93


def test_coverage_of_a_ratio_over_clusters() -> None:
    """Vertices of one graph are alike: only resampling graphs covers the truth."""
    generator = named_generator(0, "coverage of a ratio")
    covered = 0
    for _ in range(200):
        effect = torch.randn(100, 1, generator=generator)
        values = effect + 0.1 * torch.randn(100, 10, generator=generator)
        chosen = (torch.rand(100, 10, generator=generator) < 0.5).float()
        per_graph = torch.stack([(values * chosen).sum(1), chosen.sum(1)], dim=1)
        estimate = bootstrap(per_graph, ratio, generator=generator)
        covered += estimate.low <= 0.0 <= estimate.high
    assert covered / 200 >= 0.90


def test_a_bootstrap_mean_agrees_with_the_normal_interval() -> None:
    values = torch.randn(2000, 1, generator=named_generator(0, "mean"))
    estimate = bootstrap(values, only, generator=named_generator(0, "resamples"))
    error = 2.576 * values.std().item() / 2000**0.5  # at the tail that skewed data need
    assert estimate.value == pytest.approx(values.double().mean().item())
    assert (estimate.low, estimate.high) == pytest.approx(
        (estimate.value - error, estimate.value + error), abs=0.2 * error
    )


def test_the_same_generator_gives_the_same_interval_and_one_graph_none() -> None:
    values = torch.randn(50, 1, generator=named_generator(0, "mean"))
    first, second = (
        bootstrap(values, only, generator=named_generator(1, "same")) for _ in range(2)
    )
    assert first == second
    few = bootstrap(values[:29], only, generator=named_generator(1, "same"))
    assert (few.low, few.high, few.cases) == (-math.inf, math.inf, 29)
    with pytest.raises(ValueError, match="at least one graph, got none"):
        bootstrap(values[:0], only, generator=named_generator(1, "same"))


def test_a_paired_difference_covers_the_truth_and_does_not_vanish_where_nothing_changed() -> None:
    generator = named_generator(0, "coverage of a paired difference")
    covered = 0
    for _ in range(300):
        draws = torch.rand(500, generator=generator)
        lost, gained = int((draws < 0.03).sum()), int((draws > 0.99).sum())
        estimate = paired_difference(lost, gained, 500)
        covered += estimate.low <= 0.02 <= estimate.high
    assert covered / 300 >= 0.95  # conservative
    assert paired_difference(15, 5, 500).value == pytest.approx(0.02)
    assert paired_difference(5, 15, 500).high == pytest.approx(-paired_difference(15, 5, 500).low)
    nothing = paired_difference(0, 0, 1000)
    assert nothing.value == 0
    assert (
        nothing.high
        == -nothing.low
        == pytest.approx(clopper_pearson(0, 1000, confidence=0.975).high)
    )
    with pytest.raises(ValueError, match=r"at most trials = 10, got 6 \+ 5"):
        paired_difference(6, 5, 10)


def test_the_smallest_rank_correlation_is_that_of_the_two_settings_that_agree_least() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0], [2.0, 1.0, 3.0, 4.0]])
    assert smallest_rank_correlation(scores[:2]) == pytest.approx(1.0)
    assert smallest_rank_correlation(scores) == pytest.approx(
        0.8
    )  # one exchange of neighbours among four
    assert smallest_rank_correlation(torch.cat([scores, -scores[:1]])) == pytest.approx(-1.0)
    assert smallest_rank_correlation(torch.ones(2, 4)) is None
    with pytest.raises(ValueError, match="at least 2 settings"):
        smallest_rank_correlation(scores[:1])


def members(*means: float, n: int = 400) -> torch.Tensor:
    noise = torch.randn(
        len(means), n, 1, generator=named_generator(0, "members"), dtype=torch.float64
    )
    return (
        torch.tensor(means, dtype=torch.float64)[:, None, None]
        + noise
        - noise.mean(1, keepdim=True)
    )


def test_the_lowest_of_members_far_apart_is_the_lowest_alone() -> None:
    found = lowest(members(0.0, 5.0, 9.0), only, generator=named_generator(1, "r"))
    alone = bootstrap(members(0.0, 5.0, 9.0)[0], only, generator=named_generator(1, "r"))
    assert (found.value, found.low) == (pytest.approx(0.0, abs=1e-9), pytest.approx(alone.low))
    half = bootstrap(members(0.0, 5.0, 9.0)[0, 1::2], only, generator=named_generator(2, "r"))
    assert found.high == pytest.approx(half.high, abs=0.05)
    turned = highest(members(0.0, -5.0, -9.0), only, generator=named_generator(1, "r"))
    assert turned.value == pytest.approx(0.0, abs=1e-9)
    second = second_highest(members(9.0, 0.0, -5.0), only, generator=named_generator(1, "r"))
    assert second.value == pytest.approx(0.0, abs=1e-9)
    assert -0.4 < second.low < 0 < second.high < 0.4


def test_a_conjunction_holds_where_each_member_clears_and_is_refuted_where_one_misses() -> None:
    found = lowest(members(0.5, 0.5, 0.5), only, generator=named_generator(1, "r"))
    assert 0.2 < found.low < 0.5 < found.high < 0.8
    assert lowest(members(0.5, 0.5, -0.5), only, generator=named_generator(1, "r")).high < 0


def test_what_does_not_vary_has_a_point_for_an_interval_and_what_does_not_exist_none() -> None:
    same = bootstrap(torch.ones(50, 1), only, generator=named_generator(0, "same"))
    assert (same.low, same.high) == (1.0, 1.0)
    nothing = bootstrap(torch.zeros(50, 2), ratio, generator=named_generator(0, "nothing"))
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)


def test_a_rate_over_vertices_counts_graphs_where_their_vertices_are_alike() -> None:
    hits = torch.zeros(50, 10, dtype=torch.bool)
    hits[:5] = True
    everywhere = torch.ones_like(hits)
    found, graphs = vertex_rate(hits, everywhere), clopper_pearson(5, 50)
    assert (found.value, found.low, found.high) == pytest.approx(
        (graphs.value, graphs.low, graphs.high)
    )
    uneven = torch.zeros(50, 10, dtype=torch.bool)
    uneven[:, 0] = True
    uneven[0] = True
    effective = 59**2 / (49 + 100)
    assert vertex_rate(hits, uneven).low == pytest.approx(
        clopper_pearson(14 / 59 * effective, effective).low
    )
    with pytest.raises(ValueError, match="at least one vertex, got none"):
        vertex_rate(hits, ~everywhere)


def test_a_difference_is_as_wide_as_both_together() -> None:
    found = difference(Estimate(0.5, 0.4, 0.7, 90), Estimate(0.2, 0.1, 0.25, 80))
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.15, 0.6))


def test_every_estimate_over_graphs_is_made_of_its_cases() -> None:
    """Each says per graph what it is made of, and that gives its value back."""
    chance = torch.Generator().manual_seed(0)
    members = 1 + torch.rand(3, 200, 2, generator=chance, dtype=torch.float64)
    hits = torch.rand(200, 10, generator=chance) < 0.3
    chosen = torch.rand(200, 10, generator=chance) < 0.5
    everywhere = torch.ones_like(chosen)
    found = {
        "share": share(hits[:, 0]),
        "share of flips": share(hits.double().mean(1)),
        "lost": share_lost(hits[:, 0], hits[:, 1]),
        "worst": worst_rate(hits[:, 0], torch.arange(200.0) % 3),
        "vertices": vertex_rate(hits, chosen),
        "difference": difference(vertex_rate(hits, chosen), vertex_rate(hits, everywhere)),
        "mean": bootstrap(members[0, :, :1], only, generator=chance),
        "ratio": bootstrap(members[0], ratio, generator=chance),
        "root": bootstrap(members[0], root_ratio, generator=chance),
        "lowest": lowest(members, ratio, generator=chance),
        "highest": highest(members, ratio, generator=chance),
        "second": second_highest(members, ratio, generator=chance),
        "over vertices": mean_over(hits.double(), chosen, generator=chance),
    }
    for name, estimate in found.items():
        assert estimate.per_case is not None, name
        columns = [torch.as_tensor(column).double() for column in estimate.per_case.columns]
        assert all(len(column) == 200 for column in columns), name
        means = [column.mean() for column in columns]
        again = means[0] / means[1] if estimate.per_case.kind == "ratio" else means[0]
        assert again.item() == pytest.approx(estimate.value, abs=1e-9), name


def test_the_linear_part_of_a_statistic_has_its_error() -> None:
    """The spread of what each graph adds, over √n, is the standard error of the statistic."""
    chance = torch.Generator().manual_seed(0)
    sample = torch.rand(4000, 2, generator=chance, dtype=torch.float64) + 0.5
    found = bootstrap(sample, root_ratio, generator=chance)
    assert found.per_case is not None
    error = found.per_case.columns[0].std().item() / 4000**0.5
    draws = torch.randint(4000, (300, 4000), generator=chance)
    spread = root_ratio(sample[draws].mean(1)).std().item()
    assert error == pytest.approx(spread, rel=0.12)
