"""The real diff of the docs is what its record says: `make gate-example` makes both anew."""

from __future__ import annotations

from circuits.subject import REGISTRY
from tests.gate_example import DOCS, PICTURE, RECORD, said
from verdicts.record import read_record


def test_the_docs_show_what_the_record_says() -> None:
    record = read_record(RECORD)
    assert said(record) in (DOCS / "gate.md").read_text(encoding="utf-8")
    text = said(record)
    assert "graphs newly wrong" in text
    assert "LOST " in text
    assert "> ▸ 13 moved, which fails nothing" in text


def test_it_is_a_diff_of_the_shipped_checkpoint() -> None:
    (subject,) = read_record(RECORD).subjects
    (shipped,) = read_record(REGISTRY / "default" / "verdicts.json").subjects
    comparison = subject.comparison
    assert comparison
    assert comparison.content_hash == shipped.content_hash != subject.content_hash
    assert subject.validation_set == shipped.validation_set


def test_its_picture_is_small() -> None:
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    assert PICTURE.stat().st_size < 200_000
