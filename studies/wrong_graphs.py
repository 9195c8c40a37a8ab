"""What censuses show, in Markdown: how often a model is wrong, and whether several are wrong about
the same graphs."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from circuits.subject import answer
from claims.census import RESULT, WRONG, Census, Tally, read_census
from models.checkpoint import load_checkpoint
from models.graph6 import decode_lines
from models.graphs import relabel
from models.randomness import named_generator
from studies.nauty import Nauty

Cell = tuple[int, bool]
"""A number of edges and whether planar."""


@dataclasses.dataclass(frozen=True)
class Taken:
    """A census with every graph that was wrong: its canonical form, and the cell it is in."""

    directory: Path
    census: Census
    wrong: dict[bytes, Cell]

    @property
    def name(self) -> str:
        """What the directory is called."""
        return self.directory.name

    @classmethod
    def read(cls, directory: Path, *, nauty: Nauty) -> Taken:
        """From the two files in a directory; `ValueError` where they do not belong together."""
        census = read_census(directory / RESULT)
        if census is None:
            raise ValueError(f"{directory}: has no {RESULT}; circuit-claims census writes it")
        text = (directory / WRONG).read_bytes()
        if hashlib.sha256(text).hexdigest() != census.wrong_sha256:
            raise ValueError(f"{directory / WRONG}: is not that of the {RESULT} beside it")
        rows = [line.split(b"\t") for line in text.splitlines()]
        lines = b"".join(row[0] + b"\n" for row in rows)
        adjacency = decode_lines(lines, n_vertices=census.settings.n_vertices)
        edges = (adjacency.sum((1, 2)) / 2).int().tolist()
        cells = [(m, row[1] == b"1") for m, row in zip(edges, rows, strict=True)]
        return cls(directory, census, dict(zip(nauty.canonical(lines), cells, strict=True)))


def table(census: Census) -> Iterator[str]:
    """One census by number of edges."""
    yield "| edges | graphs | planar, wrong | non-planar, wrong | right | of labelled graphs |"
    yield "|---|---|---|---|---|---|"
    for edges in census.settings.edge_counts:
        yield _row(str(edges), census, census.of(edges=edges))
    yield _row("all", census, census.tallies)


def _row(name: str, census: Census, tallies: Sequence[Tally]) -> str:
    by_class = [[one for one in tallies if one.planar is planar] for planar in (True, False)]
    wrong = [
        f"{sum(one.graphs for one in some if one.wrong_in):,} of"
        f" {sum(one.graphs for one in some):,}"
        for some in by_class
    ]
    graphs = sum(one.graphs for one in tallies)
    shares = [census.accuracy(tallies, labelled=labelled) for labelled in (False, True)]
    cells = [name, f"{graphs:,}", *wrong, *(f"{share:.4%}" for share in shares)]
    return f"| {' | '.join(cells)} |"


def report(several: Sequence[Taken]) -> str:
    """All tables; `ValueError` where the censuses are not of the same graphs."""
    graphs = {(one.census.settings.n_vertices, one.census.settings.edge_counts) for one in several}
    if len(graphs) > 1:
        raise ValueError(
            f"the censuses are of {len(graphs)} ranges of graphs; compare those of one"
        )
    first: dict[str, Taken] = {}
    for one in several:
        first.setdefault(one.census.settings.content_hash, one)
    parts = [["### How often each is wrong", "", *_by_model(several)]]
    if len(several) > 1:
        parts.append(["### Two at a time", "", *_in_pairs(several)])
    if len(first) > 1:
        parts.append(["### All together", "", *_together(list(first.values()))])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _by_model(several: Sequence[Taken]) -> Iterator[str]:
    settings = several[0].census.settings
    ends = [settings.min_edges, settings.max_edges]
    yield (
        "| model | wrong graphs | planar ones | non-planar ones | right | at"
        f" {ends[0]} edges | at {ends[1]} edges | of labelled graphs | balanced |"
    )
    yield f"|{'---|' * 9}"
    for one in several:
        census = one.census
        of_class = Counter(planar for _, planar in one.wrong.values())
        shares = [
            census.accuracy(),
            *(census.accuracy(census.of(edges=edges)) for edges in ends),
            census.accuracy(labelled=True),
            census.balanced_accuracy,
        ]
        counts = [census.wrong, of_class[True], of_class[False]]
        cells = [*(f"{count:,}" for count in counts), *(f"{share:.3%}" for share in shares)]
        yield f"| {one.name} | {' | '.join(cells)} |"


def _in_pairs(several: Sequence[Taken]) -> Iterator[str]:
    yield "| | and | wrong in both | by chance | times as many |"
    yield "|---|---|---|---|---|"
    for one, other in itertools.combinations(several, 2):
        both = len(one.wrong.keys() & other.wrong.keys())
        chance = float(_by_chance([one, other])[2])
        often = f"{both / chance:.0f}" if chance else "–"
        yield f"| {one.name} | {other.name} | {both:,} | {chance:.1f} | {often} |"


def _together(several: Sequence[Taken]) -> Iterator[str]:
    times = Counter(itertools.chain.from_iterable(one.wrong for one in several))
    found, chance = Counter(times.values()), _by_chance(several)
    yield f"| of {len(several)} models wrong in | graphs | by chance |"
    yield "|---|---|---|"
    for number in range(1, len(several) + 1):
        yield f"| {number} | {found[number]:,} | {chance[number]:,.1f} |"


def asked_again(several: Sequence[Taken], labellings: int) -> str:
    """How many of its wrong graphs each model gets wrong in so many other labellings of each, where
    its weights are beside the census."""
    lines = [
        "### Asked again",
        "",
        f"| model | wrong again, of {labellings} other labellings each | wrong in all of them |",
        "|---|---|---|",
    ]
    for one in several:
        if not (one.directory / "model.safetensors").exists():
            continue
        settings = one.census.settings
        checkpoint = load_checkpoint(one.directory)
        if checkpoint.content_hash != settings.content_hash:
            raise ValueError(f"{one.directory}: its weights are not those of its {RESULT}")
        graphs = decode_lines(
            b"".join(line + b"\n" for line in one.wrong), n_vertices=settings.n_vertices
        )
        labels = torch.tensor([planar for _, planar in one.wrong.values()]).long()
        chance = named_generator(settings.seed, "census: asked again")
        wrong = torch.stack(
            [
                answer(checkpoint.model, relabel(graphs, chance)).argmax(-1) != labels
                for _ in range(labellings)
            ]
        )
        lines.append(
            f"| {one.name} | {wrong.double().mean():.0%} | {wrong.all(0).double().mean():.0%} |"
        )
    return "\n".join(lines)


def _by_chance(several: Sequence[Taken]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How many graphs 0, 1, 2, … of the models would be wrong about, if each were wrong about as
    many of each class and number of edges as it is, and about any of them alike."""
    sizes = Counter[Cell]()
    for tally in several[0].census.tallies:
        sizes[tally.edges, tally.planar] += tally.graphs
    wrong = [Counter(one.wrong.values()) for one in several]
    expected = np.zeros(len(several) + 1)
    for cell, graphs in sizes.items():
        shares = np.ones(1)
        for counts in wrong:
            rate = counts[cell] / graphs
            shares = np.convolve(shares, [1 - rate, rate])
        expected += graphs * shares
    return expected
