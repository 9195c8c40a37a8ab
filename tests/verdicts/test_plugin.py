"""The plugin as a user meets it: options, exit codes, table, record, ledger."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from verdicts.lock import InUseError, hold_file
from verdicts.record import read_record

pytest_plugins = ["pytester"]

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


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
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


def test_claims_that_hold_exit_with_zero_and_a_table(project: pytest.Pytester) -> None:
    result = run(project)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "subject: toy a, data v",
            "device: cpu, seed: 0",
            "ledger: none*",
            "*x is large.",
            "toy: 2 hold",
        ]
    )


def test_what_is_judged_is_said_once_on_several_processes(project: pytest.Pytester) -> None:
    facts(project, "other.json", hash="sha256:b")
    result = run(project, "--checkpoint=toy.json", "--checkpoint=other.json", "-n", "2")
    result.stdout.fnmatch_lines(
        [
            "subject: toy a, data v",
            "ledger of toy-a: none; every claim must hold",
            "subject: toy b, data v",
            "device of toy-b: cpu, seed: 0",
            "*= claims =*",
        ]
    )
    assert result.stdout.str().count("subject: toy a") == 1


OUTPUTS = {
    "json": "out.json",
    "markdown": "out.md",
    "cases": "out.npz",
    "page": "out.html",
    "bundle": "out.bundle",
}


def test_every_file_that_is_written_is_named_at_the_end(project: pytest.Pytester) -> None:
    options = [f"--claims-{kind}={path}" for kind, path in OUTPUTS.items()]
    said = run(project, *options).stdout.str()
    for kind, path in OUTPUTS.items():
        assert f"--claims-{kind}: wrote {path}\n" in said
    assert "wrote" not in run(project, "-q", *options).stdout.str()


def test_a_refuted_claim_exits_with_one_and_says_why(project: pytest.Pytester) -> None:
    facts(project, x=9)
    result = run(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "refuted: x is 9, expected at least 10 (so it is said)",
            "REFUTED     x is large.",
            "toy: 1 refuted, 1 holds",
        ]
    )
    assert "plugin.py" not in result.stdout.str()


def test_an_absent_role_fails_and_is_never_a_skip(project: pytest.Pytester) -> None:
    facts(project, y=None)
    result = run(project)
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["ABSENT      y is small.", "*no y"])


def test_a_claim_that_breaks_shows_where(project: pytest.Pytester) -> None:
    project.makepyfile(test_claims=CLAIMS.replace('subject.facts["x"]', 'subject.facts["z"]'))
    result = run(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*KeyError: 'z'", "ERROR       x is large."])


def test_the_record_is_the_same_twice_and_under_xdist(project: pytest.Pytester) -> None:
    facts(project, x=9)
    first = record(project)
    assert [claim["verdict"] for claim in first["subjects"][0]["claims"]] == ["refuted", "holds"]
    for again in (record(project), record(project, "-n", "2")):
        for claim in [*first["subjects"][0]["claims"], *again["subjects"][0]["claims"]]:
            claim["duration_s"] = 0.0
        assert again == first


def test_the_ledger_accepts_what_it_was_told_and_nothing_else(project: pytest.Pytester) -> None:
    facts(project, x=9)
    result = run(project, "--claims-accept")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["--claims-accept: wrote *toy.verdicts.json (1 refuted, 1 holds)"])
    result = run(project)
    assert result.ret == 0
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines(["ledger: 1 refuted, 1 holds", "*refuted in the ledger*"])
    facts(project, x=11)  # it holds now
    result = run(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*XPASS(strict)*the ledger accepts this claim as refuted*"])
    facts(project, x=9, y=2)  # another is lost
    result = run(project)
    assert result.ret == 1
    result.assert_outcomes(failed=1, xfailed=1)


def test_a_refuted_claim_that_is_now_absent_or_broken_is_not_accepted(
    project: pytest.Pytester,
) -> None:
    facts(project, y=2)
    run(project, "--claims-accept")
    facts(project, y=None)
    result = run(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*y_is_small is absent, but the ledger accepts refuted*"])
    facts(project, y="broken")
    assert run(project).ret == 1


def test_a_ledger_of_other_weights_or_conditions_is_told_apart(project: pytest.Pytester) -> None:
    run(project, "--claims-accept")
    facts(project, set="sha256:w")
    run(project, "--claims-seed=3").stdout.fnmatch_lines(
        [
            "ledger: accepted with data sha256:v, but this run has sha256:w",
            "ledger: accepted with seed 0, but this run has 3",
        ]
    )
    facts(project, hash="sha256:b")
    result = run(project)
    assert result.ret == 4
    result.stdout.fnmatch_lines(["ledger: *toy.verdicts.json is of another subject"])
    result.stdout.no_fnmatch_line("*every claim must hold*")
    result.stderr.fnmatch_lines(
        [
            "*is of other contents: sha256:a, not sha256:b; compare with them by"
            " --claims-baseline=*toy.verdicts.json, or put these in their place by --claims-accept"
        ]
    )
    assert run(project, "--claims-accept").ret == 0
    assert run(project).ret == 0


def test_accepting_is_refused_where_it_would_say_too_little_or_hide_an_error(
    project: pytest.Pytester,
) -> None:
    for arguments in (
        ["-k", "x"],
        ["-n", "2"],
        ["test_claims.py"],
        ["test_claims.py::test_x_is_large"],
    ):
        result = run(project, "--claims-accept", *arguments)
        assert result.ret == 4, arguments
        result.stderr.fnmatch_lines(
            ["*--claims-accept writes the ledger of a whole run in one process; drop *"]
        )
    facts(project, x="broken")
    result = run(project, "--claims-accept")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["--claims-accept: no ledger written, for there were errors: x_is_large"]
    )
    assert not (project.path / "toy.verdicts.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--claims-json=none/out.json"],
            "*--claims-json=none/out.json: cannot be written: No such file or directory",
        ),
        (["--claims-json=."], "*--claims-json=.: is a directory; name a file"),
        (["--claims-json="], "*argument --claims-json: is empty; name a file"),
        (["--claims-page="], "*argument --claims-page: is empty; name a file"),
        (["--claims-baseline="], "*argument --claims-baseline: is empty; name a file"),
        (
            ["--claims-json=toy.json/out.json"],
            "*--claims-json=toy.json/out.json: cannot be written: Not a directory",
        ),
        (["--claims-seed=-1"], "*--claims-seed must be 0 or more, got -1"),
        (
            ["--checkpoint=toy.json", "--checkpoint=toy.json"],
            "*toy is to be judged twice, by its content hash; name it once",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_measured(
    project: pytest.Pytester, arguments: list[str], message: str
) -> None:
    result = run(project, *arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])


def test_a_subject_that_cannot_be_judged_is_a_usage_error(project: pytest.Pytester) -> None:
    facts(project, x=None)
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*toy.json: x must be a number, got None"])


def test_a_claim_without_a_statement_is_refused_before_anything_is_measured(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_claims=CLAIMS.replace('"""x is large."""', ""))
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*test_x_is_large: the first line of its docstring must be the statement*"]
    )


def test_several_checkpoints_are_judged_side_by_side(project: pytest.Pytester) -> None:
    facts(project, "other.json", hash="sha256:b", x=3)
    result = record(project, "--checkpoint=toy.json", "--checkpoint=other.json")
    verdicts = {
        subject["content_hash"]: [claim["verdict"] for claim in subject["claims"]]
        for subject in result["subjects"]
    }
    assert verdicts == {"sha256:a": ["holds", "holds"], "sha256:b": ["refuted", "holds"]}


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


def test_p_values_are_corrected_over_the_run_and_a_claim_that_is_chance_fails_it(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_claims=CLAIMS + NULL_CLAIM)
    facts(project, x=50, y=-100)
    result = run(project, "--claims-json=out.json", "-n", "2")
    assert result.ret == 0
    found = {
        c["id"]: c
        for c in json.loads((project.path / "out.json").read_text())["subjects"][0]["claims"]
    }
    assert (found["x_beats_chance"]["p"], found["x_beats_chance"]["p_corrected"]) == (0.025, 0.05)
    assert found["x_is_large"]["p_corrected"] is None
    result.stdout.fnmatch_lines(
        [
            "*x 50: of 39 coins 0 reach it, 38 at most",
            "*p = 0.05, corrected over the run (0.025 alone)",
        ]
    )
    facts(project, x=36, y=-100)
    for arguments in ([], ["--claims-accept"]):
        result = run(project, *arguments)
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            [
                "x_beats_chance holds, but chance does as well: p = 0.1, corrected over 2 claims"
                " 0.1;*",
                "*4 passed, 1 problem with the run in *",
            ]
        )
    result.stdout.fnmatch_lines(
        ["--claims-accept: no ledger written, for there were errors: see above"]
    )
    assert run(project, "-k", "y_beats_chance").ret == 0


def test_a_run_with_complaints_ends_well_beside_a_plugin_that_reads_what_was_counted(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_claims=CLAIMS + NULL_CLAIM)
    facts(project, x=36, y=-100)
    result = project.runpytest_subprocess("-pno:cacheprovider", "-phypothesispytest")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*4 passed, 1 problem with the run in *"])


# subjects, and hooks that are absent or return too little


def test_every_subject_of_the_hook_is_judged_whatever_the_options_say(
    project: pytest.Pytester,
) -> None:
    facts(project, "bad.json", hash="sha256:b", x=3)
    project.makeconftest(CONFTEST.replace('["toy.json"]', '["toy.json", "bad.json"]'))
    for workers in ([], ["-n2"]):
        result = run(project, *workers)
        assert result.ret == 1
        result.assert_outcomes(passed=3, failed=1)
    found = record(project, "--checkpoint=bad.json")  # one is named: the hook returns one
    assert [subject["content_hash"] for subject in found["subjects"]] == ["sha256:b"]


def test_one_subject_leaves_the_names_of_the_tests_alone(project: pytest.Pytester) -> None:
    assert "test_claims.py::test_x_is_large PASSED" in run(project, "-v").stdout.str()


def test_with_several_subjects_every_line_says_of_which_it_speaks(project: pytest.Pytester) -> None:
    project.makepyfile(test_claims=CLAIMS + NULL_CLAIM)
    facts(project, x=36, y=-100)
    facts(project, "bad.json", hash="sha256:b", x=3, y=-100)
    facts(project, "twin.json", hash="sha256:c", x=3, y=-100)
    project.makeconftest(CONFTEST.replace('"name": "toy"', '"name": self.ledger_path.name[0]'))
    result = run(
        project,
        *(f"--checkpoint={name}.json" for name in ("toy", "bad", "twin")),
        "--claims-markdown=out.md",
    )
    result.stdout.fnmatch_lines(
        [
            "subject: t a, data v",
            "device of t-a:*",
            "ledger of t-a: none*",
            "subject: b *",
            "device of b:*",
            "ledger of b: none*",
            "*test_x_is_large?b*",
            "refuted: x is 3*",
            "*test_x_is_large?t-c?*",
            "t-a: x_beats_chance holds, but chance does as well*",
            "FAILED*test_x_is_large?b?*",
            "FAILED*test_x_is_large?t-c?*",
        ]
    )
    assert (
        "> ❌ t-a: x&#95;beats&#95;chance holds, but chance"
        in (project.path / "out.md").read_text()
    )


HOOK = "def pytest_claims_subjects(config):"
SUBJECT = "dict(name='n', content_hash='h', roles={}, validation_set='v')"


@pytest.mark.parametrize(
    ("conftest", "arguments", "message"),
    [
        (
            "",
            [],
            (
                "there are claims, but nothing to judge: write in conftest.py def"
                " pytest_claims_subjects(config): return *"
            ),
        ),
        (f"{HOOK} return None", [], "there are claims, but nothing to judge*"),
        (
            f"{HOOK} return []",
            [],
            "pytest_claims_subjects returned an empty list: there is nothing to judge",
        ),
        (
            f"{HOOK} return 3",
            [],
            "pytest_claims_subjects must return a list of subjects, got a int",
        ),
        (
            f"{HOOK} return 'toy'",
            [],
            "pytest_claims_subjects must return a list of subjects, got a str",
        ),
        (f"{HOOK} return [3]", [], "pytest_claims_subjects()?0?, a int, has no ledger_path"),
        (
            f"{HOOK} return [Toy(dict(name='n'))]",
            [],
            "pytest_claims_subjects()?0?.describe() has no 'content_hash'; it returns *",
        ),
        (
            f"{HOOK} return [Toy({SUBJECT}), Toy(None)]",
            [],
            "pytest_claims_subjects()?1?.describe() must return a mapping, got None",
        ),
        (
            f"{HOOK} return [Toy({SUBJECT} | dict(name=3))]",
            [],
            "pytest_claims_subjects()?0?.describe()?'name'? must be text, got 3",
        ),
        (
            f"{HOOK} return [Toy({SUBJECT}, 'l.json')]",
            [],
            "pytest_claims_subjects()?0?.ledger_path must be a Path, got 'l.json'",
        ),
        (
            f"{HOOK} return [Toy({SUBJECT})]",
            ["--claims-controls"],
            (
                "--claims-controls needs controls and gauges: write in conftest.py def"
                " pytest_claims_variants(): return *"
            ),
        ),
        (
            f"{HOOK} return [Toy({SUBJECT})]",
            ["--claims-gauge"],
            "--claims-gauge needs controls and gauges: *",
        ),
        (
            f"{HOOK} return [Toy({SUBJECT})]\ndef pytest_claims_variants(): return dict(a=1)",
            ["--claims-gauge"],
            (
                "pytest_claims_variants returned a dict without controls, gauges, for_controls,"
                " for_gauges, under_gauge, other_parts"
            ),
        ),
        (
            f"{HOOK} return [Toy({SUBJECT})]\n"
            "class Broken:\n    name = 'broken'\n"
            "class All:\n    controls, gauges = (Broken(),), ()\n"
            "    for_controls = for_gauges = under_gauge = other_parts = None\n"
            "def pytest_claims_variants(): return All()",
            ["--claims-controls"],
            "pytest_claims_variants().controls has a Broken without breaks_all, apply",
        ),
    ],
)
def test_a_hook_that_is_absent_or_returns_too_little_is_said_in_one_sentence(
    project: pytest.Pytester, conftest: str, arguments: list[str], message: str
) -> None:
    toy = """
