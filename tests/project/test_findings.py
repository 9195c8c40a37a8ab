"""Every number of the findings is that of a ledger, or of the untrained models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from circuits.untrained import drawn_for
from models.config import ModelConfig
from verdicts.record import read_record
from verdicts.schema import ClaimResult

ROOT = Path(__file__).parent.parent.parent
NUMBER = r"−?\d[\d,]*(?:\.\d+)?"
# 0.733<!--theirs reader_is_necessary.ablated_accuracy-->, or with an interval before the comment
SAID = re.compile(rf"({NUMBER})(?: \[({NUMBER}), ({NUMBER})\])?<!--(.+?)-->")
CHECKPOINTS = {"theirs": "transformer_2024-09-05_13-28-07", "ours": "default"}


def findings() -> str:
    """The part that speaks of the two checkpoints."""
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    return text.partition("## Is the architecture needed?")[0]


@pytest.fixture(scope="module")
def ledgers() -> dict[str, dict[str, ClaimResult]]:
    """Claims by name, of each of the two."""
    return {
        of: {
            claim.id: claim
            for claim in read_record(ROOT / "checkpoints" / name / "verdicts.json")
            .subjects[0]
            .claims
        }
        for of, name in CHECKPOINTS.items()
    }


def measured(source: str, ledgers: dict[str, dict[str, ClaimResult]]) -> tuple[float | None, ...]:
    """Value, low and high of what a comment names.

    `theirs claim.measure`, or a key of it; `theirs claim.measure under control`; `* 100` and `1 -`
    where the text counts so; `untrained statistic level` for a quantile of the untrained models.
    """
    of, _, rest = source.partition(" ")
    if of == "untrained":
        name, level = rest.split(" ")
        draws = drawn_for(ModelConfig())
        assert draws is not None
        quantiles = {one.level: one.value for one in draws.entries[name].quantiles}
        return quantiles[float(level)], None, None
    rest, _, control = rest.partition(" under ")
    bare = rest.removeprefix("1 - ").removesuffix(" * 100")
    claim, measure, *key = bare.split(".", 2)
    result = ledgers[of][claim]
    if control:
        assert result.controls
        return result.controls[control].values[measure], None, None
    found = result.measurements[measure]
    if key:
        assert isinstance(found.value, dict)
        return found.value[key[0]], None, None
    if rest != bare:
        assert found.number is not None
        return 1 - found.number if rest.startswith("1 - ") else 100 * found.number, None, None
    return found.number, found.low, found.high


def printed(value: float, like: str) -> str:
    """A value to as many decimals, with its sign where one is printed."""
    decimals = len(like.partition(".")[2])
    return f"{value if '−' in like else abs(value):.{decimals}f}".replace("-", "−")


def test_numbers_are_those_of_the_records(ledgers: dict[str, dict[str, ClaimResult]]) -> None:
    for said in SAID.finditer(findings()):
        *numbers, source = said.groups()
        for number, value in zip(numbers, measured(source, ledgers), strict=True):
            if number is not None:
                assert value is not None, said.group()
                assert printed(value, number) == number, said.group()


def test_no_number_goes_without() -> None:
    rest = re.sub(r"<!--.*?-->", "", SAID.sub("", findings()))
    assert re.findall(r"\d\.\d+", rest) == []
