from __future__ import annotations

import pytest
import torch

from circuits.ablation import (
    ABLATIONS,
    HeadAblations,
    ablate_direction,
    attention_without_direction,
    erase_linearly,
    keep_direction,
    pattern_of_inputs,
    position_swap,
    stand_in,
    swap_partners,
)
from circuits.attention import degrees, head_activations, head_keys, head_pattern
from circuits.gauge import transformed
from circuits.residual import (
    activation,
    correlation,
    degree_correlations,
    head_result,
    largest_correlation,
    main_axis,
    r_squared,
    random_basis_best,
    row_norm_ratio,
    score_direction,
    signature_cosines,
    through_mlp,
)
from circuits.roles import Head
from circuits.subject import answer
from models.graphs import random_graphs
from models.randomness import named_generator
from tests import planted
from tests.circuits.test_measurements import CFG, random_model, some_graphs
from tests.planted import DEGREE, POINTER, TARGET, planted_model


def chance() -> torch.Generator:
    return named_generator(0, "residual")


def test_activations_are_the_hooked_ones() -> None:
    model, graphs, head = random_model(), some_graphs(6).double(), Head(1, 2)
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(graphs)
    torch.testing.assert_close(
        activation(model, graphs, "blocks.0.hook_resid_post"), cache["resid_post", 0]
    )
    torch.testing.assert_close(
        activation(model, graphs, "blocks.1.attn.hook_q", head=head), cache["q", 1][:, :, 2]
    )
    torch.testing.assert_close(head_result(model, graphs, head), cache["result", 1][:, :, 2])
    torch.testing.assert_close(head_keys(model, graphs, head), cache["k", 1][:, :, 2])
    torch.testing.assert_close(through_mlp(model, cache["resid_mid", 0]), cache["resid_post", 0])
    found = head_activations(model, cache["resid_post", 0], head)
    for letter in "qkvz":
        torch.testing.assert_close(getattr(found, letter), cache[letter, 1][:, :, 2])
    torch.testing.assert_close(found.pattern, cache["pattern", 1][:, 2])


def test_the_main_axis_of_planted_values() -> None:
    generator = chance()
    coefficient = torch.randn(300, 10, generator=generator)
    direction = torch.tensor([0.6, 0.0, 0.8])
    noise = torch.tensor([0.8, 0.0, -0.6])
    values = (
        5.0
        + coefficient[..., None] * direction
        + 0.5 * torch.randn(300, 10, 1, generator=generator) * noise
    )
    axis = main_axis(values, generator=generator)
    assert axis.share.value == pytest.approx(1 / (1 + 0.25), abs=0.01)
    assert axis.share.low < 0.8 < axis.share.high
    found = torch.corrcoef(
        torch.stack([axis.coefficient.flatten(), coefficient.flatten().double()])
    )[0, 1].abs()
    assert found > 0.999


def test_the_rank_one_share_is_that_of_the_singular_values() -> None:
    values = torch.randn(40, 6, 5, generator=chance()).double()
    centred = (values - values.mean((0, 1))).flatten(0, 1)
    squares = torch.linalg.svdvals(centred).square()
    assert main_axis(values, generator=chance()).share.value == pytest.approx(
        (squares[0] / squares.sum()).item()
    )


def test_correlation_is_pearsons_pooled_and_without_a_sign() -> None:
    x, y = (
        torch.randn(50, 10, generator=chance()),
        torch.randint(0, 9, (50, 10), generator=chance()),
    )
    expected = torch.corrcoef(torch.stack([x.flatten().double(), y.flatten().double()]))[0, 1].abs()
    for sign in (1, -1):
        found = correlation(sign * x, y, generator=chance())
        assert found is not None
        assert found.value == pytest.approx(expected.item())
        assert found.low <= found.value <= found.high
    assert correlation(torch.zeros(50, 10), y, generator=chance()) is None


def test_degree_is_in_the_planted_dimension_alone() -> None:
    graphs = some_graphs()
    resid, degree = planted_model()(graphs, stop_at_layer=1), degrees(graphs)
    found = degree_correlations(resid, degree)
    assert found[DEGREE] == pytest.approx(1.0)
    assert found[11:].tolist() == [0.0] * 5  # constant dimensions
    best = random_basis_best(resid, degree, rotations=20, generator=chance())
    assert best.shape == (20,)
    assert 0.3 < best.max() < 1.0


