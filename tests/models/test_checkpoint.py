from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from models.checkpoint import (
    CheckpointError,
    content_hash,
    load_checkpoint,
    load_mlp,
    save_checkpoint,
)
from models.config import MLPConfig, ModelConfig
from models.graphs import named_graph
from models.mlp import MLPBaseline
from models.randomness import named_generator
from models.transformer import Transformer
from verdicts.files import write_bytes

CFG = ModelConfig(n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=32)
SETTINGS = {
    "attn_only": False,
    "batch_per_log": 50,
    "batch_size": 128,
    "beta1": 0.9,
    "beta2": 0.99,
    "d_head": 4,
    "d_model": 8,
    "d_vocab_out": 2,
    "epochs": 100,
    "format": "adj",
    "lr_max": 0.001,
    "lr_pct_start": 0.1,
    "model": "transformer",
    "n_heads": 2,
    "n_layers": 2,
    "n_vertices": 10,
    "pool_type": "mean",
    "positional_embedding_type": "standard",
    "seed": 2,
    "train_path": "t",
    "use_attn_result": False,
    "val_path": "v",
    "weight_decay": 0.1,
}


@pytest.fixture
def model() -> Transformer:
    return Transformer(CFG).initialise(named_generator(0, "test")).requires_grad_(False)


@pytest.fixture
def directory(model: Transformer, tmp_path: Path) -> Path:
    save_checkpoint(
        tmp_path / "saved",
        model,
        recipe={"seed": 3, "train": {"epochs": 2}},
        metrics={"accuracy": 0.5},
    )
    return tmp_path / "saved"


