"""A sample of what `make coverage` does whole: every kind of interval, at ties and skew, and
claims' gates as gates."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from circuits.statistics import bootstrap, highest, lowest, only
from models.randomness import named_generator
from tests.coverage import ENOUGH, SIZES, cases, covered
from verdicts.expectations import Expect
from verdicts.statistics import Estimate

ROOT = Path(__file__).parent.parent.parent
DRAWS = 120
LEAST = 0.88  # 0.93 less two and a half standard deviations of 120 draws
SAMPLED = [case for case in cases() if case[2] in (12, 30)]


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuits.statistics.RESAMPLES", 500)


@pytest.mark.parametrize("kind", sorted({case[0] for case in SAMPLED}))
def test_an_interval_covers_the_truth(kind: str) -> None:
    for name, data, n, interval, truth in SAMPLED:
        if name == kind:
            assert covered(f"{name}, {data}, {n}", interval, truth, draws=DRAWS) >= LEAST, (data, n)


def test_every_size_is_measured() -> None:
    assert {case[2] for case in cases()} == set(SIZES)


def _holds(estimate: Estimate, **bound: float) -> bool:
    expect = Expect()
    expect("x", estimate, because="the statement", **bound)  # type: ignore[arg-type]
    return expect.measurements["x"].outcome == "holds"


Gate = Callable[[torch.Generator], bool]
GATES: dict[str, Gate] = {
    "a mean": lambda g: _holds(
        bootstrap(torch.randn(60, 1, generator=g), only, generator=g), at_least=0.0
    ),
    "the lowest of nine": lambda g: _holds(
        lowest(torch.randn(9, 60, 1, generator=g), only, generator=g), at_least=0.0
    ),
    "the highest of nine": lambda g: _holds(
        highest(torch.randn(9, 60, 1, generator=g), only, generator=g), at_least=0.0
    ),
    "the highest of nine, below": lambda g: _holds(
        highest(torch.randn(9, 60, 1, generator=g), only, generator=g), at_most=0.0
    ),
}


@pytest.mark.parametrize("gate", GATES)
def test_a_sentence_that_is_false_by_a_hair_seldom_holds(gate: str) -> None:
    """The truth is the bound itself: one step further and the sentence is false."""
    generator = named_generator(0, f"gate of {gate}")
    held = sum(GATES[gate](generator) for _ in range(200))
    assert held / 200 <= 0.05


def test_the_shown_table_has_every_case_and_each_covers_enough() -> None:
    shown = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in shown.splitlines()
        if re.search(r"\d\.\d{3} \|$", line)
    ]
    assert {(kind, data) for kind, data, *_ in rows} == {(case[0], case[1]) for case in cases()}
    assert min(float(share) for _, _, *shares in rows for share in shares) >= ENOUGH
