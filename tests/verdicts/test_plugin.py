"""The plugin as a user meets it: options, exit codes, table, record, ledger."""

from __future__ import annotations

import json

import pytest

from tests.toy import CLAIMS, NULL_CLAIM, facts, project, record, run

pytest_plugins = ["pytester"]
__all__ = ["project"]  # a fixture


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
