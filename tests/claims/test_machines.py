"""The shipped record on another make of machine: kernels and threads that stand in for other
processors than that which made it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from verdicts.record import read_record

ROOT = Path(__file__).parent.parent.parent
LEDGER = ROOT / "checkpoints" / "default" / "verdicts.json"
STAND_INS = {
    "no vector instructions": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    },
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    },
}
A_FEW = (
    "position_subtracts_two_neighbours",
    "classifies_the_validation_set",
    "anchor_attention_grows_with_degree",  # by degree
)
# relative: half a unit in the fourth digit, the last that is shown, of the smallest such number
PRINTED = 5e-4


def judged(record: Path, environment: dict[str, str], *selection: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "claims",
        "--device=cpu",
        f"--claims-json={record}",
        "-pno:cacheprovider",
        *selection,
    ]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert record.exists(), result.stdout[-2000:] + result.stderr[-2000:]
    return {claim.id: claim for claim in read_record(record).subjects[0].claims}


@pytest.mark.parametrize(
    ("name", "selection"),
    [
        ("no vector instructions", ("-k", " or ".join(A_FEW))),
        pytest.param("AVX2", (), marks=pytest.mark.long),
    ],
)
def test_verdicts_are_the_same_and_numbers_to_the_digits_shown(
    tmp_path: Path, name: str, selection: tuple[str, ...]
) -> None:
    shipped = {claim.id: claim for claim in read_record(LEDGER).subjects[0].claims}
    there = judged(tmp_path / "there.json", STAND_INS[name], *selection)
    wanted = shipped.keys() if not selection else A_FEW
    assert there.keys() == set(wanted)
    assert {id_: claim.verdict for id_, claim in there.items()} == {
        id_: shipped[id_].verdict for id_ in there
    }
    assert list(differences(shipped, there)) == []


def differences(
    shipped: dict[str, Any], there: dict[str, Any]
) -> Iterator[tuple[str, str, object, object]]:
    for id_, claim in there.items():
        assert claim.measurements.keys() == shipped[id_].measurements.keys()
        for name, measured in claim.measurements.items():
            other = shipped[id_].measurements[name]
            for key in ("value", "low", "high"):
                if not all(
                    math.isclose(a, b, rel_tol=PRINTED, abs_tol=1e-6)
                    for a, b in pairs(getattr(measured, key), getattr(other, key))
                ):
                    yield id_, name, getattr(measured, key), getattr(other, key)


def pairs(one: Any, other: Any) -> Iterator[tuple[float, float]]:
    """Numbers at the same place in two values of the same form."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            yield from pairs(one[key], other[key])
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            yield from pairs(a, b)
    elif one is None or other is None:
        assert one is other
    else:
        yield one, other
