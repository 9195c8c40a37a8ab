"""Subjects as a record holds them, from the few facts that a test is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from verdicts.schema import Measurement, SubjectResult, Trial, VerdictName

_MEASUREMENT: Mapping[str, Any] = {
    "low": None,
    "high": None,
    "at_least": None,
    "at_most": None,
    "because": None,
    "from_controls": False,
    "note": None,
    "outcome": None,
}
_CLAIM: Mapping[str, Any] = {
    "statement": "It is so.",
    "source": "1",
    "evidence": "estimated",
    "gauge": [],
    "companion": None,
    "verdict": "holds",
    "reason": None,
    "counts": {},
    "nulls": {},
    "p": None,
    "p_corrected": None,
    "counterexample": None,
    "duration_s": 0.0,
}


def subject_of(*claims: Mapping[str, Any], **about: Any) -> SubjectResult:
    """A subject with claims that need an `id`; their measurements need a `value`."""
    whole = [
        {
            **_CLAIM,
            **claim,
            "measurements": {
                name: {**_MEASUREMENT, **measured}
                for name, measured in claim.get("measurements", {}).items()
            },
        }
        for claim in claims
    ]
    return msgspec.convert(
        {"name": "toy", "content_hash": "sha256:a", **about, "claims": whole}, SubjectResult
    )


def measured(value: Any, **facts: Any) -> Measurement:
    """A measurement of a claim that holds at 0.5 or more, where nothing else is said."""
    bounded = {"at_least": 0.5, "because": "b", "outcome": "holds"}
    return msgspec.convert({**_MEASUREMENT, **bounded, "value": value, **facts}, Measurement)


def trial_of(verdict: VerdictName = "holds", **values: float) -> Trial:
    """A control, with what was measured under it."""
    return Trial(verdict, None, values, (), required=False)
