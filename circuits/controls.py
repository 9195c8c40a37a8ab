"""Broken copies of a subject on which its claims must not hold: what a claim survives, it does not
speak of.

Each keeps the roles of the trained model. A claim about a head is also tried on the other heads of
its layer.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from circuits.roles import Absent, Head
from circuits.subject import Subject
from models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class Control:
    """One way to break a subject."""

    name: str
    breaks_all: bool
    """Whether every claim must be broken by it, unless it says why it cannot be."""
    make: Callable[[Subject], Subject]

    def apply(self, subject: Subject) -> Subject:
        """The broken subject; its generators are seeded as the subject's are."""
        return self.make(subject)


def _with_weights(subject: Subject, name: str, edit: Callable[[Transformer], object]) -> Subject:
    model = copy.deepcopy(subject.model)
    with torch.no_grad():
        edit(model)
    return dataclasses.replace(
        subject,
        name=f"{subject.name}, {name}",
        content_hash=f"{subject.content_hash}, {name}",
        model=model,
    )


def fresh_weights(subject: Subject) -> Subject:
    """The author's initialisation in place of everything that was learnt."""

    def edit(model: Transformer) -> None:
        untrained = Transformer(model.cfg).initialise(subject.generator("control: fresh weights"))
        model.load_state_dict(
            {name: tensor.to(model.W_pos) for name, tensor in untrained.state_dict().items()}
        )

    return _with_weights(subject, "fresh weights", edit)


def scrambled_heads(subject: Subject) -> Subject:
    """Queries, keys and values of each layer (with their biases) dealt out to other heads, each its
    own way; W_O stays."""
    if subject.model.cfg.n_heads == 1:
        raise Absent("no other head to deal out to: each layer has one")
    generator = subject.generator("control: scrambled heads")

    def edit(model: Transformer) -> None:
        for layer in range(model.cfg.n_layers):
            for letter, order in zip(
                "QKV", _unlike_orders(model.cfg.n_heads, generator), strict=True
            ):
                for kind in "Wb":
                    parameter = getattr(model.attention(layer), f"{kind}_{letter}")
                    parameter.copy_(parameter[order].clone())

    return _with_weights(subject, "scrambled heads", edit)


def _unlike_orders(n: int, generator: torch.Generator) -> list[Int[Tensor, " n"]]:
    """A random cycle taken once, twice and three times round: from four heads on no head keeps its
    own, or any pair."""
    cycle = torch.randperm(n, generator=generator)
    return [torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(step)) for step in (1, 2, 3)]


def negated_reader(subject: Subject) -> Subject:
    """The reader's W_Q with its sign turned: more neighbours, less attention to the anchors."""
    reader = subject.roles.reader
    return _with_weights(
        subject,
        "negated reader",
        lambda model: model.attention(reader.layer).W_Q[reader.index].neg_(),
    )


def reader_without_b_q(subject: Subject) -> Subject:
    """The reader's b_Q set to zero: it still follows degree, but counts from another number."""
    reader = subject.roles.reader
    return _with_weights(
        subject,
        "reader without b_Q",
        lambda model: model.attention(reader.layer).b_Q[reader.index].zero_(),
    )


def exchanged_target(subject: Subject) -> Subject:
    """The target's row of W_pos exchanged with that of the next position that is no anchor."""
    target, n = subject.roles.target, subject.model.cfg.n_vertices
    anchors = subject.roles.found.get("anchors") or ()
    other = next((j % n for j in range(target + 1, target + n) if j % n not in anchors), None)
    if other is None:
        raise Absent(f"no position to exchange the target with: all {n - 1} others are anchors")

    def edit(model: Transformer) -> None:
        model.W_pos[[target, other]] = model.W_pos[[other, target]].clone()

    return _with_weights(subject, "exchanged target", edit)


CONTROLS = (
    Control("fresh weights", True, fresh_weights),
    Control("scrambled heads", True, scrambled_heads),
    Control("negated reader", False, negated_reader),
    Control("reader without b_Q", False, reader_without_b_q),
    Control("exchanged target", False, exchanged_target),
)


def other_heads(subject: Subject, role: str) -> Mapping[str, Subject]:
    """The subject with each other head of the layer in the role, by the head's name."""
    held: Head = getattr(subject.roles, role)
    heads = [
        Head(held.layer, index) for index in range(subject.model.cfg.n_heads) if index != held.index
    ]
    return {str(head): subject.with_head(role, head) for head in heads}
