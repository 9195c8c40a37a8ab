"""What a run saw case by case, as one compressed file beside its record.

numpy is imported by the functions that read or write the file, and by nothing else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from verdicts.files import write_bytes
from verdicts.packing import Packed, unpack_answers, unpack_numbers
from verdicts.record import RecordError
from verdicts.schema import CasesFile, Description
from verdicts.statistics import COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 1_000_000_000
_INDEX = "index"


class _Measure(msgspec.Struct, frozen=True):
    """Where the columns of a measure are."""

    claim: str
    measure: str
    kind: str
    columns: list[str]


class _Indexed(msgspec.Struct, frozen=True):
    """What the file holds of a subject."""

    content_hash: str
    validation_set: str | None
    measures: list[_Measure]


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """A `PerCase` as numbers: `share` of bool, the others of float32."""

    kind: str
    columns: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.columns[0])


def unpack(packed: Packed) -> Seen:
    """What travelled, as numbers."""
    import numpy as np

    kind, columns = packed.kind, packed.columns
    if kind == "share":
        return Seen(kind, (np.array(unpack_answers(columns[0]), dtype=bool),))
    return Seen(kind, tuple(np.frombuffer(unpack_numbers(one), dtype="<f4") for one in columns))


CasesOfSubject = Mapping[tuple[str, str], Seen]
"""By claim and measure."""


def require_numpy(option: str) -> None:
    """`RecordError` where numpy is not installed: nothing else of this library needs it."""
    if importlib.util.find_spec("numpy") is None:
        raise RecordError(f"{option}: needs numpy, which is not installed; pip install numpy")


def write_cases(path: Path, subjects: Iterable[tuple[Description, CasesOfSubject]]) -> CasesFile:
    """Write what was seen of each described subject; what the record says of the file."""
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {}
    index = []
    for about, seen in subjects:
        measures = []
        for (claim, measure), one in sorted(seen.items()):
            names = []
            for column in one.columns:
                names.append(f"c{len(arrays)}")
                arrays[names[-1]] = column
            measures.append(_Measure(claim, measure, one.kind, names))
        index.append(_Indexed(about.content_hash, about.validation_set or None, measures))
    text = msgspec.json.encode(index)
    file = io.BytesIO()
    _write_npz(file, {_INDEX: np.frombuffer(text, dtype=np.uint8), **arrays})
    write_bytes(path, file.getvalue())
    return CasesFile(path.name, hashlib.sha256(file.getvalue()).hexdigest())


def _write_npz(file: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """As `numpy.savez_compressed`, without the time of day in it: equal runs leave equal files."""
    from numpy.lib import format as npy

    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            place = zipfile.ZipInfo(f"{name}.npy")
            place.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(place, "w") as entry:
                npy.write_array(entry, values, allow_pickle=False)


def read_cases(
    path: Path, about: Description, *, sha256: str | None = None
) -> dict[tuple[str, str], Seen]:
    """What was seen of the subject of this hash on this data; `RecordError` for a file that is
    not of it, or cannot be read."""
    import numpy as np

    try:
        body = path.read_bytes()
        if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
            raise RecordError(f"{path}: is not the file that the record was written with")
        with zipfile.ZipFile(path) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > MAX_BYTES:
                raise ValueError(f"it holds {size} bytes, more than the {MAX_BYTES} allowed")
        with np.load(path, allow_pickle=False) as arrays:
            index = msgspec.json.decode(arrays[_INDEX].tobytes(), type=list[_Indexed])
            mine = [one for one in index if one.content_hash == about.content_hash]
            if not mine or mine[0].validation_set != (about.validation_set or None):
                raise RecordError(f"{path}: holds no cases of {about.name} on the same data")
            return {
                (one.claim, one.measure): _seen(one.kind, [arrays[c] for c in one.columns])
                for one in mine[0].measures
            }
    except RecordError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(f"{path}: no cases can be read from it: {error}") from None


def _seen(kind: str, columns: Sequence[NDArray[Any]]) -> Seen:
    wanted = bool if kind == "share" else "float32"
    fits = len(columns) == COLUMNS[kind] and all(
        column.ndim == 1 and column.dtype == wanted and len(column) == len(columns[0])
        for column in columns
    )
    if not fits:
        raise ValueError(f"a {kind} is made of {COLUMNS[kind]} columns of {wanted}")
    return Seen(kind, tuple(columns))
