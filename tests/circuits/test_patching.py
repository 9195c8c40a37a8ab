from __future__ import annotations

import itertools
import math

import pytest
import torch

from circuits.coalitions import (
    best_by_size,
    best_score_by_size,
    best_sets,
    by_path,
    notebook_coalitions,
    one_path_scores,
    shapley_values,
)
from circuits.components import path_names
from circuits.interventions import HookReceiptError, run_edited
from circuits.patching import NothingToRestore, every_set, frobenius, path_patching
from circuits.roles import Head
from models.config import ModelConfig
from models.graphs import Adjacency, named_graph, random_graphs
from models.randomness import named_generator
from models.transformer import Transformer
from tests import planted
from tests.circuits.test_measurements import CFG, random_model
from tests.naive_patching import NaivePatching
from tests.planted import planted_model

HEAD = Head(1, 2)


def some(n: int = 6, count: int = 8, name: str = "clean") -> Adjacency:
    return random_graphs(n, 7, count=count, generator=named_generator(0, name)).double()


def test_every_configuration_equals_the_naive_one() -> None:
    model = random_model()
    clean, corrupted = some(), some(count=1, name="corrupted")
    naive = NaivePatching(model, clean, corrupted, head=HEAD)
    sets = every_set(CFG.n_heads).tolist()
    (scores,) = path_patching(model, clean, corrupted, head=HEAD, blocks=[(sets, sets)])
    for query_set, key_set in itertools.product(sets, sets):
        torch.testing.assert_close(
            scores.per_graph[:, query_set, key_set],
            naive.scores(query_set, key_set),
            atol=1e-9,
            rtol=1e-9,
        )


def test_few_sets_on_one_side_are_read_as_many_are() -> None:
    """Where each graph has more sets than are patched at a time, products with the few are read."""
    model = Transformer(ModelConfig()).initialise(named_generator(0, "model")).double()
    clean, corrupted = some(10, count=2), some(10, count=1, name="corrupted")
    head, sets = Head(1, 6), every_set(8).tolist()
    (whole,) = path_patching(model, clean, corrupted, head=head, blocks=[(sets, sets)])
    queries, keys = path_patching(
        model, clean, corrupted, head=head, blocks=[(sets, [5, 0]), ([7], sets)]
    )
    torch.testing.assert_close(queries.numerator, whole.numerator[:, :, [5, 0]])
    torch.testing.assert_close(keys.numerator, whole.numerator[:, [7]])


def test_a_corrupted_graph_for_each_clean_one() -> None:
    model, clean, corrupted = random_model(), some(), some(name="corrupted")
    (whole,) = path_patching(model, clean, corrupted, head=HEAD, blocks=[([3, 9], [0, 6])])
    for i in range(len(clean)):
        (alone,) = path_patching(
            model, clean[i : i + 1], corrupted[i : i + 1], head=HEAD, blocks=[([3, 9], [0, 6])]
        )
        torch.testing.assert_close(whole.numerator[i], alone.numerator[0])


def test_patching_nothing_is_one_and_everything_zero() -> None:
    model, clean = random_model(), some()
    everything = 2 ** (1 + CFG.n_heads) - 1
    (scores,) = path_patching(
        model,
        clean,
        some(count=1, name="corrupted"),
        head=HEAD,
        blocks=[([0, everything], [0, everything])],
    )
    torch.testing.assert_close(scores.per_graph[:, 0, 0], torch.ones(8).double())
    torch.testing.assert_close(
        scores.per_graph[:, 1, 1], torch.zeros(8).double(), atol=1e-9, rtol=0
    )


def test_score_is_a_mean_of_ratios_and_ratio_of_means_is_not() -> None:
    model = random_model()
    (scores,) = path_patching(
        model, some(), some(count=1, name="corrupted"), head=HEAD, blocks=[([1], [0])]
    )
    expected = (scores.numerator[:, 0, 0] / scores.denominator).mean()
    assert scores.score.item() == pytest.approx(expected.item())
    assert scores.ratio_of_means.item() == pytest.approx(
        (scores.numerator.sum() / scores.denominator.sum()).item()
    )
    assert scores.score.item() != pytest.approx(scores.ratio_of_means.item(), rel=1e-6)