from pathlib import Path
pytest_plugins = ["verdicts.plugin"]
class Toy:
    device = "cpu"
    def __init__(self, about, ledger_path=Path("l.json")):
        self.about, self.ledger_path = about, ledger_path
    def describe(self):
        return self.about
"""
    project.makeconftest(toy + conftest)
    result = run(project, *arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    result = run(project, "-n1", *arguments)
    assert result.ret == 4
    result.stdout.fnmatch_lines([f"ERROR: {message}"])


def test_an_ordinary_test_that_asks_for_a_subject_is_told_what_to_write(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_claims="def test_plain(subject):\n    assert subject\n")
    result = run(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["test_plain asks for the fixture 'subject', which claims alone get; mark it with *"]
    )


# nothing lost


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


def test_tests_without_claims_are_left_alone(project: pytest.Pytester, tmp_path: Path) -> None:
    project.makepyfile(test_claims="def test_plain():\n    assert True\n")
    (project.path / "toy.json").unlink()
    result = run(project)
    assert result.ret == 0
    assert "ledger" not in result.stdout.str()


def test_the_words_and_kinds_of_evidence_are_the_projects(project: pytest.Pytester) -> None:
    words = """
def pytest_claims_project():
    from verdicts.project import Project
    kinds = {"driven": "It drove."}
    words = {"subject": "robot", "data": "course", "cases": "laps", "cite": "page {}".format}
    words["contents"] = "wires"
    return Project(**words, evidence=kinds, must_count=frozenset())