def test_a_random_basis_of_one_dimension_changes_nothing() -> None:
    x = torch.randn(60, 10, 1, generator=chance())
    y = torch.randint(0, 9, (60, 10), generator=chance())
    best = random_basis_best(x, y, rotations=3, generator=chance())
    assert best.tolist() == pytest.approx([degree_correlations(x, y)[0].abs().item()] * 3)


def test_the_signature_is_the_notebooks() -> None:
    before, after = (
        torch.randn(7, 5, 3, generator=chance()),
        torch.randn(7, 5, 3, generator=chance()),
    )
    notebook = (
        torch.einsum(
            "bvd,bvd->d",
            before / before.norm(dim=1).unsqueeze(1),
            after / after.norm(dim=1).unsqueeze(1),
        )
        / 7
    )
    torch.testing.assert_close(signature_cosines(before, after), notebook.abs())


def test_the_planted_pointer_reads_the_planted_dimension() -> None:
    model, graphs = planted_model(), some_graphs()
    u = score_direction(model, graphs, POINTER, target=TARGET)
    assert u.abs().argmax() == DEGREE
    assert u[DEGREE].item() == pytest.approx(-1.0)
    W_Q = model.attention(1).W_Q[POINTER.index]
    W_Q[5, 2] = 8.0
    assert row_norm_ratio(model, POINTER, dimension=DEGREE) == pytest.approx(planted.SHARPNESS / 8)


def test_holding_a_direction_leaves_the_rest() -> None:
    resid = torch.randn(20, 6, 4, generator=chance()).double()
    direction = torch.tensor([3.0, 0.0, 4.0, 0.0]).double()
    unit = direction / 5
    held, alone = ablate_direction(resid, direction), keep_direction(resid, direction)
    torch.testing.assert_close(held @ unit, (resid @ unit).mean().expand(20, 6))
    across = torch.tensor([0.8, 0.0, -0.6, 0.0]).double()
    torch.testing.assert_close(held @ across, resid @ across)
    torch.testing.assert_close(alone @ unit, resid @ unit)
    torch.testing.assert_close(alone @ across, (resid @ across).mean().expand(20, 6))


def test_the_planted_pointer_needs_its_dimension_and_nothing_else() -> None:
    model, graphs = planted_model(), some_graphs()
    resid, e = model(graphs, stop_at_layer=1), torch.eye(16)[DEGREE]
    clean = pattern_of_inputs(model, resid, resid, head=POINTER)
    torch.testing.assert_close(clean, head_pattern(model, graphs, POINTER))
    torch.testing.assert_close(
        pattern_of_inputs(model, keep_direction(resid, e), resid, head=POINTER), clean
    )
    held = pattern_of_inputs(model, ablate_direction(resid, e), resid, head=POINTER)
    assert held[..., TARGET].std() < 1e-6  # no vertex differs from another any more


def test_a_swap_on_the_planted_key_moves_the_column_whole() -> None:
    errors = swap_partners(planted_model(), some_graphs(), POINTER, target=TARGET)
    assert set(errors) == set(range(10)) - {TARGET}
    for swap in errors.values():
        assert swap.error.max() < 1e-5
        assert (swap.change > 0.5).any()


def test_a_swap_equals_a_model_whose_position_rows_differ_where_only_the_key_sees_them() -> None:
    """With heads of layer 0 that write nothing, the direct path is all: the key is that of a model
    with W_pos swapped."""
    model, graphs, head = random_model(), some_graphs(6).double(), Head(1, 1)
    model.attention(0).W_O.zero_()
    swap = position_swap(model, graphs, head, first=1, second=4)
    q = activation(model, graphs, "blocks.1.attn.hook_q", head=head)
    clean = head_pattern(model, graphs, head)
    order = [0, 4, 2, 3, 1, 5]
    model.W_pos.copy_(model.W_pos[order].clone())
    swapped = (q @ head_keys(model, graphs, head).mT / 2).softmax(-1)
    torch.testing.assert_close(swap.error, torch.linalg.matrix_norm(swapped - clean[..., order]))
    torch.testing.assert_close(swap.size, torch.linalg.matrix_norm(clean))
    torch.testing.assert_close(swap.change, torch.linalg.matrix_norm(clean - clean[..., order]))
    with pytest.raises(ValueError, match=r"layer 1.*got 0.1"):
        position_swap(model, graphs, Head(0, 1), first=1, second=4)


