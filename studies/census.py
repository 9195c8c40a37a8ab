"""A census: a model's answers on every graph of its range, up to isomorphism. What is counted is
not counted again."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import platform
import shutil
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, as_completed
from pathlib import Path

import torch

from circuits.subject import directory_of, trained_on
from claims.census import RESULT, WRONG, Census, Settings, read_census
from models.checkpoint import load_checkpoint, write_json
from models.graphs import usual_edge_counts
from studies.counting import Counted, Part, count_part, together
from studies.nauty import Nauty
from verdicts.files import write_bytes

MOST_GRAPHS = 1e9
"""About as many as a model answers in two days."""
PART = 80_000
"""Graphs in a part, about: ten seconds, and two for its process to begin."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A census to take: of which weights, how, and where its result goes."""

    checkpoint: Path
    settings: Settings
    out: Path
    nauty: Nauty

    @classmethod
    def of(
        cls,
        path: Path,
        *,
        out: Path | None = None,
        labellings: int = 1,
        seed: int = 0,
        device: str = "cpu",
        nauty: Nauty | None = None,
    ) -> Plan:
        """The census of a checkpoint over the numbers of edges that it was trained on, beside it
        unless `out` says where. `ValueError` for a checkpoint that cannot have one."""
        checkpoint = load_checkpoint(path)
        cfg = checkpoint.model.cfg
        if cfg.n_classes != 2:
            raise ValueError(f"{path}: has {cfg.n_classes} classes; planar or not needs 2")
        edges = trained_on(checkpoint) or usual_edge_counts(cfg.n_vertices)
        if (about := sum(fewest(cfg.n_vertices, m) for m in edges)) > MOST_GRAPHS:
            raise ValueError(
                f"{path}: there are more than {about:.0e} graphs of {cfg.n_vertices} vertices and"
                f" {edges[0]} to {edges[-1]} edges, too many to go through"
            )
        settings = Settings(
            checkpoint.content_hash,
            cfg.n_vertices,
            edges[0],
            edges[-1],
            labellings,
            seed,
            device,
        )
        place = out or directory_of(checkpoint)
        return cls(path.absolute(), settings, place.absolute(), nauty or Nauty())

    @property
    def parts(self) -> list[Part]:
        """All parts in order; what is in each depends on the settings alone."""
        numbers = {
            edges: math.ceil(fewest(self.settings.n_vertices, edges) / PART)
            for edges in self.settings.edge_counts
        }
        return [Part(edges, index, of) for edges, of in numbers.items() for index in range(of)]

    @property
    def kept(self) -> Path:
        """Where parts are kept until all are there."""
        return self.out / "census.parts"

    def place_of(self, part: Part) -> Path:
        """Where the tallies of a part are kept."""
        return self.kept / f"{part}.json"

    def done(self) -> Census | None:
        """The census where it is taken; `ValueError` where another one is in its place, whole or in
        part."""
        found = read_census(self.out / RESULT)
        if found is not None:
            self._require_same(found.settings, self.out / RESULT)
        for path in sorted(self.kept.glob("*.json")):
            self._require_same(Counted.read(path).settings, path)
        return found

    def _require_same(self, found: Settings, path: Path) -> None:
        for field in dataclasses.fields(Settings):
            there, here = (getattr(one, field.name) for one in (found, self.settings))
            if there != here:
                raise ValueError(
                    f"{path}: is of another census: its {field.name} is {there}, not {here}; name"
                    " another --out"
                )


def fewest(n_vertices: int, n_edges: int) -> float:
    """At least so many graphs there are up to isomorphism: none stands for more than n! labelled
    ones."""
    return math.comb(math.comb(n_vertices, 2), n_edges) / math.factorial(n_vertices)


def take(plan: Plan, executor: Executor, *, report: Callable[[Counted], None]) -> Census:
    """Count what is not counted yet, on an executor whose workers see the checkpoint, and add it
    up.

    `report` gets every part, those that were there already first. `ValueError` where a worker was
    lost.
    """
    if (done := plan.done()) is not None:
        return done
    missing = []
    for part in plan.parts:
        if plan.place_of(part).exists():
            report(Counted.read(plan.place_of(part)))
        else:
            missing.append(part)
    waiting = {
        executor.submit(count_part, plan.checkpoint, plan.settings, part, plan.nauty): part
        for part in missing
    }
    try:
        for future in as_completed(waiting):
            counted = future.result()
            write_json(plan.place_of(waiting[future]), dataclasses.asdict(counted))
            report(counted)
    except BaseException as error:
        executor.shutdown(cancel_futures=True)
        if isinstance(error, BrokenExecutor):
            raise ValueError(
                f"{plan.kept}: a worker was killed; the same command goes on where it was"
            ) from None
        raise
    census = _added_up(plan)
    shutil.rmtree(plan.kept)
    return census


def _added_up(plan: Plan) -> Census:
    found = [Counted.read(plan.place_of(part)) for part in plan.parts]
    wrong = "".join(counted.wrong for counted in found).encode()
    census = Census(
        plan.settings,
        together(tally for counted in found for tally in counted.tallies),
        first_wrong=wrong.partition(b"\t")[0].decode() or None,
        wrong_sha256=hashlib.sha256(wrong).hexdigest(),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "nauty": plan.nauty.version(),
        },
    )
    _require_all(census, plan)
    write_bytes(plan.out / WRONG, wrong)
    write_json(plan.out / RESULT, census.to_dict())
    return census


def _require_all(census: Census, plan: Plan) -> None:
    """Whether the graphs stand for every labelled graph once: then none is missing, and none there
    twice."""
    pairs = math.comb(plan.settings.n_vertices, 2)
    for edges in plan.settings.edge_counts:
        labelled = sum(tally.labelled for tally in census.of(edges=edges))
        if labelled != math.comb(pairs, edges):
            raise ValueError(
                f"{plan.kept}: its graphs of {edges} edges stand for {labelled} labelled graphs,"
                f" but there are {math.comb(pairs, edges)}; delete it, and look at nauty"
            )
