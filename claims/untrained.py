"""Where a claim stands among untrained models: a second answer, beside its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuits.chance import measure
from circuits.subject import Subject
from circuits.untrained import drawn_for, rounded

if TYPE_CHECKING:
    from verdicts.expectations import Expect

KIND = "untrained models"


def among_untrained(subject: Subject, expect: Expect, *statistics: str) -> None:
    """Rank statistics of the subject among those of untrained models of its architecture, on the
    same graphs.

    Each name is an entry of `circuits/untrained.json`. All must be above chance for the claim to
    be.
    """
    draws, trial = drawn_for(subject.model.cfg), subject.trial
    if draws is None or trial is None:
        expect.not_asked(
            "no untrained models of this architecture were drawn; python -m circuits untrained"
            " --like does"
        )
        return
    for name in statistics:
        observed = measure(name, trial)
        if observed is None or name not in draws.entries:
            expect.not_asked(f"{name} does not exist here")
        else:
            expect.null(name, rounded(observed), draws.entries[name], kind=KIND)
