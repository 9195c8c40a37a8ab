"""One self-contained page of a record: a card for each claim, filters, subjects side by side, and
what a project adds.

The page asks for nothing from anywhere and computes no number: all of it stands in the record or in
the extras.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from msgspec.structs import replace

from verdicts.environment import environment
from verdicts.frequencies import frequency
from verdicts.gates import FAILING
from verdicts.judge import VERDICTS
from verdicts.project import PLAIN, Project
from verdicts.record import worst_first
from verdicts.schema import ClaimResult, Record, SubjectResult
from verdicts.side_by_side import MOST, by_part, labelled
from verdicts.wording import stated

_VERDICT_WORDS = {
    "holds": "every measurement meets its bound, with its whole interval",
    "refuted": "a measurement misses its bound, with its whole interval",
    "unresolved": "an interval straddles its bound, or there was too little to judge",
    "absent": "the subject lacks the part that the claim is about",
    "error": "the test itself broke",
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawing that stands beside the first of its claims; the others point to it."""

    id: str
    """Its anchor on the page."""
    title: str
    caption: str
    body: Markup
    """SVG or HTML, which goes into the page as it is."""
    source: str
    """Whose figure it is, or where it stands, as the `source` of a claim."""
    claims: tuple[str, ...]
    """Claims that it stands beside; at least one."""

    def __post_init__(self) -> None:
        if not self.claims:
            raise ValueError(f"figure {self.id!r} names no claim to stand beside")


@dataclasses.dataclass(frozen=True)
class Panel:
    """A part of the page that the project draws by itself, above the claims."""

    id: str
    """Its anchor on the page."""
    title: str
    body: Markup
    """SVG or HTML, which goes into the page as it is."""


@dataclasses.dataclass(frozen=True)
class PageExtras:
    """What a project adds to the page of one subject."""

    figures: Sequence[Figure] = ()
    panels: Sequence[Panel] = ()
    counterexamples: Mapping[str, Markup] = dataclasses.field(default_factory=dict)
    """Drawings of counterexamples by claim."""
    cases: Mapping[int, Markup] = dataclasses.field(default_factory=dict)
    """Drawings of the cases that are newly wrong or newly right, by their number."""
    counted: Mapping[str, SubjectResult] = dataclasses.field(default_factory=dict)
    """Subjects of other records by name, to count in how many each claim holds."""
    beside: Mapping[str, SubjectResult] = dataclasses.field(default_factory=dict)
    """Subjects that are shown with those and not counted."""
    style: str = ""
    """Plain CSS, which goes into the page as it is."""
    script: str = ""
    """Plain JavaScript, likewise."""


def render_page(
    record: Record,
    extras: PageExtras | None = None,
    *,
    project: Project = PLAIN,
    served: bool = False,
    lacking: str = "",
) -> str:
    """The page; the extras is of the record's first subject. A `served` page may ask the server
    that it came from. What it is `lacking` it says at the top."""
    extras = extras or PageExtras()
    subjects = record.subjects
    labels = labelled(subjects)
    cards = _cards(subjects, extras)
    found = sorted({card["claim"].evidence for card in cards})
    return (
        environment()
        .get_template("page.html")
        .render(
            record=record,
            subjects=subjects,
            extras=extras,
            cards=cards,
            served=served,
            lacking=lacking,
            labels=labels,
            shared=by_part(labels, project) if 1 < len(subjects) <= MOST else {},
            counts=Counter(card["verdict"] for card in cards),
            verdicts=VERDICTS,
            project=project,
            parts=_parts(cards, project),
            evidence=list(dict.fromkeys([*project.evidence, *found])),
            failing=FAILING,
            verdict_words=_VERDICT_WORDS,
            frequencies=_frequencies(extras),
        )
    )


def _cards(subjects: Sequence[SubjectResult], extras: PageExtras) -> list[dict[str, Any]]:
    """One for each claim of any subject: those of the first subject worst first, then those of it
    alone that others have."""
    results: dict[str, list[tuple[SubjectResult, ClaimResult]]] = {}
    for subject in subjects:
        for claim in worst_first(subject.claims):
            results.setdefault(claim.id, []).append((subject, claim))
    return [
        {
            "id": id_,
            "claim": found[0][1],
            "verdict": found[0][1].verdict,
            "results": found,
            "verdicts": sorted({claim.verdict for _, claim in found}),
            "headline": _headline(found[0][1]),
            "parts": found[0][1].parts or (),
            "figures": [figure for figure in extras.figures if figure.claims[0] == id_],
            "elsewhere": [figure for figure in extras.figures if id_ in figure.claims[1:]],
        }
        for id_, found in results.items()
    ]


def _headline(claim: ClaimResult) -> str:
    """The number that a claim stands or falls with: the first that is refuted, or else open, or
    else the first that has a bound."""
    deciding = claim.deciding
    worst = ("refuted", "unresolved", "holds").index
    for name in sorted(deciding, key=lambda name: worst(deciding[name].outcome))[:1]:
        number_alone = replace(deciding[name], low=None, high=None)
        return f"{name.replace('_', ' ')} {stated(number_alone)}"
    return ""


def _parts(cards: Sequence[Mapping[str, Any]], project: Project) -> list[str]:
    """The parts that any claim is about: in the project's order, or by name."""
    found = {part for card in cards for part in card["parts"]}
    return [part for part in project.parts if part in found] or sorted(found)


def _frequencies(extras: PageExtras) -> list[dict[str, Any]]:
    """In how many of the counted subjects each claim holds, the most frequent first."""
    counted, beside = (
        [_verdicts(subject) for subject in group.values()]
        for group in (extras.counted, extras.beside)
    )
    rows = []
    for name in sorted(set().union(*counted)) if counted else []:
        count, low, high = frequency(list(extras.counted.values()), name)
        rows.append(
            {
                "claim": name,
                "count": count,
                "low": low,
                "high": high,
                "of": len(counted),
                "verdicts": [one.get(name) for one in counted],
                "beside": [one.get(name) for one in beside],
            }
        )
    return sorted(rows, key=lambda row: -row["count"])


def _verdicts(subject: SubjectResult) -> dict[str, str]:
    return {claim.id: claim.verdict for claim in subject.claims}