def test_the_planted_pointer_reads_degree_from_the_embedding_alone() -> None:
    clean = random_graphs(10, 12, count=20, generator=named_generator(0, "clean"))
    sets = [0, 1, 2, 4, 6]  # nothing, Embed, heads 0.0 and 0.1 alone and together
    (scores,) = path_patching(
        planted_model(),
        clean,
        named_graph("petersen"),
        head=planted.POINTER,
        blocks=[(sets, [0, 1])],
    )
    assert scores.score[1, 0] == pytest.approx(0.0, abs=1e-6)
    assert scores.score[[0, 2, 3, 4], 0].tolist() == pytest.approx([1.0] * 4)
    assert scores.score[0, 1] == pytest.approx(1.0)


def test_the_metric_is_a_parameter() -> None:
    model, clean, corrupted = random_model(), some(), some(count=1, name="corrupted")

    def one_column(patched: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (patched - target)[..., :, 2].abs().sum(-1)

    (scores,) = path_patching(
        model, clean, corrupted, head=HEAD, blocks=[([5], [2])], metric=one_column
    )
    (usual,) = path_patching(
        model, clean, corrupted, head=HEAD, blocks=[([5], [2])], metric=frobenius
    )
    assert not torch.allclose(scores.numerator, usual.numerator)
    assert (scores.numerator[:, 0, 0] > 0).all()


def test_pairs_that_say_nothing_are_refused() -> None:
    model, clean = random_model(), some()
    cases = {
        "clean graph 3 is paired with itself": (
            clean,
            torch.cat([some(name="corrupted")[:3], clean[3:]]),
            HEAD,
            [([1], [0])],
        ),
        "head must be in layer 1": (
            clean,
            some(count=1, name="corrupted"),
            Head(0, 1),
            [([1], [0])],
        ),
        "a mask from 0 to 15, got 16": (
            clean,
            some(count=1, name="corrupted"),
            HEAD,
            [([1], [16])],
        ),
        "corrupted must be one graph or 8": (
            clean,
            some(count=3, name="corrupted"),
            HEAD,
            [([1], [0])],
        ),
    }
    for message, (first, second, head, blocks) in cases.items():
        with pytest.raises(ValueError, match=message):
            path_patching(model, first, second, head=head, blocks=blocks)
    flat = planted_model()
    with pytest.raises(
        ValueError, match="clean graph 0: its pattern is that of its corrupted graph"
    ):
        path_patching(
            flat,
            named_graph("cycle"),
            named_graph("petersen"),
            head=Head(1, 1),
            blocks=[([1], [0])],
        )


def test_pairs_that_say_nothing_can_be_left_out() -> None:
    model, clean, corrupted = random_model(), some(), some(name="corrupted")
    corrupted[[2, 5]] = clean[[2, 5]]
    (scores,) = path_patching(
        model, clean, corrupted, head=HEAD, blocks=[([1, 5], [0, 3])], leave_out=True
    )
    kept = [0, 1, 3, 4, 6, 7]
    (expected,) = path_patching(
        model, clean[kept], corrupted[kept], head=HEAD, blocks=[([1, 5], [0, 3])]
    )
    torch.testing.assert_close(scores.per_graph, expected.per_graph)
    # the planted pointer's pattern follows degree alone: graphs whose vertices have the same
    # degrees say nothing, either
    clean = random_graphs(10, 12, count=6, generator=named_generator(0, "clean"))
    path = [(0, 1), (2, 3), (0, 3), (1, 2)]
    matching, other = torch.zeros(2, 10, 10)
    for i, j in path[:2]:
        matching[i, j] = matching[j, i] = 1
    for i, j in path[2:]:
        other[i, j] = other[j, i] = 1
    clean[4], corrupted = matching, other[None]
    (scores,) = path_patching(
        planted_model(), clean, corrupted, head=planted.POINTER, blocks=[([1], [0])], leave_out=True
    )
    assert len(scores.numerator) == len(scores.denominator) == 5
    assert (scores.denominator > 0).all()
    for too_few in (clean[4:5].repeat(3, 1, 1), clean[3:5], corrupted.repeat(3, 1, 1)):
        with pytest.raises(NothingToRestore, match=f"fewer than 2 of {len(too_few)} graphs"):
            path_patching(
                planted_model(),
                too_few,
                corrupted,
                head=planted.POINTER,
                blocks=[([1], [0])],
                leave_out=True,
            )


def test_shapley_values_of_a_known_game() -> None:
    # a worth 2 alone, b and c worth 6 only together, d nothing
    value = torch.tensor([2.0 * (m & 1) + 6.0 * (m & 6 == 6) for m in range(16)])
    assert shapley_values(value).tolist() == pytest.approx([2, 3, 3, 0])
    batch = torch.rand(5, 64, generator=named_generator(0, "game"))
    torch.testing.assert_close(shapley_values(batch).sum(-1), (batch[:, -1] - batch[:, 0]).double())
    with pytest.raises(ValueError, match="a power of two from 2; got 6"):
        shapley_values(torch.zeros(6))


def test_shapley_values_are_those_of_averaging_over_orders() -> None:
    value = torch.rand(16, generator=named_generator(0, "game"), dtype=torch.float64)
    expected = torch.zeros(4, dtype=torch.float64)
    for order in itertools.permutations(range(4)):
        mask = 0
        for player in order:
            expected[player] += (value[mask | 1 << player] - value[mask]) / math.factorial(4)
            mask |= 1 << player
    torch.testing.assert_close(shapley_values(value), expected)


def test_best_by_size_and_the_notebooks_coalitions() -> None:
    score = torch.tensor([1.0, 0.5, 0.9, 0.4, 0.7, 0.3, 0.2, 0.25])
    assert best_by_size(score) == [(1, 0.5), (6, pytest.approx(0.2)), (7, 0.25)]
    grid = torch.arange(8.0).reshape(4, 2)  # four query sets, two key sets
    assert notebook_coalitions(grid).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    with pytest.raises(ValueError, match="two key sets"):
        notebook_coalitions(torch.zeros(4, 3))
    assert path_names(2) == ["embed", "0.0", "0.1"]


def test_an_intervention_counts_its_calls() -> None:
    model, graphs = random_model(), some()
    edited = run_edited(model, graphs, {"blocks.0.hook_mlp_out": lambda value: value * 0})
    assert not torch.allclose(edited, model(graphs))
    with pytest.raises(HookReceiptError, match=r"blocks.1.hook_mlp_out fired 0 times"):
        run_edited(model, graphs, {"blocks.1.hook_mlp_out": lambda value: value}, stop_at_layer=1)
    with pytest.raises(ValueError, match="no hook point is named"):
        run_edited(model, graphs, {"blocks.0.hook_nothing": lambda value: value})
    with pytest.raises(ValueError, match="must keep its shape"):
        run_edited(model, graphs, {"blocks.0.hook_mlp_out": lambda value: value[:1]})


def test_the_notebooks_two_tables() -> None:
    """Each entry is that of the naive way, and each best set the best of all sets of its size."""
    model = random_model()
    clean, corrupted = some(), some(count=1, name="corrupted")
    naive = NaivePatching(model, clean, corrupted, head=HEAD)
    names = path_names(CFG.n_heads)
    one = one_path_scores(model, clean, corrupted, head=HEAD)
    assert list(one) == [f"{name}->{side}" for side in "qk" for name in names]
    for bit, name in enumerate(names):
        assert one[f"{name}->q"] == pytest.approx(naive.scores(1 << bit, 0).mean().item())
        assert one[f"{name}->k"] == pytest.approx(naive.scores(0, 1 << bit).mean().item())
    best = best_score_by_size(model, clean, corrupted, head=HEAD)
    assert list(best) == [1, 2, 3, 4, 5]
    everything = {
        (mask, key): naive.scores(mask, key).mean().item() for mask in range(16) for key in (0, 1)
    }
    for size, found in best.items():
        of_size = {
            sets: score
            for sets, score in everything.items()
            if sets[0].bit_count() + sets[1] == size
        }
        query_set, key_set = min(of_size, key=lambda sets: of_size[sets])
        expected = [f"{name}->q" for bit, name in enumerate(names) if query_set >> bit & 1] + [
            "embed->k"
        ] * key_set
        assert found.paths == tuple(expected)
        assert found.score == pytest.approx(of_size[query_set, key_set])


def test_both_tables_are_parts_of_the_whole_lattice() -> None:
    model, clean, corrupted = random_model(), some(), some(count=1, name="corrupted")
    sets, singles = every_set(CFG.n_heads).tolist(), [1 << c for c in range(1 + CFG.n_heads)]
    (whole,) = path_patching(model, clean, corrupted, head=HEAD, blocks=[(sets, sets)])
    one = one_path_scores(model, clean, corrupted, head=HEAD)
    assert by_path(whole.score[singles, 0], whole.score[0, singles]) == pytest.approx(one)
    best = best_score_by_size(model, clean, corrupted, head=HEAD)
    assert {size: found.paths for size, found in best_sets(whole.score[:, :2]).items()} == {
        size: found.paths for size, found in best.items()
    }
