"""What was seen case by case, as text: it travels from a worker, and a record keeps answers."""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from typing import Any

import msgspec

from verdicts.statistics import PerCase

MAX_CASES = 10_000_000


class Packed(msgspec.Struct, frozen=True):
    """A `PerCase`, each column as text."""

    kind: str
    cases: int
    columns: tuple[str, ...]


def _values(column: Any) -> list[Any]:
    return list(column.tolist() if hasattr(column, "tolist") else column)


def pack_answers(right: Any) -> str:
    """Yes or no of each case as text: their number, and their bits, compressed."""
    values = _values(right)
    bits = bytearray((len(values) + 7) // 8)
    for case, value in enumerate(values):
        bits[case // 8] |= bool(value) << (case % 8)
    return f"{len(values)}:{base64.b64encode(zlib.compress(bytes(bits), 9)).decode()}"


def unpack_answers(text: str) -> list[bool]:
    """What was packed; `ValueError` where it was not."""
    count, _, body = text.partition(":")
    try:
        cases = int(count)
        if not 0 <= cases <= MAX_CASES:
            raise ValueError(f"{cases} cases")
        bits = _inflated(base64.b64decode(body, validate=True), (cases + 7) // 8)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"answers that cannot be read: {error}") from None
    return [bool(bits[case // 8] >> (case % 8) & 1) for case in range(cases)]


def _inflated(body: bytes, size: int) -> bytes:
    """Exactly so many bytes, and never more in memory."""
    found = zlib.decompressobj().decompress(body, size + 1)
    if len(found) != size:
        raise ValueError(f"{size} bytes expected, got {len(found)}")
    return found


def pack(per_case: PerCase) -> Packed:
    """As text that JSON carries from a worker: float32, or bits for a share."""
    if per_case.kind == "share":
        columns = [pack_answers(per_case.columns[0])]
    else:
        columns = []
        for column in per_case.columns:
            numbers = array("f", _values(column))
            if sys.byteorder == "big":
                numbers.byteswap()
            columns.append(base64.b64encode(zlib.compress(numbers.tobytes(), 1)).decode())
    return Packed(per_case.kind, len(per_case.columns[0]), tuple(columns))


def unpack_numbers(column: str) -> bytes:
    """The float32 numbers of a column, the lowest byte first."""
    return zlib.decompress(base64.b64decode(column))