"""
    project.makeconftest(CONFTEST + words)
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*test_x_is_large: evidence must be one of driven, got 'exact'"])
    project.makepyfile(test_claims=CLAIMS.replace('evidence="exact"', 'evidence="driven"'))
    result = run(project, "--claims-page=page.html")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["robot: toy a, course v", "*x_is_large  (driven, page 1)"])
    page = (project.path / "page.html").read_text(encoding="utf-8")
    assert "It drove." in page
    assert '<dt>wires</dt><dd title="sha256:a">a</dd>' in page
    assert "what broken copies of the robot (controls) reach" in page
    record(project)
    gated = run(project, "--claims-baseline=out.json")
    gated.stdout.fnmatch_lines(["gate: the same wires: everything must be as it was *"])
    assert "page 1" in page
    assert "notebook" not in page


def test_a_subject_needs_a_name_and_a_hash_and_nothing_else(project: pytest.Pytester) -> None:
    bare = CONFTEST.replace(", **about}", "}")
    project.makeconftest(bare)
    out = record(project, "--claims-page=page.html", "--claims-markdown=out.md", "--claims-accept")
    assert set(out["subjects"][0]) == {"name", "content_hash", "claims"}
    result = run(project, "--claims-baseline=out.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["subject: toy a", "baseline: toy *"])
    project.makeconftest(CONFTEST.replace('"roles"', '"rôles"'))
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*describe() has 'rôles', which is none of *; put it into 'about'"]
    )


TAKING = """
import pytest

