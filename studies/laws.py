"""Which predictions of `registered.toml` seeds that nobody had seen have confirmed, and what else
they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studies.outcomes import (
    by_device,
    of_every_seed,
    table_of_claims,
    table_of_predictions,
    table_of_recipes,
    trained_on,
)
from studies.registration import Registration, RegistrationError
from studies.trim import trimmed, write_lines
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
        trained = "; ".join(f"{name} {trained_on(each)}" for name, each in recipes.items())
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
