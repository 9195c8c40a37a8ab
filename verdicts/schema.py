"""What a record holds, as types. `python -m verdicts.schema` prints `record.schema.json` from
them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

SCHEMA_VERSION: Literal[1] = 1
VerdictName = Literal["error", "refuted", "unresolved", "absent", "holds"]
"""What can come of a claim, worst first."""
Outcome = Literal["holds", "refuted", "unresolved"]
"""What can come of a measurement that has a bound."""
Mode = Literal["same", "changed", "retrained"]
"""Which question the gate asks."""
Status = Literal[
    "lost",
    "law broken",
    "vanished",
    "drifted",
    "acknowledged",
    "moved",
    "gone",
    "new",
    "gained",
    "fails still",
    "holds still",
]
"""What can become of a claim since the baseline, worst first."""
AboveChance = Literal["yes", "no", "not asked"]

Number = int | float  # a whole number stays one: what is written is what was read
Plain = Number | list[Any] | dict[str, Any] | None
"""A value: a number, or lists and mappings of numbers; `None` is what is not a finite number."""
_VALUE = {"$ref": "#/$defs/Value"}
_Value = Annotated[Plain, Meta(extra_json_schema=_VALUE)]
_Values = Annotated[dict[str, Any], Meta(extra_json_schema={"additionalProperties": _VALUE})]
_Text = Annotated[str, Meta(min_length=1)]
_P = Annotated[float, Meta(gt=0, le=1)]
_Natural = Annotated[int, Meta(ge=0)]
_Distance = Annotated[float, Meta(ge=0)]


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What is misspelt is refused. What is `UNSET` is not there."""