@pytest.fixture
def author(model: Transformer, tmp_path: Path) -> Path:
    """A checkpoint in the author's form, with the buffers that his files carry."""
    state = dict(model.state_dict())
    for layer in range(2):
        state[f"blocks.{layer}.attn.mask"] = torch.ones(10, 10).tril().bool()
        state[f"blocks.{layer}.attn.IGNORE"] = torch.tensor(-torch.inf)
    torch.save(state, tmp_path / "author.pt")
    (tmp_path / "author.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    return tmp_path / "author.pt"


def test_every_form_gives_the_same_model_and_hash(
    model: Transformer, directory: Path, author: Path
) -> None:
    expected = model(named_graph("petersen"))
    for path in (directory, directory / "model.safetensors", author):
        checkpoint = load_checkpoint(path)
        torch.testing.assert_close(
            checkpoint.model(named_graph("petersen")), expected, rtol=0, atol=0
        )
        assert checkpoint.content_hash == content_hash(model.state_dict())
        assert not any(parameter.requires_grad for parameter in checkpoint.model.parameters())
    saved = load_checkpoint(directory)
    assert (saved.name, saved.recipe["seed"], saved.metrics["accuracy"]) == ("saved", 3, 0.5)
    assert load_checkpoint(author).name == "author"


def test_weights_can_be_used_in_double_precision_under_their_own_hash(directory: Path) -> None:
    double = load_checkpoint(directory, dtype=torch.float64)
    assert double.model.W_E.dtype == torch.float64
    assert double.content_hash == load_checkpoint(directory).content_hash


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("form", ["directory", "safetensors", "author"])
def test_every_floating_dtype_is_read_and_hashed_as_it_is_stored(
    form: str, dtype: torch.dtype, model: Transformer, author: Path, tmp_path: Path
) -> None:
    stored = model.to(dtype)
    if form == "author":
        torch.save(dict(stored.state_dict()), author)
    else:
        save_checkpoint(tmp_path / "saved", stored)
    places = {"directory": tmp_path / "saved", "author": author}
    checkpoint = load_checkpoint(places.get(form, tmp_path / "saved" / "model.safetensors"))
    used = torch.float64 if dtype == torch.float64 else torch.float32
    assert {parameter.dtype for parameter in checkpoint.model.parameters()} == {used}
    for name, weight in checkpoint.model.state_dict().items():
        assert torch.equal(weight.to(dtype), stored.state_dict()[name]), name
    assert checkpoint.content_hash == content_hash(stored.state_dict())
    assert checkpoint.model(named_graph("petersen")).dtype == used


def test_the_hash_is_of_names_dtypes_shapes_and_bytes() -> None:
    """As it always was: what is known by its hash stays known."""
    one = torch.tensor([[1.0, -2.0]])
    whole = struct.pack("<2f", 1, -2)
    digest = hashlib.sha256(b"x float32 [1, 2]\n" + whole).hexdigest()
    assert content_hash({"x": one}) == f"sha256:{digest}"
    upper_halves = whole[2:4] + whole[6:]
    digest = hashlib.sha256(b"x bfloat16 [1, 2]\n" + upper_halves).hexdigest()
    assert content_hash({"x": one.bfloat16()}) == f"sha256:{digest}"
    assert content_hash({"x": torch.tensor(1.0)}) != content_hash({"x": torch.tensor([1.0])})


def test_mlp_baselines_in_half_precision_are_used_in_float32(tmp_path: Path) -> None:
    baseline = MLPBaseline(MLPConfig(n_layers=1, d_mlp=8)).initialise(named_generator(0, "test"))
    save_checkpoint(tmp_path, baseline.bfloat16())
    assert load_mlp(tmp_path).W_U.dtype == torch.float32


def test_foreign_safetensors_without_metadata_are_read_by_their_shapes(
    model: Transformer, tmp_path: Path
) -> None:
    save_file(dict(model.state_dict()), tmp_path / "bare.safetensors")
    assert load_checkpoint(tmp_path / "bare.safetensors").model.cfg == CFG


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of a checkpoint directory, with a hash that fits them."""
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors")
    config = json.loads((path / "config.json").read_text())
    config["content_hash"] = content_hash(tensors)
    (path / "config.json").write_text(json.dumps(config))


def spoil(
    tensors: dict[str, torch.Tensor], name: str, index: tuple[int, ...], value: float
) -> None:
    tensors[name][index] = value


def replace(
    tensors: dict[str, torch.Tensor], name: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    tensors[name] = change(tensors[name]).contiguous()


TENSOR_CHANGES: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    r"tensor blocks.1.mlp.W_in is nan at \[2, 3\]; expected finite": lambda t: spoil(
        t, "blocks.1.mlp.W_in", (2, 3), torch.nan
    ),
    r"tensor embed.W_E is inf at \[0, 0\]": lambda t: spoil(t, "embed.W_E", (0, 0), torch.inf),
    r"has no tensor blocks.1.attn.W_O; expected shape \[2, 4, 8\]": lambda t: t.pop(
        "blocks.1.attn.W_O"
    ),
    r"has no tensor embed.W_E": lambda t: t.pop("embed.W_E"),
    r"tensor blocks.0.mlp.W_out has shape \[8, 32\]; expected \[32, 8\]": lambda t: replace(
        t, "blocks.0.mlp.W_out", torch.t
    ),
    r"unknown tensor blocks.0.attn.W_X": lambda t: t.update({"blocks.0.attn.W_X": torch.zeros(2)}),
    r"tensor unembed.b_U is torch.float16, but blocks.0.attn.W_K is torch.float32; expected one ": (
        lambda t: replace(t, "unembed.b_U", torch.Tensor.half)
    ),
    r"tensor unembed.b_U is torch.int64; expected one of torch.float16, torch.bfloat16, ": (
        lambda t: replace(t, "unembed.b_U", torch.Tensor.long)
    ),
    r"tensor embed.W_E has shape \[80\]; expected 2 axes": lambda t: replace(
        t, "embed.W_E", torch.flatten
    ),
}


@pytest.mark.parametrize("message", TENSOR_CHANGES)
def test_a_wrong_tensor_is_named(directory: Path, message: str) -> None:
    rewrite(directory, TENSOR_CHANGES[message])
    with pytest.raises(CheckpointError, match=message) as error:
        load_checkpoint(directory)
    assert str(directory) in str(error.value)


def test_tampered_weights_are_refused(directory: Path) -> None:
    config = (directory / "config.json").read_text()
    rewrite(directory, lambda tensors: tensors["embed.W_E"].add_(1e-3))
    (directory / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match="the weights are not those that were saved"):
        load_checkpoint(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format_version must be 1, got 2"),
        ({"content_hash": 5}, "'content_hash' must be a string, got 5"),
        ({"model": {"d_model": 10**9}}, "d_model must be an integer"),
        (
            {"model": {**CFG.to_dict(), "n_heads": 4}},
            "the config says .*n_heads=4.*the tensors have the shapes of .*n_heads=2",
        ),
    ],
)
def test_a_wrong_config_is_refused(
    directory: Path, change: dict[str, object], message: str
) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(directory)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_missing_or_truncated_file_is_named(directory: Path, name: str, damage: str) -> None:
    content = (directory / name).read_bytes()
    (directory / name).unlink()
    if damage != "missing":
        (directory / name).write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(directory)


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_hostile_pickle_is_refused_and_never_run(author: Path, tmp_path: Path) -> None:
    for write in (
        lambda value: torch.save(value, author),
        lambda value: author.write_bytes(pickle.dumps(value)),
    ):
        write({"embed.W_E": Hostile(tmp_path / "owned")})
        with pytest.raises(CheckpointError, match=r"author.pt: not a file of plain tensors"):
            load_checkpoint(author)
    assert not (tmp_path / "owned").exists()


def test_a_zip_that_unpacks_to_too_much_is_refused(author: Path) -> None:
    with (
        zipfile.ZipFile(author, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w", force_zip64=True) as file,
    ):
        for _ in range(1700):
            file.write(bytes(2**20))
    assert author.stat().st_size < 2**22
    with pytest.raises(CheckpointError, match="more than the 1600000000 allowed"):
        load_checkpoint(author)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropout": 0.1}, "unknown key 'dropout'"),
        ({"attn_only": True}, "attn_only is True, but only False is supported"),
        ({"n_heads": 4}, "n_heads=4"),
        ({"n_heads": "many"}, "n_heads must be an integer"),
    ],
)
def test_settings_of_the_author_that_do_not_fit_are_refused(
    author: Path, change: dict[str, object], message: str
) -> None:
    author.with_suffix(".yaml").write_text(yaml.safe_dump({**SETTINGS, **change}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(author)


def test_the_authors_settings_must_be_there_and_whole(author: Path) -> None:
    settings = author.with_suffix(".yaml")
    for text, message in {
        "n_heads: [": "not a readable YAML",
        "- 3": "expected a mapping",
        "n_heads: 2": "has no n_vertices",
    }.items():
        settings.write_text(text, encoding="utf-8")
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(author)
    settings.unlink()
    with pytest.raises(CheckpointError, match=r"needs its .yaml beside it"):
        load_checkpoint(author)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, author: Path) -> None:
    torch.save([torch.zeros(2)], author)
    (tmp_path / "notes.txt").touch()
    for path, message in {
        tmp_path / "none": "no such file",
        tmp_path / "notes.txt": "expected a directory",
        author: "expected a state dict",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)


def test_a_write_that_fails_keeps_the_old_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary: Path, content: bytes) -> None:
        temporary.write_text("half of the n")
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_saving_twice_gives_the_same_bytes(
    model: Transformer, directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(directory, tmp_path / "first")
    save_checkpoint(
        directory, model, recipe={"train": {"epochs": 2}, "seed": 3}, metrics={"accuracy": 0.5}
    )
    for name in ("model.safetensors", "config.json"):
        assert (directory / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
