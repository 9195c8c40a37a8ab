"""Checkpoints: written atomically, read with every tensor checked, never partly and never by
running what is inside."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import safetensors
import torch
import yaml
from safetensors.torch import save
from torch import Tensor

from models.config import MAX_PARAMETERS, AnyModelConfig, MLPConfig, ModelConfig
from models.mlp import MLPBaseline
from models.refusal import in_one_line
from models.transformer import Transformer
from verdicts.files import write_bytes

FORMAT_VERSION = 1
_METADATA_KEY = "circuit_claims"  # one key: safetensors writes several in random order
_MLP_KEY = "mlp"  # of a config, in place of "model", as in a recipe
_MAX_BYTES = 16 * MAX_PARAMETERS
_MAX_SETTINGS_BYTES = 1_000_000
_HALF = (torch.float16, torch.bfloat16)
_FLOATING = (*_HALF, torch.float32, torch.float64)
_AUTHOR_BUFFERS = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")
_AUTHOR_SIZES = {
    "n_vertices": "n_vertices",
    "n_layers": "n_layers",
    "n_heads": "n_heads",
    "d_model": "d_model",
    "d_head": "d_head",
    "d_vocab_out": "n_classes",
}
_AUTHOR_FIXED = {
    "attn_only": False,
    "model": "transformer",
    "pool_type": "mean",
    "positional_embedding_type": "standard",
}
_AUTHOR_RECIPE = {
    "batch_per_log",
    "batch_size",
    "beta1",
    "beta2",
    "epochs",
    "format",
    "lr_max",
    "lr_pct_start",
    "seed",
    "train_path",
    "use_attn_result",
    "val_path",
    "weight_decay",
}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: the message names the file, the tensor or key, and what was
    expected."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A model with what is known of where it comes from."""

    model: Transformer
    path: Path
    """The directory, `.safetensors` or `.pt` that it was read from."""
    content_hash: str
    recipe: Mapping[str, Any]
    """How it was trained, as its config says; empty where nothing is said."""
    metrics: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The file's or directory's name without its ending."""
        return self.path.name if self.path.is_dir() else self.path.stem


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes in the order of the names: equal exactly for
    equal weights."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(
            f"{name} {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}\n".encode()
        )
        as_bytes = tensor.reshape(-1).view(torch.uint8)  # numpy has no bfloat16
        digest.update(as_bytes.numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def write_json(path: Path, value: object) -> None:
    """Sorted, indented JSON with a newline at its end; `ValueError` on NaN."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def save_checkpoint(
    directory: Path,
    model: Transformer | MLPBaseline,
    *,
    recipe: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Write `model.safetensors` and `config.json` into `directory`; returns the content hash."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    config = {
        "format_version": FORMAT_VERSION,
        _MLP_KEY if isinstance(model, MLPBaseline) else "model": model.cfg.to_dict(),
        "content_hash": content_hash(tensors),
        "recipe": dict(recipe or {}),
        "metrics": dict(metrics or {}),
    }
    metadata = {_METADATA_KEY: json.dumps(config, sort_keys=True, allow_nan=False)}
    # `save_file` would write through a file of its own, which stays behind when it is killed
    write_bytes(directory / "model.safetensors", save(tensors, metadata))
    write_json(directory / "config.json", config)
    return str(config["content_hash"])