class Measurement(_Part, frozen=True):
    """One measured quantity against its bounds. `outcome` is `None` where it has no bound and is
    only reported."""

    value: _Value
    low: Number | None
    high: Number | None
    at_least: Number | None
    at_most: Number | None
    because: str | None
    from_controls: bool
    """Whether the bound was set between the trained value and the best control, which a run with
    controls checks."""
    note: str | None
    outcome: Outcome | None
    answers: (
        Annotated[
            str,
            Meta(
                description="yes or no of each case: their number, and their bits, compressed, in"
                " base64"
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        _require_plain(self.value)

    @property
    def number(self) -> Number | None:
        """The value, where that is one number."""
        return self.value if isinstance(self.value, int | float) else None


class Count(_Part, frozen=True):
    """How many cases a statement about all of a kind saw, and how many it needs."""

    seen: int
    needed: int


class NullResult(_Part, frozen=True):
    """An observed statistic among draws of a kind of chance; larger is further from chance."""

    kind: str
    observed: Number | None
    draws: Annotated[int, Meta(ge=1)]
    as_large: _Natural
    largest: Number
    p: _P | None


class Trial(_Part, frozen=True):
    """What came of a claim under a control. `values` are those that have a bound."""

    verdict: VerdictName
    reason: str | None
    values: _Values
    missed: tuple[str, ...]
    required: bool
    """Whether the control must break the claim."""

    def __post_init__(self) -> None:
        _require_plain(self.values)


class Specificity(_Part, frozen=True):
    """Which of so many other parts pass in the place of the one that a claim is about."""

    role: str
    passing: tuple[str, ...]
    others: int


class ClaimResult(_Part, frozen=True, kw_only=True):
    """What came of one claim on one subject."""

    id: _Text
    statement: _Text
    source: str
    evidence: _Text
    gauge: tuple[str, ...]
    companion: str | None
    parts: tuple[str, ...] | UnsetType = UNSET
    verdict: VerdictName
    reason: str | None
    measurements: dict[str, Measurement]
    counts: dict[str, Count]
    nulls: dict[str, NullResult]
    p: _P | None
    p_corrected: _P | None
    above_chance: AboveChance = "not asked"
    not_asked: str | None = None
    at_chance: str | None = None
    counterexample: dict[str, Any] | None
    duration_s: Annotated[float, Meta(ge=0)]
    drift: (
        Annotated[
            _Natural | _Distance,
            Meta(
                description="share of the distance to its bound that a measure may lose where the"
                " subject has changed"
            ),
        ]
        | UnsetType
    ) = UNSET
    controls: dict[str, Trial] | UnsetType = UNSET
    specificity: Specificity | UnsetType | None = UNSET
    gauges: dict[str, tuple[str, ...]] | UnsetType = UNSET

    @property
    def deciding(self) -> dict[str, Measurement]:
        """The measurements that have a bound."""
        return {name: m for name, m in self.measurements.items() if m.outcome is not None}


class ClaimChange(_Part, frozen=True):
    """What became of one claim since the baseline."""

    status: Status
    moved: tuple[str, ...]


class PartChange(_Part, frozen=True):
    """A role whose part is gone or elsewhere, and the claims that hang on it."""

    part: str
    became: str
    claims: tuple[str, ...]


class ShownCase(_Part, frozen=True):
    """A case that came out otherwise, as the project names it."""

    case: _Natural
    now: Literal["wrong", "right"]
    name: str
    picture: (
        Annotated[str, Meta(description="what the project draws of it, as Mermaid")] | UnsetType
    ) = UNSET


class AnswersChange(_Part, frozen=True):
    """Which cases of a measure came out otherwise."""

    claim: str
    measure: str
    newly_wrong: tuple[_Natural, ...]
    newly_right: tuple[_Natural, ...]
    p: _P | None
    said: str
    shown: tuple[ShownCase, ...]


class Comparison(_Part, frozen=True, kw_only=True):
    """A subject against that of a baseline. `mode` is missing in a record from before there were
    three questions."""

    name: str
    content_hash: str
    mode: Mode | UnsetType = UNSET
    why: Annotated[str, Meta(description="why it is this question that was asked")] = ""
    rule: Annotated[str, Meta(description="when such a run fails")] = ""
    pairs: Annotated[str, Meta(description="what was compared in pairs, or why nothing was")] = ""
    parts: tuple[PartChange, ...] = ()
    looks_like: Annotated[
        str,
        Meta(description="the control of the baseline that loses the same claims, in a sentence"),
    ] = ""
    answers: tuple[AnswersChange, ...] = ()
    smallest: Annotated[
        dict[str, dict[str, _Distance]],
        Meta(
            description="by claim and measure: the smallest change that would have been seen in"
            " four cases of five"
        ),
    ] = {}
    claims: dict[str, ClaimChange]


class Described(Protocol):
    """What says of itself what it is."""

    def describe(self) -> Any:
        """What `Description` holds, as a mapping."""


class Description(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A subject as its project describes it."""

    name: str
    content_hash: str
    roles: Annotated[
        dict[str, Any],
        Meta(description="which part plays which role, where the project names them"),
    ] = {}
    validation_set: (
        Annotated[str, Meta(description="hash of what it was judged on")] | UnsetType
    ) = UNSET
    about: Annotated[dict[str, Any], Meta(description="what the project adds of its own")] = {}

    @classmethod
    def of(cls, subject: Described) -> Description:
        """What a subject says of itself, as JSON holds it; `ValueError` for what it cannot hold."""
        try:
            text = json.dumps(dict(subject.describe()))
        except TypeError as error:
            raise ValueError(f"{type(subject).__name__}.describe(): {error}") from None
        return msgspec.json.decode(text, type=Description)

    def judged(self, claims: Iterable[ClaimResult]) -> SubjectResult:
        """The subject with what came of its claims."""
        return SubjectResult(**msgspec.structs.asdict(self), claims=tuple(claims))


class SubjectResult(Description, frozen=True, kw_only=True):
    """A subject with what came of each claim."""

    claims: tuple[ClaimResult, ...]
    comparison: Comparison | UnsetType = UNSET


class CasesFile(_Part, frozen=True):
    """The file beside the record that holds what was seen case by case."""

    file: _Text
    sha256: str


class Run(_Part, frozen=True):
    """How a run was started."""

    seed: int
    device: str
    cases: CasesFile | UnsetType = UNSET
    partial: (
        Annotated[
            _Text,
            Meta(description="why claims may be missing; not there in the record of a whole run"),
        ]
        | UnsetType
    ) = UNSET


class Environment(Struct, frozen=True):
    """Where it was judged, and what else is said of that; all of it is missing in a ledger."""

    python: str | UnsetType = UNSET
    machine: str | UnsetType = UNSET
    packages: dict[str, str] | UnsetType = UNSET


class Record(_Part, frozen=True):
    """Record of a run of claims, or the ledger of one subject."""

    schema_version: Literal[1]
    environment: Environment
    run: Run
    subjects: Annotated[tuple[SubjectResult, ...], Meta(min_length=1)]


def _require_plain(value: object) -> None:
    """`ValueError` for what is neither a number, `None` nor a list or mapping of them."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _require_plain(item)
    elif value is not None and type(value) not in (int, float):
        raise ValueError(
            f"a value must be a number, a list or a mapping of them, got {type(value).__name__}"
        )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    schema = msgspec.json.schema(Record)
    items = [
        {"type": ["number", "null"]},
        {"type": "array", "items": _VALUE},
        {"type": "object", "additionalProperties": _VALUE},
    ]
    schema["$defs"]["Value"] = {"anyOf": items}  # it holds itself, which a type cannot say
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
