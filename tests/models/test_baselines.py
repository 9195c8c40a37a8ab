"""The models to compare with: attention only, and an MLP on the edges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from models.__main__ import main
from models.checkpoint import CheckpointError, load_checkpoint, load_mlp, save_checkpoint
from models.config import MLPConfig, ModelConfig, TrainConfig, read_recipe
from models.graphs import edge_bits, validation_set
from models.mlp import MLPBaseline
from models.randomness import named_generator
from models.training import evaluate, train
from models.transformer import Transformer
from tests.circuits.test_measurements import CFG, random_model, some_graphs

ATTENTION_ONLY = ModelConfig(**{**CFG.to_dict(), "d_mlp": 0})
SMALL = MLPConfig(n_vertices=8, n_layers=2, d_mlp=32)


def test_attention_only_is_the_transformer_whose_mlps_write_nothing() -> None:
    model, graphs = random_model(ATTENTION_ONLY), some_graphs(6).double()
    full = Transformer(CFG).double().requires_grad_(False)
    for name, parameter in full.named_parameters():
        parameter.data = dict(model.named_parameters()).get(name, torch.zeros_like(parameter))
    torch.testing.assert_close(model(graphs), full(graphs))
    assert ATTENTION_ONLY.attn_only
    assert "blocks.0.hook_mlp_out" not in model.hook_dict
    assert not model.mlp(0)(torch.randn(3, CFG.d_model).double()).any()


def test_attention_only_is_saved_and_read(tmp_path: Path) -> None:
    model = random_model(ATTENTION_ONLY)
    save_checkpoint(tmp_path, model)
    again = load_checkpoint(tmp_path).model
    assert again.cfg == ATTENTION_ONLY
    torch.testing.assert_close(again(some_graphs(6)), model(some_graphs(6)))


def test_a_checkpoint_that_lost_its_mlps_is_not_taken_for_attention_only(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, random_model())
    config = (tmp_path / "config.json").read_text()
    save_checkpoint(tmp_path, random_model(ATTENTION_ONLY))
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match="the config says"):
        load_checkpoint(tmp_path)


def test_the_mlp_reads_each_edge_once() -> None:
    model = MLPBaseline(SMALL).initialise(named_generator(0, "mlp")).requires_grad_(False)
    graphs = some_graphs(8)
    hidden = edge_bits(graphs).float()
    for layer in range(2):
        hidden = F.gelu(hidden @ model.W[layer] + model.b[layer])
    torch.testing.assert_close(model(graphs), hidden @ model.W_U + model.b_U)
    assert SMALL.parameter_shapes() == {
        name: tuple(p.shape) for name, p in model.named_parameters()
    }
    with pytest.raises(ValueError, match="n_vertices = 8"):
        model(some_graphs(6))


@pytest.mark.parametrize(
    ("table", "sizes"),
    [
        ("[mlp]\nn_vertices = 8\nd_mlp = 32", SMALL),
        ("[model]\nn_vertices = 8\nd_mlp = 0", ModelConfig(n_vertices=8, d_mlp=0)),
    ],
)
def test_a_recipe_names_the_architecture(tmp_path: Path, table: str, sizes: object) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(table, encoding="utf-8")
    assert read_recipe(path)[0] == sizes


def test_a_recipe_of_two_architectures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[mlp]\n[model]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"both \[model\] and \[mlp\]"):
        read_recipe(path)
    path.write_text("[mlp]\nd_mlp = 0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"\[mlp\]: d_mlp must be an integer from 1"):
        read_recipe(path)


def test_the_same_command_trains_the_mlp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "[mlp]\nn_vertices = 8\nd_mlp = 32\n[train]\nn_graphs = 200\nmin_edges = 13\nmax_edges ="
        " 15\nepochs = 40\nlr_max = 0.02\n",
        encoding="utf-8",
    )
    out = tmp_path / "mlp"
    assert (
        main(
            ["train", "--out", str(out), "--seed", "0", "--config", str(recipe), "--device", "cpu"]
        )
        == 0
    )
    assert "trained" in capsys.readouterr().out
    model = load_mlp(out)
    assert model.cfg == SMALL
    rows = [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert rows[-1]["train_accuracy"] > 0.9  # so few graphs can be learnt by heart
    assert (
        evaluate(model, validation_set(8, range(13, 16)))["validation_accuracy"]
        == rows[-1]["validation_accuracy"]
    )
    with pytest.raises(CheckpointError, match="holds an MLP baseline; expected a transformer"):
        load_checkpoint(out)


def test_what_is_not_an_mlp_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "t", random_model())
    with pytest.raises(CheckpointError, match="does not hold an MLP baseline"):
        load_mlp(tmp_path / "t")
    model = MLPBaseline(SMALL).initialise(named_generator(0, "mlp"))
    save_checkpoint(tmp_path / "m", model)
    path = tmp_path / "m" / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 0x01
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="not those that were saved"):
        load_mlp(tmp_path / "m")


def test_attention_only_trains(tmp_path: Path) -> None:
    sizes = ModelConfig(n_vertices=8, n_layers=1, n_heads=2, d_model=16, d_head=8, d_mlp=0)
    recipe = TrainConfig(n_graphs=100, min_edges=13, max_edges=15, epochs=2, batch_size=50)
    train(
        tmp_path / "out",
        seed=0,
        model_config=sizes,
        train_config=recipe,
        device=torch.device("cpu"),
        progress=False,
    )
    assert load_checkpoint(tmp_path / "out").model.cfg.attn_only
