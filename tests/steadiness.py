"""Whether verdicts depend on the seed of a run: every claim that uses chance, judged with many
values of `--claims-seed`.

`make steady` runs it on every shipped checkpoint with weights, 50 seeds each, and on the author's
where it is at hand, 200. A claim that the first ten seeds settle is not judged with the rest: each
of its limits lies farther from its bound than five times what it moved over them. A search is never
settled so. What is done is kept in a file of one line a seed and checkpoint, and not done again. A
verdict that is not always the same is shown with the interval behind it. Where a value is next to
its bound, a 95 % interval lies wholly on the wrong side of it once in 40; a claim that is decided
both ways more often than that exits with 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from circuits.subject import Subject, load_subject
from models.transformer import Transformer
from studies.pages import insert
from tests.claims.test_judging_models import AUTHOR, CLAIMS, REFERENCE
from verdicts.judge import judge
from verdicts.schema import Measurement
from verdicts.statistics import clopper_pearson

ROOT = Path(__file__).parent.parent
WRONG_SIDE = 0.025  # how often a 95 % interval lies wholly above, or below, the truth
SEEDS, SEEDS_OF_THE_AUTHORS = 50, 200
FIRST = 10  # seeds that every claim is judged with
FAR = 5.0  # times what a limit moved over them: some fifteen of its standard deviations
CHANCE = ("estimated", "causal", "searched")
_SAME_FOR_EVERY_SEED = (
    ("claims.test_pointer_composition", "path_patching"),
    ("circuits.subject", "path_patching"),
    ("claims.test_necessity", "_accuracy_by_head"),  # but for resampling, on which no verdict rests
)


@functools.cache
def _keep_what_is_the_same() -> None:
    """What does not depend on the seed is computed once in a process."""
    torch.set_num_threads(1)
    for module, name in _SAME_FOR_EVERY_SEED:
        owner = importlib.import_module(module)
        setattr(owner, name, _kept(getattr(owner, name)))


@functools.lru_cache(maxsize=1)
def _subject(checkpoint: str, validation: str | None) -> Subject:
    _keep_what_is_the_same()
    return load_subject(checkpoint, validation=None if validation is None else Path(validation))


def _kept(function: Callable[..., Any]) -> Callable[..., Any]:
    kept: dict[str, Any] = {}

    def wrapper(*arguments: Any, **named: Any) -> Any:
        key = repr([_content(value) for value in (*arguments, *sorted(named.items()))])
        if key not in kept:
            kept[key] = function(*arguments, **named)
        return kept[key]

    return wrapper


def _content(value: Any) -> Any:
    if isinstance(value, Subject):
        return value.content_hash
    if isinstance(value, Transformer):
        return hash(
            b"".join(parameter.detach().cpu().numpy().tobytes() for parameter in value.parameters())
        )
    if isinstance(value, torch.Tensor):
        return hash(value.cpu().numpy().tobytes())
    return [_content(item) for item in value] if isinstance(value, (list, tuple)) else value


def verdicts_with(
    seed: int, checkpoint: str, validation: str | None, without: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Verdict of each claim that uses chance, with how far its limits lie from their bounds, and
    the gating measurements that straddle or miss one."""
    subject = dataclasses.replace(_subject(checkpoint, validation), seed=seed)
    found = {}
    for claim in CLAIMS:
        if claim.evidence in CHANCE and claim.id not in without:
            result = judge(claim, subject)
            gating = {
                name: m for name, m in result.expect.measurements.items() if m.outcome is not None
            }
            found[claim.id] = {
                "verdict": result.verdict,
                "reason": result.reason,
                "missed": {
                    name: [m.value, m.low, m.high, m.at_least, m.at_most]
                    for name, m in gating.items()
                    if m.outcome != "holds"
                },
                "gaps": {
                    f"{name} {side}": float(f"{gap:.4g}")
                    for name, m in gating.items()
                    for side, gap in _gaps(m)
                },
            }
    return {
        "checkpoint": Path(checkpoint).name,
        "content_hash": subject.content_hash,
        "seed": seed,
        "claims": found,
    }


def _gaps(measured: Measurement) -> Iterator[tuple[str, float]]:
    """By how much each bound is cleared by the limit that decides, below 0 where it is missed; 0
    where neither limit decides, or nothing was found to measure."""
    value = measured.number
    if value is None:
        low, high = -math.inf, math.inf
    else:
        low = value if measured.low is None else measured.low
        high = value if measured.high is None else measured.high
    if measured.at_least is not None:
        yield "at_least", max(0.0, low - measured.at_least) + min(0.0, high - measured.at_least)
    if measured.at_most is not None:
        yield "at_most", max(0.0, measured.at_most - high) + min(0.0, measured.at_most - low)


