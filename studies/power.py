"""What the gate sees: how often it raises a false alarm where nothing that matters was changed, and
what damage it finds, in pairs and by intervals alone."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from circuits.gauge import transformed
from circuits.subject import Subject, load_subject
from claims.catalogue import all_claims
from models.graphs import balanced_set, random_graphs_over
from models.randomness import named_generator
from models.transformer import Transformer
from verdicts.cases import Seen, unpack
from verdicts.compare import compare
from verdicts.gates import FAILING, Gate
from verdicts.judge import Claim, judge
from verdicts.moves import gating_pairs
from verdicts.packing import pack
from verdicts.paired import Key
from verdicts.plugin.pairing import compared_in_pairs
from verdicts.schema import Description, SubjectResult
from verdicts.statistics import clopper_pearson

Change = Callable[[Subject, torch.Generator], Subject]
_WRONG_LABELS, _STEPS, _LEARNING_RATE = 100, 20, 1e-4


@dataclasses.dataclass(frozen=True)
class Side:
    """What a record says of a subject, and what was seen case by case."""

    result: SubjectResult
    seen: Mapping[Key, Seen]


@dataclasses.dataclass(frozen=True)
class Found:
    """What either rule says of one pair. A claim is flagged where it is lost, or where a measure
    that it stands or falls with has moved by more than chance."""

    measures: int
    apart: int
    """Measures of which the intervals fall apart."""
    in_pairs: int
    """Measures that changed by more than chance and more than a hundredth of their distance."""
    lost: int
    drifted: int
    intervals_alarm: bool
    """Whether the rule that compares two intervals fails the run."""
    seen: bool
    """Whether the rule in pairs shows anything."""
    fails: bool
    """Whether it fails the run."""


def measured_claims() -> list[Claim]:
    """The claims that rest on a sample: the others are not compared by chance."""
    return [claim for claim in all_claims() if claim.evidence in ("estimated", "causal")]


def side_of(subject: Subject, claims: Sequence[Claim]) -> Side:
    """The claims judged on a subject."""
    found, seen = [], {}
    for claim in claims:
        verdict = judge(claim, subject)
        found.append(verdict.result())
        for measure, per_case in verdict.expect.per_case.items():
            seen[claim.id, measure] = unpack(pack(per_case))  # as a file holds it
    return Side(Description.of(subject).judged(found), seen)


def compared(before: Side, now: Side, *, same_cases: bool) -> Found:
    """Both rules on one pair; on other graphs nothing can be compared in pairs."""
    seen = before.seen if same_cases else {}
    changes, gating = compared_in_pairs(before.result, now.result, seen, now.seen)
    gate = Gate("changed", "", changes=changes)
    comparison = compare(before.result, now.result, whole=True, gate=gate)
    statuses = [one.status for one in comparison.claims.values()]
    apart = list(_apart(before.result, now.result))
    lost = statuses.count("lost")
    return Found(
        gating,
        len(apart),
        sum(change.significant for change in changes.values()),
        lost,
        statuses.count("drifted"),
        bool(lost) or any(apart),
        any(status in ("lost", "drifted", "moved") for status in statuses),
        any(status in FAILING for status in statuses),
    )


def _apart(before: SubjectResult, now: SubjectResult) -> Iterator[bool]:
    """Each measure of which the intervals fall apart: whether it came nearer to its bound, in a
    claim that holds in both."""
    then = {claim.id: claim for claim in before.claims}
    for claim in now.claims:
        for pair in gating_pairs(then[claim.id], claim):
            if pair.apart:
                nearer = pair.bounds.distance(pair.now) < pair.bounds.distance(pair.was)
                yield nearer and {then[claim.id].verdict, claim.verdict} == {"holds"}


# what is changed


def _edited(subject: Subject, edit: Callable[[Transformer], object]) -> Subject:
    model = copy.deepcopy(subject.model)
    with torch.no_grad():
        edit(model)
    return dataclasses.replace(subject, model=model, content_hash=f"{subject.content_hash}, edited")


def other_seed(subject: Subject, generator: torch.Generator) -> Subject:
    """The same weights with another `--claims-seed`."""
    seed = int(torch.randint(1, 1_000_000, (), generator=generator))
    return dataclasses.replace(subject, seed=seed)


def other_graphs(subject: Subject, generator: torch.Generator) -> Subject:
    """The same weights on another batch of validation graphs."""
    graphs = balanced_set(
        subject.model.cfg.n_vertices,
        subject.edge_counts,
        count=len(subject.graphs),
        generator=generator,
    )
    return dataclasses.replace(subject, graphs=graphs)


def float16(subject: Subject, _: torch.Generator) -> Subject:
    """Every weight rounded to half precision and back."""
    return _edited(subject, lambda model: _each_weight(model, lambda w: w.half().to(w)))


def permuted_neurons(subject: Subject, generator: torch.Generator) -> Subject:
    """The neurons of each MLP in another order."""
    model, _ = transformed(subject.model, "neuron permutation", generator=generator)
    return dataclasses.replace(subject, model=model, content_hash="permuted")


def int8(subject: Subject, _: torch.Generator) -> Subject:
    """Every weight rounded to one of 255 steps of its tensor, and back."""

    def rounded(weight: Tensor) -> Tensor:
        step = weight.abs().max() / 127
        return (weight / step).round() * step if step > 0 else weight

    return _edited(subject, lambda model: _each_weight(model, rounded))


def noise(share: float) -> Change:
    """Normal noise on every weight, of that share of its tensor's spread."""

    def change(subject: Subject, generator: torch.Generator) -> Subject:
        def noisy(weight: Tensor) -> Tensor:
            drawn = torch.randn(weight.shape, generator=generator).to(weight)
            return weight + share * weight.std() * drawn

        return _edited(subject, lambda model: _each_weight(model, noisy))

    return change


