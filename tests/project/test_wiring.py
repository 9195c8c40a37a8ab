"""The root conftest: what joins the plugin to this project's checkpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("option", ["--checkpoint", "--validation-set"])
def test_a_path_that_leads_nowhere_is_refused_before_torch_is_imported(option: str) -> None:
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "pytest",
        "claims",
        f"{option}=no/such/place",
        "-pno:jaxtyping",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 4
    assert f"ERROR: {option}=no/such/place: no such file or directory\n" in result.stderr
    imported = {
        line.rpartition("|")[2].strip()
        for line in result.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "verdicts.plugin.judging" in imported
    assert not imported & {"torch", "transformer_lens", "scipy", "circuits.subject"}
