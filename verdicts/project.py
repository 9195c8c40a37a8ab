"""The words of a project: what it calls its subjects and data, how it cites, and which kinds of
evidence it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from markupsafe import Markup

EVIDENCE: Mapping[str, str] = {
    "exact": "Read off the subject itself. No sample, so no interval.",
    "proved": "True of every possible input: all cases were gone through, in double precision.",
    "searched": (
        "Said of every input of a kind. Nobody proved it; a search looked for a counterexample, and"
        " one is enough to refute it."
    ),
    "estimated": (
        "Measured on a sample of inputs. The interval holds the true value 95 times in 100."
    ),
    "causal": (
        "Something inside the subject was changed, and its effect measured on a sample. The"
        " interval holds the true effect 95 times in 100."
    ),
}


@dataclasses.dataclass(frozen=True)
class Project:
    """How a project speaks. The hook `pytest_claims_project` returns one where these words will not
    do."""

    subject: str = "subject"
    """What is judged: a model, say."""
    data: str = "data"
    """What it is judged on: a data set, say."""
    cases: str = "cases"
    """What a sample consists of: sentences, say."""
    contents: str = "contents"
    """What a subject consists of, and its content hash is of, in the plural: weights, say."""
    parts: tuple[str, ...] = ()
    """Parts of a subject that claims may be about, in the order to show them; any, where none are
    named."""
    cite: Callable[[str], str] = str
    """From the `source` of a claim or figure to the words that cite it."""
    evidence: Mapping[str, str] = dataclasses.field(default_factory=lambda: EVIDENCE)
    """Kinds of evidence, each with what it means."""
    must_count: frozenset[str] = frozenset({"searched"})
    """Kinds of evidence of which a claim must say by `expect.enough` how much it saw, or it could
    be true of nothing."""

    def __post_init__(self) -> None:
        if unknown := self.must_count - set(self.evidence):
            raise ValueError(
                "must_count names kinds of evidence that there are not:"
                f" {', '.join(sorted(unknown))}"
            )


@dataclasses.dataclass(frozen=True)
class Case:
    """One case of the data, as a project shows it."""

    name: str
    """By which somebody finds it again: short, and without spaces at best."""
    drawing: Markup | None = None
    """For the page."""
    mermaid: str | None = None
    """For Markdown: a diagram in Mermaid, which a pull request draws."""


PLAIN = Project()
"""The words of a project that has none of its own."""