def settled(runs: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Claims of one checkpoint that no other seed can be expected to judge in another way: all
    seeds agree, and no limit is near its bound."""
    return frozenset(
        claim.id
        for claim in CLAIMS
        if claim.evidence in CHANCE
        and claim.evidence != "searched"
        and _far([run["claims"][claim.id] for run in runs])
    )


def _far(results: Sequence[Mapping[str, Any]]) -> bool:
    if {result["verdict"] for result in results} not in ({"holds"}, {"refuted"}, {"absent"}):
        return False
    for name in results[0]["gaps"]:
        gaps = [result["gaps"][name] for result in results]
        if min(map(abs, gaps)) <= FAR * (max(gaps) - min(gaps)):
            return False
    return True


def unsteady(runs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Counter[str], list[str]]]:
    """Claims whose verdict is not always the same: how often which, and what was behind each."""
    by_claim: dict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    for run in runs:
        for name, found in run["claims"].items():
            by_claim[name].append((run["seed"], found))
    for name, results in by_claim.items():
        counts = Counter(found["verdict"] for _, found in results)
        if len(counts) > 1:
            yield (
                name,
                counts,
                [
                    f"seed {seed}: {found['verdict']} {found['missed'] or found['reason'] or ''}"
                    for seed, found in results
                ],
            )


def contradicts(counts: Mapping[str, int]) -> bool:
    """Whether a claim broke, or was decided both ways more often than its intervals may be
    wrong."""
    rarer = min(counts.get("holds", 0), counts.get("refuted", 0))
    return "error" in counts or clopper_pearson(rarer, sum(counts.values())).low > WRONG_SIDE


def settled_by_the_first(runs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Claims that the first seeds of a checkpoint settle; none where they are not all judged."""
    first = [run for run in runs if run["seed"] < FIRST]
    return settled(first) if len(first) == FIRST else frozenset()


@dataclasses.dataclass(frozen=True)
class Looked:
    """A checkpoint, and how many seeds it is judged with."""

    checkpoint: Path
    validation: Path | None
    count: int

    @property
    def name(self) -> str:
        """Of the file with its runs."""
        return self.checkpoint.stem


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The runs of a checkpoint, by seed; none where the file is not there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sorted(map(json.loads, lines), key=lambda run: run["seed"])


def table(directory: Path) -> Iterator[str]:
    """A line for each checkpoint, then the claims whose verdict was not always the same."""
    several = {path.stem: read_runs(path) for path in sorted(directory.glob("*.jsonl"))}
    yield (
        "| checkpoint | seeds | claims that use chance | settled by ten seeds | always judged alike"
        " | both `holds` and `refuted` |"
    )
    yield "|---|---|---|---|---|---|"
    for name, runs in several.items():
        claims = len(runs[0]["claims"])
        changing = [counts for _, counts, _ in unsteady(runs)]
        both = sum({"holds", "refuted"} <= counts.keys() for counts in changing)
        yield (
            f"| `{name}` | {len(runs)} | {claims} | {len(settled_by_the_first(runs))}"
            f" | {claims - len(changing)} | {both} |"
        )
    yield ""
    for name, runs in several.items():
        for claim, counts, _ in unsteady(runs):
            told = ", ".join(f"{verdict} {count}" for verdict, count in counts.most_common())
            yield f"- `{name}`, `{claim}`: {told}"


def shipped(count: int | None) -> list[Looked]:
    """All checkpoints whose weights are at hand."""
    ours = [
        Looked(path.parent, None, count or SEEDS)
        for path in sorted((ROOT / "checkpoints").glob("*/model.safetensors"))
    ]
    return [
        *ours,
        *(
            [Looked(AUTHOR, REFERENCE / "val.npz", count or SEEDS_OF_THE_AUTHORS)]
            if AUTHOR.exists()
            else []
        ),
    ]


def main() -> int:
    """Exit code 0 where no claim is decided both ways by more than chance."""
    parser = argparse.ArgumentParser(
        description="Judge the claims that use chance with many seeds."
    )
    parser.add_argument(
        "--count",
        type=int,
        help=f"seeds, from 0 (default {SEEDS}, of the author's checkpoint {SEEDS_OF_THE_AUTHORS})",
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="processes of one core each (default 2)"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="this one alone (default: all whose weights are at hand)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="directory with a file a checkpoint, a line a seed; those in it are not done again",
    )
    parser.add_argument("--into", type=Path, help="put the table of all in --out into this page")
    options = parser.parse_args()
    looked = shipped(options.count)
    if options.checkpoint is not None:
        path = options.checkpoint.resolve()
        looked = [one for one in looked if one.checkpoint.resolve() == path] or [
            Looked(path, None, options.count or SEEDS)
        ]
    options.out.mkdir(parents=True, exist_ok=True)
    places = {one: options.out / f"{one.name}.jsonl" for one in looked}
    with ProcessPoolExecutor(options.jobs) as executor:
        for seeds in (range(FIRST), range(FIRST, max(one.count for one in looked))):
            waiting = {}
            for one, place in places.items():
                runs = read_runs(place)
                without = settled_by_the_first(runs) if seeds[0] else frozenset[str]()
                validation = None if one.validation is None else str(one.validation)
                for seed in sorted({*seeds} & {*range(one.count)} - {run["seed"] for run in runs}):
                    arguments = (seed, str(one.checkpoint), validation, without)
                    waiting[executor.submit(verdicts_with, *arguments)] = place
            for future in as_completed(waiting):
                with waiting[future].open("a", encoding="utf-8") as out:
                    print(json.dumps(future.result()), file=out)
    contradicted = False
    for place in places.values():
        runs = read_runs(place)
        print(
            f"{place.stem}: {len(runs)} seeds, {len(runs[0]['claims'])} claims, of which the first"
            f" {FIRST} seeds settled {len(settled_by_the_first(runs))}"
        )
        for name, counts, behind in unsteady(runs):
            contradicted |= contradicts(counts)
            print(f"{name}: {dict(counts)}", *behind, sep="\n  ")
    if options.into is not None:
        insert("\n".join(table(options.out)), options.into, name="steadiness")
    return 1 if contradicted else 0


if __name__ == "__main__":
    sys.exit(main())
