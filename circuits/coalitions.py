"""What falls out of the lattice of patched paths: the notebook's two tables (§1.2), and exact
Shapley values.

A coalition is a bit mask of players, here of paths into the query and the key.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.components import path_names
from circuits.patching import Corrupted, PatchScores, every_set, path_patching
from circuits.roles import Head
from models.graphs import Adjacency
from models.transformer import Transformer


def notebook_configurations(
    model: Transformer,
    clean: Adjacency,
    corrupted: Corrupted,
    *,
    head: Head,
    leave_out: bool = False,
) -> PatchScores:
    """The notebook's 1,024: any set of paths into the query, nothing or Embed into the key;
    `leave_out` as in `path_patching`."""
    blocks = [(every_set(model.cfg.n_heads).tolist(), [0, 1])]
    (scores,) = path_patching(
        model, clean, corrupted, head=head, blocks=blocks, leave_out=leave_out
    )
    return scores


def notebook_players(n_heads: int) -> list[str]:
    """The paths that those configurations are sets of, in the order of the masks' bits."""
    return [f"{name}->q" for name in path_names(n_heads)] + ["embed->k"]


@dataclasses.dataclass(frozen=True)
class BestSet:
    """The set of so many paths that reproduces most of the pattern."""

    score: float
    paths: tuple[str, ...]


def one_path_scores(
    model: Transformer, clean: Adjacency, corrupted: Corrupted, *, head: Head
) -> dict[str, float]:
    """Score of each path patched alone, `0.2->q`, `embed->k`, …: the notebook's first table, and
    the heads into the key."""
    singles = [1 << c for c in range(1 + model.cfg.n_heads)]
    query, key = path_patching(
        model, clean, corrupted, head=head, blocks=[(singles, [0]), ([0], singles)]
    )
    return by_path(query.score[:, 0], key.score[0])


def by_path(query: Float[Tensor, " path"], key: Float[Tensor, " path"]) -> dict[str, float]:
    """Scores of the single paths into the query, and of those into the key, by their names."""
    names = path_names(len(query) - 1)
    paths = [f"{name}->{side}" for side in "qk" for name in names]
    return dict(zip(paths, [*query.tolist(), *key.tolist()], strict=True))


def best_score_by_size(
    model: Transformer, clean: Adjacency, corrupted: Corrupted, *, head: Head
) -> dict[int, BestSet]:
    """Best of the notebook's 1,024 configurations for each number of paths: its second table."""
    return best_sets(notebook_configurations(model, clean, corrupted, head=head).score)


def best_sets(score: Float[Tensor, "query_set key_set"]) -> dict[int, BestSet]:
    """Best of each number of paths, from the scores of the notebook's configurations."""
    players = notebook_players(len(score).bit_length() - 2)
    return {
        mask.bit_count(): BestSet(
            value, tuple(player for bit, player in enumerate(players) if mask >> bit & 1)
        )
        for mask, value in best_by_size(notebook_coalitions(score))
    }


def shapley_values(value: Float[Tensor, "*batch coalition"]) -> Float[Tensor, "*batch player"]:
    """Exact Shapley value of each player from the value of every coalition, which is a bit mask of
    players."""
    n_coalitions = value.shape[-1]
    n = n_coalitions.bit_length() - 1
    if n_coalitions != 2**n or n == 0:
        raise ValueError(
            "value must have one entry for each coalition, a power of two from 2; got"
            f" {n_coalitions}"
        )
    masks = torch.arange(n_coalitions)
    sizes = torch.tensor([mask.bit_count() for mask in range(n_coalitions)])
    weight = torch.tensor(
        [1 / (n * math.comb(n - 1, size)) for size in range(n)], dtype=torch.float64
    )
    shares = []
    for player in range(n):
        without = masks[(masks >> player & 1) == 0]
        gain = value[..., without | 1 << player].double() - value[..., without].double()
        shares.append((gain * weight[sizes[without]].to(gain.device)).sum(-1))
    return torch.stack(shares, dim=-1)


def best_by_size(score: Float[Tensor, " coalition"]) -> list[tuple[int, float]]:
    """The coalition with the lowest score of each size 1, 2, … n, and that score: the notebook's
    second table."""
    sizes = torch.tensor([mask.bit_count() for mask in range(len(score))])
    best = []
    for size in range(1, int(sizes.max()) + 1):
        members = (sizes == size).nonzero()[:, 0]
        first = members[score.cpu()[members].argmin()]
        best.append((int(first), score[first].item()))
    assert all(a[0].bit_count() < b[0].bit_count() for a, b in pairwise(best))
    return best


def notebook_coalitions(
    score: Float[Tensor, "*batch query_set key_set"],
) -> Float[Tensor, "*batch coalition"]:
    """Query sets × {nothing, Embed} into the key as coalitions of one mask: the key's bit comes
    after the query's."""
    if score.shape[-1] != 2:
        raise ValueError(f"score must have two key sets, nothing and Embed; got {score.shape[-1]}")
    return score.mT.flatten(-2)
