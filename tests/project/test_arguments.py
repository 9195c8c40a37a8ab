"""Paths on the command line are looked at before torch is imported; Ctrl-C meanwhile is quiet."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import circuit_claims
import claims.__main__
from models.arguments import imports, require_directory, require_existing, require_file
from tests.processes import ROOT

DEFAULT = str(ROOT / "checkpoints" / "default")
WITHOUT_TORCH = """
import importlib, sys

name = sys.argv[1]
main = importlib.import_module(name if name == "circuit_claims" else name + ".__main__").main
try:
    code = main(sys.argv[2:])
except SystemExit as stop:
    code = stop.code
assert "torch" not in sys.modules
sys.exit(code)
"""
INTERRUPTED = """
import importlib, os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored

def raises():
    raise KeyboardInterrupt

def swallows():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except BaseException:
        os._exit(9)  # torch and numpy go on half made

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            {"raises": raises, "swallows": swallows}[sys.argv[1]]()

sys.meta_path.insert(0, Interrupt())
sys.exit(importlib.import_module(sys.argv[2] + ".__main__").main(sys.argv[3:]))
"""


def call(code: str, command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("kept")
    return tmp_path


EMPTY = [
    ("models train --seed 0", "--out"),
    ("models train --seed 0 --out OUT", "--config"),
    ("circuits roles", "checkpoint"),
    (f"circuits roles {DEFAULT}", "--out"),
    ("studies seeds --count 1", "--out"),
    ("studies seeds --count 1 --out OUT", "--config"),
    ("studies seeds --count 1 --out OUT", "--reference"),
    ("studies seeds --count 1 --out OUT", "--validation-set"),
    ("studies table", "RECORD"),
    ("studies table one.json", "--reference"),
    ("studies census", "CHECKPOINT"),
    (f"studies census {DEFAULT}", "--out"),
    (f"studies census {DEFAULT}", "--nauty"),
    ("studies wrong-graphs", "DIR"),
    (f"studies wrong-graphs {DEFAULT}", "--into"),
    ("figures wrong --out OUT", "DIR"),
    (f"figures wrong {DEFAULT}", "--out"),
    (f"figures page {DEFAULT}", "--out"),
    ("figures page --out OUT", "PATH"),
    (f"figures page {DEFAULT} --out OUT", "--record"),
    (f"figures page {DEFAULT} --out OUT", "--validation-set"),
    ("figures page --out OUT --record one.json", "--bundle"),
    ("figures serve --port 0", "PATH"),
    ("figures serve --port 0", "--record"),
    ("figures serve --port 0", "--validation-set"),
    ("verdicts page --out OUT", "RECORD"),
    ("verdicts compare --out OUT", "RECORD"),
    ("verdicts history one.json", "--page"),
]


@pytest.mark.parametrize(("command", "argument"), EMPTY)
def test_an_empty_text_is_no_path(place: Path, command: str, argument: str) -> None:
    words = command.replace("OUT", str(place / "out")).split()
    words += [argument, ""] if argument.startswith("--") else [""]
    done = call(WITHOUT_TORCH, words, place)
    assert done.returncode == 2, done.stderr
    assert f"error: argument {argument}: must be a path, got ''" in done.stderr
    assert [path.name for path in place.iterdir()] == ["file"]


REFUSED = {
    "models train --seed 0 --out FILE": "--out=FILE: is a file; name a directory",
    "models train --seed 0 --out FILE/x/y": "--out=FILE/x/y: cannot be written: FILE: Not a dir",
    "models train --seed 0 --out SEALED/x": "--out=SEALED/x: cannot be written: SEALED: ",
    "models train --seed 0 --out OUT --config NONE": "NONE: no such file",
    "circuits roles NONE": "NONE: no such file or directory",
    f"circuits roles {DEFAULT} --out DIR": "--out=DIR: is a directory; name a file",
    f"circuits roles {DEFAULT} --out FILE/x": "--out=FILE/x: cannot be written: FILE: Not a dir",
    f"circuits roles {DEFAULT} --out SEALED/x": "--out=SEALED/x: cannot be written: SEALED: ",
    "studies seeds --count 1 --out FILE": "--out=FILE: is a file; name a directory",
    "studies seeds --count 1 --out FILE/x": (
        "--out=FILE/x: cannot be written: FILE: Not a directory"
    ),
    "studies seeds --count 1 --out SEALED/x": "--out=SEALED/x: cannot be written: SEALED: ",
    "studies seeds --count 1 --out OUT --config NONE": "NONE: no such file",
    "studies seeds --count 1 --out OUT --reference NONE": "NONE: no such file or directory",
    "studies seeds --count 1 --out OUT --validation-set NONE": "NONE: no such file or directory",
    f"figures page {DEFAULT} --out DIR": "--out=DIR: is a directory; name a file",
    f"figures page {DEFAULT} --out FILE/x": "--out=FILE/x: cannot be written: Not a directory",
    f"figures page {DEFAULT} --out SEALED/x": "--out=SEALED/x: cannot be written: ",
    "figures page NONE --out OUT": "NONE: no such file or directory",
    f"figures page {DEFAULT} --out OUT --record NONE": "NONE: no such record; write one with: ",
    f"figures page {DEFAULT} --out OUT --validation-set NONE": "NONE: no such file or directory",
    "figures serve NONE --port 0": "NONE: no such file or directory",
    "figures serve --record NONE --port 0": "NONE: no such record; write one with: ",
    f"figures serve {DEFAULT} --validation-set NONE --port 0": "NONE: no such file or directory",
    "studies table NONE": "NONE: cannot be read: No such file or directory",
    "figures page --record NONE --out OUT": "NONE: no such record; write one with: ",
    "verdicts page NONE --out OUT": "NONE: cannot be read: No such file or directory",
    "verdicts compare NONE NONE --out OUT": "NONE: cannot be read: No such file or directory",
    "verdicts compare NONE NONE --out FILE/x": "--out=FILE/x: cannot be written: Not a directory",
    "verdicts history NONE": "NONE: cannot be read: No such file or directory",
    "verdicts history NONE --page DIR": "--page=DIR: is a directory; name a file",
    "studies census NONE": "NONE: no such file or directory",
    f"studies census {DEFAULT} --out FILE": "--out=FILE: is a file; name a directory",
    f"studies census {DEFAULT} --nauty NONE": "NONE: no such file or directory",
    f"studies census {DEFAULT} --nauty DIR": "nauty's geng is not in --nauty=DIR: install",
    "studies wrong-graphs NONE": "NONE: no such file or directory",
    f"studies wrong-graphs {DEFAULT} --into NONE": "NONE: no such file or directory",
    "figures wrong NONE --out OUT": "NONE: no such file or directory",
    f"figures wrong {DEFAULT} --out DIR": "--out=DIR: is a directory; name a file",
}


@pytest.mark.parametrize("command", REFUSED)
def test_a_path_that_cannot_be_is_refused_before_torch_is_imported(
    place: Path,
    sealed: Path,
    command: str,
) -> None:
    places = {"DIR": place, "SEALED": sealed}
    places |= {name.upper(): place / name for name in ("file", "none", "out")}
    message = REFUSED[command]
    for word, path in places.items():
        command, message = command.replace(word, str(path)), message.replace(word, str(path))
    done = call(WITHOUT_TORCH, command.split(), place)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in place.iterdir()] == ["file"]
    assert (place / "file").read_text() == "kept"


@pytest.mark.parametrize("program", ["figures", "circuit_claims"])
@pytest.mark.parametrize("port", ["TAKEN", "65536", "-1"])
def test_a_port_that_cannot_be_is_refused_before_torch_is_imported(
    place: Path, program: str, port: str
) -> None:
    reason = " must be from 0 to 65535, got {}"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if port == "TAKEN":
            port, reason = str(other.getsockname()[1]), " {}: Address already in use"
        done = call(WITHOUT_TORCH, [program, "serve", DEFAULT, f"--port={port}"], place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --port{reason.format(port)}\n"


@pytest.fixture
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which nobody can make a file."""
    directory = tmp_path_factory.mktemp("sealed")
    directory.chmod(0o500)
    try:
        (directory / "probe").touch()
    except PermissionError:
        return directory
    if not Path("/proc/version").exists():
        pytest.skip("root may write everywhere here")
    return Path("/proc")  # where not even root can


