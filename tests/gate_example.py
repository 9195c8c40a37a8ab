"""The real diff of docs/gate.md, made anew: `make gate-example`, some ten minutes on two cores."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from circuits.subject import REGISTRY, load_subject
from models.checkpoint import load_checkpoint, save_checkpoint
from models.transformer import Transformer
from studies.pages import insert
from studies.trim import trimmed, write_lines
from tests.processes import ROOT
from verdicts.markdown import markdown
from verdicts.nulls import null_complaints
from verdicts.record import read_record
from verdicts.schema import Record
from verdicts.sentences import comparison_complaints
from verdicts.table import render_comparison

NAME = "gate example"
DEFAULT = REGISTRY / "default"
DOCS = ROOT / "docs"
RECORD, PICTURE = DOCS / "gate-example.json", DOCS / "gate-example.png"
_WIDTH, _HEIGHT = 900, 818  # of the picture, in pixels
_ALT = "The gate on the page: the first ten graphs newly wrong, and the first claims that are lost"


def said(record: Record) -> str:
    """What the terminal and the summary in Markdown say of the comparison, as the docs show it."""
    (subject,) = record.subjects
    assert subject.comparison
    complaints = [*comparison_complaints(subject.comparison), *null_complaints(subject.claims)]
    terminal = [line for line, _ in render_comparison(subject) if line]
    return "\n".join(
        [
            "The terminal says, after all claims:",
            "",
            "```",
            *itertools.takewhile(lambda line: not line.startswith("moved "), terminal),
            "…",
            *complaints,
            "```",
            "",
            "The comment on a pull request says:",
            "",
            *map(_quoted, _closed(markdown(record, complaints).rstrip().splitlines())),
            "",
            "The page shows:",
            "",
            f"![{_ALT}]({PICTURE.name})",
        ]
    )


def _closed(lines: Iterable[str]) -> Iterator[str]:
    """Markdown as it is shown before anything folded is opened."""
    inside = False
    for line in lines:
        if line.startswith("<details><summary>"):
            inside = True
            yield f"▸ {line.removeprefix('<details><summary>').removesuffix('</summary>')}"
        elif line == "</details>":
            inside = False
        elif not inside:
            yield line


def _quoted(line: str) -> str:
    """A line of the comment; its heading is none of the page's."""
    return f"> **{line[3:]}**" if line.startswith("## ") else f"> {line}".rstrip()


def _judge(*arguments: str, exit_code: int) -> None:
    command = [sys.executable, "-m", "pytest", "claims", "-q", "-n", "2", *arguments]
    print(*command[1:], flush=True)
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    if done.returncode != exit_code:
        raise SystemExit(f"it ended with {done.returncode}, and must with {exit_code}")


def _photograph(page_file: Path) -> None:
    from playwright.sync_api import sync_playwright

    from tests.figures.test_browser import CHROMIUM, FLAGS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(
            viewport={"width": _WIDTH, "height": 900}, color_scheme="light", reduced_motion="reduce"
        )
        page.goto(page_file.as_uri())
        place = page.locator("#gate").bounding_box()
        assert place is not None
        page.screenshot(
            path=PICTURE,
            full_page=True,
            clip={"x": 0, "y": place["y"], "width": _WIDTH, "height": _HEIGHT},
        )
        browser.close()


def main() -> int:
    from tests.figures.test_browser import CHROMIUM  # the test of the text needs no browser

    if CHROMIUM is None:
        print("needs a Chromium: apt-get install chromium", file=sys.stderr)
        return 2
    place = ROOT / "runs" / "gate-example"
    place.mkdir(parents=True, exist_ok=True)
    before, after, page = (place / name for name in ("before.json", "after.json", "after.html"))
    _judge(f"--claims-json={before}", f"--claims-cases={place / 'before.npz'}", exit_code=0)

    whole, reader = load_checkpoint(DEFAULT), load_subject(DEFAULT).roles.reader
    assert isinstance(whole.model, Transformer)
    with torch.no_grad():
        whole.model.attention(reader.layer).W_Q[reader.index] *= 0.5
    save_checkpoint(place / "halved", whole.model, recipe=whole.recipe)
    outputs = (f"--claims-json={after}", f"--claims-page={page}")
    _judge(f"--checkpoint={place / 'halved'}", f"--claims-baseline={before}", *outputs, exit_code=1)

    write_lines(RECORD, trimmed(read_record(after)))
    insert(said(read_record(RECORD)), DOCS / "gate.md", name=NAME)
    _photograph(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