@pytest.fixture
def limit():
    return 10

class TestX:
    @pytest.mark.parametrize("scale", [1, 2])
    @pytest.mark.claim(source="1", evidence="exact")
    def test_x_is_large(self, subject, limit, expect, scale):
        \"\"\"x is large.\"\"\"
        expect("x", scale * subject.facts["x"], at_least=limit, because="so it is said")
"""


def test_a_claim_may_use_fixtures_and_parameters_and_stand_in_a_class(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_claims=TAKING)
    facts(project, x=7)
    found = record(project, "-n", "2")["subjects"][0]["claims"]
    assert [(claim["id"], claim["verdict"]) for claim in found] == [
        ("x_is_large[scale=1]", "refuted"),
        ("x_is_large[scale=2]", "holds"),
    ]
    assert [claim["measurements"]["x"]["value"] for claim in found] == [7, 14]
    assert run(project, "--claims-accept").ret == 0
    result = run(project)
    assert result.ret == 0
    result.assert_outcomes(passed=1, xfailed=1)


UNFIT = {
    (
        "from unittest import TestCase\nclass TestX(TestCase):\n"
        "    {mark}\n    def test_x(self, subject, expect):\n        'x'"
    ): "TestCase",
    "{mark}\nasync def test_x(subject, expect):\n    'x'": "test_x: a claim is a plain function",
    "{mark}\ndef test_x(subject):\n    'x'": (
        "test_x: a claim is a function test_<id>(subject, expect)"
    ),
}


@pytest.mark.parametrize("body", UNFIT)
def test_what_cannot_be_a_claim_is_refused_with_the_reason(
    project: pytest.Pytester, body: str
) -> None:
    mark = "@pytest.mark.claim(source='1', evidence='exact')"
    project.makepyfile(test_claims="import pytest\n" + body.replace("{mark}", mark))
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{UNFIT[body]}*"])


def test_where_there_is_no_claim_the_plugin_says_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    pytester.makepyfile(
        test_theirs="""
import pytest

@pytest.fixture
def subject():
    return "maths"

@pytest.fixture
def expect():
    return 3

@pytest.fixture
def device():
    return "abacus"

def test_theirs(subject, expect, device):
    assert (subject, expect, device) == ("maths", 3, "abacus")
"""
    )
    plain = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:verdicts.plugin")
    ours = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "verdicts.plugin")
    ours.assert_outcomes(passed=1)
    assert _without_times(ours.outlines) == _without_times(plain.outlines)


def _without_times(lines: list[str]) -> list[str]:
    return [re.sub(r"in [0-9.]+s", "", line).strip("= ") for line in lines]
