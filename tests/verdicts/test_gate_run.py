"""The gate as a user meets it: cases in pairs, three questions, acknowledgements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import scipy.stats  # a run in this process must not be the first to import it

from verdicts.packing import unpack_answers

pytest_plugins = ["pytester"]
assert scipy.stats

CONFTEST = """
import json
from pathlib import Path
from verdicts.project import Case, Project
pytest_plugins = ["verdicts.plugin"]

class Model:
    device = "cpu"
    ledger_path = Path("toy.verdicts.json")
    facts = json.loads(Path("toy.json").read_text())
    def describe(self):
        return {"name": "toy", "content_hash": self.facts["hash"], "validation_set": "sha256:v",
                "roles": {"eye": self.facts["eye"]}}

def pytest_claims_project():
    return Project(cases="words")

def pytest_claims_subjects(config):
    return [Model()]

def pytest_claims_case(subject, case):
    return Case(f"word{case}", mermaid="graph LR; a---b")

def pytest_claims_retrained(subject, baseline, source):
    return "another seed" if subject.facts["hash"].startswith("seed") else None

def pytest_claims_laws():
    return {"it_knows_words": 1.0, "it_is_even": 0.5}
"""
CLAIMS = '''
import pytest
from verdicts.statistics import Estimate, PerCase, clopper_pearson
import dataclasses

@pytest.mark.claim(source="1", evidence="estimated")
def test_it_knows_words(subject, expect):
    """It knows 8 words of 10."""
    right = [case not in subject.facts["wrong"] for case in range(400)]
    share = clopper_pearson(sum(right), len(right))
    share = dataclasses.replace(share, per_case=PerCase("share", (right,)))
    expect("accuracy", share, at_least=0.8, because="so it is said", kept=True)

@pytest.mark.claim(source="2", evidence="estimated", about="eye")
def test_it_is_even(subject, expect):
    """It is even."""
    values = [subject.facts["even"] + case % 7 / 10 for case in range(400)]
    mean = sum(values) / 400
    expect("evenness", Estimate(mean, mean - 0.02, mean + 0.02, 400, PerCase("mean", (values,))),
           at_least=0.5, because="so it is said")
'''


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_claims=CLAIMS)
    facts(pytester)
    assert run(pytester, "--claims-json=old.json", "--claims-cases=old.npz").ret == 0
    return pytester


def facts(pytester: pytest.Pytester, **values: Any) -> None:
    (pytester.path / "toy.json").write_text(
        json.dumps({"hash": "sha256:a", "wrong": [1, 2], "even": 0.6, "eye": "left", **values})
    )


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    quiet = ("cacheprovider", "jaxtyping", "benchmark", "hypothesispytest")
    return pytester.runpytest_inprocess(*(f"-pno:{plugin}" for plugin in quiet), *arguments)


def gate(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return run(pytester, "--claims-baseline=old.json", *arguments)


def comparison(pytester: pytest.Pytester, *arguments: str) -> dict[str, Any]:
    gate(pytester, "--claims-json=out.json", *arguments)
    record = json.loads((pytester.path / "out.json").read_text())
    found: dict[str, Any] = record["subjects"][0]["comparison"]
    return found


def test_a_record_names_its_cases_and_keeps_the_answers(project: pytest.Pytester) -> None:
    record = json.loads((project.path / "old.json").read_text())
    assert record["run"]["cases"]["file"] == "old.npz"
    (accuracy,) = (
        claim["measurements"]["accuracy"]
        for claim in record["subjects"][0]["claims"]
        if claim["id"] == "it_knows_words"
    )
    answers = unpack_answers(accuracy["answers"])
    assert [case for case, right in enumerate(answers) if not right] == [1, 2]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_cases_that_came_out_otherwise_are_counted_and_named(
    project: pytest.Pytester, workers: list[str]
) -> None:
    facts(project, hash="sha256:b", wrong=[2, *range(5, 17)])
    result = gate(project, "--claims-markdown=claims.md", "--claims-page=page.html", *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "toy (b) against toy (a): 1 moved, 1 holds still",
            "changed contents: a claim that is lost fails, and one of which a measure has lost*",
            "compared in pairs: all 2 measures with a bound",
            "accuracy: 12 of 400 words newly wrong, 1 newly right (p = 0.0034)",
            "  wrong now: word5, word6, word7, word8, word9, word10, word11, word12, word13, *",
            "moved       it_knows_words  accuracy 0.995 *",
            "* in pairs, p = 0.0068, 14% of *",
        ]
    )
    summary = (project.path / "claims.md").read_text()
    assert "Wrong now: <code>word5</code>, <code>word6</code>" in summary
    assert "```mermaid\ngraph LR; a---b\n```" in summary
    assert "| `it_is_even` | evenness |" in summary
    assert (
        "<summary>1 moved, which fails nothing</summary>\n\n- **moved**: `it_knows_words`"
        in summary
    )
    page = (project.path / "page.html").read_text()
    assert "<code>word5</code>, wrong now" in page
    assert "that would have been seen in four cases of five" in page


def test_what_only_pairs_can_see_is_seen_with_the_file_alone(project: pytest.Pytester) -> None:
    facts(project, hash="sha256:b", even=0.59)
    found = comparison(project)
    assert found["claims"]["it_is_even"]["status"] == "moved"
    (project.path / "old.npz").rename(project.path / "elsewhere.npz")
    found = comparison(project)
    assert found["claims"]["it_is_even"]["status"] == "holds still"
    assert found["pairs"].startswith(
        "compared in pairs: 1 of 2 measures with a bound; by intervals: the other 1, for "
    )
    assert found["pairs"].endswith("old.npz'")
    named = "--claims-baseline-cases=elsewhere.npz"
    assert comparison(project, named)["claims"]["it_is_even"]["status"] == "moved"


def test_a_ledger_keeps_what_the_answers_are_compared_by(project: pytest.Pytester) -> None:
    assert run(project, "--claims-accept").ret == 0
    facts(project, hash="sha256:b", wrong=[1, 2, 3])
    result = run(project, "--claims-baseline=toy.verdicts.json")
    result.stdout.fnmatch_lines(["accuracy: 1 of 400 words newly wrong, 0 newly right (p = 1)"])
    assert "cases" not in json.loads((project.path / "toy.verdicts.json").read_text())["run"]


def test_a_file_of_cases_that_is_not_the_records_is_refused_where_it_is_named(
    project: pytest.Pytester,
) -> None:
    (project.path / "old.npz").write_bytes(b"not it")
    result = gate(project, "--claims-baseline-cases=old.npz")
    assert result.ret == 4
    assert "old.npz: is not the file that the record was written with" in result.stderr.str()
    assert "is not the file that the record was written with" in comparison(project)["pairs"]


# three questions


def test_a_run_that_fails_by_its_gate_alone_ends_well_beside_other_plugins(
    project: pytest.Pytester,
) -> None:
    """Hypothesis looks into all that the terminal counts."""
    facts(project, even=0.59)
    result = project.runpytest_subprocess("-pno:cacheprovider", "--claims-baseline=old.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["the gate fails against toy: 1 drifted", "*, 1 problem with the run in *"]
    )
    result.stderr.no_fnmatch_line("*INTERNALERROR*")


def test_the_same_weights_must_be_as_they_were(project: pytest.Pytester) -> None:
    facts(project, even=0.59)
    result = gate(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "gate: the same contents: everything must be as it was (the content hashes are equal)",
            "DRIFTED     it_is_even  evenness *",
        ]
    )
    facts(project)
    assert gate(project).ret == 0


def test_changed_weights_fail_where_a_measure_passes_its_margin(project: pytest.Pytester) -> None:
    facts(project, hash="sha256:b", even=0.5)
    assert gate(project).ret == 1
    assert gate(project, "--claims-drift=0.5").ret == 0
    project.makeini("[pytest]\nclaims_drift = 0.5\n")
    assert gate(project).ret == 0
    project.makeini("")
    marked = CLAIMS.replace('about="eye"', 'about="eye", drift=0.3')
    project.makepyfile(test_claims=marked)
    assert gate(project).ret == 0
    project.makepyfile(test_claims=marked.replace("drift=0.3", "drift='much'"))
    assert "it_is_even: drift must be a share" in gate(project).stderr.str()
    project.makeini("[pytest]\nclaims_drift = much\n")
    assert gate(project).ret == 4


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_of_a_new_training_laws_gate_and_accidents_do_not(
    project: pytest.Pytester, workers: list[str]
) -> None:
    facts(project, hash="seed 3", even=0.0)
    result = gate(project, *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "toy (seed 3) against toy (a): 1 gone, 1 holds still",
            "trained anew: 1 of 2 laws gate, and by their rates fail *",
            "gone        it_is_even  holds → refuted: evenness *",
            "*; it holds in 50% of trainings",
        ]
    )
    facts(project, hash="seed 3", wrong=list(range(200)))
    result = gate(project, *workers)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["LAW BROKEN  it_knows_words  holds → refuted: accuracy *"])
    facts(project, hash="seed 3", even=0.0)
    assert gate(project, "--claims-gate=changed", *workers).ret == 1  # lost, if it were the same


# one cause, one line


def test_claims_stand_under_the_part_that_is_elsewhere(project: pytest.Pytester) -> None:
    facts(project, hash="sha256:b", even=0.0, eye="right")
    result = gate(project)
    result.stdout.fnmatch_lines(
        [
            "eye: was left, now right; 1 claim hangs on it",
            "  LOST        it_is_even  holds → refuted: evenness *",
            "              *not ≥ 0.5 (so it is said)",
        ]
    )


# acknowledgements

ACKNOWLEDGED = """
[[acknowledged]]
claim = "it_is_even"
verdict = "refuted"
reason = "the new eye is not trained yet"
who = "Ada"
until = {until}
"""


@pytest.fixture
def acknowledged(project: pytest.Pytester) -> pytest.Pytester:
    facts(project, hash="sha256:b", even=0.0)
    (project.path / "known.toml").write_text(ACKNOWLEDGED.format(until="9999-01-01"))
    return project


def test_a_lost_claim_that_is_acknowledged_passes(acknowledged: pytest.Pytester) -> None:
    assert gate(acknowledged).ret == 1
    for workers in ([], ["-n", "2"]):
        result = gate(acknowledged, "--claims-acknowledged=known.toml", *workers)
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            [
                "acknowledged it_is_even  holds → refuted: *",
                "            *(so it is said); acknowledged by Ada until 9999-01-01: *",
            ]
        )
    acknowledged.makeini("[pytest]\nclaims_acknowledged = known.toml\n")
    assert gate(acknowledged).ret == 0


def test_an_expired_acknowledgement_fails_and_says_so(acknowledged: pytest.Pytester) -> None:
    (acknowledged.path / "known.toml").write_text(ACKNOWLEDGED.format(until="2001-01-01"))
    result = gate(acknowledged, "--claims-acknowledged=known.toml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["LOST *", "*; acknowledged by Ada until 2001-01-01: *", "*; that day is over"]
    )


def test_an_acknowledgement_of_no_claim_is_refused(acknowledged: pytest.Pytester) -> None:
    text = ACKNOWLEDGED.format(until="9999-01-01").replace("it_is_even", "it_is_odd")
    (acknowledged.path / "known.toml").write_text(text)
    result = gate(acknowledged, "--claims-acknowledged=known.toml")
    assert result.ret == 4
    assert "there is no claim it_is_odd, in the run or baseline" in result.stderr.str()
    assert (
        "is for a run with --claims-baseline"
        in run(acknowledged, "--claims-acknowledged=known.toml").stderr.str()
    )
