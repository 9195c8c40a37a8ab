"""What a project brings: subjects, hooks that are absent or return too little, words, and what its
claims may use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.toy import CLAIMS, CONFTEST, NULL_CLAIM, facts, project, record, run

pytest_plugins = ["pytester"]
__all__ = ["project"]  # a fixture


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
