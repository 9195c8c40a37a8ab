"""One process at a time: who comes second is told who is there; nothing of the first is lost."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import models.stacked
from models.__main__ import main
from models.checkpoint import load_checkpoint
from tests.models.test_training import MODEL, ONE_THREAD, RECIPE, TRAIN, run
from tests.processes import ROOT, holding, one_thread
from verdicts.lock import LOCK_FILE, InUseError, hold


def elsewhere(directory: Path, patience: float = 0.0) -> None:
    """Hold it for a moment from another thread, which is as good as another process."""

    def held() -> None:
        with hold(directory, patience=patience):
            pass

    with ThreadPoolExecutor(1) as thread:
        thread.submit(held).result()


def test_the_second_is_told_who_is_there(tmp_path: Path) -> None:
    with holding(tmp_path / "out") as holder:
        who = rf"process {holder.pid} on \S+, since 20\d\d-.*, is at work there"
        sentence = rf"^{tmp_path}/out: {who}; wait for it, or name another directory$"
        for _ in range(2):  # the first refusal takes nothing from what is said
            with pytest.raises(InUseError, match=sentence), hold(tmp_path / "out"):
                pass
        assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK_FILE]
        holder.communicate()
        with hold(tmp_path / "out"):
            assert (tmp_path / "out" / LOCK_FILE).read_text().startswith(f"{os.getpid()}\n")
    assert not list((tmp_path / "out").iterdir())


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / LOCK_FILE).exists()
        elsewhere(tmp_path)
    assert not list(tmp_path.iterdir())


def test_who_is_patient_waits(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        second = threading.Thread(target=elsewhere, args=(tmp_path, 1e6))
        second.start()
        holder.communicate()
        second.join()


def test_whoever_holds_may_hold_again(tmp_path: Path) -> None:
    with hold(tmp_path):
        with hold(tmp_path):
            pass
        with pytest.raises(InUseError, match=f"process {os.getpid()} on "):
            elsewhere(tmp_path)
    elsewhere(tmp_path)


def test_an_error_gives_it_free(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), hold(tmp_path):
        raise KeyboardInterrupt
    elsewhere(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:flock not supported on this filesystem")
def test_it_holds_where_files_cannot_be_locked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on some network file systems."""

    def missing(*arguments: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with hold(tmp_path):
        with hold(tmp_path):
            pass
        with pytest.raises(InUseError, match=f"process {os.getpid()} on "):
            elsewhere(tmp_path)
    assert not list(tmp_path.iterdir())


PAUSED_AFTER_AN_EPOCH = """
import sys
import models.training
from models.__main__ import main

def save(directory, state, recipe):
    models.training.saved(directory, state, recipe)
    if len(state.rows) == 1:
        print("saved", flush=True)
        sys.stdin.readline()

models.training.saved, models.training._save = models.training._save, save
sys.exit(main(sys.argv[1:]))
"""


def test_a_second_training_is_refused_and_takes_nothing_from_the_first(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    out, recipe = tmp_path / "out", tmp_path / "recipe.toml"
    command = ["train", f"--out={out}", "--seed=0", f"--config={recipe}", "--device=cpu"]
    with subprocess.Popen(
        [sys.executable, "-c", PAUSED_AFTER_AN_EPOCH, *command],
        cwd=ROOT,
        env=ONE_THREAD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "saved\n"
        leftover = out / ".metrics.jsonl.1.tmp"  # as if it were writing just now
        leftover.touch()
        before = {path: path.read_bytes() for path in out.iterdir()}
        assert main(command) == 2
        assert f"error: {out}: process {first.pid} on " in capsys.readouterr().err
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        leftover.unlink()
        first.communicate("\n")
        assert first.returncode == 0
    with one_thread():
        assert load_checkpoint(out).content_hash == run(tmp_path / "whole")
    names = [sorted(path.name for path in one.iterdir()) for one in (out, tmp_path / "whole")]
    assert names[0] == names[1]


def test_a_stack_holds_every_directory_and_is_refused_where_one_is_held(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directories = {seed: tmp_path / str(seed) for seed in range(3)}
    settings: dict[str, Any] = {"model_config": MODEL, "train_config": TRAIN}
    settings["device"] = torch.device("cpu")
    with holding(directories[1]) as holder, pytest.raises(InUseError, match=str(holder.pid)):
        models.stacked.train_stacked(directories, **settings)
    real, refused = models.stacked._Stack.train_epoch, 0

    def epoch(stack: Any) -> Any:
        nonlocal refused
        for directory in directories.values():
            with pytest.raises(InUseError):
                elsewhere(directory)
            refused += 1
        return real(stack)

    monkeypatch.setattr("models.stacked._Stack.train_epoch", epoch)
    assert models.stacked.train_stacked(directories, **settings) == {}
    assert refused == 3 * TRAIN.epochs
    for directory in directories.values():
        assert not (directory / LOCK_FILE).exists()
