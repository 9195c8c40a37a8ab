"""No run replaces a record with less, and no two write to one place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toy import facts, project, run
from verdicts.lock import InUseError, hold_file
from verdicts.record import read_record

pytest_plugins = ["pytester"]
__all__ = ["project"]  # a fixture


@pytest.mark.parametrize(
    "arguments",
    [["-kx_is"], ["-mclaim"], ["--deselect=test_claims.py::test_y_is_small"], ["test_claims.py"]],
)
def test_a_part_of_a_run_says_so_and_replaces_no_record(
    project: pytest.Pytester, arguments: list[str]
) -> None:
    outputs = ["--claims-json=out.json", "--claims-markdown=out.md"]
    run(project, *outputs)
    whole = [(project.path / name).read_bytes() for name in ("out.json", "out.md")]
    result = run(project, *outputs, *arguments)
    result.stdout.fnmatch_lines(
        ["out.partial.json: of a part of the claims (*); out.json is left as it was"]
    )
    assert [(project.path / name).read_bytes() for name in ("out.json", "out.md")] == whole
    part = read_record(project.path / "out.partial.json")
    assert part.run.partial.startswith(
        ("-k x_is", "-m claim", "--deselect", "a part of the claims")
    )
    assert (
        (project.path / "out.partial.md").read_text().startswith("> Of a part of the claims only: ")
    )
    for name in ("out.json", "out.md"):
        (project.path / name).unlink()
    for _ in range(2):  # nothing is there, or what is there is of a part itself
        result = run(project, *outputs, *arguments)
        assert read_record(project.path / "out.json").run.partial
    result.stdout.fnmatch_lines(
        ["out.json: of a part of the claims (*)", "out.md: of a part of the claims (*)"]
    )


def test_a_run_that_stops_early_is_a_part(project: pytest.Pytester) -> None:
    facts(project, x=3)
    for arguments in (["-x"], ["-x", "-n1"]):
        run(project, "--claims-json=out.json", *arguments)
        assert read_record(project.path / "out.json").run.partial.endswith(
            "1 of 2 claims not judged"
        )
    project.makepyfile(test_broken="1 / 0")
    result = run(
        project,
        "--claims-json=out.json",
        "--claims-page=out.html",
        "--continue-on-collection-errors",
    )
    assert (
        read_record(project.path / "out.json").run.partial
        == "0 of 2 claims not judged, 1 file could not be collected"
    )
    result.stdout.fnmatch_lines(["--claims-page=out.html: not written: 0 of 2 claims not judged*"])
    assert not (project.path / "out.html").exists()


def test_a_record_of_a_part_is_no_baseline_and_no_ledger_and_has_no_page(
    project: pytest.Pytester,
) -> None:
    run(project, "--claims-json=part.json", "-kx_is")
    message = "*part.json: is of a part of the claims only (-k x_is); use the record of a whole run"
    result = run(project, "--claims-baseline=part.json")
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])
    (project.path / "part.json").rename(project.path / "toy.verdicts.json")
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message.replace("part.json", "toy.verdicts.json")])
    result = run(project, "--claims-page=out.html", "-kx_is")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--claims-page=out.html draws a whole run; drop -k x_is"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("--claims-json", "--claims-page"),
        ("--claims-json", "--claims-markdown"),
        ("--claims-markdown", "--claims-page"),
        ("--claims-json", "--junitxml"),
        ("--claims-json", "--claims-baseline"),
        ("--claims-page", "--claims-baseline"),
    ],
)
def test_two_outputs_at_one_path_are_refused(
    project: pytest.Pytester, one: str, other: str
) -> None:
    run(project, "--claims-json=old.json")
    (project.path / "link").symlink_to("old.json")
    before = (project.path / "old.json").read_bytes()
    for first, second in (("old.json", "old.json"), ("link", "./old.json")):
        result = run(project, f"{one}={first}", f"{other}={second}")
        assert result.ret == 4
        result.stderr.fnmatch_lines([f"ERROR: {one} and {other} are both {first}; name two files"])
        assert (project.path / "old.json").read_bytes() == before


def test_a_ledger_is_written_by_one_run_at_a_time(project: pytest.Pytester) -> None:
    with hold_file(project.path / "toy.verdicts.json"):
        result = run(project, "--claims-accept")
        assert result.ret == 4
        result.stderr.fnmatch_lines(
            [
                f"*toy.verdicts.json: process {os.getpid()} on *, since *, is writing it; wait"
                " until it has ended"
            ]
        )
        assert run(project).ret == 0  # who only reads need not wait
    assert run(project, "--claims-accept").ret == 0
    assert run(project, "--claims-accept").ret == 0


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from verdicts.lock import hold_file\n"
        f"with hold_file(Path({str(tmp_path / 'l')!r})):"
    )
    then = " print('held', flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code + then], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(InUseError, match=f"l: process {holder.pid} on .* is writing it"),
            hold_file(tmp_path / "l"),
        ):
            pass
        holder.kill()
    with hold_file(tmp_path / "l"):
        pass
    assert not list(tmp_path.iterdir())
