"""Which head, position or dimension plays which part; read from a file, or found by
`circuits.finder`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Protocol, runtime_checkable

from models.checkpoint import write_json
from models.config import ModelConfig

MAX_BYTES = 1_000_000


class Absent(LookupError):
    """A claim is about something that there is not in this model, or in no graph that it takes."""

    verdict = "absent"


class AbsentRole(Absent):
    """A claim asks for a role that this checkpoint does not have, or that two candidates share."""


class RoleElsewhere(AbsentRole, ValueError):
    """A head stands in a layer where what is measured does not exist."""


@dataclasses.dataclass(frozen=True, order=True)
class Head:
    """One attention head; written `layer.index`, as in the notebook."""

    layer: int
    index: int

    @classmethod
    def parse(cls, text: object) -> Head:
        """`"0.2"` to `Head(0, 2)`."""
        match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"a head is written layer.index, like 0.2; got {brief(text)}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.layer}.{self.index}"


@runtime_checkable
class Renaming(Protocol):
    """Where heads and vertices went when weights were put in another order."""

    def head(self, layer: int, index: int) -> int:
        """New index of a head."""

    def vertex(self, position: int) -> int:
        """New index of a vertex."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What can play a role: how it is read from JSON, written to it, and named after a renaming."""

    parse: Callable[[object, ModelConfig], Any]
    """`ValueError` for what the model does not have."""
    write: Callable[[Any], Any]
    rename: Callable[[Any, Renaming], Any]


def _parse_head(value: object, cfg: ModelConfig) -> Head:
    head = Head.parse(value)
    if head.layer >= cfg.n_layers or head.index >= cfg.n_heads:
        raise ValueError(
            f"got {brief(value)}, but the model has {cfg.n_layers} layers of {cfg.n_heads} heads"
        )
    return head


def _parse_positions(value: object, cfg: ModelConfig) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or len(set(map(repr, value))) < len(value):
        raise ValueError(f"expected a list of distinct positions, got {brief(value)}")
    positions = tuple(sorted(_index(item, cfg.n_vertices) for item in value))
    if len(positions) == cfg.n_vertices:
        raise ValueError("every position is one; at least one must not be")
    return positions


