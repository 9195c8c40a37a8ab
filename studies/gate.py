"""What the gate is told of this project: when a checkpoint is another training of the baseline's
recipe, and what is expected of every training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuits.subject import Subject
    from verdicts.schema import SubjectResult


def pytest_claims_retrained(subject: Subject, baseline: SubjectResult, source: Path) -> str | None:
    """Two recipes that differ in their seed alone, where both are known."""
    then = _recipe([source.parent], baseline.content_hash)
    now = _recipe([subject.directory], subject.content_hash)
    if then is None or now is None:
        return None
    seeds = [recipe.pop("seed", None) for recipe in (then, now)]
    if then != now or None in seeds or seeds[0] == seeds[1]:
        return None
    return f"seed {seeds[1]} of the recipe of which {baseline.name} is seed {seeds[0]}"


def _recipe(places: list[Path], content_hash: str) -> dict[str, Any] | None:
    """The recipe of these weights, from the places or the registry; `None` where none says it."""
    from circuits.roles import read_object
    from circuits.subject import REGISTRY

    for config in [*(p / "config.json" for p in places), *sorted(REGISTRY.glob("*/config.json"))]:
        if config.exists():
            found = read_object(config)
            if found.get("content_hash") == content_hash and isinstance(found.get("recipe"), dict):
                # the sizes stand in the recipe or, where all of them are the usual ones, beside it
                return {"model": found.get("model"), **found["recipe"]}
    return None


def pytest_claims_laws() -> Mapping[str, float]:
    """The registered predictions that a claim holds, with the share of the registered seeds that
    are judged in which it does; none that has failed."""
    from studies.laws import RECORDS, REGISTERED, read_seeds
    from studies.registration import read_registration

    registration = read_registration(REGISTERED)
    seeds = read_seeds(RECORDS / Path(registration.recipe).stem, registration)
    laws = {}
    for one in registration.outcomes(seeds):
        where = one.prediction.where
        alone = len(where) == 1 and not one.prediction.among and where[0].verdict == "holds"
        if alone and one.outcome != "failed" and one.of and where[0].claim is not None:
            laws[where[0].claim] = one.count / one.of
    return laws
