"""A run that is interrupted at any moment: what a whole run wrote before is there as it was, or a
whole run's again."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.toy import CLAIMS, CONFTEST, facts, project

pytest_plugins = ["pytester"]
__all__ = ["project"]  # a fixture
OUTPUTS = {"out.json": "--claims-json", "out.md": "--claims-markdown", "out.html": "--claims-page"}
SLOW = """
import time
@pytest.fixture(autouse=True)
def take_a_while():
    time.sleep(0.05)
"""


def start(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    outputs = [f"{option}={name}" for name, option in OUTPUTS.items()]
    quiet = ("jaxtyping", "cacheprovider", "benchmark", "hypothesispytest")
    plain = [*(f"-pno:{plugin}" for plugin in quiet), *outputs, *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *plain],
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def contents(directory: Path) -> dict[str, bytes]:
    visible = (path for path in directory.iterdir() if path.is_file() and path.name[0] != ".")
    return {path.name: path.read_bytes() for path in visible}


@pytest.mark.parametrize("tries", [3, pytest.param(50, marks=pytest.mark.long)])
def test_what_was_there_before_is_whole_after(project: pytest.Pytester, tries: int) -> None:
    """The moments are spread over the time that a run takes here, whatever that is."""
    directory, chance = project.path, random.Random(0)
    facts(project, x=36)
    project.makeconftest(
        CONFTEST.replace("import json\n", "import json\nimport pytest\n", 1) + SLOW
    )
    project.makepyfile(test_claims=CLAIMS + "".join(another(number) for number in range(10)))
    started = time.perf_counter()
    assert start(directory, "--claims-accept").wait() == 0
    seconds = time.perf_counter() - started
    before = contents(directory)
    for _ in range(tries):
        accepting = chance.choice([["--claims-accept"], []])
        run = start(directory, *accepting)
        time.sleep(chance.random() * seconds)
        run.send_signal(chance.choice([signal.SIGINT, signal.SIGKILL]))
        run.wait()
        after = contents(directory)
        for name, text in before.items():
            assert timeless(after[name]) == timeless(text), name
        for name in after.keys() - before.keys():
            assert ".partial" in name, name
    assert (
        start(directory, "--claims-accept").wait() == 0
    )  # and nothing that was left stands in the way


def another(number: int) -> str:
    return f'''

@pytest.mark.claim(source="3", evidence="exact")
def test_x_is_larger_than_{number}(subject, expect):
    """x is larger than {number}."""
    expect("x", subject.facts["x"], at_least={number}, because="so it is said")
'''


def timeless(text: bytes) -> bytes:
    return re.sub(rb'"duration_s": [0-9.]+', b"", text)
