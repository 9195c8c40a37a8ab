"""Imports run one way: models → circuits → claims → studies; verdicts knows none of them, and is a
library to all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FORBIDDEN = {
    "models": {
        "circuits",
        "claims",
        "figures",
        "studies",
        "pytest",
        "hypothesis",
        "jinja2",
    },
    "circuits": {"claims", "figures", "studies", "pytest", "hypothesis", "jinja2"},
    "claims": {"figures", "studies", "tests", "conftest"},
    "figures": {"studies", "tests", "conftest"},
    "studies": {"figures", "tests", "conftest"},
    "verdicts": {"models", "circuits", "claims", "figures", "studies", "torch", "networkx"},
}


LIBRARY = {
    "models": {"verdicts.files", "verdicts.lock"},
    "circuits": {"verdicts.lock", "verdicts.statistics"},
}
"""All that these rooms have of the library."""


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
            assert all(alias.name != "*" for alias in node.names), f"{path}: star import"
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_room_imports_from_further_on(room: str) -> None:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    for path in paths:
        assert not imports(path) & FORBIDDEN[room], path


@pytest.mark.parametrize("room", LIBRARY)
def test_they_know_of_verdicts_how_to_write_and_what_an_interval_is(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        assert "import verdicts" not in path.read_text(encoding="utf-8"), path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        found = {module for module in modules if module.startswith("verdicts")}
        assert found <= LIBRARY[room], path


def test_claims_import_verdicts_for_types_only() -> None:
    for path in sorted((ROOT / "claims").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert {module for module in top if (module or "").startswith("verdicts")} <= {
            "verdicts.statistics"
        }, path


def test_the_wiring_stays_small() -> None:
    assert len((ROOT / "conftest.py").read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize(
    "module",
    ["models", "circuits", "figures", "studies", "verdicts", "circuit_claims", "pytest"],
)
def test_help_does_not_wait_for_torch(module: str) -> None:
    command = ["-m", module, "--help"]
    script = (
        f"import sys, runpy; sys.argv = {command[1:]!r}; runpy.run_module({command[1]!r},"
        " run_name='__main__')"
    )
    probe = (
        "import atexit, sys; atexit.register(lambda: print('TORCH', 'torch' in sys.modules));"
        f" exec({script!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "TORCH False" in done.stdout
    if command[1] == "pytest":
        assert "--claims-json=PATH" in done.stdout
