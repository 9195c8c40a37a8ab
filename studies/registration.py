"""Predictions that were registered before what they are about was looked at, and what came of
them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from verdicts.judge import VERDICTS
from verdicts.schema import ClaimResult, SubjectResult
from verdicts.statistics import CONFIDENCE, clopper_pearson

FEWEST = 3
"""Seeds on either side of a difference; with fewer, or all alike, there is no interval."""
SCORES = ("score", "runner_up_score", "floor", "margin")
"""What the finder says of each role."""


class RegistrationError(ValueError):
    """A registration that cannot be used, or a record of another: the message names the file and
    the entry."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """What one seed must show: a claim's verdict, a bound on a number, or a role that was found."""

    claim: str | None = None
    verdict: str | None = None
    measure: str | None = None
    role: str | None = None
    found: bool | None = None
    score: str | None = None
    at_least: float = -math.inf
    at_most: float = math.inf

    def __post_init__(self) -> None:
        asked = {
            ("claim", "verdict"),
            ("claim", "measure"),
            ("role", "found"),
            ("role", "score"),
        }
        named = tuple(
            key
            for key in ("claim", "role", "verdict", "measure", "found", "score")
            if getattr(self, key) is not None
        )
        if named not in asked:
            raise ValueError(
                "a condition names a claim with its verdict or measure, or a role with found or"
                f" score; got {named}"
            )
        # what is misspelt is never met, and that would count as evidence
        if self.verdict is not None and self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}, got {self.verdict!r}")
        if self.score is not None and self.score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {self.score!r}")
        for bound in (self.at_least, self.at_most):
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise ValueError(f"at_least and at_most must be numbers, got {bound!r}")
        if self.bounded and not self.of_a_number:
            raise ValueError(f"at_least and at_most are for a measure or a score, not for {named}")

    @property
    def of_a_number(self) -> bool:
        """Whether it is about a measure or a score."""
        return self.measure is not None or self.score is not None

    @property
    def bounded(self) -> bool:
        """Whether any number could miss it."""
        return math.isfinite(self.at_least) or math.isfinite(self.at_most)

    def value(self, seed: SubjectResult) -> float | None:
        """The number that it is about; `None` where the seed has none."""
        if self.role is not None:
            _require_role(seed, self.role)
            scores = seed.about["role_scores"].get(self.role, {})
            return scores.get(self.score)
        measured = _claim(seed, self.claim).measurements.get(self.measure or "")
        return None if measured is None else measured.number

    def met(self, seed: SubjectResult) -> bool:
        """Whether the seed shows it; a number that the seed does not have meets no bound."""
        if self.verdict is not None:
            return _claim(seed, self.claim).verdict == self.verdict
        if self.found is not None:
            _require_role(seed, self.role)
            return (seed.roles[str(self.role)] is not None) == self.found
        value = self.value(seed)
        return value is not None and self.at_least <= value <= self.at_most


def _claim(seed: SubjectResult, claim: str | None) -> ClaimResult:
    for one in seed.claims:
        if one.id == claim:
            return one
    raise RegistrationError(f"{seed.name}: its record has no claim {claim}")


