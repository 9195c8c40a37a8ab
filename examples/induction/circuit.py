"""What the claims measure: two kinds of head, found by what they attend to, and what they do."""

from __future__ import annotations

import dataclasses
import math

import torch
from model import AttentionOnly, Sequences, losses
from torch import Tensor

Head = tuple[int, int]
"""Layer and index."""
FLOOR = 0.4
"""Mean attention below which no head is said to play a role; untrained heads stay below 0.2."""


class NoSuchHead(LookupError):
    """The model has no head of that kind; a claim about it is absent, which is a verdict of its
    own."""

    verdict = "absent"


def patterns(model: AttentionOnly, tokens: Tensor) -> dict[Head, Tensor]:
    """The pattern [batch, query, key] of every head."""
    _, cache = model.run_with_cache(tokens)
    sizes = model.sizes
    every = [(layer, index) for layer in range(sizes.n_layers) for index in range(sizes.n_heads)]
    return {
        (layer, index): cache[f"blocks.{layer}.attn.hook_pattern"][:, index]
        for layer, index in every
    }


def to_previous(pattern: Tensor) -> Tensor:
    """[batch, query - 1]: attention of each position but the first to the one before it."""
    return pattern.diagonal(-1, 1, 2)


def to_successor(pattern: Tensor, batch: Sequences) -> Tensor:
    """[batch, query]: attention of each token that has come before to the token after its last
    occurrence; 0 where it has not."""
    length = pattern.shape[1]
    position = torch.arange(length)
    successor = (position - batch.period[:, None] + 1).clamp(0)
    seen = position >= batch.period[:, None]
    return pattern.gather(2, successor[..., None])[..., 0] * seen


@dataclasses.dataclass(frozen=True)
class Roles:
    """The heads that play the two parts; `None` where no head does so clearly."""

    previous_token: Head | None
    induction: Head | None

    def need(self, role: str) -> Head:
        """The head of a role; `NoSuchHead` where there is none."""
        head: Head | None = getattr(self, role)
        if head is None:
            raise NoSuchHead(f"no head plays the {role.replace('_', ' ')} head")
        return head


def find_roles(model: AttentionOnly, batch: Sequences) -> Roles:
    """Each role goes to the head that attends most as it says, in whatever layer, if that is more
    than the floor."""
    found = patterns(model, batch.tokens)
    foreseen = batch.repeats
    previous = {head: to_previous(pattern).mean().item() for head, pattern in found.items()}
    induction = {
        head: to_successor(pattern, batch)[foreseen].mean().item()
        for head, pattern in found.items()
    }

    def best(scores: dict[Head, float]) -> Head | None:
        head = max(scores, key=lambda one: scores[one])
        return head if scores[head] >= FLOOR else None

    return Roles(best(previous), best(induction))


def ablated_losses(model: AttentionOnly, tokens: Tensor, head: Head) -> Tensor:
    """`losses` with the head's z replaced by its mean over sequences, at each position."""
    layer, index = head
    calls = 0

    def ablate(z: Tensor, hook: object) -> Tensor:
        nonlocal calls
        calls += 1
        z = z.clone()
        z[:, :, index] = z[:, :, index].mean(0)
        return z

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.attn.hook_z", ablate)]):
        found = losses(model, tokens)
    if calls != 1:
        raise RuntimeError(
            f"the hook of head {layer}.{index} fired {calls} times; it was to fire once"
        )
    return found


def k_composition(
    model: AttentionOnly, first: Head, second: Head, rotation: Tensor | None = None
) -> float:
    """How much of what `first` writes `second` reads into its keys: ‖W_OV W_QK^T‖ / (‖W_OV‖
    ‖W_QK‖).

    With a rotation of the residual stream between the two, it is what chance makes of matrices of
    the same spectra.
    """
    (l1, h1), (l2, h2) = first, second
    one, two = model.blocks[l1].attn, model.blocks[l2].attn
    ov = one.W_V[h1] @ one.W_O[h1]
    qk = two.W_Q[h2] @ two.W_K[h2].T
    through = ov if rotation is None else ov @ rotation
    return ((through @ qk.T).norm() / (ov.norm() * qk.norm())).item()


def rotations(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """Rotations drawn evenly from all there are."""
    made = []
    for _ in range(count):
        q, r = torch.linalg.qr(torch.randn(size, size, generator=generator))
        made.append(q * r.diagonal().sign())
    return made


def copied(model: AttentionOnly, head: Head) -> Tensor:
    """[token]: whether a token that the head attends to raises its own logit more than that of any
    other."""
    layer, index = head
    attention = model.blocks[layer].attn
    logits = model.W_E @ attention.W_V[index] @ attention.W_O[index] @ model.W_U
    return logits.argmax(1) == torch.arange(len(logits))


def mean_with_interval(values: Tensor) -> tuple[float, float, float, int]:
    """Mean of one number a sequence with its 95 % interval by Student's t."""
    from scipy.stats import t

    n = len(values)
    mean, half = (
        values.double().mean().item(),
        t.ppf(0.975, n - 1) * values.double().std().item() / math.sqrt(n),
    )
    return mean, mean - half, mean + half, n