@pytest.mark.parametrize("head", [Head(0, 1), Head(1, 2)])
def test_mean_ablation_replaces_the_result_by_its_mean_at_each_position(head: Head) -> None:
    model, graphs = random_model(), some_graphs(6).double()
    model.set_use_attn_result(True)
    mean = head_result(model, graphs, head).mean(0)

    def hook(value: torch.Tensor, hook: object) -> torch.Tensor:
        value = value.clone()
        value[:, :, head.index] = mean
        return value

    expected = model.run_with_hooks(
        graphs, fwd_hooks=[(f"blocks.{head.layer}.attn.hook_result", hook)]
    )
    torch.testing.assert_close(HeadAblations(model, graphs).logits(head)[0], expected)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_ablations_of_a_part_of_the_graphs_are_those_of_it_alone(ablation: str) -> None:
    model, graphs = random_model(), random_graphs(6, 7, count=32, generator=chance()).double()
    whole, alone = HeadAblations(model, graphs), HeadAblations(model, graphs[::4])
    heads = (Head(1, 2), Head(0, 1), Head(1, 0))
    expected = alone.logits(*heads, ablation=ablation, generator=chance())
    torch.testing.assert_close(
        whole.every(4).logits(*heads, ablation=ablation, generator=chance()), expected
    )
    for head, one in zip(heads, expected, strict=True):
        by_itself = alone.logits(head, ablation=ablation, generator=chance())[0]
        torch.testing.assert_close(by_itself, one)


def test_answers_are_those_of_the_forward_pass() -> None:
    model, graphs = random_model(), random_graphs(6, 7, count=300, generator=chance()).double()
    torch.testing.assert_close(answer(model, graphs), model(graphs))


def test_a_direction_held_at_its_mean_adds_a_term_to_the_scores() -> None:
    model, graphs, head = random_model(), some_graphs(6).double(), Head(1, 2)
    resid = activation(model, graphs, "blocks.0.hook_resid_post")
    directions = torch.randn(3, resid.shape[-1], generator=chance()).double()
    found = attention_without_direction(model, resid, directions, head=head, position=4)
    for direction, attention in zip(directions, found, strict=True):
        expected = pattern_of_inputs(model, ablate_direction(resid, direction), resid, head=head)
        torch.testing.assert_close(attention, expected[..., 4])


def test_stand_ins_are_zero_the_mean_or_another_case() -> None:
    values = torch.randn(9, 4, 3, generator=chance())
    assert not stand_in(values, "zero").any()
    torch.testing.assert_close(stand_in(values, "mean"), values.mean(0).expand(9, 4, 3))
    other = stand_in(values, "resample", generator=chance())
    where = [(values == case).flatten(1).all(1).nonzero().item() for case in other]
    assert sorted(where) == list(range(9))  # each once
    assert all(source != place for place, source in enumerate(where))  # and none in its own place
    with pytest.raises(ValueError, match=r"zero, mean, resample, got 'median'"):
        stand_in(values, "median")
    with pytest.raises(ValueError, match="needs a generator"):
        stand_in(values, "resample")


@pytest.mark.parametrize("head", [Head(0, 1), Head(1, 2)])
def test_zero_ablation_is_a_model_whose_head_writes_its_mean_everywhere(head: Head) -> None:
    model, graphs = random_model(), some_graphs(6).double()
    found = HeadAblations(model, graphs).logits(head, ablation="zero")[0]
    attention = model.attention(head.layer)
    attention.b_O += head_result(model, graphs, head).mean((0, 1))
    attention.W_O[head.index] = 0
    torch.testing.assert_close(found, model(graphs))


