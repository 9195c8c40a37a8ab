"""A claim that cannot fail is refused by the suite itself, in words that teach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from circuits.interventions import run_edited
from tests.planted import planted_subject
from tests.records import subject_of, trial_of
from tests.toy import run as run_claims
from tests.verdicts.test_verdicts import claim as claim_of
from verdicts.expectations import Expect
from verdicts.judge import Claim, judge
from verdicts.matrices import controls
from verdicts.variants import changes

pytest_plugins = ["pytester"]

CONFTEST = """
import dataclasses
from pathlib import Path
pytest_plugins = ["verdicts.plugin"]

@dataclasses.dataclass(frozen=True)
class Subject:
    x: float = 11.0
    coordinates: float = 3.0
    part: int = 0
    device = "cpu"
    ledger_path = Path("ledger.json")
    def describe(self):
        return {"name": "toy", "content_hash": "sha256:a", "roles": {"part": 0}}

@dataclasses.dataclass(frozen=True)
class Control:
    name: str
    breaks_all: bool
    change: dict
    def apply(self, subject):
        if self.name == "no part":
            raise type("Absent", (LookupError,), {"verdict": "absent"})("there is no part to break")
        return dataclasses.replace(subject, **self.change)

class Variants:
    untrained = Control("untrained", True, {"x": 5.0})
    twisted = Control("twisted", False, {"x": 12.0})
    controls = (untrained, twisted, Control("no part", False, {}))
    gauges = ("rotation", "names")
    def for_controls(self, subject):
        return subject
    for_gauges = for_controls
    def under_gauge(self, subject, gauge):
        return dataclasses.replace(subject, coordinates=4.0) if gauge == "rotation" else subject
    def other_parts(self, subject, about):
        xs = {1: 0.0, 2: 11.0, 3: 0.0}
        return {str(part): dataclasses.replace(subject, part=part, x=x) for part, x in xs.items()}

def pytest_claims_subjects(config):
    return [Subject()]

def pytest_claims_variants():
    return Variants()
