"""One part of a census: what a worker does."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from claims.census import Settings, Tally
from models.checkpoint import load_checkpoint
from models.graph6 import decode_lines, encode_lines, line_length
from models.graphs import Adjacency, relabel
from models.randomness import named_generator
from models.transformer import Transformer
from studies.nauty import Nauty

CHUNK = 8192
"""Graphs that are in memory at a time."""
BATCH = {"cpu": 256, "cuda": CHUNK}
"""Graphs that a model answers at a time: on a processor, what its cache holds."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Some of the graphs of as many edges: one of several parts of them, from 0."""

    edges: int
    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.edges}-{self.index}-{self.of}"


@dataclasses.dataclass(frozen=True)
class Counted:
    """One part: its tallies, and a line for each graph that the model gets wrong."""

    settings: Settings
    tallies: list[Tally]
    wrong: str
    """Graph6 as the model was asked, 1 for planar or 0, and in how many labellings it is wrong."""

    @classmethod
    def read(cls, path: Path) -> Counted:
        """As it was kept."""
        found: dict[str, Any] = json.loads(path.read_bytes())
        tallies = [Tally(**tally) for tally in found["tallies"]]
        return cls(Settings(**found["settings"]), tallies, found["wrong"])

    @property
    def graphs(self) -> int:
        """Graphs up to isomorphism."""
        return sum(tally.graphs for tally in self.tallies)


def count_part(checkpoint: Path, settings: Settings, part: Part, nauty: Nauty) -> Counted:
    """Ask the model about every graph of a part. `ValueError` where its weights are others by
    now."""
    if settings.device == "cpu":
        torch.set_num_threads(1)  # as many workers as cores
    loaded = load_checkpoint(checkpoint, device=settings.device)
    if loaded.content_hash != settings.content_hash:
        raise ValueError(f"{checkpoint}: its weights are not those that the census began with")
    chances = [
        named_generator(settings.seed, f"census: part {part}, labelling {labelling}")
        for labelling in range(settings.labellings)
    ]
    n, tallies, lines = settings.n_vertices, [], []
    for graphs in nauty.graphs(n, part.edges, part=part.index, parts=part.of, at_a_time=CHUNK):
        planar = _among(graphs, nauty.planar(graphs), length=line_length(n))
        adjacency = decode_lines(graphs, n_vertices=n)
        wrong_in, shown = _wrong_answers(
            loaded.model,
            planar,
            (relabel(adjacency, chance) for chance in chances),
            batch_size=BATCH[settings.device],
        )
        weights = [math.factorial(n) // size for size in nauty.group_sizes(graphs)]
        tallies += [
            Tally(part.edges, is_planar, times, 1, weight)
            for is_planar, times, weight in zip(
                planar.tolist(), wrong_in.tolist(), weights, strict=True
            )
        ]
        tallies = together(tallies)
        lines += [f"{shown[i]}\t{int(planar[i])}\t{int(wrong_in[i])}\n" for i in sorted(shown)]
    return Counted(settings, tallies, "".join(lines))


def together(tallies: Iterable[Tally]) -> list[Tally]:
    """One tally of each kind, in order."""
    graphs, labelled = Counter[tuple[int, bool, int]](), Counter[tuple[int, bool, int]]()
    for tally in tallies:
        kind = (tally.edges, tally.planar, tally.wrong_in)
        graphs[kind] += tally.graphs
        labelled[kind] += tally.labelled
    return [Tally(*kind, graphs[kind], labelled[kind]) for kind in sorted(graphs)]


def _among(lines: bytes, some: bytes, *, length: int) -> Bool[Tensor, " batch"]:
    """Which of the lines are among some of them."""
    every, chosen = (np.frombuffer(text, dtype=f"S{length}") for text in (lines, some))
    return torch.from_numpy(np.isin(every, chosen))


@torch.inference_mode()
def _wrong_answers(
    model: Transformer,
    planar: Bool[Tensor, " batch"],
    labellings: Iterator[Adjacency],
    *,
    batch_size: int,
) -> tuple[Int[Tensor, " batch"], dict[int, str]]:
    """In how many labellings each graph is wrong; and those that are in graph6, by their place, in
    the first of them."""
    wrong_in, shown = torch.zeros(len(planar), dtype=torch.long), dict[int, str]()
    for adjacency in labellings:
        batches = adjacency.to(model.W_pos).split(batch_size)
        answers = torch.cat([model.of_adjacency(batch).argmax(-1) for batch in batches])
        wrong = answers.cpu().bool() != planar
        fresh = (wrong & (wrong_in == 0)).nonzero()[:, 0]
        lines = encode_lines(adjacency[fresh]).decode().splitlines()
        shown |= dict(zip(fresh.tolist(), lines, strict=True))
        wrong_in += wrong
    return wrong_in, shown
