"""Which predictions of `registered.toml` seeds that nobody had seen have confirmed, and what else
they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from studies.registration import (
    Outcome,
    Prediction,
    Registration,
    RegistrationError,
    rate_interval,
)
from studies.trim import trimmed, write_lines
from verdicts.files import write_text
from verdicts.frequencies import frequency
from verdicts.record import read_record, read_whole_record
from verdicts.schema import SubjectResult

RECORDS = Path(__file__).parent / "records"
"""A directory for each recipe, with the trimmed record of each seed."""
REGISTERED = Path(__file__).parent / "registered.toml"


def keep(record: Path, registration: Registration, place: Path) -> None:
    """Write the trimmed record of a seed, with the numbers that a prediction is of."""
    named = {
        (condition.claim, condition.measure)
        for prediction in registration.predictions
        for condition in prediction.conditions
    }
    write_lines(place, trimmed(read_whole_record(record), named))


def read_seeds(
    directory: Path, registration: Registration | None = None
) -> dict[int, SubjectResult]:
    """The records of a directory by seed; `RegistrationError` for one that says nothing of its
    training, is of another seed than its name says, or was not judged as the registration that is
    given says."""
    found: dict[int, SubjectResult] = {}
    for path in sorted(directory.glob("seed-*.json")):
        record = read_record(path)
        subject = record.subjects[0]
        about = subject.about
        training, scores = (about.get(key) for key in ("training", "role_scores"))
        if not isinstance(training, dict) or "seed" not in training or not isinstance(scores, dict):
            raise RegistrationError(
                f"{path}: does not say how it was trained; write it with: seeds --keep"
            )
        seed, registered = training["seed"], about.get("registration")
        if path.stem != f"seed-{seed}":
            raise RegistrationError(f"{path}: is of seed {seed}; its name must be seed-{seed}.json")
        if registration is not None:
            named = registered.get("sha256") if isinstance(registered, dict) else None
            if named != registration.sha256:
                raise RegistrationError(
                    f"{path}: was judged for other predictions than those of {registration.path}"
                )
            if record.run.seed != registration.claims_seed:
                raise RegistrationError(
                    f"{path}: was judged with --claims-seed {record.run.seed}, and the plan"
                    f" says {registration.claims_seed}"
                )
        found[seed] = subject
    sets = {subject.validation_set for subject in found.values()}
    if len(sets) > 1:
        raise RegistrationError(f"{directory}: its seeds were judged on {len(sets)} different sets")
    return dict(sorted(found.items()))


def table_of_predictions(
    registration: Registration, seeds: Mapping[int, SubjectResult]
) -> Iterator[str]:
    """What came of each prediction, as a table in Markdown."""
    outcomes = registration.outcomes(seeds)
    planned = registration.seeds
    judged = sum(seed in seeds for seed in planned)
    counts = ", ".join(
        f"{sum(one.outcome == name for one in outcomes)} {name}"
        for name in ("confirmed", "failed", "open")
    )
    yield (
        f"{len(outcomes)} predictions of seeds {planned[0]} to {planned[-1]}, {judged} of"
        f" {len(planned)} judged: {counts}."
    )
    yield ""
    yield "| prediction | found | 95 % interval | predicted | outcome |"
    yield "|---|---|---|---|---|"
    for one in outcomes:
        low, high = one.prediction.range
        words = f"{_in_words(one.prediction, seeds)} `{one.prediction.id}`"
        yield f"| {words} | {_found(one)} | {_interval(one)} | {low:g} … {high:g} | {one.outcome} |"


def table_of_confirmed(
    registration: Registration, seeds: Mapping[int, SubjectResult]
) -> Iterator[str]:
    """The predictions that are confirmed, as a short table in Markdown: those with the same outcome
    share a line.

    What was predicted to be rare is counted where it is not so, as the id says.
    """
    lines: dict[str, list[str]] = {}
    for one in registration.outcomes(seeds):
        if one.outcome == "confirmed":
            low, high = one.prediction.range
            if one.prediction.rare:
                low, high, others = 1 - high, 1 - low, one.of - one.count
                interval = rate_interval(others, one.of)
                one = dataclasses.replace(one, count=others, interval=interval)
            outcome = f"{_found(one)} | {_interval(one)} | {low:g} … {high:g}"
            lines.setdefault(outcome, []).append(f"`{one.prediction.id}`")
    yield "| true of | 95 % interval | predicted | what was predicted |"
    yield "|---|---|---|---|"
    for outcome, names in lines.items():
        yield f"| {outcome} | {', '.join(names)} |"


def by_device(registration: Registration, seeds: Mapping[int, SubjectResult]) -> str:
    """On what the seeds of the plan were trained, and, where that is two devices, which predicted
    rate differs most between them."""
    from scipy.stats import fisher_exact  # takes a second to import

    planned = {seed: seeds[seed] for seed in registration.seeds if seed in seeds}
    devices = _devices(planned)
    trained = f"Trained on {_trained_on(planned)}."
    rates = [prediction for prediction in registration.predictions if prediction.rate]
    if len(devices) != 2 or not rates:
        return trained
    found = []
    for prediction in rates:
        met = [[prediction.met(seed) for seed in judged] for judged in devices.values()]
        counts = [(one.count(True), one.count(False)) for one in met]
        found.append((float(fisher_exact(counts).pvalue), prediction.id, counts))
    p, name, counts = min(found)
    told = ", ".join(
        f"{true}/{true + false} on {device}"
        for device, (true, false) in zip(devices, counts, strict=True)
    )
    return (
        f"{trained} Of {len(found)} rates that of `{name}` differs most between them: {told}"
        f" (p = {p:.2f} by Fisher's exact test). So few seeds miss many differences."
    )


def _devices(seeds: Mapping[int, SubjectResult]) -> dict[str, list[SubjectResult]]:
    """The seeds by the kind of device that their receipts name."""
    devices: dict[str, list[SubjectResult]] = {}
    for subject in seeds.values():
        receipt = subject.about["training"].get("metrics", {})
        devices.setdefault(receipt.get("device", "an unknown device"), []).append(subject)
    return dict(sorted(devices.items()))


def _trained_on(seeds: Mapping[int, SubjectResult]) -> str:
    return ", ".join(f"{device} ({len(each)})" for device, each in _devices(seeds).items())


def _in_words(prediction: Prediction, seeds: Mapping[int, SubjectResult]) -> str:
    """What a prediction is of: its own words, or the statement of its one claim."""
    if prediction.says is not None or not seeds:
        return prediction.says or ""
    (condition,) = prediction.where
    return next(
        claim.statement
        for claim in next(iter(seeds.values())).claims
        if claim.id == condition.claim
    )


def _found(one: Outcome) -> str:
    if one.prediction.rate:
        return f"{one.count}/{one.of}"
    return "—" if one.value is None else f"a difference of {one.value:+z.4f}"


def _interval(one: Outcome) -> str:
    digits = ".2f" if one.prediction.rate else "+z.4f"
    return (
        "—"
        if one.interval[0] == float("-inf")
        else f"[{one.interval[0]:{digits}}, {one.interval[1]:{digits}}]"
    )


def table_of_claims(
    registration: Registration, seeds: Mapping[int, SubjectResult]
) -> Iterator[str]:
    """In how many of the registered seeds each claim holds of which nothing was predicted, as a
    table in Markdown."""
    predicted = {
        condition.claim
        for one in registration.predictions
        for condition in one.conditions
        if condition.verdict
    }
    judged = [seeds[seed] for seed in registration.seeds if seed in seeds]
    names = sorted({claim.id for seed in judged for claim in seed.claims} - predicted)
    counted = sorted(
        ((frequency(judged, name), name) for name in names), key=lambda item: (-item[0][0], item[1])
    )
    yield "| claim | holds in | 95 % interval |"
    yield "|---|---|---|"
    for (count, low, high), name in counted:
        yield f"| `{name}` | {count}/{len(judged)} | [{low:.2f}, {high:.2f}] |"


def table_of_recipes(
    registration: Registration, recipes: Mapping[str, Mapping[int, SubjectResult]]
) -> Iterator[str]:
    """In how many seeds of each recipe what was predicted of one of them is found, as a table in
    Markdown."""
    yield f"| prediction | predicted | {' | '.join(recipes)} |"
    yield f"|---|---|{'---|' * len(recipes)}"
    for prediction in registration.predictions:
        if prediction.rate is None:
            continue
        cells = []
        for seeds in recipes.values():
            met = [prediction.met(seed) for seed in seeds.values()]
            count, of = met.count(True), len(met) - met.count(None)
            low, high = rate_interval(count, of)
            cells.append(f"{count}/{of} [{low:.2f}, {high:.2f}]")
        low, high = prediction.range
        yield f"| `{prediction.id}` | {low:g} … {high:g} | {' | '.join(cells)} |"


def of_every_seed(
    registration: Registration, recipes: Mapping[str, Mapping[int, SubjectResult]]
) -> str:
    """What every seed of every recipe shows of what was predicted, as one sentence."""
    names = []
    for prediction in registration.predictions:
        if prediction.rate:
            met = [[prediction.met(seed) for seed in seeds.values()] for seeds in recipes.values()]
            wanted = not prediction.rare
            if all(wanted in one and (not wanted) not in one for one in met):
                names.append(f"`{prediction.id}`")
    return f"Every seed of every recipe shows: {', '.join(names) or 'nothing of this'}."


def read_registered(registration: Registration, directory: Path) -> dict[int, SubjectResult]:
    """The records that predictions are about, by seed, from a directory that has one of each
    recipe."""
    own = directory / Path(registration.recipe).stem
    if not own.is_dir():
        raise RegistrationError(
            f"{directory}: has no directory {own.name}; name the one that has a directory of each"
            " recipe"
        )
    return read_seeds(own, registration)


def report(registration: Registration, directory: Path) -> str:
    """All tables, from the records in a directory that has one of each recipe."""
    own = Path(registration.recipe).stem
    seeds = read_registered(registration, directory)
    others = {
        path.name: read_seeds(path)
        for path in sorted(directory.iterdir())
        if path.is_dir() and path.name != own
    }
    parts: list[Sequence[str]] = [
        ["### Predicted", "", *table_of_predictions(registration, seeds)],
        [by_device(registration, seeds)],
        ["### Not predicted", "", *table_of_claims(registration, seeds)],
    ]
    if others:
        recipes = {own: seeds, **others}
        trained = "; ".join(f"{name} {_trained_on(each)}" for name, each in recipes.items())
        parts.append(
            [
                "### Other architectures",
                "",
                "What was predicted of one recipe, counted in others of which nothing was"
                " predicted: it confirms nothing, and shows what may belong to the task."
                f" Trained on: {trained}.",
                "",
                *table_of_recipes(registration, recipes),
                "",
                of_every_seed(registration, recipes),
            ]
        )
    return "\n\n".join("\n".join(lines) for lines in parts)


def insert(text: str, page: Path, *, name: str) -> None:
    """Put tables between the marks of their name in a page; `ValueError` where it has none."""
    marks = (f"<!-- {name} -->", f"<!-- end of {name} -->")
    before, start, rest = page.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not start or not end:
        raise ValueError(f"{page}: has no {marks[0]} with {marks[1]} after it")
    write_text(page, f"{before}{start}\n{text}\n{end}{after}")
