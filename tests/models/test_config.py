from __future__ import annotations

from pathlib import Path

import pytest

from models.config import ModelConfig, TrainConfig, read_recipe
from models.transformer import Transformer


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"d_model": 0}, "d_model must be an integer from 1 to 16384, got 0"),
        ({"n_heads": True}, "n_heads must be an integer"),
        ({"n_layers": 2.0}, "n_layers must be an integer"),
        ({"n_classes": 1}, "n_classes"),
        ({"d_model": 16384, "d_mlp": 65536}, "more than the 100000000 allowed"),
        ({"width": 3}, "unknown key 'width'"),
    ],
)
def test_sizes_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"min_edges": 16, "max_edges": 15}, "max_edges must be an integer from 16"),
        ({"lr_max": float("nan")}, "lr_max"),
        ({"precision": "float16"}, "precision must be 'float32' or 'bfloat16', got 'float16'"),
        ({"relabel": 1}, "relabel"),
    ],
)
def test_recipes_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(values)


def test_the_defaults_are_the_authors() -> None:
    train = TrainConfig()
    assert (train.n_graphs, train.edge_counts, train.epochs, train.batch_size) == (
        100_000,
        range(15, 21),
        100,
        128,
    )
    assert (train.beta1, train.beta2, train.weight_decay, train.lr_max, train.lr_pct_start) == (
        0.9,
        0.99,
        0.1,
        1e-3,
        0.1,
    )


def test_parameter_shapes_are_those_of_the_model() -> None:
    cfg = ModelConfig(
        n_vertices=6, n_layers=3, n_heads=2, d_model=12, d_head=5, d_mlp=7, n_classes=3
    )
    assert cfg.parameter_shapes() == {
        name: tuple(p.shape) for name, p in Transformer(cfg).named_parameters()
    }
    assert cfg.n_parameters == sum(p.numel() for p in Transformer(cfg).parameters())


def test_a_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[model]\nd_model = 64\n[train]\nepochs = 3\n", encoding="utf-8")
    model, train = read_recipe(path)
    assert (model.d_model, train.epochs) == (64, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train", "not a readable TOML"),
        ("[optimiser]\n", "unknown entry 'optimiser'"),
        ("epochs = 3\n", "unknown entry 'epochs'"),
        ("[train]\nepoch = 3\n", r"\[train\]: unknown key 'epoch'"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        read_recipe(path)
    assert str(path) in str(error.value)
    with pytest.raises(ValueError, match="no such file"):
        read_recipe(tmp_path / "none.toml")