def dead_neurons(count: int) -> Change:
    """So many neurons of the first MLP that write nothing any more."""

    def change(subject: Subject, generator: torch.Generator) -> Subject:
        def edit(model: Transformer) -> None:
            chosen = torch.randperm(model.cfg.d_mlp, generator=generator)[:count]
            model.mlp(0).W_out[chosen] = 0.0

        return _edited(subject, edit)

    return change


def weaker_reader(subject: Subject, _: torch.Generator) -> Subject:
    """The reader's W_Q scaled by 0.9."""
    reader = subject.roles.reader
    return _edited(subject, lambda model: model.attention(reader.layer).W_Q[reader.index].mul_(0.9))


def wrongly_tuned(subject: Subject, generator: torch.Generator) -> Subject:
    """Twenty steps down the gradient of a hundred wrong labels."""
    graphs = random_graphs_over(
        subject.model.cfg.n_vertices,
        subject.edge_counts,
        count=_WRONG_LABELS,
        generator=generator,
    )
    model = copy.deepcopy(subject.model)
    with torch.no_grad():
        wrong = 1 - model(graphs).argmax(-1)
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        with torch.enable_grad():
            F.cross_entropy(model(graphs), wrong).backward()
        optimizer.step()
    return dataclasses.replace(
        subject, model=model.requires_grad_(False), content_hash=f"{subject.content_hash}, tuned"
    )


def _each_weight(model: Transformer, change: Callable[[Tensor], Tensor]) -> None:
    for weight in model.parameters():
        weight.copy_(change(weight))


NULLS: Mapping[str, Change] = {
    "other `--claims-seed`": other_seed,
    "other validation graphs": other_graphs,
    "float16 and back": float16,
    "neurons permuted": permuted_neurons,
}
DAMAGE: Mapping[str, Change] = {
    **{f"noise of {share:.1%}": noise(share) for share in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)},
    "one neuron dead": dead_neurons(1),
    "ten neurons dead": dead_neurons(10),
    "reader's W_Q × 0.9": weaker_reader,
    "int8 and back": int8,
    "20 steps on 100 wrong labels": wrongly_tuned,
}


def of_one_repeat(
    subject: Subject, claims: Sequence[Claim], repeat: int, changes: Collection[str]
) -> Iterator[tuple[str, Found]]:
    """Both rules on these changes, on validation graphs of this repeat's own (the usual ones for
    repeat 0)."""
    chance = named_generator(repeat, "gate power")
    base = subject if repeat == 0 else other_graphs(subject, chance)
    before = side_of(base, claims)
    for name, change in {**NULLS, **DAMAGE}.items():
        if name in changes:
            changed = change(base, named_generator(repeat, f"gate power: {name}"))
            now = side_of(changed, claims)
            yield name, compared(before, now, same_cases=change is not other_graphs)


