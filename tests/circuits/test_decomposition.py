"""Parts of queries and keys, and composition scores: on planted weights, and against a second way
to get them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from transformer_lens import FactoredMatrix
from transformer_lens.utilities import composition_scores as transformer_lens_scores

from circuits.attention import degrees
from circuits.composition import (
    composition_score,
    composition_scores,
    full_ov_circuit,
    input_matrix,
    kaiming_composition_scores,
    output_matrices,
    ov_circuit,
    qk_circuit,
    rotated_composition_scores,
)
from circuits.queries import (
    approximate_key_parts,
    approximate_query_parts,
    part_norms,
    query_parts,
    score_terms,
)
from circuits.residual import head_result
from circuits.roles import Head
from models.config import ModelConfig
from models.randomness import named_generator
from models.transformer import Transformer
from tests import planted
from tests.circuits.test_measurements import CFG, random_model, some_graphs
from tests.planted import POINTER, READER, TARGET, planted_model

HEAD = Head(1, 2)


def test_approximate_parts_are_those_of_a_loop_and_leave_their_remainder() -> None:
    model, graphs = random_model(), some_graphs(6).double()
    _, cache = model.run_with_cache(graphs)
    W_Q, mlp = model.attention(1).W_Q[2], model.mlp(0)
    outputs = {"embed": cache["embed"], "pos_embed": cache["pos_embed"][:1]}
    outputs |= {f"0.{index}": head_result(model, graphs, Head(0, index)) for index in range(3)}
    found = approximate_query_parts(model, graphs, HEAD)
    assert list(found.parts) == list(outputs)
    for name, y in outputs.items():
        expected = (y + F.gelu(y @ mlp.W_in + mlp.b_in) @ mlp.W_out + mlp.b_out) @ W_Q
        torch.testing.assert_close(found.parts[name], expected)
    total = sum(found.parts.values()) + found.remainder + model.b_Q[1, 2]
    torch.testing.assert_close(total, cache["q", 1][:, :, 2])
    assert (
        found.remainder.abs().max() > 0.1
    )  # the MLP does not add up, and the parts do not pretend so
    key = approximate_key_parts(model, graphs, HEAD)
    torch.testing.assert_close(
        sum(key.parts.values()) + key.remainder + model.b_K[1, 2], cache["k", 1][:, :, 2]
    )


def test_without_an_mlp_and_head_biases_the_parts_are_exact() -> None:
    model = random_model(ModelConfig(**{**CFG.to_dict(), "d_mlp": 0}))
    model.attention(0).b_O.zero_()
    found = approximate_query_parts(model, some_graphs(6).double(), HEAD)
    assert found.remainder.abs().max() < 1e-12


def test_parts_of_the_planted_pointer() -> None:
    model, graphs = planted_model(), some_graphs()
    query, key = (
        approximate_query_parts(model, graphs, POINTER),
        approximate_key_parts(model, graphs, POINTER),
    )
    torch.testing.assert_close(
        query.parts["embed"][..., 0], -planted.SHARPNESS * degrees(graphs).float()
    )
    assert not query.parts["pos_embed"].any()
    at_target = torch.zeros(10)
    at_target[TARGET] = math.sqrt(planted.CONFIG.d_head)
    norms = part_norms(key.parts)
    torch.testing.assert_close(norms["pos_embed"], at_target)
    assert not norms["embed"].any()
    assert not query.remainder.any()
    terms = score_terms(query.parts, key.parts)
    torch.testing.assert_close(
        terms["embed", "pos_embed"][..., TARGET], -planted.SHARPNESS * degrees(graphs).float()
    )
    assert not terms["embed", "embed"].any()


def test_a_head_in_the_wrong_layer_is_named() -> None:
    model, graphs = planted_model(), some_graphs()
    with pytest.raises(ValueError, match=r"layer 1.*got 0.1"):
        approximate_query_parts(model, graphs, READER)
    with pytest.raises(ValueError, match=r"layer 0.*got 1.0"):
        query_parts(model, graphs, POINTER)
    with pytest.raises(ValueError, match=r"side must be one of Q, K, V, got 'q'"):
        input_matrix(model, POINTER, "q")


# composition


def test_scores_of_matrices_that_fit_and_that_miss() -> None:
    left, right = torch.zeros(3, 5), torch.zeros(5, 2)
    left[:, 1] = 2.0
    right[1] = -3.0
    assert composition_score(left, right).item() == pytest.approx(1.0)
    assert composition_score(left, right.roll(1, 0)).item() == 0.0


@pytest.mark.parametrize("side", ["Q", "K", "V"])
def test_plain_scores_of_heads_are_those_of_transformer_lens(side: str) -> None:
    model = random_model()
    ov = torch.stack([ov_circuit(model, Head(0, index)).AB for index in range(3)])
    reads = torch.stack([input_matrix(model, Head(1, index), side) for index in range(3)])
    identity = torch.eye(CFG.d_model).double().expand(3, -1, -1)
    expected = transformer_lens_scores(
        FactoredMatrix(ov, identity), FactoredMatrix(reads, identity), broadcast_dims=True
    )
    found = composition_scores(model, side=side, mlp=False)
    torch.testing.assert_close(torch.stack([found[f"0.{index}"] for index in range(3)]), expected)
    assert list(found) == ["embed", "pos_embed", "0.0", "0.1", "0.2"]


def test_through_an_mlp_that_writes_nothing_the_scores_are_the_plain_ones() -> None:
    model = planted_model()
    for matrix, plain in zip(
        output_matrices(model, mlp=True).values(),
        output_matrices(model, mlp=False).values(),
        strict=True,
    ):
        torch.testing.assert_close(matrix, plain)
    scores = composition_scores(model, side="Q", mlp=True)
    assert scores["embed"][POINTER.index].item() == pytest.approx(
        1.0
    )  # all of W_E lies in the one dimension that is read
    assert scores["pos_embed"][POINTER.index].item() == 0.0


def test_through_the_mlp_each_row_is_what_the_block_would_make_of_it() -> None:
    model = random_model()
    expected = model.W_E + model.mlp(0)(model.W_E)
    torch.testing.assert_close(output_matrices(model, mlp=True)["embed"], expected)


def test_circuits_are_products_of_weights() -> None:
    model = random_model()
    torch.testing.assert_close(qk_circuit(model, HEAD).AB, model.W_Q[1, 2] @ model.W_K[1, 2].T)
    torch.testing.assert_close(ov_circuit(model, HEAD).AB, model.W_V[1, 2] @ model.W_O[1, 2])
    torch.testing.assert_close(
        full_ov_circuit(model, HEAD).AB, model.W_E @ model.W_V[1, 2] @ model.W_O[1, 2] @ model.W_U
    )


def test_random_rotations_give_one_over_d_model_on_average() -> None:
    """E‖A R B‖² = ‖A‖²‖B‖²/d for a uniform rotation R, whatever the two matrices."""
    generator = named_generator(0, "rotations")
    output, reads = (
        torch.randn(7, 24, generator=generator),
        torch.randn(24, 3, generator=generator) @ torch.randn(3, 24, generator=generator),
    )
    null = rotated_composition_scores(output, reads, samples=4000, generator=generator)
    assert null.shape == (4000,)
    assert null.square().mean().item() == pytest.approx(1 / 24, rel=0.03)
    rotated = torch.linalg.qr(torch.randn(24, 24, generator=generator)).Q
    again = rotated_composition_scores(output @ rotated, reads, samples=4000, generator=generator)
    assert again.quantile(0.99).item() == pytest.approx(null.quantile(0.99).item(), rel=0.05)


def test_the_kaiming_baseline_keeps_shapes_alone() -> None:
    cfg = ModelConfig()
    baseline = kaiming_composition_scores(cfg, samples=300, generator=named_generator(0, "Kaiming"))
    assert baseline.mean().item() == pytest.approx(
        1 / math.sqrt(cfg.d_model), rel=0.01
    )  # the notebook's line in its three tables
    assert baseline.std() < 0.01


def test_the_reader_of_an_untrained_model_is_no_better_than_a_rotation() -> None:
    model = (
        Transformer(ModelConfig()).initialise(named_generator(1, "untrained")).requires_grad_(False)
    )
    null = rotated_composition_scores(
        output_matrices(model, mlp=False)["0.2"],
        input_matrix(model, Head(1, 6), "Q"),
        samples=500,
        generator=named_generator(0, "null"),
    )
    score = composition_scores(model, side="Q", mlp=False)["0.2"][6]
    assert null.min() < score < null.max()


def test_what_each_side_of_a_head_reads() -> None:
    model = random_model()
    W_QK = model.W_Q[1, 2] @ model.W_K[1, 2].T
    torch.testing.assert_close(input_matrix(model, HEAD, "Q"), W_QK)
    torch.testing.assert_close(input_matrix(model, HEAD, "K"), W_QK.T)
    torch.testing.assert_close(input_matrix(model, HEAD, "V"), model.W_V[1, 2] @ model.W_O[1, 2])
