"""Many seeds: what is done is not done again, what fails loses no other, and a worker or the whole
run may be killed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

import studies.seeds
from circuits.roles import read_roles
from models.checkpoint import load_checkpoint
from models.config import ModelConfig, TrainConfig
from models.training import METRICS_FILE, STATE_FILE
from studies.__main__ import main
from studies.executors import ProcessEach, open_executor
from studies.seeds import Study, Target, run_study, train_and_judge
from studies.timeline import unsearched
from tests.models.test_training import require_same_training
from tests.processes import (
    MINUTES,
    ROOT,
    holding,
    killed,
    killing_once,
    one_thread,
    process_id,
    wait_until,
)
from tests.records import subject_of
from verdicts.frequencies import frequency, render_frequencies, render_ranges
from verdicts.lock import LOCK_FILE, InUseError, hold
from verdicts.record import as_ledger, read_record, write_record
from verdicts.schema import SubjectResult

CLAIM_IDS = ("classifies_the_validation_set", "answers_survive_relabelling")
MODEL = ModelConfig(n_heads=2, d_model=16, d_head=8, d_mlp=16)
TRAIN = TrainConfig(n_graphs=300, epochs=3, batch_size=50, relabel=True)
STUDY = Study(MODEL, TRAIN, claims=CLAIM_IDS)
RECIPE = """
[model]
n_heads = 2
d_model = 16
d_head = 8
d_mlp = 16
[train]
n_graphs = 300
epochs = 3
batch_size = 50
relabel = true
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def targets(out: Path, seeds: Iterable[int]) -> list[Target]:
    return [Target.of_seed(out, seed) for seed in seeds]


