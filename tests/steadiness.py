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
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from circuits.subject import Subject, load_subject
from models.transformer import Transformer
from studies.laws import insert
from tests.claims.test_judging_models import AUTHOR, CLAIMS, REFERENCE
from verdicts.files import write_text
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
                    f"{name} {side}": gap for name, m in gating.items() for side, gap in _gaps(m)
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
    where neither limit decides."""
    value = measured.number
    assert value is not None, "what has a bound is a number"
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


@dataclasses.dataclass(frozen=True)
class Looked:
    """A checkpoint, and how many seeds it is judged with."""

    checkpoint: Path
    validation: Path | None
    count: int

    def among(self, runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The runs on this checkpoint, by seed."""
        ours = [run for run in runs if run["checkpoint"] == self.checkpoint.name]
        return sorted(ours, key=lambda run: run["seed"])

    def settled(self, runs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        """Claims that its first seeds settle; none where they are not all judged."""
        first = [run for run in self.among(runs) if run["seed"] < FIRST]
        return settled(first) if len(first) == FIRST else frozenset()


def found(one: Looked, runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the docs tell of a checkpoint: how often each claim was judged how."""
    ours = one.among(runs)
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    for run in ours:
        for claim, result in run["claims"].items():
            verdicts[claim][result["verdict"]] += 1
    return {
        "content_hash": ours[0]["content_hash"],
        "seeds": len(ours),
        "settled": len(one.settled(runs)),
        "verdicts": {claim: dict(counts) for claim, counts in sorted(verdicts.items())},
    }


def table(kept: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each checkpoint, then the claims whose verdict was not always the same."""
    yield (
        "| checkpoint | seeds | claims that use chance | settled by ten seeds | always judged alike"
        " | both `holds` and `refuted` |"
    )
    yield "|---|---|---|---|---|---|"
    for name, of in kept.items():
        verdicts = of["verdicts"].values()
        alike = sum(len(counts) == 1 for counts in verdicts)
        both = sum({"holds", "refuted"} <= counts.keys() for counts in verdicts)
        yield f"| `{name}` | {of['seeds']} | {len(verdicts)} | {of['settled']} | {alike} | {both} |"
    yield ""
    for name, of in kept.items():
        for claim, counts in of["verdicts"].items():
            if len(counts) > 1:
                told = ", ".join(f"{verdict} {count}" for verdict, count in counts.items())
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
        help="a line of JSON for each seed; those in it are not done again",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        help="also write what was found to this JSON, where other checkpoints keep their place",
    )
    parser.add_argument("--into", type=Path, help="put the table of --keep into this page")
    options = parser.parse_args()
    if options.into is not None and options.keep is None:
        parser.error("--into needs --keep: the table is made of what is kept")
    looked = shipped(options.count)
    if options.checkpoint is not None:
        path = options.checkpoint.resolve()
        looked = [one for one in looked if one.checkpoint.resolve() == path] or [
            Looked(path, None, options.count or SEEDS)
        ]
    runs = (
        [json.loads(line) for line in options.out.read_text().splitlines()]
        if options.out.exists()
        else []
    )
    with ProcessPoolExecutor(options.jobs) as executor, options.out.open("a") as out:
        for seeds in (range(FIRST), range(FIRST, max(one.count for one in looked))):
            waiting = [
                executor.submit(
                    verdicts_with,
                    seed,
                    str(one.checkpoint),
                    None if one.validation is None else str(one.validation),
                    one.settled(runs) if seed >= FIRST else frozenset(),
                )
                for one in looked
                for seed in seeds
                if seed < one.count and seed not in {run["seed"] for run in one.among(runs)}
            ]
            for future in as_completed(waiting):
                runs.append(future.result())
                print(json.dumps(runs[-1]), file=out, flush=True)
    contradicted = False
    for one in looked:
        ours = one.among(runs)
        print(
            f"{one.checkpoint.name}: {len(ours)} seeds, {len(ours[0]['claims'])} claims, of which"
            f" the first {FIRST} seeds settled {len(one.settled(runs))}"
        )
        for name, counts, behind in unsteady(ours):
            contradicted |= contradicts(counts)
            print(f"{name}: {dict(counts)}", *behind, sep="\n  ")
    if options.keep is not None:
        kept = json.loads(options.keep.read_text()) if options.keep.exists() else {}
        kept |= {one.checkpoint.stem: found(one, runs) for one in looked}
        write_text(options.keep, json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
        if options.into is not None:
            insert("\n".join(table(kept)), options.into, name="steadiness")
    return 1 if contradicted else 0


if __name__ == "__main__":
    sys.exit(main())
