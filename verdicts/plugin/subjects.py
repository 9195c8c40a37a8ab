"""The subjects of a run: what a project's conftest returns, looked at before anything is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from verdicts.schema import Description

_REQUIRED = {"name": str, "content_hash": str}
_OPTIONAL = {"roles": Mapping, "validation_set": str, "about": Mapping}


class JudgedSubject(Protocol):
    """What a project's subjects must offer; the rest is between the subject and its claims."""

    @property
    def ledger_path(self) -> Path:
        """Where the accepted verdicts of this subject are kept."""

    @property
    def device(self) -> str:
        """Where it runs."""

    def describe(self) -> dict[str, Any]:
        """`name` and `content_hash`, as in a record; perhaps `roles`, `validation_set` (a hash)
        and, free, `about`."""


def obtain_subjects(config: pytest.Config) -> Sequence[JudgedSubject]:
    """What the hook `pytest_claims_subjects` returns; `ValueError` says what it lacks."""
    subjects = config.hook.pytest_claims_subjects(config=config)
    if subjects is None:
        raise ValueError(
            "there are claims, but nothing to judge: write in conftest.py def"
            " pytest_claims_subjects(config): return [subject, …]"
        )
    if isinstance(subjects, str | Mapping) or not isinstance(subjects, Sequence):
        kind = type(subjects).__name__
        raise ValueError(f"pytest_claims_subjects must return a list of subjects, got a {kind}")
    if not subjects:
        raise ValueError("pytest_claims_subjects returned an empty list: there is nothing to judge")
    for place, subject in enumerate(subjects):
        _require_described(subject, f"pytest_claims_subjects()[{place}]")
    described = [Description.of(subject) for subject in subjects]
    hashes = Counter(about.content_hash for about in described)
    for about in described:
        if hashes[about.content_hash] > 1:
            raise ValueError(
                f"{about.name} is to be judged twice, by its content hash; name it once"
            )
    return subjects


def _require_described(subject: Any, source: str) -> None:
    for name in ("ledger_path", "device", "describe"):
        if not hasattr(subject, name):
            raise ValueError(f"{source}, a {type(subject).__name__}, has no {name}")
    if not isinstance(subject.ledger_path, Path):
        raise ValueError(f"{source}.ledger_path must be a Path, got {subject.ledger_path!r}")
    about = subject.describe()
    if not isinstance(about, Mapping):
        raise ValueError(f"{source}.describe() must return a mapping, got {about!r}")
    for key in about.keys() - _REQUIRED.keys() - _OPTIONAL.keys():
        raise ValueError(
            f"{source}.describe() has {key!r}, which is none of"
            f" {', '.join({**_REQUIRED, **_OPTIONAL})}; put it into 'about'"
        )
    for key, kind in {**_REQUIRED, **_OPTIONAL}.items():
        if key not in about and key in _REQUIRED:
            raise ValueError(
                f"{source}.describe() has no {key!r}; it returns at least {', '.join(_REQUIRED)}"
            )
        if key in about and not isinstance(about[key], kind):
            what = "text" if kind is str else "a mapping"
            raise ValueError(f"{source}.describe()[{key!r}] must be {what}, got {about[key]!r}")


def labels(subjects: Sequence[Description]) -> dict[str, str]:
    """What to call each described subject, by its content hash: its name, and more where two share
    it."""
    names = Counter(subject.name for subject in subjects)
    hashes = {subject.content_hash: subject.name for subject in subjects}
    return {
        content_hash: name if names[name] == 1 else f"{name}-{content_hash.rpartition(':')[2][:8]}"
        for content_hash, name in hashes.items()
    }