def _require_role(seed: SubjectResult, role: str | None) -> None:
    if role not in seed.roles:
        raise RegistrationError(f"{seed.name}: its record has no role {role}")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A rate over seeds, or a difference between two groups of them, and the range that it is
    predicted in."""

    id: str
    basis: str
    says: str | None = None
    among: tuple[Condition, ...] = ()
    where: tuple[Condition, ...] = ()
    agree: tuple[Condition, ...] = ()
    rate: tuple[float, float] | None = None
    difference: Condition | None = None
    between: Condition | None = None
    within: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        as_rate = self.rate is not None and bool(self.where) != bool(self.agree)
        as_difference = None not in (self.difference, self.between, self.within)
        mixed = bool(self.where or self.agree or self.rate) and any(
            (self.difference, self.between, self.within)
        )
        if as_rate == as_difference or mixed:
            raise ValueError(
                "a prediction has a rate of where= or agree=, or a difference= between= two groups"
                " within= a range"
            )
        for condition in (*self.among, *self.where, *self.agree, *filter(None, [self.between])):
            if condition.of_a_number and not condition.bounded:
                raise ValueError("a measure or score needs at_least or at_most")
        if self.difference is not None and (
            not self.difference.of_a_number or self.difference.bounded
        ):
            raise ValueError("a difference is of a measure or score, without bounds")
        if (
            self.says is None
            and [one.claim for one in self.where if one.verdict]
            != [one.claim for one in (*self.where, *self.agree)][:1]
        ):
            raise ValueError("say in says= what is predicted, where it is not one claim")
        low, high = self.range
        if not low < high or (self.rate and not (low >= 0 and high <= 1)):
            raise ValueError(
                f"{'rate' if self.rate else 'within'} must be a range, from low to high; got"
                f" {[low, high]}"
            )

    @property
    def range(self) -> tuple[float, float]:
        """Where the rate or the difference is predicted to lie."""
        found = self.rate or self.within
        assert found is not None
        return found

    @property
    def rare(self) -> bool:
        """Whether what it counts is predicted of few: its id then says that it is not so."""
        return self.rate is not None and self.rate[1] <= 0.5

    @property
    def conditions(self) -> list[Condition]:
        """All that it looks at."""
        pair = [one for one in (self.difference, self.between) if one is not None]
        return [*self.among, *self.where, *self.agree, *pair]

    def met(self, seed: SubjectResult) -> bool | None:
        """Whether a seed shows what the rate is of; `None` for one that does not count."""
        if not all(condition.met(seed) for condition in self.among):
            return None
        if self.agree:
            return len({condition.met(seed) for condition in self.agree}) == 1
        return all(condition.met(seed) for condition in self.where)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a prediction: `confirmed`, `failed` or `open`, with the number and its 95 %
    interval."""

    prediction: Prediction
    outcome: str
    value: float | None
    interval: tuple[float, float]
    count: int
    of: int


@dataclasses.dataclass(frozen=True)
class Registration:
    """A file of predictions: what it says, its hash, and the seeds that it is about."""

    path: Path
    sha256: str
    recipe: str
    seeds: range
    claims_seed: int
    predictions: tuple[Prediction, ...]

    def outcomes(self, seeds: Mapping[int, SubjectResult]) -> list[Outcome]:
        """What came of each prediction on its seeds that are judged; others are not looked at."""
        judged = [seeds[seed] for seed in self.seeds if seed in seeds]
        return [
            outcome(prediction, judged, left=len(self.seeds) - len(judged))
            for prediction in self.predictions
        ]


def read_registration(path: Path) -> Registration:
    """The predictions in a TOML file; `RegistrationError` names the entry that is wrong."""
    try:
        content = path.read_bytes()
        tables = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RegistrationError(f"{path}: not a readable TOML file: {error}") from None
    try:
        plan = tables["plan"]
        seeds = range(plan["first_seed"], plan["last_seed"] + 1)
        predictions = tuple(_prediction(path, entry) for entry in tables["prediction"])
        recipe, claims_seed = str(plan["recipe"]), int(plan["claims_seed"])
    except RegistrationError:
        raise
    except ValueError as error:
        raise RegistrationError(f"{path}: [plan]: {error}") from None
    except (KeyError, TypeError) as error:
        raise RegistrationError(
            f"{path}: has no entry {error}; it needs [plan] and at least one [[prediction]]"
        ) from None
    if not seeds or not predictions:
        raise RegistrationError(
            f"{path}: predicts nothing: {len(seeds)} seeds, {len(predictions)} predictions"
        )
    ids = [prediction.id for prediction in predictions]
    for name in ids:
        if ids.count(name) > 1:
            raise RegistrationError(f"{path}: has two predictions {name}")
    return Registration(
        path, hashlib.sha256(content).hexdigest(), recipe, seeds, claims_seed, predictions
    )


