"""Where untrained models stand: `circuits/untrained.json`, what is read from it, and how it is
made.

Each draw is one model at the author's initialisation, and of each statistic the best of its parts.
The file keeps of a statistic its quantiles with their confidence limits, and its largest draws, by
which p-values up to 0.05 are exact.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binom
from tqdm import tqdm

from circuits.chance import STATISTICS, definition, measure
from circuits.trial import GRAPHS, Parts, Sample, Trial
from models.checkpoint import write_json
from models.config import ModelConfig
from models.randomness import named_generator
from models.transformer import Transformer
from verdicts.lock import hold

UNTRAINED = Path(__file__).with_name("untrained.json")
MODELS = 3000  # at 2,995 the largest draw is an upper limit of the 0.999 quantile at 95 %
SEED = 0
CONFIDENCE = 0.95
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
TAIL = 0.05  # of the draws are kept, the largest
CHECKED = 3  # models whose statistics are kept, so that the file can be checked in seconds
_DIGITS = 6


@dataclasses.dataclass(frozen=True)
class Quantile:
    """A quantile of the draws, with the limits of that of all untrained models."""

    level: float
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Entry:
    """One statistic of so many untrained models."""

    name: str
    models: int
    quantiles: tuple[Quantile, ...]
    largest_draws: tuple[float, ...]
    """The largest twentieth, largest first."""

    def __len__(self) -> int:
        return self.models

    @property
    def largest(self) -> float:
        """The largest draw."""
        return self.largest_draws[0]

    def as_large(self, observed: float) -> int:
        """How many draws are at least as large: exact up to a twentieth of them, else at most so
        many, by the quantiles."""
        if not observed < self.largest_draws[-1]:
            return sum(draw >= observed for draw in self.largest_draws)
        reached = [quantile.level for quantile in self.quantiles if quantile.value < observed]
        return math.ceil((1 - max(reached, default=0.0)) * self.models)


def rounded(value: float) -> float:
    """To the digits that the file keeps: what is compared with its draws must be rounded alike."""
    return float(f"{value:.{_DIGITS}g}")


@dataclasses.dataclass(frozen=True)
class Draws:
    """All statistics of the untrained models of one architecture."""

    model: ModelConfig
    edge_counts: range
    seed: int
    entries: Mapping[str, Entry]

    @property
    def sample(self) -> Sample:
        """The graphs that they were measured on."""
        return _sample(self.model.n_vertices, self.edge_counts, self.seed)


@cache
def _sample(n_vertices: int, edge_counts: range, seed: int) -> Sample:
    return Sample.of(n_vertices, edge_counts, seed)


@cache
def read_untrained(path: Path = UNTRAINED) -> tuple[Draws, ...]:
    """What the file holds, one `Draws` for each architecture."""
    found = []
    for kept in json.loads(path.read_text(encoding="utf-8"))["architectures"]:
        entries = {
            name: Entry(
                name,
                kept["models"],
                tuple(Quantile(*row) for row in entry["quantiles"]),
                tuple(entry["largest_draws"]),
            )
            for name, entry in kept["statistics"].items()
        }
        low, high = kept["edge_counts"]
        found.append(
            Draws(ModelConfig.from_dict(kept["model"]), range(low, high + 1), kept["seed"], entries)
        )
    return tuple(found)


def drawn_for(cfg: ModelConfig) -> Draws | None:
    """The draws of an architecture; `None` where there are none."""
    return next((draws for draws in read_untrained() if draws.model == cfg), None)


def statistics_of(
    index: int, cfg: ModelConfig, edge_counts: range, seed: int
) -> dict[str, float | None]:
    """Every statistic of one untrained model, which its number and the seed determine."""
    model = (
        Transformer(cfg)
        .initialise(named_generator(seed, f"untrained model {index}"))
        .requires_grad_(False)
    )
    trial = Trial(model, _sample(cfg.n_vertices, edge_counts, seed), Parts.all(model))
    return {
        name: None if (value := measure(name, trial)) is None else rounded(value)
        for name in STATISTICS
    }


def draw(
    cfg: ModelConfig, *, edge_counts: range, models: int, jobs: int, out: Path, seed: int = SEED
) -> None:
    """Measure so many untrained models and put them into the file, in place of those of the same
    architecture.

    What is done is kept beside the file, and not done again when the command is stopped and given
    once more.
    """
    with hold(out.parent / f".{out.stem}"):
        kept = out.parent / f".{out.stem}" / f"{_signature(cfg, edge_counts, seed)}.jsonl"
        done = dict(_read_lines(kept))
        missing = [index for index in range(models) if index not in done]
        with (
            kept.open("a", encoding="utf-8") as lines,
            ProcessPoolExecutor(jobs, initializer=_one_thread) as executor,
        ):
            waiting = {
                executor.submit(statistics_of, index, cfg, edge_counts, seed): index
                for index in missing
            }
            for future in tqdm(
                as_completed(waiting),
                total=models,
                initial=models - len(missing),
                unit="model",
                desc="untrained",
            ):
                done[waiting[future]] = future.result()
                print(json.dumps([waiting[future], future.result()]), file=lines, flush=True)
        ours = _summary(cfg, edge_counts, seed, [done[index] for index in range(models)])
        others = (
            json.loads(out.read_text(encoding="utf-8"))["architectures"] if out.exists() else []
        )
        architectures = [one for one in others if one["model"] != ours["model"]]
        write_json(out, {"schema_version": 1, "architectures": [*architectures, ours]})
        kept.unlink()
    (out.parent / f".{out.stem}").rmdir()


def _one_thread() -> None:
    torch.set_num_threads(1)


def _signature(cfg: ModelConfig, edge_counts: range, seed: int) -> str:
    sizes = "-".join(map(str, cfg.to_dict().values()))
    return f"{sizes}.edges-{edge_counts[0]}-{edge_counts[-1]}.seed-{seed}"


def _read_lines(path: Path) -> Iterator[tuple[int, dict[str, float | None]]]:
    """The models that are done; a last line that was cut short is left out."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            index, statistics = json.loads(line)
        except ValueError:
            continue
        yield index, statistics