@pytest.mark.parametrize("gauge", ["b_V", "W_pos constant", "b_O constant"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_no_ablation_depends_on_where_constants_are(gauge: str, ablation: str) -> None:
    model, graphs, head = random_model(), some_graphs(6).double(), Head(1, 2)
    same, _ = transformed(model, gauge, generator=chance())
    one, other = (
        HeadAblations(m, graphs).logits(head, ablation=ablation, generator=chance())
        for m in (model, same)
    )
    torch.testing.assert_close(one, other)


def test_resampling_a_head_that_gives_every_graph_the_same_changes_nothing() -> None:
    model, graphs, head = random_model(), some_graphs(6).double(), Head(1, 0)
    model.attention(1).W_V[0] = 0  # its value is b_V, whatever the graph
    for ablation in ("mean", "resample"):
        found = HeadAblations(model, graphs).logits(head, ablation=ablation, generator=chance())
        torch.testing.assert_close(found[0], model(graphs))


def test_ablating_a_direction_by_zero_or_another_vertex() -> None:
    resid = torch.randn(20, 6, 4, generator=chance()).double()
    direction = torch.tensor([0.0, 2.0, 0.0, 0.0]).double()
    zero = ablate_direction(resid, direction, ablation="zero")
    assert not zero[..., 1].any()
    torch.testing.assert_close(zero[..., [0, 2, 3]], resid[..., [0, 2, 3]])
    other = ablate_direction(resid, direction, ablation="resample", generator=chance())
    assert (other[..., 1] != resid[..., 1]).all()
    torch.testing.assert_close(
        other[..., 1].flatten().sort().values, resid[..., 1].flatten().sort().values
    )
    kept = keep_direction(resid, direction, ablation="zero")
    torch.testing.assert_close(
        kept, torch.zeros_like(resid).index_copy(-1, torch.tensor([1]), resid[..., [1]])
    )


def test_the_largest_correlation_is_that_of_the_best_neuron_and_dead_ones_do_not_count() -> None:
    degree = torch.randint(0, 9, (80, 10), generator=chance())
    values = torch.randn(80, 10, 30, generator=chance())
    values[..., 7] = -2.0 * degree + 0.5 * torch.randn(80, 10, generator=chance())
    values[..., 3] = 0.0
    found = largest_correlation(values, degree, generator=chance())
    alone = correlation(values[..., 7], degree, generator=chance())
    assert found is not None
    assert alone is not None
    assert (found.value, found.low, found.high) == pytest.approx(
        (alone.value, alone.low, alone.high), abs=1e-3
    )  # half of the graphs
    assert degree_correlations(values, degree)[[3, 7]].tolist() == pytest.approx(
        [0.0, -found.value]
    )
    assert largest_correlation(torch.zeros(80, 10, 4), degree, generator=chance()) is None


def test_r_squared_is_the_same_in_every_basis_and_that_of_least_squares() -> None:
    degree = torch.randint(0, 9, (60, 10), generator=chance())
    values = torch.randn(60, 10, 5, generator=chance()).double()
    values[..., 2] += 0.5 * degree
    found = r_squared(values, degree, generator=chance())
    design = torch.cat([values.flatten(0, 1), torch.ones(600, 1)], dim=1)
    y = degree.flatten().double()
    fit = design @ torch.linalg.lstsq(design, y).solution
    assert found.value == pytest.approx(
        1 - ((y - fit).square().sum() / (y - y.mean()).square().sum()).item()
    )
    assert found.low < found.value < found.high
    basis = torch.randn(5, 5, generator=chance()).double()
    assert r_squared(values @ basis + 7.0, degree, generator=chance()).value == pytest.approx(
        found.value
    )
    exact = torch.stack(
        [degree.double(), -3 * degree.double()], dim=-1
    )  # one of its two directions is rounding
    assert r_squared(exact, degree, generator=chance()).value == pytest.approx(1.0)


def test_erasing_leaves_no_correlation_and_does_not_depend_on_the_basis() -> None:
    degree = torch.randint(0, 9, (60, 10), generator=chance())
    resid = (
        torch.randn(60, 10, 4, generator=chance()).double()
        + degree[..., None] * torch.tensor([1.0, 0.0, -2.0, 0.5]).double()
    )
    erased = erase_linearly(resid, degree)
    assert degree_correlations(erased, degree).abs().max() < 1e-10
    torch.testing.assert_close(erased.mean((0, 1)), resid.mean((0, 1)))
    basis = torch.randn(4, 4, generator=chance()).double()
    torch.testing.assert_close(erase_linearly(resid @ basis, degree), erased @ basis)


def test_the_score_direction_raises_the_mean_score_at_the_target_above_the_others() -> None:
    model, graphs, head = random_model(), some_graphs(6).double(), Head(1, 1)
    keys = head_keys(model, graphs, head)
    raised = keys[:, 4].mean(0) - keys.mean((0, 1))
    u = score_direction(model, graphs, head, target=4)
    expected = model.W_Q[1, 1] @ raised
    torch.testing.assert_close(u, expected / expected.norm())
    step = torch.randn(CFG.d_model, generator=chance()).double()
    gain = (
        step @ model.W_Q[1, 1] @ keys.mean(0).T
    )  # what a step of the stream adds to the mean scores, √d_head apart
    assert (gain[4] - gain.mean()).item() == pytest.approx((step @ u * expected.norm()).item())