def study(
    out: Path, seeds: Iterable[int] = range(2), *, study: Study = STUDY
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    with ThreadPoolExecutor(1) as executor:
        return run_study(study, targets(out, seeds), executor, report=lambda line: None)


class Idle(Executor):
    """Takes no work: for runs in which there is none."""

    def submit(self, *arguments: object, **named: object) -> Future[Any]:  # type: ignore[override]
        raise AssertionError(f"something is done again: {arguments}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three seeds that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    subjects, failed = study(out, range(3))
    assert (list(subjects), failed) == (["seed 0", "seed 1", "seed 2"], {})
    return out


def hashes(out: Path, seeds: Iterable[int] = range(3)) -> list[str]:
    return [load_checkpoint(out / f"seed-{seed}").content_hash for seed in seeds]


def test_each_seed_has_its_weights_roles_and_record(whole: Path) -> None:
    for seed in range(3):
        directory = whole / f"seed-{seed}"
        checkpoint = load_checkpoint(directory)
        assert checkpoint.recipe == {"seed": seed, "train": TRAIN.to_dict()}
        read_roles(
            directory / "roles.json", cfg=checkpoint.model.cfg, content_hash=checkpoint.content_hash
        )
        (subject,) = read_record(directory / "record.json").subjects
        assert subject.content_hash == checkpoint.content_hash
        assert [claim.id for claim in subject.claims] == sorted(CLAIM_IDS)
    assert len(set(hashes(whole))) == 3


def test_a_study_takes_no_census_so_the_claim_about_it_is_judged_where_it_is_named() -> None:
    rests_on_a_census = "right_on_every_graph_of_the_range"
    usual = [claim.id for claim in dataclasses.replace(STUDY, claims=()).chosen()]
    assert rests_on_a_census not in usual
    assert len(usual) == 49
    named = dataclasses.replace(STUDY, claims=(rests_on_a_census,)).chosen()
    assert [claim.id for claim in named] == [rests_on_a_census]
    assert rests_on_a_census not in unsearched()


def test_the_record_is_that_of_pytest(whole: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "claims",
        f"--checkpoint={whole / 'seed-0'}",
        f"--claims-json={tmp_path / 'record.json'}",
    ]
    subprocess.run(
        [*command, "-k", " or ".join(CLAIM_IDS), "--device=cpu"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    one, other = (
        read_record(path) for path in (whole / "seed-0" / "record.json", tmp_path / "record.json")
    )
    assert one.run.partial  # each says in its own words what was asked for
    assert other.run.partial
    assert one.subjects[0].about["training"]["seed"] == 0
    assert one.environment == other.environment
    first, second = (
        as_ledger(
            replace(record, run=replace(record.run, partial=UNSET)),
            replace(record.subjects[0], about={}),
        )
        for record in (one, other)
    )
    assert first == second


def test_what_is_done_is_not_done_again(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    subjects, failed = run_study(STUDY, targets(whole, range(3)), Idle(), report=lambda line: None)
    assert (len(subjects), failed) == (3, {})
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text("null")]
)
def test_a_record_that_is_not_one_is_made_again(
    whole: Path, spoil: Callable[[Path], object]
) -> None:
    path = whole / "seed-1" / "record.json"
    before, weights = (
        json.loads(path.read_text()),
        (whole / "seed-1" / "model.safetensors").stat().st_mtime_ns,
    )
    spoil(path)
    study(whole, range(3))
    again = json.loads(path.read_text())
    for record in (before, again):
        for claim in record["subjects"][0]["claims"]:
            del claim["duration_s"]
    assert again == before
    assert (whole / "seed-1" / "model.safetensors").stat().st_mtime_ns == weights


def test_other_claims_or_another_seed_of_chance_are_judged_anew(whole: Path) -> None:
    for other in (
        dataclasses.replace(STUDY, claims=CLAIM_IDS[:1]),
        dataclasses.replace(STUDY, claims_seed=1),
        STUDY,
    ):
        with pytest.raises(AssertionError, match="done again"):
            run_study(other, targets(whole, [0]), Idle(), report=lambda line: None)
        study(whole, [0], study=other)


def test_seeds_of_another_recipe_are_refused(whole: Path) -> None:
    other = dataclasses.replace(STUDY, train_config=dataclasses.replace(TRAIN, epochs=4))
    with pytest.raises(
        ValueError, match=r"seed-0: was trained by another recipe; name another --out"
    ):
        study(whole, study=other)


def test_a_seed_that_fails_is_reported_and_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    def fail_one(directory: Path, *, seed: int, **settings: Any) -> Path:
        if seed == 1:
            raise OSError(28, "No space left on device")
        return train(directory, seed=seed, **settings)

    train = studies.seeds.train
    with monkeypatch.context() as patch:
        patch.setattr("studies.seeds.train", fail_one)
        subjects, failed = study(tmp_path, range(3))
    assert list(subjects) == ["seed 0", "seed 2"]
    assert failed == {"seed 1": "OSError: [Errno 28] No space left on device"}
    assert study(tmp_path, range(3))[1] == {}
    assert hashes(tmp_path) == hashes(whole)


def test_a_part_of_the_claims_leaves_the_record_of_all_alone(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole / "seed-0", out / "seed-0")
    record = out / "seed-0" / "record.json"
    part = read_record(record)
    assert str(part.run.partial).startswith("--claim ")
    write_record(record, replace(part, run=replace(part.run, partial=UNSET)))  # as if all
    before = record.read_bytes()
    _, failed = study(out, [0])
    assert failed == {}
    assert record.read_bytes() == before
    assert str(read_record(record.with_name("record.partial.json")).run.partial).startswith(
        "--claim "
    )


def test_workers_that_see_other_files_are_noticed(tmp_path: Path) -> None:
    class Elsewhere(Executor):
        def submit(self, *arguments: object, **named: object) -> Future[Any]:  # type: ignore[override]
            future: Future[Any] = Future()
            future.set_result({})
            return future

    _, failed = run_study(STUDY, targets(tmp_path, [0]), Elsewhere(), report=lambda line: None)
    assert "every worker must see the directory of --out" in failed["seed 0"]


def test_several_seeds_of_one_worker_are_trained_in_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    monkeypatch.setattr("studies.seeds.train", None)  # not called
    assert train_and_judge(STUDY, targets(tmp_path, range(3))) == {}
    for seed in range(3):
        require_same_training(whole / f"seed-{seed}", tmp_path / f"seed-{seed}")
        assert (tmp_path / f"seed-{seed}" / "record.json").exists()


def test_every_call_has_a_process_of_its_own_and_one_that_is_killed_takes_no_other_with_it() -> (
    None
):
    with ProcessEach(2) as executor:
        lost, *others = [
            executor.submit(killed),
            *(executor.submit(process_id, None) for _ in range(3)),
        ]
        assert isinstance(lost.exception(), BrokenExecutor)
        assert len({*(future.result() for future in others), os.getpid()}) == 4


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    code = f"""
from studies.executors import ProcessEach
from tests.processes import process_id
if __name__ == "__main__":
    ProcessEach(1).submit(process_id, {str(tmp_path / "pid")!r}, {MINUTES}).result()
"""
    (tmp_path / "parent.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], cwd=ROOT, env=env)
    wait_until((tmp_path / "pid").exists)
    parent.kill()
    parent.wait()
    wait_until(lambda: not _runs(int((tmp_path / "pid").read_text())))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return (
        not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    )  # a zombie is only waiting to be counted


def _command(out: Path, recipe: str = RECIPE) -> list[str]:
    path = out.with_suffix(".toml")
    path.write_text(recipe)
    options = ["--count=1", f"--out={out}", f"--config={path}", "--device=cpu"]
    return [sys.executable, "-m", "studies", "seeds", f"--claim={CLAIM_IDS[0]}", *options]


def _saved(path: Path) -> dict[str, Path]:
    """When the metrics of a first epoch are put in place, after its state."""
    return {"at": path / METRICS_FILE, "after": path / STATE_FILE}


@pytest.mark.long
def test_the_command_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path, whole: Path) -> None:
    """With its worker, when the first epoch is saved."""
    out = tmp_path / "out"
    whom = "os.getppid(), os.getpid()"
    env = killing_once(tmp_path, **_saved(out / "seed-0"), whom=whom)
    command = _command(out)
    killed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (out / "seed-0" / STATE_FILE).exists()
    assert not (out / "seed-0" / "config.json").exists()
    again = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert hashes(out, [0]) == hashes(whole, [0])
    assert not list(out.rglob(".*"))
    assert re.search(r"classifies_the_validation_set +✗ +0/1  \[0\.00, 0\.97\]", again.stdout)


FOREGROUND = """
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
"""
IMPORTING = """
import multiprocessing, sys
from pathlib import Path

class Wait:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and multiprocessing.parent_process() is not None:
            Path(__file__).with_name("importing").touch()
            signal.pause()  # for ever: no signal that this process handles is to come

sys.meta_path.insert(0, Wait())
"""


@pytest.mark.parametrize("moment", ["importing", pytest.param("training", marks=pytest.mark.long)])
def test_ctrl_c_at_a_terminal_is_quiet_in_every_process(moment: str, tmp_path: Path) -> None:
    """A terminal interrupts the workers as well."""
    out = tmp_path / "out"
    code = FOREGROUND + (IMPORTING if moment == "importing" else "")
    (tmp_path / "sitecustomize.py").write_text(code)
    process = subprocess.Popen(
        _command(out, RECIPE.replace("epochs = 3", "epochs = 1_000_000")),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    begun = (tmp_path / "importing", out / "seed-0" / STATE_FILE)[moment == "training"]
    wait_until(lambda: begun.exists() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == f"\nstopped; the same command goes on where it was, in {out}\n"


def test_a_second_run_in_one_place_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    with holding(out) as holder:
        assert main(_command(out)[3:]) == 2
        assert f"error: {out}: process {holder.pid} on " in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [LOCK_FILE]


def test_a_seed_that_is_trained_elsewhere_fails_and_loses_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Path,
) -> None:
    monkeypatch.setattr("studies.seeds.PATIENCE", 0.0)
    with holding(tmp_path / "seed-1") as holder:
        subjects, failed = study(tmp_path, range(3))
    assert list(subjects) == ["seed 0", "seed 2"]
    sentence = f"{tmp_path / 'seed-1'}: process {holder.pid} on "
    assert failed["seed 1"].startswith(f"InUseError: {sentence}")
    with holding(tmp_path / "seed-0"):
        failed = train_and_judge(STUDY, targets(tmp_path, [0, 1]))
    assert list(failed) == ["seed 0"]
    assert hashes(tmp_path) == hashes(whole)


def test_a_worker_waits_for_one_that_is_about_to_end(tmp_path: Path, whole: Path) -> None:
    with holding(tmp_path / "seed-0") as holder:
        worker = threading.Thread(target=train_and_judge, args=(STUDY, targets(tmp_path, [0])))
        worker.start()
        holder.kill()
        worker.join()
    assert hashes(tmp_path, [0]) == hashes(whole, [0])


def test_a_seed_is_held_while_it_is_trained_and_while_it_is_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    def watch(name: str) -> None:
        real = getattr(studies.seeds, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            with ThreadPoolExecutor(1) as other, pytest.raises(InUseError, match=str(os.getpid())):
                other.submit(hold(tmp_path / "seed-0").__enter__).result()
            seen.append(name)
            return real(*arguments, **named)

        monkeypatch.setattr(f"studies.seeds.{name}", watched)

    for name in ("train", "find_roles", "write_record"):
        watch(name)
    assert study(tmp_path, [0])[1] == {}
    assert seen == ["train", "find_roles", "write_record"]
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_a_dask_cluster_does_as_well_though_a_worker_is_killed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Path,
) -> None:
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "out"
    for name, value in killing_once(tmp_path, **_saved(out / "seed-1")).items():
        monkeypatch.setenv(name, value)
    with distributed.LocalCluster(
        n_workers=3,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        scheduler_port=0,
        silence_logs=50,
    ) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        with open_executor(address, jobs=1) as executor:
            goals = targets(out, range(3))
            subjects, failed = run_study(STUDY, goals, executor, report=lambda line: None)
    assert (list(subjects), failed) == (["seed 0", "seed 1", "seed 2"], {})
    assert (tmp_path / "killed").exists()
    assert hashes(out) == hashes(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "--count must be 1 or more, got 0"),
        (["--count", "1", "--jobs", "0"], "--jobs must be 1 or more, got 0"),
        (["--count", "1", "--claims-seed", "-1"], "--claims-seed must be 0 or more, got -1"),
        (
            ["--count", "1", "--claim", "none"],
            "--claim must be the id of a claim, like accurate_at_every_edge_count; got 'none'",
        ),
        (["--count", "1", "--config", "none.toml"], "none.toml: no such file"),
        (["--count", "1", "--reference", "none"], "none: no such file or directory"),
        (["--count", "1", "--validation-set", "none.npz"], "none.npz: no such file"),
        (
            ["--count", "1", "--executor", "threads"],
            "--executor must be process or dask://HOST:PORT, got 'threads'",
        ),
        (
            ["--count", "1", "--executor", "dask://"],
            "--executor must be process or dask://HOST:PORT, got 'dask://'",
        ),
        (
            ["--count", "1", "--config", "checkpoints/mlp.toml"],
            "is of an MLP; the claims are about transformers",
        ),
    ],
)
def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["seeds", "--out", str(tmp_path / "out"), "--device", "cpu", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_table_can_be_made_again_from_the_records(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [str(whole / f"seed-{seed}" / "record.json") for seed in range(3)]
    assert main(["table", *records[:2], "--reference", records[2]]) == 0
    out = capsys.readouterr().out
    assert "in order: seed-0, seed-1" in out
    assert "classifies_the_validation_set  ✗✗  ✗    0/2  [0.00, 0.84]" in out
    assert main(["table", records[0], "--reference", records[0]]) == 2
    assert f"{records[0]}: a second record of seed-0" in capsys.readouterr().err
    assert main(["table", "none.json"]) == 2
    assert "none.json: cannot be read: No such file or directory" in capsys.readouterr().err


def subject(verdict: str, value: float) -> SubjectResult:
    measurement = {
        "value": value,
        "low": None,
        "high": None,
        "at_least": 1.0,
        "at_most": None,
        "outcome": "unresolved" if verdict == "absent" else verdict,
    }
    return subject_of(
        {
            "id": "a_claim",
            "verdict": verdict,
            "measurements": {"x": measurement, "seen": {**measurement, "outcome": None}},
        }
    )


def test_frequencies_have_exact_intervals() -> None:
    held = [subject("holds", 2.0)] * 7
    assert frequency([*held, subject("refuted", 0.5)], "a_claim") == (
        7,
        pytest.approx(0.4735, abs=1e-4),
        pytest.approx(0.9968, abs=1e-4),
    )
    assert frequency(held, "a_claim")[::2] == (7, 1.0)
    assert frequency(held, "a_claim")[1] == pytest.approx(0.025 ** (1 / 7))


def test_the_table_counts_the_seeds_and_not_what_stands_beside() -> None:
    seeds = {
        "seed 0": subject("holds", 2.0),
        "seed 1": subject("refuted", 0.5),
        "seed 2": subject("holds", 5.0),
    }
    lines = [text for text, _ in render_frequencies(seeds, {"theirs": subject("absent", 1.0)})]
    assert "a  theirs, not counted" in lines
    assert "a_claim  ✓✗✓  -    2/3  [0.09, 0.99]" in lines
    assert [text.split() for text, _ in render_ranges(seeds)][-1] == [
        "x",
        "0.5",
        "2",
        "5",
        "≥",
        "1",
    ]
