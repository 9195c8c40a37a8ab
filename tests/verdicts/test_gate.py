"""The gate: a run against a baseline, its exit codes, its summary in Markdown and its JUnit
file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from msgspec.structs import replace

from circuits.roles import Head, read_roles, write_roles
from models.checkpoint import load_checkpoint, save_checkpoint
from tests.records import subject_of, trial_of
from tests.toy import CLAIMS, facts, project, record, run
from verdicts.cases import Seen
from verdicts.compare import baseline_for, compare
from verdicts.gates import Gate
from verdicts.markdown import MAX_BYTES, markdown
from verdicts.page import render_page
from verdicts.paired import changes
from verdicts.record import RecordError, make_record
from verdicts.schema import SubjectResult
from verdicts.sentences import changed, comparison_complaints, comparison_summary, headline

pytest_plugins = ["pytester"]
__all__ = ["project"]  # a fixture
ROOT = Path(__file__).parent.parent.parent
LEDGER = ROOT / "checkpoints" / "default" / "verdicts.json"

# comparing


def measurement(
    value: Any, low: float | None = None, high: float | None = None, **changes: Any
) -> dict[str, Any]:
    plain = {
        "at_least": 0.5,
        "at_most": None,
        "because": "b",
        "from_controls": False,
        "note": None,
        "outcome": "holds",
    }
    return {"value": value, "low": low, "high": high, **plain, **changes}


def claim(
    verdict: str = "holds", *, evidence: str = "estimated", **measurements: dict[str, Any]
) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "evidence": evidence,
        "measurements": measurements,
        "statement": "It is so.",
        "source": "1",
        "gauge": [],
        "companion": None,
        "reason": None,
        "counts": {},
        "nulls": {},
        "p": None,
        "p_corrected": None,
        "counterexample": None,
        "duration_s": 0.0,
    }


def subject(
    weights: str = "sha256:a", graphs: str = "sha256:v", /, **claims: dict[str, Any]
) -> SubjectResult:
    listed = [{"id": name, **one} for name, one in claims.items()]
    return subject_of(*listed, content_hash=weights, validation_set=graphs)


def status(
    before: dict[str, Any] | None,
    now: dict[str, Any] | None,
    *,
    weights: str = "sha256:a",
    whole: bool = True,
) -> str | None:
    old = subject(**({} if before is None else {"c": before}))
    new = subject(weights, **({} if now is None else {"c": now}))
    found = compare(old, new, whole=whole).claims.get("c")
    return found and found.status


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("holds", "holds", "holds still"),
        ("holds", "refuted", "lost"),
        ("holds", "absent", "lost"),
        ("holds", "unresolved", "lost"),
        ("refuted", "holds", "gained"),
        ("absent", "refuted", "fails still"),
        (None, "holds", "new"),
        ("holds", None, "vanished"),
        ("refuted", None, "vanished"),
    ],
)
def test_what_became_of_a_claim(before: str | None, now: str | None, expected: str) -> None:
    assert status(before and claim(before), now and claim(now)) == expected


def test_a_part_of_a_run_does_not_miss_what_it_did_not_judge() -> None:
    assert status(claim(), None, whole=False) is None


@pytest.mark.parametrize(
    ("old", "new", "same", "other"),
    [
        (
            (0.9, 0.85, 0.95),
            (0.7, 0.66, 0.74),
            "drifted",
            "drifted",
        ),  # apart, and half of the way to the bound of 0.5
        (
            (0.9, 0.85, 0.95),
            (0.81, 0.78, 0.84),
            "drifted",
            "moved",
        ),  # apart, and less than a quarter of the way
        (
            (0.9, 0.85, 0.95),
            (0.99, 0.96, 1.0),
            "drifted",
            "moved",
        ),  # apart, but further inside
        (
            (0.9, 0.85, 0.95),
            (0.8, 0.75, 0.86),
            "holds still",
            "holds still",
        ),  # the intervals overlap
        (
            (0.9, None, None),
            (0.6, None, None),
            "holds still",
            "holds still",
        ),  # without intervals nobody can say
    ],
)
def test_drift_is_a_move_by_more_than_the_interval(
    old: Any, new: Any, same: str, other: str
) -> None:
    before, now = claim(x=measurement(*old)), claim(x=measurement(*new))
    assert (status(before, now), status(before, now, weights="sha256:b")) == (same, other)


def test_exact_measurements_of_the_same_weights_agree_to_a_ten_thousandth() -> None:
    """With other weights a hundredth of the way to the bound, 0.5, is no change, and more than a
    quarter of it too much."""
    before = claim(evidence="exact", x=measurement(2.0))
    for value, same, other in (
        (2.0001, "holds still", "holds still"),
        (2.001, "drifted", "holds still"),
        (1.9, "drifted", "moved"),
        (1.6, "drifted", "drifted"),
    ):
        now = claim(evidence="exact", x=measurement(value))
        found = (status(before, now), status(before, now, weights="sha256:b"))
        assert found == (same, other)


def test_what_is_only_reported_does_not_drift() -> None:
    before, now = (
        claim(x=measurement(value, value, value, at_least=None, outcome=None))
        for value in (1.0, 2.0)
    )
    assert status(before, now) == "holds still"


def test_a_comparison_says_what_is_wrong() -> None:
    before = subject(lost=claim(), gone=claim(), kept=claim(x=measurement(0.9, 0.85, 0.95)))
    now = subject(lost=claim("refuted"), kept=claim(x=measurement(0.7, 0.65, 0.75)))
    comparison = compare(before, now, whole=True)
    assert comparison_summary(comparison) == "1 lost, 1 vanished, 1 drifted"
    assert list(comparison_complaints(comparison)) == [
        "the gate fails against toy: 1 lost, 1 vanished, 1 drifted"
    ]
    assert [told for _, claims in changed(comparison) for told in claims] == [
        ("lost", "lost", ("holds → refuted",)),
        ("vanished", "gone", ()),
        (
            "drifted",
            "kept",
            ("x 0.9 [0.85, 0.95] → 0.7 [0.65, 0.75], 50% of the way to its bound, ≥ 0.5",),
        ),
    ]


def test_a_lost_claim_says_old_and_new_value_bound_and_reason() -> None:
    before = subject(a=claim(x=measurement(0.9, 0.85, 0.95)), b=claim())
    gone = claim("absent") | {"reason": "no reader"}
    now = subject(a=claim("refuted", x=measurement(0.3, 0.2, 0.4, outcome="refuted")), b=gone)
    claims = compare(before, now, whole=True).claims
    assert claims["a"].moved == (
        "holds → refuted: x 0.9 [0.85, 0.95] → 0.3 [0.2, 0.4], not ≥ 0.5 (b)",
    )
    assert claims["b"].moved == ("holds → absent: no reader",)


def test_a_part_that_is_gone_is_said_first_with_the_claims_that_hang_on_it() -> None:
    before = replace(
        subject(a=claim(), b=claim(), c=claim()), roles={"eyes": [3, 6], "reader": "0.2"}
    )
    now = subject(
        "sha256:b",
        a=claim("absent") | {"parts": ["reader"], "reason": "0.1 and 0.2 share the reader"},
        b=claim("refuted"),
        c=claim("refuted") | {"parts": ["eyes", "reader"]},
    )
    now = replace(now, roles={"eyes": [3, 7], "reader": None})
    groups = changed(compare(before, now, whole=True))
    assert [(part, [name for _, name, _ in claims]) for part, claims in groups] == [
        ("reader: was 0.2, gone: 0.1 and 0.2 share the reader; 2 claims hang on it", ["a", "c"]),
        ("eyes: was 3, 6, now 3, 7", []),
        (None, ["b"]),
    ]
    (_, told), *_ = groups  # the cause was said with the part
    assert [said for _, _, said in told] == [("holds → absent",), ("holds → refuted",)]


def test_a_loss_that_a_control_reproduces_is_said_to_look_like_it() -> None:
    def tried(**broken: bool) -> dict[str, Any]:
        trials = {
            name: msgspec.to_builtins(trial_of("refuted" if is_so else "holds"))
            for name, is_so in broken.items()
        }
        return claim() | {"controls": trials}

    before = subject(
        a=tried(fresh=True, negated=True),
        b=tried(fresh=True, negated=True),
        c=tried(fresh=True, negated=True),
        d=tried(fresh=True, negated=False),
        e=tried(fresh=True, negated=False),
        f=claim("refuted"),
    )
    verdicts = {name: claim("refuted") for name in "abc"}
    now = subject("sha256:b", **verdicts, d=claim(), e=claim(), f=claim("refuted"))
    found = compare(before, now, whole=True)
    assert found.looks_like == (
        "looks like the control “negated”: it breaks 3 of the 3 claims that are lost, and 0 others"
    )
    assert found.looks_like in headline(found)
    kept = subject("sha256:b", **verdicts | {"c": claim()}, d=claim(), e=claim())
    assert compare(before, kept, whole=True).looks_like == ""  # two are a pattern of many things


def seen(kind: str, *columns: Any) -> Seen:
    return Seen(kind, tuple(np.array(column) for column in columns))


def test_with_cases_at_hand_the_comparison_is_in_pairs() -> None:
    """Intervals that overlap by far, and a change that nearly every case shows."""
    chance = np.random.default_rng(0)
    values = chance.normal(0.9, 0.2, 500).astype("float32")
    worse = values - 0.03 + chance.normal(0, 0.01, 500).astype("float32")
    before, now = (
        subject(weights, c=claim(x=measurement(at := float(one.mean()), at - 0.02, at + 0.02)))
        for weights, one in (("sha256:a", values), ("sha256:b", worse))
    )
    pairs = {("c", "x"): (seen("mean", values), seen("mean", worse))}
    gate = Gate("changed", "so it is said", changes=changes(pairs), pairs="500 cases in pairs")
    alone, paired = compare(before, now, whole=True), compare(before, now, whole=True, gate=gate)
    assert (alone.claims["c"].status, paired.claims["c"].status) == ("holds still", "moved")
    assert "in pairs, p = 0.0001" in paired.claims["c"].moved[0]
    assert paired.smallest["c"]["x"] < 0.1 * alone.smallest["c"]["x"]
    assert headline(paired) == [f"{gate.rule} (so it is said)", "500 cases in pairs"]


def test_answers_that_changed_are_counted_and_named() -> None:
    right, worse = np.ones(40, dtype=bool), np.ones(40, dtype=bool)
    right[3], worse[[1, 5]] = False, False
    found = claim(x=measurement(0.95, 0.9, 0.99, answers="40:"))
    gate = Gate(
        "changed",
        "",
        changes=changes({("c", "x"): (seen("share", right), seen("share", worse))}),
        cases="graphs",
    )
    old, new = subject(c=found), subject("sha256:b", c=found)
    (answers,) = compare(old, new, whole=True, gate=gate).answers
    assert (answers.newly_wrong, answers.newly_right) == ((1, 5), (3,))
    assert answers.said == "x: 2 of 40 graphs newly wrong, 1 newly right (p = 1)"


def test_comparing_nothing_is_a_complaint() -> None:
    complaints = list(
        comparison_complaints(compare(subject(a=claim()), subject(b=claim()), whole=True))
    )
    assert complaints[0] == "no claim of this run is in the baseline, toy: nothing was compared"


def test_a_baseline_of_several_checkpoints_is_that_of_the_same_weights() -> None:
    several = make_record([subject("sha256:a"), subject("sha256:b")], seed=0, device="cpu")
    found = baseline_for(several, subject("sha256:b"), source=Path("old.json"))
    assert found.content_hash == "sha256:b"
    with pytest.raises(
        RecordError, match=r"old.json: is of toy, toy, and none has the content hash of toy"
    ):
        baseline_for(several, subject("sha256:c"), source=Path("old.json"))


# the run


@pytest.fixture
def baseline(project: pytest.Pytester) -> str:
    """A record in which x is large and y is not small."""
    facts(project, y=5)
    record(project)
    (project.path / "out.json").rename(project.path / "old.json")
    return "--claims-baseline=old.json"


def test_what_fails_still_passes_and_what_is_gained_does_too(
    project: pytest.Pytester, baseline: str
) -> None:
    result = run(project, baseline)
    assert result.ret == 0
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "baseline: toy a, 1 refuted, 1 holds",
            "*refuted in the baseline*",
            "toy (a) against toy (a): 1 fails still, 1 holds still",
        ]
    )
    facts(project, hash="sha256:b")
    result = run(project, baseline)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["toy (b) against toy (a): 1 gained, 1 holds still", "gained      y_is_small"]
    )


def test_a_lost_claim_exits_with_one_and_is_named(project: pytest.Pytester, baseline: str) -> None:
    facts(project, x=9, y=5, hash="sha256:b")
    for arguments in ([], ["-n", "2"]):
        result = run(project, baseline, *arguments)
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            [
                "lost since the baseline: what it misses stands under “claims”",
                "toy (b) against toy (a): 1 lost, 1 fails still",
                "LOST        x_is_large  holds → refuted: x 11 → 9, not ≥ 10 (so it is said)",
                "the gate fails against toy: 1 lost",
            ]
        )
        assert result.stdout.str().count("(so it is said)") == 1


def test_a_drift_of_the_same_weights_exits_with_one(
    project: pytest.Pytester, baseline: str
) -> None:
    facts(project, x=11.1, y=5)
    result = run(project, baseline)
    assert result.ret == 1
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines(["DRIFTED     x_is_large  x 11 → 11.1"])


def test_a_claim_that_is_gone_exits_with_one_unless_it_was_not_asked_for(
    project: pytest.Pytester, baseline: str
) -> None:
    assert run(project, baseline, "-k", "x_is_large").ret == 0
    project.makepyfile(test_claims=CLAIMS.partition('@pytest.mark.claim(source="2"')[0])
    result = run(project, baseline)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["VANISHED    y_is_small"])


def test_comparing_nothing_exits_with_one(project: pytest.Pytester, baseline: str) -> None:
    project.makepyfile(test_claims="def test_plain():\n    assert True\n")
    result = run(project, baseline)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["--claims-baseline: no claim was judged, so nothing was compared"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "--claims-baseline=old.json: schema_version must be 1, got 2"),
        ({"subjects": []}, "--claims-baseline=old.json: at $.subjects"),
        (None, "--claims-baseline=old.json: not a readable JSON file"),
    ],
)
def test_a_baseline_that_cannot_be_read_exits_with_four(
    project: pytest.Pytester, baseline: str, changes: dict[str, Any] | None, message: str
) -> None:
    path = project.path / "old.json"
    path.write_text("{" if changes is None else json.dumps(json.loads(path.read_text()) | changes))
    result = run(project, baseline)
    assert result.ret == 4
    assert message in result.stderr.str()


def test_other_graphs_and_accepting_at_once_exit_with_four(
    project: pytest.Pytester, baseline: str
) -> None:
    assert "drop --claims-baseline" in run(project, baseline, "--claims-accept").stderr.str()
    facts(project, set="sha256:w")
    result = run(project, baseline)
    assert result.ret == 4
    assert "was judged on the data sha256:v, but toy on sha256:w" in result.stderr.str()


def test_what_is_refused_is_refused_under_xdist_too(
    project: pytest.Pytester, baseline: str
) -> None:
    facts(project, set="sha256:w")
    result = run(project, baseline, "-n", "2")
    assert result.ret == 4
    result.stdout.fnmatch_lines(
        ["ERROR: old.json: was judged on the data sha256:v, but toy on sha256:w*"]
    )
    facts(project, x=None)
    result = run(project, "-n", "2")
    assert result.ret == 4
    result.stdout.fnmatch_lines(["ERROR: toy.json: x must be a number, got None"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_the_record_of_a_comparison_is_itself_a_baseline(
    project: pytest.Pytester, baseline: str
) -> None:
    found = record(project, baseline)
    assert found["subjects"][0]["comparison"]["claims"]["y_is_small"] == {
        "status": "fails still",
        "moved": [],
    }
    assert run(project, "--claims-baseline=out.json").ret == 0


# reports


def test_markdown_is_worst_first_and_escapes_what_comes_from_outside() -> None:
    ugly = subject(
        fine=claim(x=measurement(0.9, 0.85, 0.95)),
        bad=claim("refuted", y=measurement(0.1, outcome="refuted")),
    )
    compared = compare(subject(bad=claim(), fine=claim()), ugly, whole=True)
    ugly = replace(ugly, name="a|b <script>`", comparison=compared)
    text = markdown(make_record([ugly], seed=0, device="cpu"), ["bad: lost"])
    assert "<script>" not in text
    assert text.index("**lost**: `bad`") < text.index("❌ refuted") < text.index("✅ holds")
    assert "| x 0.9 &#91;0.85, 0.95&#93; ≥ 0.5 |" in text
    assert "| y 0.1, not ≥ 0.5 |" in text
    assert all(line.count("|") == 4 for line in text.splitlines() if line.startswith("|"))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("refuted", '<p class="refuted">the gate fails against toy: 1 lost</p>'),
        ("holds", "<p>the gate passes against toy: 1 holds still</p>"),
    ],
)
def test_a_page_says_at_its_top_whether_the_gate_fails(verdict: str, said: str) -> None:
    then, now = subject(c=claim()), subject("sha256:b", c=claim(verdict, x=measurement(0.9)))
    now = replace(now, comparison=compare(then, now, whole=True))
    page = render_page(make_record([now], seed=0, device="cpu"))
    header = page[page.index("<header>") : page.index("</header>")]
    assert said in header
    assert '<a href="#gate">The gate</a>' in header
    assert '<section id="gate" aria-label="The gate">\n<h2>toy (b) against toy (a)</h2>' in page


def test_two_subjects_of_one_name_are_told_apart_in_the_heading_of_the_gate() -> None:
    then, now = subject(c=claim()), subject("sha256:b", c=claim())
    compared = compare(then, now, whole=True)
    for name, heading in (("toy", "Against **toy (a)**: "), ("other", "Against **toy**: ")):
        one = replace(now, name=name, comparison=compared)
        assert heading in markdown(make_record([one], seed=0, device="cpu"))


def test_markdown_stays_below_900_kilobytes_and_says_what_is_left_out() -> None:
    many = subject(
        **{f"claim_{index}": claim(x=measurement(0.9, note="n" * 100)) for index in range(16_000)}
    )
    text = markdown(make_record([many], seed=0, device="cpu"))
    assert 0.9 * MAX_BYTES < len(text.encode()) < MAX_BYTES
    assert text.rstrip().endswith("more lines are left out; the record has them.*")


def test_reports_are_written_even_where_claims_fail(project: pytest.Pytester) -> None:
    facts(project, x=9)
    assert run(project, "--claims-markdown=claims.md", "--junitxml=junit.xml").ret == 1
    assert (project.path / "claims.md").read_text().startswith("## toy: 1 refuted, 1 holds\n")
    cases = {
        case.attrib["name"]: case
        for case in ET.parse(project.path / "junit.xml").getroot().iter("testcase")
    }
    properties = {
        p.attrib["name"]: p.attrib["value"] for p in cases["test_x_is_large"].iter("property")
    }
    assert properties == {
        "verdict": "refuted",
        "evidence": "exact",
        "above_chance": "not asked",
        "measured x": "9",
    }


def test_several_checkpoints_get_a_column_each(project: pytest.Pytester) -> None:
    facts(project, "other.json", hash="sha256:b", x=9)
    result = run(project, "--checkpoint=toy.json", "--checkpoint=other.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "a  toy: 2 hold",
            "b  toy: 1 refuted, 1 holds",
            "claim        a   b",
            "x_is_large   ✓   ✗",
            "y_is_small   ✓   ✓",
        ]
    )


# a damaged checkpoint, from outside


def damage(model: Any, reader: Head) -> None:
    model.attention(reader.layer).W_Q[reader.index].neg_()


def shift(model: Any, reader: Head) -> None:
    """b_Q moved along v by half a neighbour."""
    attention = model.attention(reader.layer)
    direction = (model.W_E @ attention.W_Q[reader.index]).mean(0)
    attention.b_Q[reader.index] += 0.5 * direction


@pytest.mark.parametrize(
    ("break_it", "lost", "kept"),
    [
        (
            damage,
            "anchor_scores_change_sign_above_degree_two",
            "every_neighbour_adds_the_same_query_vector",
        ),
        pytest.param(
            shift,
            "anchor_scores_change_sign_above_degree_two",
            "position_subtracts_two_neighbours",
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_gate_blocks_a_damaged_checkpoint(
    tmp_path: Path, break_it: Any, lost: str, kept: str
) -> None:
    whole = load_checkpoint(ROOT / "checkpoints" / "default")
    roles = read_roles(
        ROOT / "checkpoints" / "default" / "roles.json",
        cfg=whole.model.cfg,
        content_hash=whole.content_hash,
    )
    with torch.no_grad():
        break_it(whole.model, roles.reader)
    hash_now = save_checkpoint(tmp_path / "damaged", whole.model, recipe=whole.recipe)
    write_roles(tmp_path / "damaged" / "roles.json", roles, content_hash=hash_now)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "claims/test_degree_direction.py",
            f"--checkpoint={tmp_path / 'damaged'}",
            f"--claims-baseline={LEDGER}",
            f"--claims-markdown={tmp_path / 'claims.md'}",
            "-p",
            "no:cacheprovider",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout[-2000:] + result.stderr[-2000:]
    assert f"LOST        {lost}" in result.stdout
    assert "the gate fails against default: " in result.stdout
    assert "damaged against default: " in result.stdout
    assert f"**lost**: `{lost}`" in (tmp_path / "claims.md").read_text()
    assert f"LOST        {kept}" not in result.stdout


@pytest.mark.long
def test_the_gate_lets_the_same_checkpoint_pass(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "checkpoints" / "default",
        tmp_path / "copy",
        ignore=shutil.ignore_patterns("verdicts.json"),
    )
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "claims/test_degree_direction.py",
            f"--checkpoint={tmp_path / 'copy'}",
            f"--claims-baseline={LEDGER}",
            "-p",
            "no:cacheprovider",
            "-q",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert "copy against default: " in result.stdout
    assert "hold still" in result.stdout
