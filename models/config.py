"""What a model is and how it is trained: two frozen, validated records."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as brief
from typing import Any, TypeVar

from models.refusal import in_one_line

MAX_PARAMETERS = 100_000_000  # a config from outside must not be able to exhaust memory


C = TypeVar("C", bound="_Config")


class _Config:
    """Reading a frozen dataclass from a mapping, with an error for every key that it does not
    have."""

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any], *, source: str = "config") -> C:
        """The record with these values; `ValueError` names `source` and the first unknown key."""
        names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in names:
                raise ValueError(
                    f"{source}: unknown key {brief(key)}; known keys are {', '.join(names)}"
                )
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain values by field name, as `from_dict` takes them."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]


def _require_integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, got {brief(value)}")


def _require_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}, got {brief(value)}")


class _Sizes(_Config):
    """Sizes of a model, by which the shape of every parameter follows."""

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by its name in the state dict."""
        raise NotImplementedError

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    def _require_few_parameters(self) -> None:
        if self.n_parameters > MAX_PARAMETERS:
            raise ValueError(
                f"these sizes make {self.n_parameters} parameters, more than the {MAX_PARAMETERS}"
                f" allowed: {self}"
            )


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Sizes):
    """Sizes of a transformer on graphs; the defaults are those of the notebook, §0."""

    n_vertices: int = 10
    n_layers: int = 2
    n_heads: int = 8
    d_model: int = 128
    d_head: int = 32
    d_mlp: int = 512
    """Neurons of each MLP; 0 for a model of attention only, which has no MLP at all."""
    n_classes: int = 2

    def __post_init__(self) -> None:
        _require_integer("n_vertices", self.n_vertices, 1, 1024)
        _require_integer("n_layers", self.n_layers, 1, 64)
        _require_integer("n_heads", self.n_heads, 1, 256)
        _require_integer("d_model", self.d_model, 1, 16384)
        _require_integer("d_head", self.d_head, 1, 4096)
        _require_integer("d_mlp", self.d_mlp, 0, 65536)
        _require_integer("n_classes", self.n_classes, 2, 1024)
        self._require_few_parameters()

    @property
    def attn_only(self) -> bool:
        """Whether the blocks have no MLP."""
        return self.d_mlp == 0

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        heads, model, head, mlp = self.n_heads, self.d_model, self.d_head, self.d_mlp
        shapes: dict[str, tuple[int, ...]] = {
            "embed.W_E": (self.n_vertices, model),
            "pos_embed.W_pos": (self.n_vertices, model),
            "unembed.W_U": (model, self.n_classes),
            "unembed.b_U": (self.n_classes,),
        }
        for layer in range(self.n_layers):
            for letter in "QKV":
                shapes[f"blocks.{layer}.attn.W_{letter}"] = (heads, model, head)
                shapes[f"blocks.{layer}.attn.b_{letter}"] = (heads, head)
            shapes[f"blocks.{layer}.attn.W_O"] = (heads, head, model)
            shapes[f"blocks.{layer}.attn.b_O"] = (model,)
            if not self.attn_only:
                shapes[f"blocks.{layer}.mlp.W_in"] = (model, mlp)
                shapes[f"blocks.{layer}.mlp.b_in"] = (mlp,)
                shapes[f"blocks.{layer}.mlp.W_out"] = (mlp, model)
                shapes[f"blocks.{layer}.mlp.b_out"] = (model,)
        return shapes


@dataclasses.dataclass(frozen=True)
class MLPConfig(_Sizes):
    """Sizes of the MLP baseline on the n(n − 1)/2 possible edges."""

    n_vertices: int = 10
    n_layers: int = 2
    """Hidden layers."""
    d_mlp: int = 512
    n_classes: int = 2

    def __post_init__(self) -> None:
        _require_integer("n_vertices", self.n_vertices, 2, 1024)
        _require_integer("n_layers", self.n_layers, 1, 64)
        _require_integer("d_mlp", self.d_mlp, 1, 65536)
        _require_integer("n_classes", self.n_classes, 2, 1024)
        self._require_few_parameters()

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        width = self.n_vertices * (self.n_vertices - 1) // 2
        for layer in range(self.n_layers):
            shapes[f"W.{layer}"] = (width, self.d_mlp)
            shapes[f"b.{layer}"] = (self.d_mlp,)
            width = self.d_mlp
        return {**shapes, "W_U": (width, self.n_classes), "b_U": (self.n_classes,)}


@dataclasses.dataclass(frozen=True)
class TrainConfig(_Config):
    """The recipe; the defaults are the notebook author's."""

    n_graphs: int = 100_000
    min_edges: int = 15
    max_edges: int = 20
    epochs: int = 100
    batch_size: int = 128
    lr_max: float = 1e-3
    lr_pct_start: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1
    relabel: bool = False
    """Rename the vertices of every graph at random each time it is seen."""
    precision: str = "float32"
    """`float32`, or `bfloat16` for autocast; weights and optimizer stay in float32."""

    def __post_init__(self) -> None:
        _require_integer("n_graphs", self.n_graphs, 1, 100_000_000)
        _require_integer("min_edges", self.min_edges, 0, 1_000_000)
        _require_integer("max_edges", self.max_edges, self.min_edges, 1_000_000)
        _require_integer("epochs", self.epochs, 1, 1_000_000)
        _require_integer("batch_size", self.batch_size, 1, 1_000_000)
        _require_number("lr_max", self.lr_max, 1e-12, 1e3)
        _require_number("lr_pct_start", self.lr_pct_start, 0.0, 1.0)
        _require_number("beta1", self.beta1, 0.0, 0.999999)
        _require_number("beta2", self.beta2, 0.0, 0.999999)
        _require_number("weight_decay", self.weight_decay, 0.0, 1e3)
        if not isinstance(self.relabel, bool):
            raise ValueError(f"relabel must be true or false, got {brief(self.relabel)}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(
                f"precision must be 'float32' or 'bfloat16', got {brief(self.precision)}"
            )

    @property
    def edge_counts(self) -> range:
        """The numbers of edges that training and validation graphs have."""
        return range(self.min_edges, self.max_edges + 1)


AnyModelConfig = ModelConfig | MLPConfig


def read_recipe(path: Path) -> tuple[AnyModelConfig, TrainConfig]:
    """The recipe in a TOML file with tables `[model]` and `[train]`, both optional; `ValueError`
    names what is wrong.

    In place of `[model]` it may have `[mlp]`, the sizes of the MLP baseline.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path}: not a readable TOML file: {in_one_line(error)}") from None
    for name, table in tables.items():
        if name not in ("model", "mlp", "train") or not isinstance(table, dict):
            raise ValueError(
                f"{path}: unknown entry {brief(name)}; a recipe has the tables [model] or [mlp],"
                " and [train]"
            )
    if "model" in tables and "mlp" in tables:
        raise ValueError(f"{path}: has both [model] and [mlp]; a recipe trains one of them")
    model: AnyModelConfig
    if "mlp" in tables:
        model = MLPConfig.from_dict(tables["mlp"], source=f"{path} [mlp]")
    else:
        model = ModelConfig.from_dict(tables.get("model", {}), source=f"{path} [model]")
    return model, TrainConfig.from_dict(tables.get("train", {}), source=f"{path} [train]")
