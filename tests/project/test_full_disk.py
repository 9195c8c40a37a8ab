"""A disk that is full at any write, and processes that are killed at any moment: nothing that was
saved is lost."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fnmatch
import itertools
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from circuits.roles import read_roles
from models.__main__ import main
from models.checkpoint import load_checkpoint, save_checkpoint
from models.config import ModelConfig, TrainConfig
from models.training import METRICS_FILE, STATE_FILE, train
from studies.seeds import Study, run_study
from tests import planted
from tests.processes import one_thread
from tests.studies.test_seeds import CLAIM_IDS, hashes, study, targets
from tests.toy import CLAIMS, facts, project, run
from verdicts.lock import LOCK_FILE
from verdicts.record import read_record, write_record
from verdicts.schema import Environment

pytest_plugins = ["pytester"]
__all__ = ["project"]

OFTEN = pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
MODEL = ModelConfig(n_vertices=8, n_layers=1, n_heads=2, d_model=16, d_head=8, d_mlp=32)
TRAIN = TrainConfig(n_graphs=200, min_edges=13, max_edges=15, epochs=2, batch_size=50, relabel=True)
MANY_EPOCHS = TrainConfig(**{**TRAIN.to_dict(), "epochs": 12})


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


class FullDisk(OSError):
    """Room has run out."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def full_after(writes: int) -> Iterator[list[int]]:
    """A disk on which that many steps of writing succeed and no more; a write that fails leaves
    half a file. Yields the count."""
    done = [0]

    def step(fail: Callable[[], object]) -> None:
        if done[0] >= writes:
            fail()
            raise FullDisk
        done[0] += 1

    def write_bytes(path: Path, content: bytes) -> int:
        step(lambda: real["write_bytes"](path, content[: len(content) // 2]))
        return real["write_bytes"](path, content)  # type: ignore[no-any-return]

    def write_text(path: Path, text: str, **named: Any) -> int:
        step(lambda: real["write_text"](path, text[: len(text) // 2], **named))
        return real["write_text"](path, text, **named)  # type: ignore[no-any-return]

    def mkdir(path: Path, *arguments: Any, **named: Any) -> None:
        step(lambda: None)
        real["mkdir"](path, *arguments, **named)

    def replace(path: Path, target: Path) -> Path:
        step(lambda: None)
        return real["replace"](path, target)  # type: ignore[no-any-return]

    def fsync(file: int) -> None:
        step(lambda: None)
        real["fsync"](file)

    real: dict[str, Callable[..., Any]] = {
        "write_bytes": Path.write_bytes,
        "write_text": Path.write_text,
        "mkdir": Path.mkdir,
        "replace": Path.replace,
        "fsync": os.fsync,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        for function in (write_bytes, write_text, mkdir, replace):
            patch.setattr(Path, function.__name__, function)
        yield done


def train_one(directory: Path, config: TrainConfig = TRAIN) -> str:
    train(
        directory,
        seed=0,
        model_config=MODEL,
        train_config=config,
        device=torch.device("cpu"),
        progress=False,
    )
    return load_checkpoint(directory).content_hash


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
def test_training_on_a_disk_that_is_full_at_each_write_in_turn(tmp_path: Path, every: int) -> None:
    with full_after(1000) as writes:
        whole = train_one(tmp_path / "whole")
    assert writes[0] > 25
    for room in range(0, writes[0], every):
        directory = tmp_path / str(room)
        with full_after(room), pytest.raises(FullDisk):
            train_one(directory)
        left = {path.name for path in directory.iterdir()} if directory.exists() else set()
        assert left <= {
            METRICS_FILE,
            STATE_FILE,
            "model.safetensors",
        }, left  # nothing half written under any name
        assert train_one(directory) == whole


def test_judging_on_a_disk_that_is_full_at_each_write_in_turn(tmp_path: Path) -> None:
    """Roles and record; the weights stay what they were."""
    one = Study(
        ModelConfig(n_heads=2, d_model=16, d_head=8, d_mlp=16),
        TrainConfig(n_graphs=100, epochs=1),
        claims=CLAIM_IDS[:1],
    )
    study(tmp_path, [0], study=one)
    path = tmp_path / "seed-0"
    weights, cfg = hashes(tmp_path, [0]), one.model_config
    record = read_record(path / "record.json")
    for room in range(1000):
        for name in ("roles.json", "record.json"):
            (path / name).unlink(missing_ok=True)
        with full_after(room):
            subjects, failed = study(tmp_path, [0], study=one)
        assert hashes(tmp_path, [0]) == weights
        assert not [file for file in path.iterdir() if file.name.startswith(".")]
        if not failed:
            break
        assert failed == {"seed 0": "FullDisk: [Errno 28] No space left on device"}
        assert subjects == {}
        if (path / "roles.json").exists():
            read_roles(path / "roles.json", cfg=cfg, content_hash=weights[0])
    assert room > 4
    assert (
        read_record(path / "record.json").subjects[0].content_hash
        == record.subjects[0].content_hash
    )


def test_an_old_record_outlives_a_disk_that_is_full_at_each_write_in_turn(
    tmp_path: Path, project: pytest.Pytester
) -> None:
    project.makepyfile(test_claims=CLAIMS)
    facts(project)
    run(project, "--claims-json=old.json")
    old = read_record(project.path / "old.json")
    before = (project.path / "old.json").read_bytes()
    for room in range(2):
        with full_after(room), pytest.raises(FullDisk):
            write_record(project.path / "old.json", replace(old, environment=Environment()))
        assert (project.path / "old.json").read_bytes() == before
        assert not list(project.path.glob(".*.tmp"))


def test_a_run_whose_record_cannot_be_written_shows_what_it_measured_and_fails(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_claims=CLAIMS)
    project.makeconftest(
        (project.path / "conftest.py").read_text()
        + """
def pytest_runtest_teardown():
    import errno, os
    from pathlib import Path
    def full(path, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    Path.replace = full
"""
    )
    facts(project)
    result = project.runpytest_subprocess(
        "-pno:jaxtyping", "--claims-json=out.json"
    )  # its disk stays full
    assert result.ret == 1
    result.stdout.fnmatch_lines(["toy: 2 hold", "out.json: not written: No space left on device"])
    assert not (project.path / "out.json").exists()
    assert not list(project.path.glob(".*.tmp"))


def test_a_directory_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "recipe.toml").write_text(
        "[model]\nn_vertices = 8\n[train]\nn_graphs = 100\nmin_edges = 13\nmax_edges = 15\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training._run_epoch", None)  # not called
        assert (
            main(
                [
                    "train",
                    "--out",
                    str(tmp_path / "file" / "out"),
                    "--seed",
                    "0",
                    "--config",
                    str(tmp_path / "recipe.toml"),
                ]
            )
            == 2
        )
    place = tmp_path / "file"
    sentence = f"--out={place / 'out'}: cannot be written: {place}: Not a directory"
    assert sentence in capsys.readouterr().err


def killed_while_it_writes(work: Callable[[], object], size: int) -> None:
    """Run in a process that ends when it writes more than so many bytes into one file."""
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_with_small_files, args=(work, size))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGXFSZ


def _with_small_files(work: Callable[[], object], size: int) -> None:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    work()


@pytest.mark.parametrize("size", [1_000, 20_000])
def test_what_a_process_killed_while_it_writes_leaves_is_removed(tmp_path: Path, size: int) -> None:
    killed_while_it_writes(lambda: train_one(tmp_path), size)
    (left,) = {path.name for path in tmp_path.iterdir()} - {METRICS_FILE, LOCK_FILE}
    assert fnmatch.fnmatch(left, f".{STATE_FILE}.*.tmp")
    assert (tmp_path / left).stat().st_size == size
    train_one(tmp_path)
    done = {"config.json", "model.safetensors", METRICS_FILE}
    assert {path.name for path in tmp_path.iterdir()} == done
    model = load_checkpoint(tmp_path).model
    killed_while_it_writes(lambda: save_checkpoint(tmp_path, model), 1_000)
    with pytest.raises(ValueError, match="already holds a trained checkpoint"):
        train_one(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == done


@contextlib.contextmanager
def names_made_in(directory: Path) -> Iterator[set[str]]:
    """Every name that appears in a directory, by the kernel's account; all are there at the end."""
    libc, names = ctypes.CDLL(None), set[str]()
    watch = libc.inotify_init1(os.O_NONBLOCK)
    made_or_moved_there = 0x100 | 0x80
    assert libc.inotify_add_watch(watch, os.fsencode(directory), made_or_moved_there) > 0
    try:
        yield names
        with contextlib.suppress(BlockingIOError):  # all is read
            while events := os.read(watch, 2**16):
                while events:
                    (length,) = struct.unpack_from("I", events, 12)
                    names.add(os.fsdecode(events[16 : 16 + length].rstrip(b"\0")))
                    events = events[16 + length :]
    finally:
        os.close(watch)


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_no_file_of_another_name_ever_appears(tmp_path: Path) -> None:
    with names_made_in(tmp_path) as names:
        train_one(tmp_path)
    done = {"config.json", "model.safetensors", METRICS_FILE, STATE_FILE}
    assert {name for name in names if not fnmatch.fnmatch(name, ".*.tmp")} == {*done, LOCK_FILE}
    temporary = {name for name in names if fnmatch.fnmatch(name, ".*.tmp")}
    assert {name.split(".")[1] for name in temporary} == {name.split(".")[0] for name in done}


def killed_at_random(work: Callable[[], object], chance: random.Random, longest: float) -> bool:
    """Run in a process group of its own, killed after a random time; whether it was still running
    then."""
    process = multiprocessing.get_context("fork").Process(target=_in_own_group, args=(work,))
    process.start()
    process.join(chance.random() * longest)
    alive = process.is_alive()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join()
    assert alive or process.exitcode == 0
    return alive


def _in_own_group(work: Callable[[], object]) -> None:
    os.setsid()
    torch.set_num_threads(1)
    work()


def until_killed_often(
    work: Callable[[Path], object], check: Callable[[Path], None], tmp_path: Path, *, often: int
) -> None:
    """Killed that often, in as many directories as that takes, each of which is finished and looked
    at.

    How long it may run at most follows how fast this machine is just now.
    """
    chance, kills, longest = random.Random(0), 0, 0.5
    for directory in (tmp_path / str(index) for index in itertools.count()):
        while killed_at_random(lambda directory=directory: work(directory), chance, longest):  # type: ignore[misc]
            kills += 1
            longest *= 1.1
        check(directory)
        if kills >= often:
            return
        longest *= 0.6


@OFTEN
def test_training_killed_again_and_again_ends_with_the_same_weights(
    tmp_path: Path, kills: int
) -> None:
    whole = train_one(tmp_path / "whole", MANY_EPOCHS)

    def work(directory: Path) -> None:
        if not (directory / "config.json").exists():
            train_one(directory, MANY_EPOCHS)

    def check(directory: Path) -> None:
        assert load_checkpoint(directory).content_hash == whole
        assert (directory / METRICS_FILE).read_text().count("\n") == 12
        with pytest.raises(ValueError, match="already holds a trained checkpoint"):
            train_one(directory)
        assert {path.name for path in directory.iterdir()} == {
            "config.json",
            "model.safetensors",
            METRICS_FILE,
        }

    until_killed_often(work, check, tmp_path, often=kills)


@OFTEN
def test_a_run_of_seeds_killed_again_and_again_ends_with_the_same_weights_and_records(
    tmp_path: Path, kills: int
) -> None:
    quick = Study(
        planted.CONFIG, TrainConfig(n_graphs=100, epochs=4, batch_size=50), claims=CLAIM_IDS[:1]
    )

    def work(out: Path) -> None:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as executor:
            _, failed = run_study(quick, targets(out, range(3)), executor, report=lambda line: None)
        assert failed == {}

    def check(out: Path) -> None:
        assert hashes(out) == expected
        assert all(read_record(out / f"seed-{seed}" / "record.json") for seed in range(3))

    work(tmp_path / "whole")
    expected = hashes(tmp_path / "whole")
    until_killed_often(work, check, tmp_path, often=kills)
