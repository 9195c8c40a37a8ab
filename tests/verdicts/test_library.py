"""`verdicts` as a library of its own: what it imports, what it says, and its first example."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

LIBRARY = ROOT / "verdicts"
README = ROOT / "packaging" / "verdicts" / "README.md"
OURS = r"notebook|graph6|\bgraphs?\b|checkpoint|planar|transformer|author"


def test_the_plugin_imports_nothing_that_takes_long() -> None:
    """Every run of pytest loads it where it is installed."""
    heavy = ("torch", "scipy", "numpy", "PIL", "transformer_lens", "models", "circuits", "claims")
    code = (
        f"import sys, verdicts.plugin; print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "path",
    sorted(path for path in LIBRARY.rglob("*") if path.suffix in (".py", ".html", ".js", ".json")),
    ids=lambda p: p.name,
)
def test_its_words_are_a_claims(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = [
        line for line in text.splitlines() if "transformer-lens" not in line
    ]  # one of the packages that a record names
    found = [line for line in lines if re.search(OURS, line, flags=re.IGNORECASE)]
    assert not found, f"{path.name} knows of what this project is about"


def test_the_docs_name_every_key_of_a_record() -> None:
    schema = json.loads((LIBRARY / "record.schema.json").read_text(encoding="utf-8"))
    told = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")

    def keys(part: object) -> set[str]:
        found: set[str] = set()
        for name, value in part.items() if isinstance(part, dict) else ():
            if name == "properties":
                found |= set(value)
            found |= keys(value)
        return found

    assert [key for key in sorted(keys(schema)) if f"`{key}`" not in told] == []


def test_the_example_of_its_readme_runs_and_says_what_it_says(tmp_path: Path) -> None:
    blocks = re.findall(
        r"```python\n# (\w+\.py)\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert [name for name, _ in blocks] == ["conftest.py", "test_coin.py"]
    shown = (ROOT / "docs" / "own-project.md").read_text(encoding="utf-8")
    assert all(code in shown for _, code in blocks)
    for name, code in blocks:
        (tmp_path / name).write_text(code, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "verdicts.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "UNRESOLVED  The coin shows heads in 49 to 51 of 100 throws." in done.stdout
    assert re.search(r"about [\d,]+\s+cases\s+would\s+settle\s+it", done.stdout)
    assert "graphs" not in done.stdout
    told = re.search(r"```\n(UNRESOLVED.*?)```", shown, flags=re.DOTALL)
    assert told is not None
    assert told[1] in "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
