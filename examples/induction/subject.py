"""A model with its roles and the sequences that it is judged on; and copies of it that are broken,
or only written otherwise."""

from __future__ import annotations

import copy
import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from circuit import Head, NoSuchHead, Roles, ablated_losses, find_roles, patterns
from model import AttentionOnly, Sequences, load, losses, sequences
from torch import Tensor

FOUND_ON, JUDGED_ON = 1, 2
"""Seeds of two samples: no claim is judged on the sequences that the heads were found on."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a claim gets. `batch` are the sequences to measure on."""

    name: str
    content_hash: str
    model: AttentionOnly
    roles: Roles
    batch: Sequences
    seed: int
    ledger_path: Path
    device: str = "cpu"

    @classmethod
    def of(cls, weights: Path, *, seed: int) -> Subject:
        """The model in a file, its heads found by what they do."""
        model, content_hash = load(weights)
        roles = find_roles(model, sequences(500, torch.Generator().manual_seed(FOUND_ON)))
        batch = sequences(1000, torch.Generator().manual_seed(JUDGED_ON + seed))
        return cls(
            weights.parent.name,
            content_hash,
            model,
            roles,
            batch,
            seed,
            weights.with_name("verdicts.json"),
        )

    def describe(self) -> dict[str, Any]:
        """As the record and the page show it."""
        roles = {
            role: None if head is None else "{}.{}".format(*head)
            for role, head in vars(self.roles).items()
        }
        return {"name": self.name, "content_hash": self.content_hash, "roles": roles}

    def generator(self, name: str) -> torch.Generator:
        """Chance for one named draw."""
        return torch.Generator().manual_seed(hash_of(f"{self.seed} {name}"))

    @functools.cached_property
    def patterns(self) -> dict[Head, Tensor]:
        """The pattern of every head on the batch."""
        return patterns(self.model, self.batch.tokens)

    @functools.cached_property
    def losses(self) -> Tensor:
        """[batch, position - 1]"""
        return losses(self.model, self.batch.tokens)

    @functools.cached_property
    def losses_without(self) -> Callable[[Head], Tensor]:
        """The losses with a head ablated; each head once."""
        return functools.cache(lambda head: ablated_losses(self.model, self.batch.tokens, head))

    def changed(self, **changes: Any) -> Subject:
        """A copy with other weights or roles; nothing that was measured goes with it."""
        return dataclasses.replace(self, **changes)


def hash_of(text: str) -> int:
    """A seed that follows from a text, the same on every machine."""
    return zlib.crc32(text.encode())


@dataclasses.dataclass(frozen=True)
class Control:
    """One way to break a model."""

    name: str
    breaks_all: bool
    change: Callable[[AttentionOnly], None]

    def apply(self, subject: Subject) -> Subject:
        """The broken model, with the roles of the whole one."""
        model = copy.deepcopy(subject.model)
        self.change(model)
        return subject.changed(model=model)


@torch.no_grad()
def _fresh(model: AttentionOnly) -> None:
    torch.manual_seed(0)
    model.load_state_dict(AttentionOnly(model.sizes).state_dict())


@torch.no_grad()
def _exchange_keys(model: AttentionOnly) -> None:
    """The heads of each layer get one another's keys and distances."""
    for block in model.blocks:
        for weight in (block.attn.W_K, block.attn.distance):
            weight.copy_(weight.flip(0).clone())


@torch.no_grad()
def _add_to_distances(model: AttentionOnly) -> None:
    """A softmax does not see what is added to all its scores."""
    for block in model.blocks:
        block.attn.distance += 3.0


@torch.no_grad()
def _rotate(model: AttentionOnly) -> None:
    """The residual stream in other coordinates: there is no LayerNorm, so nothing comes out
    otherwise."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(
        torch.randn(model.sizes.d_model, model.sizes.d_model, generator=generator)
    ).Q.to(model.W_E)
    model.W_E.copy_(model.W_E @ rotation)
    model.W_U.copy_(rotation.T @ model.W_U)
    for block in model.blocks:
        for weight in (block.attn.W_Q, block.attn.W_K, block.attn.W_V):
            weight.copy_(rotation.T @ weight)
        block.attn.W_O.copy_(block.attn.W_O @ rotation)


class Variants:
    """What the option --claims-controls and --claims-gauge try."""

    controls = (
        Control("fresh weights", True, _fresh),
        Control("exchanged keys", False, _exchange_keys),
    )
    _gauges: Mapping[str, Callable[[AttentionOnly], None]] = {
        "distance constant": _add_to_distances,
        "residual rotation": _rotate,
    }

    @property
    def gauges(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._gauges)

    def for_controls(self, subject: Subject) -> Subject:
        """A quarter of the sequences will do."""
        few = Sequences(subject.batch.tokens[::4], subject.batch.period[::4])
        return subject.changed(batch=few)

    def for_gauges(self, subject: Subject) -> Subject:
        """In double precision: whatever changes is no rounding."""
        return self.for_controls(subject).changed(model=copy.deepcopy(subject.model).double())

    def under_gauge(self, subject: Subject, gauge: str) -> Subject:
        """Other weights, the same function."""
        model = copy.deepcopy(subject.model)
        self._gauges[gauge](model)
        return subject.changed(model=model)

    def other_parts(self, subject: Subject, about: str) -> dict[str, Subject]:
        """Every other head in the role."""
        mine = getattr(subject.roles, about)
        if mine is None:
            raise NoSuchHead(f"no head plays the {about}")
        others = [head for head in subject.patterns if head != mine]
        return {
            "{}.{}".format(*head): subject.changed(
                roles=dataclasses.replace(subject.roles, **{about: head})
            )
            for head in others
        }