COMMANDS = [
    "models train --seed 0 --out OUT",
    f"circuits roles {DEFAULT} --out OUT/roles.json",
    "studies seeds --count 1 --out OUT",
    f"figures page {DEFAULT} --out OUT.html",
    f"figures serve {DEFAULT} --port 0",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("module", ["raises", "swallows"])
def test_ctrl_c_while_modules_are_imported_is_quiet(
    module: str,
    command: str,
    place: Path,
) -> None:
    words = command.replace("OUT", str(place / "out")).split()
    done = call(INTERRUPTED, [module, *words], place)
    assert done.returncode == 130
    assert done.stderr.startswith("\nstopped")
    assert done.stderr.count("\n") == 2
    assert [path.name for path in place.iterdir()] == ["file"]


def test_ctrl_c_is_what_it_was_when_all_is_imported() -> None:
    before = signal.getsignal(signal.SIGINT)
    with imports():
        unusual = before is not signal.default_int_handler
        assert (signal.getsignal(signal.SIGINT) is before) == unusual
    assert signal.getsignal(signal.SIGINT) is before
    with ThreadPoolExecutor(1) as thread:  # which may set no handler
        thread.submit(imports().__enter__).result()


def test_places_that_can_be_written_are_taken_and_left_as_they_are(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "a" / "b"):
        require_directory(path, option="--out")
    (tmp_path / "there.json").write_text("kept")
    for path in (tmp_path / "a" / "b.json", tmp_path / "there.json"):
        require_file(path, option="--out")
    require_existing(None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
    assert (tmp_path / "there.json").read_text() == "kept"


def test_names_that_no_file_can_have_are_refused_in_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or directory"):
        require_existing(tmp_path / ("x" * 5000))
    for name in ("link", "link/below"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "none")
        with pytest.raises(ValueError, match=f"--out={tmp_path}/{name}: cannot be written"):
            require_directory(tmp_path / name, option="--out")


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["page"], "use circuit-claims page, or python -m figures page"),
        (["seeds", "--count=3"], "use circuit-claims seeds, or python -m studies seeds"),
        ([], "use pytest claims, and circuit-claims --help for the rest"),
    ],
)
def test_what_was_a_command_says_what_replaced_it(
    words: list[str], instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claims.__main__.main(words) == 2
    assert instead in capsys.readouterr().err


def test_one_command_line_has_the_commands_of_every_room(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        circuit_claims.main(["--help"])
    told = capsys.readouterr().out
    for command in (
        "train",
        "roles",
        "untrained",
        "page",
        "serve",
        "seeds",
        "table",
        "laws",
        "timeline",
    ):
        assert f"\n    {command}" in told
    assert circuit_claims.main(["train", "--seed=-1", "--out=none"]) == 2
    assert "--seed must be 0 or more, got -1" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(place: Path) -> None:
    record = ROOT / "checkpoints" / "default" / "verdicts.json"
    code = f"from studies.__main__ import main; raise SystemExit(main(['table', {str(record)!r}]))"
    command = [sys.executable, "-u", "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
