"""Several subjects side by side: each value and interval on one axis, part by part."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from verdicts.axes import SHAPES, shared_axis
from verdicts.environment import environment
from verdicts.project import PLAIN, Project
from verdicts.record import read_record
from verdicts.schema import ClaimResult, Measurement, SubjectResult
from verdicts.table import summary

MOST = len(SHAPES)
_NO_PART = "no part named"


@dataclasses.dataclass(frozen=True)
class Measured:
    """One measurement that decides a claim, by subject; `None` where it was not measured."""

    name: str
    of: Mapping[str, Measurement | None]
    axis: Markup | None
    """`None` where it is a single number in no subject."""

    @property
    def bounds(self) -> list[Measurement]:
        """A measurement with each of the bounds that there are, with its reason: one, as a
        rule."""
        there = [one for one in self.of.values() if one is not None]
        return list({(one.at_least, one.at_most): one for one in reversed(there)}.values())


@dataclasses.dataclass(frozen=True)
class Row:
    """One claim and what came of it, by subject; `None` where it was not judged."""

    claim: ClaimResult
    of: Mapping[str, ClaimResult | None]
    measured: Sequence[Measured]

    @property
    def differs(self) -> bool:
        """Whether its verdict is not the same in all."""
        return len({one and one.verdict for one in self.of.values()}) > 1


def labelled(
    subjects: Sequence[SubjectResult], tails: Sequence[str] = ()
) -> dict[str, SubjectResult]:
    """Subjects by name; where two share it, with the tail of each, or else a part of the hash."""
    names = Counter(one.name for one in subjects)
    hashes = [one.content_hash.rpartition(":")[2][:8] for one in subjects]
    return {
        one.name if names[one.name] == 1 else f"{one.name} ({tail})": one
        for one, tail in zip(subjects, tails or hashes, strict=True)
    }


def by_part(
    subjects: Mapping[str, SubjectResult], project: Project = PLAIN
) -> dict[str, list[Row]]:
    """Every claim of any subject, under the first of its parts in the project's order."""
    claims = {
        label: {claim.id: claim for claim in subject.claims} for label, subject in subjects.items()
    }
    every = {id_: claim for one in claims.values() for id_, claim in one.items()}
    named = sorted({part for claim in every.values() for part in claim.parts or ()})
    order = [*dict.fromkeys([*project.parts, *named]), _NO_PART]
    found: dict[str, list[Row]] = {part: [] for part in order}
    for id_, claim in sorted(every.items()):
        part = min(claim.parts or (_NO_PART,), key=order.index)
        found[part].append(_row(claim, {label: one.get(id_) for label, one in claims.items()}))
    return {part: rows for part, rows in found.items() if rows}


def _row(claim: ClaimResult, of: Mapping[str, ClaimResult | None]) -> Row:
    measurements = {label: one.measurements if one else {} for label, one in of.items()}
    names = dict.fromkeys(name for one in of.values() if one for name in one.deciding)
    by_name = {
        name: {label: several.get(name) for label, several in measurements.items()}
        for name in names
    }
    measured = [
        Measured(name, found, shared_axis(name.replace("_", " "), found))
        for name, found in by_name.items()
    ]
    return Row(claim, of, measured)


def render_side_by_side(paths: Sequence[Path], *, project: Project = PLAIN) -> str:
    """The page of all subjects of some records; `ValueError` unless there are 2 to 6."""
    found = [
        (subject, record.run, path)
        for path in paths
        for record in [read_record(path)]
        for subject in record.subjects
    ]
    if not 2 <= len(found) <= MOST:
        raise ValueError(f"side by side stand 2 to {MOST} subjects, got {len(found)}")
    subjects = labelled([subject for subject, _, _ in found], [str(path) for _, _, path in found])
    if len(subjects) < len(found):
        raise ValueError(f"{', '.join(map(str, paths))}: the same subject of a file comes twice")
    roles = dict.fromkeys(name for one in subjects.values() for name in one.roles)
    return (
        environment()
        .get_template("compare.html")
        .render(
            subjects=subjects,
            runs=[run for _, run, _ in found],
            roles=list(roles),
            summaries=[summary(subject) for subject in subjects.values()],
            same_data=len({one.validation_set for one in subjects.values()}) == 1,
            parts=by_part(subjects, project),
            project=project,
        )
    )
