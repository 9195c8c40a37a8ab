"""p-values against draws of chance, and their correction over the claims of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from msgspec.structs import replace

from verdicts.schema import AboveChance, ClaimResult

LEVEL = 0.05  # of a run: the chance that any claim which is nothing but chance is shown as more


class Draws(Protocol):
    """Draws of which only a summary is kept."""

    def __len__(self) -> int:
        """How many there were."""

    def as_large(self, observed: float) -> int:
        """How many are at least as large; where that is not known, no fewer."""

    @property
    def largest(self) -> float:
        """The largest."""


@dataclasses.dataclass(frozen=True)
class NullTest:
    """An observed statistic among draws of what chance makes of it; larger is further from
    chance."""

    kind: str
    """What was drawn: `untrained models`, say."""
    observed: float
    draws: int
    as_large: int
    """How many draws are at least as large as what was observed."""
    largest: float
    """The largest draw."""

    @property
    def p(self) -> float:
        """(1 + b) / (1 + m) for b of m draws: never below 1 / (1 + m), and valid for any number of
        draws."""
        return (1 + self.as_large) / (1 + self.draws)

    @classmethod
    def of(cls, observed: float, draws: Draws | Sequence[float], *, kind: str) -> NullTest:
        """Rank `observed` among the draws. One that is not a number is as small as can be."""
        if not isinstance(draws, Sequence):
            if not math.isfinite(draws.largest):
                raise ValueError(f"draws of {kind} must be finite, got {draws.largest}")
            return cls(
                kind,
                observed,
                len(draws),
                len(draws) if math.isnan(observed) else draws.as_large(observed),
                draws.largest,
            )
        if not draws:
            raise ValueError(
                f"draws of {kind} must not be empty, or there is nothing to compare {observed} with"
            )
        if not all(map(math.isfinite, draws)):
            raise ValueError(
                f"draws of {kind} must be finite, got"
                f" {next(draw for draw in draws if not math.isfinite(draw))}"
            )
        as_large = sum(not draw < observed for draw in draws)
        return cls(kind, observed, len(draws), as_large, max(draws))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false rejection stays below the level (Holm
    1979), in the given order."""
    ascending = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(ascending):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected


def with_corrected(claims: Iterable[ClaimResult]) -> list[ClaimResult]:
    """The claims of a record with `p_corrected` over all of them that have a `p`, and whether they
    are above chance."""
    claims = list(claims)
    corrected = iter(holm([claim.p for claim in claims if claim.p is not None]))
    return [claim if claim.p is None else _corrected(claim, next(corrected)) for claim in claims]


def _corrected(claim: ClaimResult, p: float) -> ClaimResult:
    above: AboveChance = "yes" if claim.not_asked is None else "not asked"
    # it asserts all of its statistics: with one that could not be ranked the answer is open,
    # but for a no
    return replace(claim, p_corrected=float(f"{p:.6g}"), above_chance="no" if p > LEVEL else above)


def null_complaints(claims: Iterable[ClaimResult]) -> Iterator[str]:
    """Claims that hold and are not told from chance, in sentences that say what to do."""
    tested = [claim for claim in claims if claim.p is not None]
    needed = math.ceil(len(tested) / LEVEL) - 1
    for claim in tested:
        for name, null in claim.nulls.items():
            if null.draws < needed:
                yield (
                    f"{claim.id}: {name} has {null.draws} draws, but with {len(tested)}"
                    f" claims corrected together fewer than {needed} can never reject at {LEVEL};"
                    " draw more"
                )
        if claim.verdict == "holds" and claim.above_chance == "no" and claim.at_chance is None:
            yield (
                f"{claim.id} holds, but chance does as well: p = {claim.p:.3g}, corrected"
                f" over {len(tested)} claims {claim.p_corrected:.3g}; measure what chance does"
                " not have, or say in at_chance=… why it is worth stating"
            )
