"""Records of several checkpoints side by side, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from verdicts.frequencies import render_frequencies, render_ranges
from verdicts.record import read_record
from verdicts.schema import SubjectResult


def read_subjects(*several: Sequence[Path]) -> list[dict[str, SubjectResult]]:
    """The subjects of several lists of records, each by name; `ValueError` for a name that occurs
    twice."""
    found: list[dict[str, SubjectResult]] = []
    for paths in several:
        found.append({})
        for path in paths:
            for subject in read_record(path).subjects:
                if any(subject.name in known for known in found):
                    raise ValueError(f"{path}: a second record of {subject.name}")
                found[-1][subject.name] = subject
    return found


def print_tables(
    subjects: Mapping[str, SubjectResult], beside: Mapping[str, SubjectResult]
) -> None:
    """Roles, then in how many each claim holds, then the range of every number that decides."""
    print("", *roles_table({**subjects, **beside}), "", sep="\n")
    for lines in (render_frequencies(subjects, beside), render_ranges(subjects)):
        print(*(text for text, _ in lines), "", sep="\n")


def roles_table(subjects: Mapping[str, SubjectResult]) -> list[str]:
    """Accuracy and roles of each; a role that no part plays clearly is a dash."""
    rows = [["", "accuracy", *next(iter(subjects.values())).roles]]
    for name, subject in subjects.items():
        right = next(
            (claim for claim in subject.claims if claim.id == "classifies_the_validation_set"),
            None,
        )
        accuracy = (
            f"{right.measurements['accuracy'].number:.4f}" if right and right.measurements else "-"
        )
        rows.append(
            [
                name,
                accuracy,
                *("-" if value is None else str(value) for value in subject.roles.values()),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
