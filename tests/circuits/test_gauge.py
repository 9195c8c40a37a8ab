"""Every gauge leaves the logits as they are, and does change the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from circuits.gauge import GAUGES, transformed
from models.checkpoint import load_checkpoint
from models.config import ModelConfig
from models.graphs import Adjacency, validation_set
from models.randomness import named_generator
from models.transformer import Transformer
from tests.circuits.test_measurements import CFG, random_model

SHIPPED = Path(__file__).parent.parent.parent / "checkpoints" / "default"


def chance() -> torch.Generator:
    return named_generator(0, "gauge")


@pytest.fixture(scope="module", params=[(torch.float64, 1e-10), (torch.float32, 1e-5)])
def answered(request: pytest.FixtureRequest) -> tuple[Transformer, Adjacency, Tensor, float]:
    """The shipped model in some precision, 1,000 graphs, its logits, and how exact they are."""
    dtype, tolerance = request.param
    model = load_checkpoint(SHIPPED).model.to(dtype)
    graphs = validation_set(count=1000).adjacency.to(dtype)
    return model, graphs, model(graphs), tolerance


@pytest.mark.parametrize("gauge", GAUGES)
def test_the_logits_stay(
    answered: tuple[Transformer, Adjacency, Tensor, float], gauge: str
) -> None:
    """Relative to the largest of them."""
    model, graphs, before, tolerance = answered
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    changed, renaming = transformed(model, gauge, generator=chance())
    order = renaming.vertices
    after = changed(graphs[:, order][:, :, order])
    assert (after - before).abs().max() <= tolerance * before.abs().max()
    moved = [
        name
        for name, tensor in changed.state_dict().items()
        if not torch.allclose(tensor, weights[name], atol=1e-3)
    ]
    assert moved  # it does something
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=0)  # and to a copy


@pytest.mark.parametrize(
    "cfg",
    [ModelConfig(**{**CFG.to_dict(), "d_mlp": 0}), ModelConfig(**{**CFG.to_dict(), "n_layers": 3})],
)
@pytest.mark.parametrize("gauge", GAUGES)
def test_the_logits_of_other_architectures_stay(cfg: ModelConfig, gauge: str) -> None:
    model = random_model(cfg)
    graphs = validation_set(6, range(10, 12), count=40).adjacency.double()
    changed, renaming = transformed(model, gauge, generator=chance())
    order = renaming.vertices
    torch.testing.assert_close(
        changed(graphs[:, order][:, :, order]), model(graphs), rtol=1e-9, atol=1e-9
    )


def test_heads_and_vertices_are_renamed_as_it_says() -> None:
    model = random_model()
    changed, renaming = transformed(model, "head permutation", generator=chance())
    for layer in (0, 1):
        for index in range(3):
            torch.testing.assert_close(
                changed.W_Q[layer, renaming.head(layer, index)], model.W_Q[layer, index]
            )
            assert renaming.head(layer, index) != index
    changed, renaming = transformed(model, "relabelling", generator=chance())
    for vertex in range(6):
        torch.testing.assert_close(changed.W_pos[renaming.vertex(vertex)], model.W_pos[vertex])


def test_bases_are_far_from_singular() -> None:
    model = random_model()
    changed, _ = transformed(model, "residual basis", generator=chance())
    basis = torch.linalg.lstsq(
        torch.cat([model.W_E, model.W_pos]), torch.cat([changed.W_E, changed.W_pos])
    ).solution
    singular = torch.linalg.svdvals(basis)
    assert singular.min() >= 1 - 1e-6
    assert singular.max() <= 3 + 1e-6


def test_a_gauge_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"gauge must be one of .* got 'time reversal'"):
        transformed(random_model(), "time reversal", generator=chance())
