"""What a census found: the answers on every graph of a range, in `census.json` beside the
checkpoint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from circuits.roles import Absent
from circuits.subject import Subject

RESULT, WRONG = "census.json", "census.wrong.tsv"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a census is of: one of other weights, or of another choice, is another census."""

    content_hash: str
    n_vertices: int
    min_edges: int
    max_edges: int
    labellings: int
    """In how many random labellings the model is asked about each graph."""
    seed: int
    device: str

    @property
    def edge_counts(self) -> range:
        """All numbers of edges."""
        return range(self.min_edges, self.max_edges + 1)


@dataclasses.dataclass(frozen=True)
class Tally:
    """The graphs of one class, with as many edges, that are wrong in as many labellings."""

    edges: int
    planar: bool
    wrong_in: int
    graphs: int
    """Up to isomorphism."""
    labelled: int
    """Labelled graphs that they stand for: n!/|Aut| each."""


@dataclasses.dataclass(frozen=True)
class Census:
    """What was counted, and the first graph that the model gets wrong."""

    settings: Settings
    tallies: list[Tally]
    first_wrong: str | None
    """In graph6, labelled as the model was asked: one of the fewest edges."""
    wrong_sha256: str
    """Of the file with every graph that the model gets wrong."""
    versions: dict[str, str]

    @property
    def graphs(self) -> int:
        """Graphs up to isomorphism."""
        return sum(tally.graphs for tally in self.tallies)

    @property
    def wrong(self) -> int:
        """Graphs that are wrong in one labelling or more."""
        return sum(tally.graphs for tally in self.tallies if tally.wrong_in)

    @property
    def unsteady(self) -> int:
        """Graphs that are right in one labelling and wrong in another."""
        steady = (0, self.settings.labellings)
        return sum(tally.graphs for tally in self.tallies if tally.wrong_in not in steady)

    def of(self, *, edges: int, planar: bool | None = None) -> list[Tally]:
        """The tallies of one number of edges, and of one class of them."""
        return [
            tally
            for tally in self.tallies
            if tally.edges == edges and planar in (None, tally.planar)
        ]

    def accuracy(self, tallies: Iterable[Tally] | None = None, *, labelled: bool = False) -> float:
        """Share of right answers: every graph counts once, or where `labelled` as often as it has
        labellings. NaN of no graph."""
        asked = right = 0
        for tally in self.tallies if tallies is None else tallies:
            weight = tally.labelled if labelled else tally.graphs
            asked += weight * self.settings.labellings
            right += weight * (self.settings.labellings - tally.wrong_in)
        return right / asked if asked else float("nan")

    @property
    def balanced_accuracy(self) -> float:
        """What a set can be expected to show that has as many labelled graphs of each class and
        number of edges."""
        cells = [
            self.of(edges=edges, planar=planar)
            for edges in self.settings.edge_counts
            for planar in (True, False)
        ]
        return mean(self.accuracy(cell, labelled=True) for cell in cells if cell)

    def to_dict(self) -> dict[str, Any]:
        """As the file holds it."""
        return {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}


def read_census(path: Path) -> Census | None:
    """The census in a file; `None` where there is no such file, `ValueError` where it holds
    something else."""
    try:
        found = json.loads(path.read_bytes())
        if found.pop("format_version") != FORMAT_VERSION:
            raise ValueError(f"its format_version is not {FORMAT_VERSION}")
        settings = Settings(**found.pop("settings"))
        tallies = [Tally(**tally) for tally in found.pop("tallies")]
        return Census(settings, tallies, **found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a census: {type(error).__name__}: {error}") from None


def census_of(subject: Subject) -> Census:
    """The census beside a checkpoint. `Absent` where there is none, or one of other weights or of
    another range."""
    census = read_census(subject.directory / RESULT)
    if census is None:
        raise Absent("no census of it was taken: circuit-claims census CHECKPOINT takes one")
    settings = census.settings
    if settings.content_hash != subject.content_hash:
        raise Absent(f"the {RESULT} beside it is of other weights, {settings.content_hash}")
    if settings.edge_counts != subject.edge_counts:
        raise Absent(
            f"the {RESULT} beside it is of {settings.min_edges} to {settings.max_edges} edges, and"
            f" its range is {subject.edge_counts[0]} to {subject.edge_counts[-1]}"
        )
    return census