"""
HONEST = '''
import pytest

@pytest.mark.claim(source="1", evidence="exact", about="part", broken_by=set())
def test_x_is_large(subject, expect):
    """x is large."""
    because = "halfway between 11 trained and 9 untrained"
    expect("x", subject.x, at_least=10, because=because, from_controls=True)
'''


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    pytester.makeconftest(CONFTEST)
    return pytester


def run(pytester: pytest.Pytester, claim: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(test_claims=claim)
    return run_claims(
        pytester, "--claims-controls", "--claims-gauge", "--claims-json=out.json", *arguments
    )


def test_an_honest_claim_passes_with_its_matrices_in_table_and_record(
    project: pytest.Pytester,
) -> None:
    result = run(project, HONEST)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "a untrained   b twisted   c no part",
            "x_is_large   ×   =   -   1 of 3 (part)",
            "a rotation   b names",
            "x_is_large   ·   ·",
        ]
    )
    (claim,) = json.loads((project.path / "out.json").read_text())["subjects"][0]["claims"]
    assert claim["controls"]["untrained"] == {
        "verdict": "refuted",
        "reason": None,
        "values": {"x": 5.0},
        "missed": ["x"],
        "required": True,
    }
    assert claim["controls"]["no part"]["verdict"] == "absent"
    assert claim["specificity"] == {"role": "part", "passing": ["2"], "others": 3}
    assert claim["gauges"] == {"rotation": [], "names": []}


@pytest.mark.parametrize(
    ("mark", "body", "message"),
    [
        (
            "",
            'expect("x", subject.x, at_least=0, because="a bound that everything meets")',
            "also holds under the control 'untrained'",
        ),
        (
            ', broken_by={"twisted"}',
            'expect("x", subject.x, at_least=10, because="large")',
            "also holds under the control 'twisted'.*spared",
        ),
        (
            "",
            (
                'expect("x", subject.x, at_least=10, because="b"); expect("z", subject.x,'
                ' at_least=4, because="c", from_controls=True)'
            ),
            "the bound of z is said to lie between .* under 'untrained' it is 5.0",
        ),
        (
            "",
            'expect("c", subject.coordinates + subject.x, at_least=13, because="b")',
            "does not name the gauge 'rotation'.* change: c;",
        ),
        (
            ', gauge={"names"}, companion="x_is_large"',
            'expect("x", subject.x, at_least=10, because="b")',
            "names the gauge 'names', but nothing that it is judged by changes",
        ),
        (
            "",
            'expect("x", 1 / (subject.x - 5), at_least=0.1, because="b")',
            "breaks under the control 'untrained' instead of failing: ZeroDivisionError",
        ),
    ],
)
def test_a_careless_claim_is_refused(
    project: pytest.Pytester, mark: str, body: str, message: str
) -> None:
    text = (
        f'import pytest\n@pytest.mark.claim(source="1", evidence="exact"{mark})\ndef'
        f' test_y(subject, expect):\n    """y."""\n    {body}\n'
    )
    result = run(project, text)
    assert result.ret == 1
    result.stdout.re_match_lines([f".*{message}"])
    result.stdout.no_fnmatch_line("*raceback entries are hidden*")


GAUGED = '''
import pytest

class Absent(LookupError):
    verdict = "absent"

@pytest.mark.claim(source="1", evidence="exact", gauge={"rotation"}, companion="y")
def test_y(subject, expect):
    """y."""
    BODY
'''


def test_a_gauge_is_named_for_what_a_claim_is_judged_by_and_not_for_what_it_reports(
    project: pytest.Pytester,
) -> None:
    body = (
        'expect("x", subject.x, at_least=10, because="b"); expect("reported", subject.coordinates)'
    )
    result = run(project, GAUGED.replace("BODY", body))
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "y names the gauge 'rotation', but nothing that it is judged by changes under it; drop"
            " the label"
        ]
    )
    result = run(
        project, GAUGED.replace(', gauge={"rotation"}, companion="y"', "").replace("BODY", body)
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["y   ~   ·", "*~  only numbers without a bound change*"])


def test_no_gauge_is_blamed_where_the_part_of_a_claim_is_absent(project: pytest.Pytester) -> None:
    result = run(project, GAUGED.replace("BODY", 'raise Absent("no such part")'), "--claims-accept")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["y   ·   ·   y"])


def test_a_reason_spares_a_claim_a_control(project: pytest.Pytester) -> None:
    spared = HONEST.replace(
        "broken_by=set()", 'spared={"untrained": "it is about the task alone"}'
    ).replace("at_least=10", "at_least=4")
    assert run(project, spared).ret == 0


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (
            'broken_by={"sunspots"}',
            "x_is_large: there is no control 'sunspots'; there are no part, twisted, untrained",
        ),
        (
            'gauge={"time reversal"}, companion="x"',
            "x_is_large: there is no gauge 'time reversal'; there are rotation, names",
        ),
        ('gauge={"names"}', "a claim that depends on a gauge names its companion"),
        ('spared={"untrained": ""}', "spared must map a control to the reason"),
        ('broken_by="untrained"', "broken_by must be a set of names"),
    ],
)
def test_labels_that_mean_nothing_are_refused_before_anything_runs(
    project: pytest.Pytester, mark: str, message: str
) -> None:
    result = run(project, HONEST.replace("broken_by=set()", mark))
    assert result.ret == 4
    assert message in result.stderr.str() + result.stdout.str()


def test_a_claim_that_fails_by_itself_is_not_asked_under_controls(project: pytest.Pytester) -> None:
    failing = HONEST.replace("at_least=10", "at_least=11.5").replace(", from_controls=True", "")
    result = run(project, failing, "--claims-accept", "--claims-page=out.html")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "x_is_large   /   /   /   0 of 3 (part)",
            "/  not asked, for it fails on the subject itself",
        ]
    )
    page = (project.path / "out.html").read_text()
    assert "<td>✗ refuted</td><td>not asked</td>" in page
    still = failing.replace("at_least=11.5", "at_least=4, at_most=5")
    result = run(project, still, "--claims-accept")
    result.stdout.fnmatch_lines(["x_is_large   !   /   /   0 of 3 (part)"])
    assert result.ret == 1


def test_a_claim_that_breaks_off_under_a_control_is_marked_as_wrong() -> None:
    trials = {"fresh": trial_of("error"), "dealt": trial_of("refuted")}
    broken = controls(subject_of({"id": "c", "measurements": {}, "controls": trials}))
    assert broken is not None
    assert [(row.marks, row.wrong) for row in broken.rows] == [(("!", "o"), True)]


def test_a_summary_in_markdown_has_the_matrices_folded(project: pytest.Pytester) -> None:
    gauged = GAUGED.replace("BODY", 'expect("c", subject.coordinates, at_most=3, because="b")')
    run(project, HONEST + gauged, "--claims-markdown=out.md")
    text = (project.path / "out.md").read_text()
    assert text.count("<details>") == text.count("</details>")
    assert "Controls: 1 broken as it must be, 1 <b>not broken, and must be</b></summary>" in text
    assert "| claim | untrained | twisted | no part | other parts in its place that pass |" in text
    assert "| `x_is_large` | × | = | - | 1 of 3 (part) |" in text
    assert "<summary>Gauges: 1 depends on none, 1 changes as it says</summary>" in text
    assert "| claim | rotation | companion |" in text


def test_a_summary_in_markdown_shows_what_was_not_asked_and_folds_nothing_away(
    project: pytest.Pytester,
) -> None:
    failing = HONEST.replace('about="part", ', "").replace("at_least=10", "at_least=11.5")
    failing = failing.replace(", from_controls=True", "")
    result = run(project, failing, "--claims-accept", "--claims-markdown=out.md")
    text = (project.path / "out.md").read_text()
    assert "<summary>Controls: 1 not asked</summary>" in text
    assert "| claim | untrained | twisted | no part |\n|---|:-:|:-:|:-:|\n" in text
    assert "| `x_is_large` | / | / | / |\n" in text
    assert "\nGauges: 1 depends on none\n" in text
    assert "<summary>Gauges" not in text
    for absent in ("other parts in its place", "companion"):
        assert absent not in result.stdout.str()


def test_a_subject_that_is_no_network_is_not_spoken_of_as_one(project: pytest.Pytester) -> None:
    outputs = ["--claims-page=out.html", "--claims-markdown=out.md"]
    result = run(project, HONEST, *outputs)
    for arguments in ([], ["--claims-gate=changed"]):
        again = run(project, HONEST, "--claims-baseline=out.json", *arguments, *outputs)
        said = [one.stdout.str() for one in (result, again)]
        said += [(project.path / name).read_text() for name in ("out.html", "out.md")]
        assert not any("weights" in text for text in said)
        assert "what changes with the contents although the function does not" in said[0]


def test_a_for_all_over_nothing_is_refused() -> None:
    def body(expect: Expect) -> None:
        expect("smallest", min([1.0], default=1.0), at_least=0, because="true of none")

    verdict = judge(claim_of(body, evidence="searched"), None)
    assert verdict.verdict == "error"
    assert verdict.reason is not None
    assert "call expect.enough" in verdict.reason


def test_a_hook_that_never_fires_is_an_error_and_not_a_number() -> None:
    @pytest.mark.claim(source="1", evidence="causal")
    def test_careless(subject: Any, expect: Expect) -> None:
        """The last MLP matters to the first layer."""
        edits = {"blocks.1.hook_mlp_out": lambda value: 0 * value}
        after = run_edited(subject.model, subject.graphs.adjacency, edits, stop_at_layer=1)
        expect(
            "change",
            (after - subject.model(subject.graphs.adjacency, stop_at_layer=1)).abs().max(),
            at_most=0,
            because="b",
        )

    verdict = judge(Claim.from_function(test_careless), planted_subject())
    assert verdict.verdict == "error"
    assert verdict.reason is not None
    assert "blocks.1.hook_mlp_out fired 0 times" in verdict.reason


def test_what_counts_as_a_change() -> None:
    def verdict(**values: Any) -> Any:
        def body(expect: Expect) -> None:
            for name, value in values.items():
                expect(name, value)
            expect("gate", 1.0, at_least=0, because="b")

        return judge(claim_of(body), None)

    base = verdict(a=1.0, b={"0.0": 1.0, "0.1": 2.0}, c=[3.0, 4.0])
    assert (
        list(changes(base, verdict(a=1.000001, b={"0.0": 2.0, "0.1": 1.0}, c=[4.0, 3.0]))) == []
    )  # rounding and renaming
    assert list(changes(base, verdict(a=1.001, b={"0.0": 1.0, "0.1": 2.1}, c=[3.0, 4.0]))) == [
        "a",
        "b",
    ]
    assert list(changes(base, verdict(a=1.0, b={"0.0": 1.0}, c=[3.0, 4.0], d=1.0))) == ["b", "d"]
    assert list(changes(verdict(a=0.0), verdict(a=1e-12))) == []