def power(
    checkpoint: Path,
    claims: Sequence[str],
    *,
    nulls: int,
    damage: int,
    jobs: int,
    out: Path,
    report: Callable[[str], object] = lambda line: None,
) -> dict[str, list[Found]]:
    """Both rules on every change: so many runs of each that changes nothing, and of each damage.

    `out` keeps a line of each run; what it holds is not done again. `ValueError` where it is of
    other weights or claims.
    """
    wanted = {
        repeat: [*(NULLS if repeat < nulls else ()), *(DAMAGE if repeat < damage else ())]
        for repeat in range(max(nulls, damage))
    }
    of = {"weights": load_subject(checkpoint).content_hash, "claims": sorted(claims)}
    found = dict(_read(out, of))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as executor:
        waiting = [
            executor.submit(_kept, checkpoint, claims, repeat, missing, of, out)
            for repeat, names in wanted.items()
            if (missing := [name for name in names if (repeat, name) not in found])
        ]
        for future in as_completed(waiting):
            for repeat, name, one in future.result():
                found[repeat, name] = one
                report(f"run {repeat} of {name}: {one}")
    by_name: dict[str, list[Found]] = {name: [] for name in (*NULLS, *DAMAGE)}
    for repeat, names in wanted.items():
        for name in names:
            by_name[name].append(found[repeat, name])
    return by_name


def _kept(
    checkpoint: Path,
    claims: Sequence[str],
    repeat: int,
    names: Sequence[str],
    of: Mapping[str, Any],
    out: Path,
) -> list[tuple[int, str, Found]]:
    """One repeat in a process of its own, each run written when it is done."""
    torch.set_num_threads(1)
    chosen = [claim for claim in measured_claims() if claim.id in claims]
    done = []
    for name, found in of_one_repeat(load_subject(checkpoint), chosen, repeat, names):
        line = {"of": of, "repeat": repeat, "change": name, "found": dataclasses.asdict(found)}
        with out.open("a", encoding="utf-8") as lines:
            print(json.dumps(line), file=lines)
        done.append((repeat, name, found))
    return done


def _read(out: Path, of: Mapping[str, Any]) -> Iterator[tuple[tuple[int, str], Found]]:
    """The runs that a file holds; a line that was cut short is left out."""
    for line in out.read_text(encoding="utf-8").splitlines() if out.exists() else []:
        try:
            kept = json.loads(line)
        except ValueError:
            continue
        if kept["of"] != of:
            raise ValueError(f"{out}: holds runs of other weights or claims; name another --out")
        yield (kept["repeat"], kept["change"]), Found(**kept["found"])


def false_alarms(found: Mapping[str, Sequence[Found]]) -> str:
    """How often either rule speaks where nothing that matters was changed, with the exact 95 %
    limit."""
    runs = [run for name in NULLS for run in found[name]]
    paired = [
        run for name, change in NULLS.items() if change is not other_graphs for run in found[name]
    ]

    def how_many(key: str, of: Sequence[Found]) -> str:
        count = sum(getattr(run, key) for run in of)
        return f"{count} (at most {clopper_pearson(count, len(of)).high:.1%})"

    return (
        f"Of {len(runs)} runs where nothing that matters was changed: by intervals an alarm in"
        f" {how_many('intervals_alarm', runs)}, and a failure of the gate in"
        f" {how_many('fails', runs)}. Of the {len(paired)} with the same graphs: in pairs something"
        f" shown in {how_many('seen', paired)}."
    )


def table(found: Mapping[str, Sequence[Found]]) -> Iterator[str]:
    """A row for each change, in Markdown."""
    yield "| change | runs | by intervals: alarm | in pairs: shown | fails | lost, drifted |"
    yield "|---|---|---|---|---|---|"
    for title, group in (("nothing that matters", NULLS), ("damage", DAMAGE)):
        yield f"| **{title}** | | | | | |"
        for name in group:
            runs = found.get(name, [])
            if not runs:
                continue
            alarms, seen, fails = (
                sum(getattr(run, key) for run in runs)
                for key in ("intervals_alarm", "seen", "fails")
            )
            apart, moved, lost, drifted = (
                sum(getattr(run, key) for run in runs) / len(runs)
                for key in ("apart", "in_pairs", "lost", "drifted")
            )
            in_pairs = "—" if group[name] is other_graphs else f"{seen} ({moved:.1f} measures)"
            yield (
                f"| {name} | {len(runs)} | {alarms} ({apart:.1f} measures) | {in_pairs} | {fails} |"
                f" {lost:.1f}, {drifted:.1f} |"
            )