def load_checkpoint(
    path: Path | str, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Checkpoint:
    """The checkpoint at a directory, a `.safetensors` file, or the author's `.pt` with its `.yaml`
    beside it.

    Its hash is that of the stored weights, whatever `dtype` they are then used in; by default that
    is float32 where they are stored in half precision, else what they are stored in.
    `CheckpointError` says in one sentence which file and tensor is wrong and what was expected.
    """
    path = Path(path)
    tensors, config = _read(path)
    if _MLP_KEY in config:
        raise CheckpointError(
            f"{path}: holds an MLP baseline; expected a transformer. models.checkpoint.load_mlp"
            " reads it"
        )
    sizes = _infer_sizes(path, tensors)
    if "model" in config:
        stated = _stated_sizes(path, config["model"])
        if stated != sizes:
            raise CheckpointError(
                f"{path}: the config says {stated}, but the tensors have the shapes of {sizes}"
            )
    actual = _verified_hash(path, tensors, config)
    with torch.device("meta"):
        model = Transformer(sizes)
    model.load_state_dict(_in_use(tensors), strict=True, assign=True)
    model = model.requires_grad_(False).eval().to(device=device, dtype=dtype)
    return Checkpoint(model, path, actual, config.get("recipe", {}), config.get("metrics", {}))


def load_mlp(path: Path | str) -> MLPBaseline:
    """The MLP baseline in a directory or `.safetensors` file; `CheckpointError` as from
    `load_checkpoint`."""
    path = Path(path)
    tensors, config = _read(path)
    if _MLP_KEY not in config:
        raise CheckpointError(
            f"{path}: does not hold an MLP baseline; models.checkpoint.load_checkpoint reads"
            " transformers"
        )
    try:
        sizes = MLPConfig.from_dict(config[_MLP_KEY])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    _require_shapes(path, tensors, sizes)
    _verified_hash(path, tensors, config)
    with torch.device("meta"):
        model = MLPBaseline(sizes)
    model.load_state_dict(_in_use(tensors), strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Finite tensors, and what is said of them."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or directory")
    if path.is_dir():
        tensors, config = _read_directory(path)
    elif path.suffix == ".safetensors":
        tensors, config = _read_safetensors(path)
    elif path.suffix == ".pt":
        tensors, config = _read_author(path)
    else:
        raise CheckpointError(f"{path}: expected a directory, a .safetensors file or a .pt file")
    _require_one_dtype(path, tensors)
    _require_finite(path, tensors)
    return tensors, config


def _in_use(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Half precision as float32, which rounds nothing; float32 and float64 as they are."""
    return {name: one.float() if one.dtype in _HALF else one for name, one in tensors.items()}


def _verified_hash(path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    actual = content_hash(tensors)
    if "content_hash" in config and config["content_hash"] != actual:
        raise CheckpointError(
            f"{path}: the weights are not those that were saved: the config says"
            f" {config['content_hash'][:80]}, they have {actual}"
        )
    return actual


def _read_directory(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    for name in ("model.safetensors", "config.json"):
        if not (path / name).is_file():
            raise CheckpointError(
                f"{path}: has no {name}; a checkpoint directory holds model.safetensors and"
                " config.json"
            )
    tensors, _ = _read_safetensors(path / "model.safetensors")
    config = path / "config.json"
    _require_size(config, config.stat().st_size, most=_MAX_SETTINGS_BYTES)
    return tensors, _read_config(config, config.read_bytes())


def _read_config(path: Path, text: bytes | str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the config is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path}: the config must be a JSON object, got {type(config).__name__}"
        )
    if config.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format_version must be {FORMAT_VERSION}, got"
            f" {brief(config.get('format_version'))}"
        )
    model = _MLP_KEY if _MLP_KEY in config else "model"
    for key, kind in {model: dict, "content_hash": str, "recipe": dict, "metrics": dict}.items():
        if not isinstance(config.get(key), kind):
            raise CheckpointError(
                f"{path}: {brief(key)} must be {'an object' if kind is dict else 'a string'}, got"
                f" {brief(config.get(key))}"
            )
    return config


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    _require_size(path, path.stat().st_size)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file: {in_one_line(error)}"
        ) from None
    return tensors, _read_config(path, metadata[_METADATA_KEY]) if _METADATA_KEY in metadata else {}


def _read_author(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The author's state dict, without the buffers of a causal mask that his bidirectional
    attention never reads."""
    _require_size(path, path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            _require_size(path, sum(entry.file_size for entry in archive.infolist()))
            if (damaged := archive.testzip()) is not None:  # torch does not look at the checksums
                raise CheckpointError(f"{path}: {damaged} is damaged: its checksum is another")
        with warnings.catch_warnings(action="ignore"):  # what torch warns of here is refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # bytes from outside make zipfile and torch raise almost anything
        raise CheckpointError(
            f"{path}: not a file of plain tensors, and nothing else is ever loaded:"
            f" {in_one_line(error)}"
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise CheckpointError(
            f"{path}: expected a state dict of named tensors, got {type(state).__name__}"
        )
    tensors = {
        name: tensor.contiguous()
        for name, tensor in state.items()
        if not _AUTHOR_BUFFERS.fullmatch(name)
    }
    return tensors, {"model": _read_author_yaml(path.with_suffix(".yaml"))}


def _read_author_yaml(path: Path) -> dict[str, Any]:
    try:
        _require_size(path, path.stat().st_size, most=_MAX_SETTINGS_BYTES)
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file; the author's .pt needs its .yaml beside it"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable YAML file: {in_one_line(error)}") from None
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{path}: expected a mapping of settings, got {type(values).__name__}"
        )
    for key, value in values.items():
        if not isinstance(
            value, str | int | float | None
        ):  # a few aliases of aliases make a list of billions
            raise CheckpointError(
                f"{path}: {brief(key)} is a {type(value).__name__}; expected a plain value"
            )
        if key in _AUTHOR_FIXED and value != _AUTHOR_FIXED[key]:
            raise CheckpointError(
                f"{path}: {key} is {brief(value)}, but only {brief(_AUTHOR_FIXED[key])} is"
                " supported"
            )
        if key not in {*_AUTHOR_FIXED, *_AUTHOR_SIZES, *_AUTHOR_RECIPE}:
            raise CheckpointError(f"{path}: unknown key {brief(key)}")
    for key in _AUTHOR_SIZES:
        if key not in values:
            raise CheckpointError(f"{path}: has no {key}")
    return {name: values[key] for key, name in _AUTHOR_SIZES.items()}


def _require_size(path: Path, size: int, *, most: int = _MAX_BYTES) -> None:
    if size > most:
        raise CheckpointError(f"{path}: holds {size} bytes, more than the {most} allowed")


def _require_one_dtype(path: Path, tensors: Mapping[str, Tensor]) -> None:
    first: dict[torch.dtype, str] = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATING:
            expected = f"expected one of {', '.join(map(str, _FLOATING))}"
            raise CheckpointError(f"{path}: tensor {name} is {tensor.dtype}; {expected}")
        first.setdefault(tensor.dtype, name)
    if len(first) > 1:
        counts = Counter(tensor.dtype for tensor in tensors.values())
        (usual, _), (other, _) = counts.most_common(2)
        difference = f"tensor {first[other]} is {other}, but {first[usual]} is {usual}"
        raise CheckpointError(f"{path}: {difference}; expected one dtype for all")


def _require_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            index = (~tensor.isfinite()).nonzero()[0].tolist()
            raise CheckpointError(
                f"{path}: tensor {name} is {tensor[tuple(index)].item()} at {index}; expected"
                " finite numbers"
            )


def _infer_sizes(path: Path, tensors: Mapping[str, Tensor]) -> ModelConfig:
    """The sizes that fit the tensors; every tensor is then held to them."""

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in tensors:
            raise CheckpointError(f"{path}: has no tensor {name}")
        if tensors[name].ndim != axes:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(tensors[name].shape)}; expected {axes} axes"
            )
        return tuple(tensors[name].shape)

    n_vertices, d_model = shape("embed.W_E", 2)
    n_heads, _, d_head = shape("blocks.0.attn.W_Q", 3)
    attn_only = not any(".mlp." in name for name in tensors)
    d_mlp = 0 if attn_only else shape("blocks.0.mlp.W_in", 2)[1]
    layers = {
        int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d{1,4})\.", name))
    }
    try:
        sizes = ModelConfig(
            n_vertices=n_vertices,
            n_layers=max(layers) + 1,
            n_heads=n_heads,
            d_model=d_model,
            d_head=d_head,
            d_mlp=d_mlp,
            n_classes=shape("unembed.W_U", 2)[1],
        )
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    _require_shapes(path, tensors, sizes)
    return sizes


def _require_shapes(path: Path, tensors: Mapping[str, Tensor], sizes: AnyModelConfig) -> None:
    """Every tensor that these sizes need, in its shape, and no other."""
    expected = sizes.parameter_shapes()
    for name, wanted in expected.items():
        if name not in tensors:
            raise CheckpointError(f"{path}: has no tensor {name}; expected shape {list(wanted)}")
        if tuple(tensors[name].shape) != wanted:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(tensors[name].shape)}; expected"
                f" {list(wanted)}"
            )
    for name in tensors:
        if name not in expected:
            raise CheckpointError(f"{path}: unknown tensor {name}")
    assert sum(math.prod(s) for s in expected.values()) == sizes.n_parameters


def _stated_sizes(path: Path, values: Mapping[str, Any]) -> ModelConfig:
    try:
        # the author's file does not state the width of his MLP: four times the residual stream
        return ModelConfig.from_dict(
            {"d_mlp": 4 * values["d_model"], **values} if "d_model" in values else values
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