def _index(value: object, size: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < size:
        raise ValueError(f"expected an integer from 0 to {size - 1}, got {brief(value)}")
    return value


HEAD = Kind(
    parse=_parse_head,
    write=str,
    rename=lambda head, new: Head(head.layer, new.head(head.layer, head.index)),
)
POSITION = Kind(
    parse=lambda value, cfg: _index(value, cfg.n_vertices),
    write=int,
    rename=lambda position, new: new.vertex(position),
)
POSITIONS = Kind(
    parse=_parse_positions,
    write=list,
    rename=lambda positions, new: tuple(sorted(map(new.vertex, positions))),
)
DIMENSION = Kind(
    parse=lambda value, cfg: _index(value, cfg.d_model),
    write=int,
    rename=lambda dimension, new: dimension,
)

ROLES: Mapping[str, Kind] = {
    "reader": HEAD,
    "anchors": POSITIONS,
    "pointer": HEAD,
    "target": POSITION,
    "dimension": DIMENSION,
}
"""Every role with its kind; `circuits.finder` says how each is found."""


def require_layer_0(head: Head) -> None:
    """`RoleElsewhere` for a head of a later layer: only at layer 0 are queries and keys linear in
    the graph."""
    if head.layer != 0:
        raise RoleElsewhere(
            f"head must be in layer 0, where queries and keys are linear in the graph; got {head}"
        )


def require_layer_1(head: Head) -> None:
    """`RoleElsewhere` for a head of another layer: only layer 1 is one MLP away from the components
    of layer 0."""
    if head.layer != 1:
        raise RoleElsewhere(
            f"head must be in layer 1, one MLP away from the components of layer 0; got {head}"
        )


@dataclasses.dataclass(frozen=True)
class Roles:
    """The parts of the circuit. Asking for one that is `None` raises `AbsentRole` with the reason
    kept in `reasons`."""

    found: Mapping[str, Any]
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def _get(self, role: str) -> Any:
        if self.found.get(role) is None:
            reason = self.reasons.get(role, "this checkpoint has none")
            raise AbsentRole(f"no {role}: {reason.removeprefix('absent: ')}")
        return self.found[role]

    @property
    def reader(self) -> Head:
        """Head whose query reads a vertex's degree."""
        return self._get("reader")

    @property
    def anchors(self) -> tuple[int, ...]:
        """Positions that the reader attends to in proportion to degree."""
        return self._get("anchors")

    @property
    def pointer(self) -> Head:
        """Later head by which low-degree vertices attend to one position."""
        return self._get("pointer")

    @property
    def target(self) -> int:
        """That position."""
        return self._get("target")

    @property
    def dimension(self) -> int:
        """Residual basis dimension that carries degree from the reader to the pointer."""
        return self._get("dimension")

    def renamed(self, renaming: Renaming) -> Roles:
        """The same parts under their new names."""
        found = {
            role: value if value is None else ROLES[role].rename(value, renaming)
            for role, value in self.found.items()
        }
        return Roles(found, self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """JSON values by role; `null` for a role that is absent."""
        found = {role: self.found.get(role) for role in ROLES}
        return {
            role: value if value is None else ROLES[role].write(value)
            for role, value in found.items()
        }


def parse_roles(values: Mapping[str, Any], *, cfg: ModelConfig, source: str) -> Roles:
    """Roles from JSON values; `ValueError` names `source` and the role that this model cannot
    have."""
    found: dict[str, Any] = {}
    for role, kind in ROLES.items():
        try:
            if values.get(role) is not None:
                found[role] = kind.parse(values[role], cfg)
        except ValueError as error:
            raise ValueError(f"{source}: {role}: {error}") from None
    reasons = values.get("reasons", {})
    if not isinstance(reasons, dict) or not all(isinstance(text, str) for text in reasons.values()):
        raise ValueError(f"{source}: reasons: expected sentences by role, got {brief(reasons)}")
    return Roles(found, reasons)


def read_roles(path: Path, *, cfg: ModelConfig, content_hash: str) -> Roles:
    """The roles in a `roles.json`, which must be of these very weights."""
    values = read_object(path)
    if values.get("content_hash") != content_hash:
        raise ValueError(
            f"{path}: belongs to {brief(values.get('content_hash'))}, but this checkpoint is"
            f" {content_hash}"
        )
    for key in values:
        if key not in (*ROLES, "content_hash", "reasons", "scores"):
            raise ValueError(f"{path}: unknown key {brief(key)}")
    return parse_roles(values, cfg=cfg, source=str(path))


def write_roles(
    path: Path, roles: Roles, *, content_hash: str, scores: Mapping[str, Any] | None = None
) -> None:
    """The file that `read_roles` reads."""
    write_json(
        path,
        {
            "content_hash": content_hash,
            **roles.to_dict(),
            "reasons": dict(roles.reasons),
            "scores": dict(scores or {}),
        },
    )


def keep_roles(
    path: Path, roles: Roles, *, cfg: ModelConfig, content_hash: str, scores: Mapping[str, Any]
) -> bool:
    """Write roles that were found, or leave the file that says the same; returns whether it was
    written.

    `ValueError` where the file says something else, for someone may have written it by hand.
    """
    if path.exists():
        there = read_roles(path, cfg=cfg, content_hash=content_hash).to_dict()
        for role, value in roles.to_dict().items():
            if there[role] != value:
                raise ValueError(
                    f"{path}: says that {role} is {there[role]}, not {value}; remove it, or name"
                    " another file with --out"
                )
        return False
    write_roles(path, roles, content_hash=content_hash, scores=scores)
    return True


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; `ValueError` names the file that holds none."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"it holds {size} bytes, more than the {MAX_BYTES} allowed")
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable JSON file: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values
