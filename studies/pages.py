"""Pages of which a part is made by a command."""

from __future__ import annotations

from pathlib import Path

from verdicts.files import write_text


def insert(text: str, page: Path, *, name: str) -> None:
    """Put tables between the marks of their name in a page; `ValueError` where it has none."""
    marks = (f"<!-- {name} -->", f"<!-- end of {name} -->")
    before, start, rest = page.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not start or not end:
        raise ValueError(f"{page}: has no {marks[0]} with {marks[1]} after it")
    write_text(page, f"{before}{start}\n{text}\n{end}{after}")
