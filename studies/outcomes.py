"""What came of registered predictions, as tables and sentences in Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from studies.registration import Outcome, Prediction, Registration, rate_interval
from verdicts.frequencies import frequency
from verdicts.schema import SubjectResult


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
    trained = f"Trained on {trained_on(planned)}."
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


def trained_on(seeds: Mapping[int, SubjectResult]) -> str:
    """How many seeds were trained on which kind of device, in words."""
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
