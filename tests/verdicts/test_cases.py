"""What a run saw case by case: as text, and as a file that belongs to its record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from verdicts.cases import Seen, read_cases, require_numpy, unpack, write_cases
from verdicts.expectations import Expect
from verdicts.packing import Packed, pack, pack_answers, unpack_answers
from verdicts.record import RecordError
from verdicts.schema import Description
from verdicts.statistics import Estimate, PerCase

ABOUT = Description(name="toy", content_hash="sha256:a", validation_set="sha256:v")
Toy = dict[tuple[str, str], Seen]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 4992])
def test_answers_come_back_bit_by_bit(count: int) -> None:
    right = [bool(value) for value in np.random.default_rng(count).random(count) < 0.9]
    assert unpack_answers(pack_answers(right)) == right


def test_few_errors_take_few_bytes() -> None:
    right = np.ones(4992, dtype=bool)
    right[[3, 700, 4000]] = False
    assert len(pack_answers(right)) < 100


@pytest.mark.parametrize(
    "text", ["", "8", "8:!", "8:AAAA", "-1:eJwDAAAAAAE=", "99999999999:", "16:eJxjAAAAAQAB"]
)
def test_answers_that_were_not_packed_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="answers that cannot be read"):
        unpack_answers(text)


def travelled(packed: Packed) -> Packed:
    return msgspec.json.decode(msgspec.json.encode(packed), type=Packed)


def test_what_travels_is_what_was_seen() -> None:
    numbers = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    for kind, columns in (("mean", numbers[:1]), ("ratio", numbers), ("share", numbers[:1] > 0)):
        found = unpack(travelled(pack(PerCase(kind, tuple(columns)))))
        assert found.kind == kind
        assert np.array_equal(np.stack(found.columns), columns)


@pytest.mark.parametrize(
    ("kind", "columns", "message"),
    [
        ("rate", ([1.0],), "kind must be one of"),
        ("ratio", ([1.0],), "a ratio has 2 columns, got 1"),
        ("ratio", ([1.0], [1.0, 2.0]), r"an entry for each case, got \[1, 2\]"),
    ],
)
def test_cases_that_make_no_estimate_are_refused(kind: str, columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PerCase(kind, columns)


def test_a_claim_keeps_the_answers_that_it_says_and_no_others() -> None:
    expect = Expect()
    right = PerCase("share", ([True, False, True],))
    expect("kept", Estimate(2 / 3, 0.1, 0.9, 3, right), kept=True)
    expect("other", Estimate(2 / 3, 0.1, 0.9, 3, right))
    expect("without", Estimate(2 / 3, 0.1, 0.9, 3, right).unpaired())
    measured = expect.measurements
    assert unpack_answers(measured["kept"].answers or "") == [True, False, True]
    assert "answers" not in msgspec.to_builtins(measured["other"])
    assert set(expect.per_case) == {"kept", "other"}
    with pytest.raises(ValueError, match=r"expect\('mean'\): kept=True keeps right or wrong"):
        expect("mean", Estimate(1.0, 0.5, 1.5, 3, PerCase("mean", ([1.0],))), kept=True)


@pytest.fixture
def seen() -> Toy:
    numbers = np.random.default_rng(0).normal(size=(3, 4992)).astype(np.float32)
    return {
        ("c", "share"): Seen("share", (numbers[0] > 0,)),
        ("c", "ratio"): Seen("ratio", (numbers[1], numbers[2])),
    }


def test_a_file_of_cases_comes_back_and_equal_runs_leave_equal_files(
    tmp_path: Path, seen: Toy
) -> None:
    named = write_cases(tmp_path / "cases.npz", [(ABOUT, seen)])
    again = write_cases(tmp_path / "again.npz", [(ABOUT, seen)])
    assert (again.file, again.sha256) == ("again.npz", named.sha256)
    assert named.file == "cases.npz"
    found = read_cases(tmp_path / "cases.npz", ABOUT, sha256=named.sha256)
    assert found.keys() == seen.keys()
    for key, one in found.items():
        assert np.array_equal(np.stack(one.columns), np.stack(seen[key].columns))
    assert (tmp_path / "cases.npz").stat().st_size < 8 * 4992 + 3000


def test_a_file_that_is_not_of_the_record_is_refused(tmp_path: Path, seen: Toy) -> None:
    path = tmp_path / "cases.npz"
    write_cases(path, [(ABOUT, seen)])
    with pytest.raises(RecordError, match="is not the file that the record was written with"):
        read_cases(path, ABOUT, sha256="0" * 64)
    for other in (
        replace(ABOUT, content_hash="sha256:b"),
        replace(ABOUT, validation_set="sha256:w"),
        replace(ABOUT, validation_set=UNSET),
    ):
        with pytest.raises(RecordError, match="holds no cases of toy on the same data"):
            read_cases(path, other)


@pytest.mark.parametrize("broken", ["no file", "no zip", "no index", "wrong kind", "pickled"])
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, seen: Toy, broken: str) -> None:
    path = tmp_path / "cases.npz"
    if broken == "no zip":
        path.write_bytes(b"not a zip")
    elif broken == "no index":
        np.savez(path, c0=np.ones(3))
    elif broken == "wrong kind":
        write_cases(path, [(ABOUT, {("c", "m"): Seen("share", seen["c", "ratio"].columns)})])
    elif broken == "pickled":
        np.savez(path, index=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RecordError, match=r"cases.npz: no cases can be read from it"):
        read_cases(path, ABOUT)


def test_a_file_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Toy
) -> None:
    path = tmp_path / "cases.npz"
    write_cases(path, [(ABOUT, seen)])
    monkeypatch.setattr("verdicts.cases.MAX_BYTES", 1000)
    with pytest.raises(RecordError, match="more than the 1000 allowed"):
        read_cases(path, ABOUT)


def test_without_numpy_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    require_numpy("--claims-cases")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecordError, match="--claims-cases: needs numpy, which is not installed"):
        require_numpy("--claims-cases")


def test_the_library_imports_no_numpy_until_it_must() -> None:
    code = (
        "import sys, verdicts.plugin, verdicts.cases, verdicts.paired;"
        " sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