def _prediction(path: Path, entry: Mapping[str, Any]) -> Prediction:
    try:
        values = dict(entry)
        for key in ("among", "where", "agree"):
            values[key] = tuple(Condition(**one) for one in entry.get(key, ()))
        for key in ("difference", "between"):
            if key in entry:
                values[key] = Condition(**entry[key])
        for key in ("rate", "within"):
            if key in entry:
                low, high = entry[key]
                values[key] = (float(low), float(high))
        return Prediction(**values)
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"{path}: prediction {brief(entry.get('id'))}: {error}") from None


def registered_commit(registration: Registration) -> str:
    """The commit that the file is as it stands in; `RegistrationError` where it was not committed
    as it is.

    Who judges what it is about names that commit, so that nobody can say that the prediction came
    afterwards.
    """
    path = registration.path.resolve()
    directory, name = path.parent, path.name
    commit = _git(directory, "log", "-1", "--format=%H", "--", name)
    if not commit:
        raise RegistrationError(
            f"{registration.path}: git does not know it; commit the predictions before anything is"
            " judged"
        )
    if _git(directory, "diff", "--name-only", "HEAD", "--", name) != "":
        raise RegistrationError(
            f"{registration.path}: is not as it was committed; commit the predictions before"
            " anything is judged"
        )
    return commit


def _git(directory: Path, *arguments: str) -> str | None:
    """What git says, empty where that is nothing; `None` where there is no git or no repository."""
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def registered_recipe(registration: Registration) -> Path:
    """The recipe that the predictions are about: its path is from the root of the repository."""
    root = _git(registration.path.resolve().parent, "rev-parse", "--show-toplevel")
    return Path(root or ".") / registration.recipe


def outcome(prediction: Prediction, seeds: Sequence[SubjectResult], *, left: int) -> Outcome:
    """What came of a prediction on the seeds that are judged, where so many are `left` to be.

    As long as those can change it, it is open: who looks while seeds come in must not stop where it
    pleases.
    """
    if prediction.difference is not None:
        return _of_difference(prediction, seeds, left)
    met = [prediction.met(seed) for seed in seeds]
    count, of = met.count(True), len(met) - met.count(None)
    interval = rate_interval(count, of)
    # the best and the worst that those that are left can do, for whoever of them counts
    ends = {
        _place(rate_interval(count + more, of + some), prediction.range)
        for some in range(left + 1)
        for more in (0, some)
    }
    return Outcome(
        prediction,
        ends.pop() if len(ends) == 1 else "open",
        count / of if of else None,
        interval,
        count,
        of,
    )


def _of_difference(prediction: Prediction, seeds: Sequence[SubjectResult], left: int) -> Outcome:
    import numpy as np
    from scipy.stats import ttest_ind  # takes a second to import

    difference, between = prediction.difference, prediction.between
    assert difference is not None
    assert between is not None
    groups: tuple[list[float], list[float]] = [], []
    for seed in seeds:
        if not all(condition.met(seed) for condition in prediction.among):
            continue
        value = difference.value(seed)
        if value is not None:
            groups[not between.met(seed)].append(value)
    count, of = len(groups[0]), len(groups[0]) + len(groups[1])
    if not all(groups):
        return Outcome(prediction, "open", None, (-math.inf, math.inf), count, of)
    value = float(np.mean(groups[0]) - np.mean(groups[1]))
    interval = (-math.inf, math.inf)
    if min(map(len, groups)) >= FEWEST and all(len(set(group)) > 1 for group in groups):
        limits = ttest_ind(*groups, equal_var=False).confidence_interval(CONFIDENCE)
        interval = (float(limits.low), float(limits.high))
    decided = "open" if left else _place(interval, prediction.range)
    return Outcome(prediction, decided, value, interval, count, of)


def rate_interval(count: int, of: int) -> tuple[float, float]:
    """The exact (Clopper–Pearson) 95 % interval of a rate; from 0 to 1 where nothing was
    counted."""
    if of == 0:
        return 0.0, 1.0
    rate = clopper_pearson(count, of)
    return rate.low, rate.high


def _place(interval: tuple[float, float], predicted: tuple[float, float]) -> str:
    if predicted[0] <= interval[0] and interval[1] <= predicted[1]:
        return "confirmed"
    return "failed" if interval[1] < predicted[0] or interval[0] > predicted[1] else "open"
