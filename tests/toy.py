"""A small project of two claims, for tests of the plugin: what is claimed of a toy is in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CONFTEST = """
import json
from pathlib import Path
pytest_plugins = ["verdicts.plugin"]

def pytest_addoption(parser):
    parser.addoption("--checkpoint", action="append")

class Subject:
    device = "cpu"
    def __init__(self, path):
        self.facts = json.loads(Path(path).read_text())
        self.ledger_path = Path(path).with_suffix(".verdicts.json")
    def describe(self):
        about = {"roles": {"part": 3}, "validation_set": self.facts["set"]}
        return {"name": "toy", "content_hash": self.facts["hash"], **about}

def pytest_claims_subjects(config):
    subjects = [Subject(path) for path in config.getoption("checkpoint") or ["toy.json"]]
    if any(subject.facts["x"] is None for subject in subjects):
        raise ValueError("toy.json: x must be a number, got None")
    return subjects
"""
CLAIMS = '''
import pytest

@pytest.mark.claim(source="1", evidence="exact")
def test_x_is_large(subject, expect):
    """x is large."""
    expect("x", subject.facts["x"], at_least=10, because="so it is said")

@pytest.mark.claim(source="2", evidence="exact", gauge={"b_K"}, companion="x_is_large")
def test_y_is_small(subject, expect):
    """y is small."""
    if subject.facts["y"] is None:
        raise type("Absent", (LookupError,), {"verdict": "absent"})("no y")
    expect("y", subject.facts["y"], at_most=1, because="so it is said")
'''
NULL_CLAIM = '''

@pytest.mark.claim(source="3", evidence="exact")
def test_x_beats_chance(subject, expect):
    """x is more than chance makes it."""
    expect("x", subject.facts["x"], at_least=10, because="so it is said")
    expect.null("x", subject.facts["x"], list(range(39)), kind="coins")

@pytest.mark.claim(source="3", evidence="exact")
def test_y_beats_chance(subject, expect):
    """y is less than chance makes it."""
    expect("y", subject.facts["y"], at_most=1, because="so it is said")
    expect.null("minus y", -subject.facts["y"], list(range(39)), kind="coins")
'''


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_claims=CLAIMS)
    facts(pytester)
    return pytester


def facts(pytester: pytest.Pytester, name: str = "toy.json", **values: Any) -> None:
    (pytester.path / name).write_text(
        json.dumps({"hash": "sha256:a", "set": "sha256:v", "x": 11, "y": 0, **values})
    )


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In this process, which has all that a run imports; its workers, under xdist, are others."""
    quiet = [
        f"no:{plugin}" for plugin in ("cacheprovider", "jaxtyping", "benchmark", "hypothesispytest")
    ]
    return pytester.runpytest_inprocess(*(f"-p{name}" for name in quiet), *arguments)


def record(pytester: pytest.Pytester, *arguments: str) -> dict[str, Any]:
    run(pytester, "--claims-json=out.json", *arguments)
    return json.loads((pytester.path / "out.json").read_text())  # type: ignore[no-any-return]
