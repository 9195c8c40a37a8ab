"""The list of planted faults can be applied: each to one place, all different, and one of them is
tried. `make mutants` shows that each is caught."""

from __future__ import annotations

import ast
from contextlib import closing
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, ROOT, Copy, Mutant
from tests.mutants import test_file as file_of


def test_there_are_enough_and_no_two_are_the_same() -> None:
    assert len(MUTANTS) >= 40
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_a_fault_has_one_place_and_is_python(mutant: Mutant) -> None:
    assert ast.dump(ast.parse(mutant.source(ROOT))) != ast.dump(
        ast.parse((ROOT / mutant.file).read_text(encoding="utf-8"))
    )
    for name in mutant.tests.split():
        assert file_of(name).exists()


def test_a_fault_whose_place_is_gone_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"gone: circuits/statistics.py holds 'no such code' 0 times"
    ):
        Mutant("gone", "circuits/statistics.py", "no such code", "x", "statistics").source(ROOT)


def test_a_fault_is_caught_and_what_is_none_survives(tmp_path: Path) -> None:
    (fault,) = (mutant for mutant in MUTANTS if mutant.fault == "exponentials that overflow")
    none = Mutant("none", fault.file, fault.old, f"({fault.old})", fault.tests)
    with closing(Copy(tmp_path / "copy")) as copy:
        assert not copy.survives(fault)
        assert copy.survives(none)  # which also shows that the fault was taken back
