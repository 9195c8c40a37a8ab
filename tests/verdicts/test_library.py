"""`verdicts` as a library of its own: what it imports, what it says, and its first example."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT
from verdicts.judge import Claim
from verdicts.project import EVIDENCE

LIBRARY = ROOT / "verdicts"
OWN_PROJECT = ROOT / "docs" / "own-project.md"
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


def judged(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest in another project."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "verdicts.plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *options], cwd=project, env=env, capture_output=True, text=True, check=False
    )


def test_the_example_of_its_readme_runs_and_says_what_it_says(tmp_path: Path) -> None:
    blocks = re.findall(
        r"```python\n# (\w+\.py)\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert [name for name, _ in blocks] == ["conftest.py", "test_coin.py"]
    shown = OWN_PROJECT.read_text(encoding="utf-8")
    assert all(code in shown for _, code in blocks)
    for name, code in blocks:
        (tmp_path / name).write_text(code, encoding="utf-8")
    done = judged(tmp_path)
    assert done.returncode == 1, done.stderr
    assert "UNRESOLVED  The coin shows heads in 49 to 51 of 100 throws." in done.stdout
    assert re.search(r"about [\d,]+\s+cases\s+would\s+settle\s+it", done.stdout)
    assert "graphs" not in done.stdout
    told = re.search(r"```\n(UNRESOLVED.*?)```", shown, flags=re.DOTALL)
    assert told is not None
    assert told[1] in "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def blocks_of_own_project() -> list[str]:
    """The code on the page about another project."""
    return re.findall(
        r"```python\n(.*?)```", OWN_PROJECT.read_text(encoding="utf-8"), flags=re.DOTALL
    )


def test_its_second_example_names_the_cases_that_are_newly_wrong(tmp_path: Path) -> None:
    conftest, claims = (
        next(block for block in blocks_of_own_project() if word in block)
        for word in ("class Quiz", "kept=True")
    )
    (tmp_path / "conftest.py").write_text(conftest, encoding="utf-8")
    (tmp_path / "test_quiz.py").write_text(claims, encoding="utf-8")

    def answer(wrong: set[int]) -> None:
        pairs = [[case % 3 if case not in wrong else -1, case % 3] for case in range(300)]
        (tmp_path / "answers.json").write_text(json.dumps(pairs), encoding="utf-8")

    answer({1, 2})
    first = judged(tmp_path, "--claims-json=before.json", "--claims-cases=before.npz")
    assert first.returncode == 0, first.stdout
    answer({1, 2, 40, 41, 43, 44, 46, 47, 49, 50, 52})
    second = judged(tmp_path, "--claims-baseline=before.json")
    assert second.returncode == 1, second.stdout
    told = re.search(
        r"```\n(accuracy: .*?)```", OWN_PROJECT.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert told is not None
    assert told[1] in second.stdout


def test_a_kind_of_evidence_is_added_as_its_page_says() -> None:
    def test_heads(subject: object, expect: object) -> None:
        """Some are heads."""

    (block,) = (block for block in blocks_of_own_project() if "EVIDENCE" in block)
    scope: dict[str, Any] = {}
    exec(block, scope)
    marked = pytest.mark.claim(source="the mint", evidence="exhausted")(test_heads)
    with pytest.raises(ValueError, match="evidence must be one of"):
        Claim.from_function(marked)
    assert Claim.from_function(marked, scope["pytest_claims_project"]()).evidence == "exhausted"
    page = OWN_PROJECT.read_text(encoding="utf-8")
    assert all(f"`{kind}`" in page for kind in EVIDENCE)