def _summary(
    cfg: ModelConfig, edge_counts: range, seed: int, models: Sequence[Mapping[str, float | None]]
) -> dict[str, Any]:
    """One architecture as the file holds it."""
    draws = {
        name: [value for model in models if (value := model.get(name)) is not None]
        for name in STATISTICS
    }
    return {
        "model": cfg.to_dict(),
        "edge_counts": [edge_counts[0], edge_counts[-1]],
        "seed": seed,
        "models": len(models),
        "heads": cfg.n_heads * cfg.n_layers,
        "graphs": GRAPHS,
        "statistics": {
            name: {
                "definition": definition(name),
                "quantiles": [[level, *quantile(values, level)] for level in LEVELS],
                "largest_draws": sorted(values, reverse=True)[: max(1, round(TAIL * len(values)))],
                "first_models": [model[name] for model in models[:CHECKED]],
            }
            for name, values in draws.items()
            if len(values) == len(models)
        },
    }


def quantile(draws: Sequence[float], level: float) -> tuple[float, float, float]:
    """The draw at a level, and the draws that hold that quantile of their source between them with
    95 % confidence.

    By how many of n draws fall below it, which is binomial; a limit that no draw can give is the
    draw at the end. The upper one alone is a limit with 97.5 %, and the largest of 2,995 draws one
    of the 0.999 quantile with 95 %.
    """
    ordered, n = sorted(draws), len(draws)
    tail = (1 - CONFIDENCE) / 2
    low = int(binom.ppf(tail, n, level))
    high = int(binom.ppf(1 - tail, n, level)) + 1
    at = min(n, max(1, math.ceil(level * n)))
    return ordered[at - 1], ordered[max(low, 1) - 1], ordered[min(high, n) - 1]
