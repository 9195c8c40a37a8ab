"""Predictions: what they ask of a record, when they are decided, and that none is changed
afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from studies.registration import (
    Condition,
    Prediction,
    RegistrationError,
    outcome,
    rate_interval,
    read_registration,
    registered_commit,
)
from tests.processes import ROOT
from tests.records import subject_of
from verdicts.record import read_record
from verdicts.schema import SubjectResult

REGISTERED = ROOT / "studies" / "registered.toml"
HOLDS = Condition(claim="it_learns", verdict="holds")
POINTER = Condition(role="pointer", found=True)
LAW = Prediction("law", "8 of 8", where=(HOLDS,), rate=(0.8, 1.0))
PLAN = "[plan]\nrecipe = 'recipe.toml'\nfirst_seed = 8\nlast_seed = 39\nclaims_seed = 0\n"


def seed(
    verdict: str = "holds", *, pointer: str | None = "1.3", value: float | None = 1.0
) -> SubjectResult:
    measured = {} if value is None else {"accuracy": {"value": value}}
    return subject_of(
        {"id": "it_learns", "verdict": verdict, "measurements": measured},
        name="seed",
        roles={"pointer": pointer},
        about={"role_scores": {"pointer": {"score": 0.9, "runner_up_score": None}}},
    )


def test_the_interval_of_a_rate_is_the_exact_one() -> None:
    assert rate_interval(8, 8) == pytest.approx((0.025 ** (1 / 8), 1.0))
    assert rate_interval(0, 32) == pytest.approx((0.0, 1 - 0.025 ** (1 / 32)))
    assert rate_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("holding", "refuted", "left", "expected"),
    [
        (32, 0, 0, "confirmed"),
        (31, 1, 0, "confirmed"),
        (30, 2, 0, "open"),  # [0.79, 0.99]
        (19, 13, 0, "failed"),  # [0.41, 0.76]
        (31, 0, 1, "confirmed"),  # one that is refuted would not change it
        (30, 0, 2, "open"),
        (0, 14, 18, "failed"),
        (0, 11, 21, "open"),
        (0, 0, 32, "open"),
    ],
)
def test_a_rate_is_decided_when_no_seed_that_is_left_can_change_it(
    holding: int, refuted: int, left: int, expected: str
) -> None:
    judged = [seed()] * holding + [seed("refuted")] * refuted
    found = outcome(LAW, judged, left=left)
    assert (found.outcome, found.count, found.of) == (expected, holding, holding + refuted)


def test_what_is_not_among_those_it_is_about_does_not_count() -> None:
    law = Prediction("law", "", among=(POINTER,), where=(HOLDS,), rate=(0.8, 1.0))
    found = outcome(law, [seed()] * 3 + [seed("absent", pointer=None)] * 5, left=0)
    assert (found.count, found.of) == (3, 3)


def test_agreement_is_of_all_or_of_none() -> None:
    high = Condition(claim="it_learns", measure="accuracy", at_least=0.5)
    both = Prediction("both", "", "they agree", agree=(HOLDS, high), rate=(0.8, 1.0))
    assert both.met(seed())
    assert both.met(seed("refuted", value=0.1))
    assert not both.met(seed("refuted"))
    assert not both.met(seed(value=None))  # a number that is not there meets no bound


def test_a_condition_reads_scores_and_numbers() -> None:
    assert Condition(role="pointer", score="score", at_least=0.9).met(seed())
    assert not Condition(role="pointer", score="score", at_least=0.91).met(seed())
    assert not Condition(role="pointer", score="runner_up_score", at_most=1.0).met(seed())
    with pytest.raises(RegistrationError, match="its record has no role target"):
        Condition(role="target", score="score", at_least=0.5).met(seed())
    assert not Condition(claim="it_learns", measure="loss", at_most=9.0).met(seed())
    with pytest.raises(RegistrationError, match="its record has no claim it_forgets"):
        Condition(claim="it_forgets", verdict="holds").met(seed())


@pytest.mark.parametrize(
    ("with_pointer", "without", "left", "expected"),
    [
        ([0.99, 0.991, 0.992], [0.9905, 0.991, 0.9915], 0, "confirmed"),
        ([0.99, 0.991, 0.992], [0.9905, 0.991, 0.9915], 1, "open"),
        ([0.99, 0.991, 0.992], [0.9905, 0.991], 0, "open"),  # too few
        ([0.99, 0.991, 0.992], [], 0, "open"),
        ([1.0, 1.0, 1.0], [0.9905, 0.991, 0.9915], 0, "open"),  # all alike say nothing of a spread
        ([0.99, 0.991, 0.992], [0.5, 0.501, 0.502], 0, "failed"),
    ],
)
def test_a_difference_between_two_groups(
    with_pointer: list[float], without: list[float], left: int, expected: str
) -> None:
    equal = Prediction(
        "equal",
        "",
        difference=Condition(claim="it_learns", measure="accuracy"),
        between=POINTER,
        within=(-0.01, 0.01),
    )
    seeds = [seed(value=value) for value in with_pointer] + [
        seed(value=value, pointer=None) for value in without
    ]
    assert outcome(equal, seeds, left=left).outcome == expected


ENTRY = "[[prediction]]\nid = 'x'\nbasis = ''\n"
WHERE = "where = [{claim = 'c', verdict = 'holds'}]\n"
RATE = "rate = [0.8, 1.0]\n"
X = PLAN + ENTRY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no entry 'plan'"),
        (PLAN, "has no entry 'prediction'"),
        (X + "rate = [0.8, 1.0]", "prediction 'x': a prediction has a rate of where="),
        (
            X + "where = [{claim = 'c'}]\nrate = [0.8, 1.0]",
            "'x': a condition names a claim",
        ),
        (X + WHERE + "rate = [1.0, 0.8]", "rate must be a range"),
        (X + "weight = 1", "'x': .*weight"),
        (
            X + WHERE.replace("holds", "hold") + RATE,
            "verdict must be one of.*'hold'",
        ),
        (
            X + WHERE.replace("'holds'", "'holds', at_least = 1") + RATE,
            "are for a measure",
        ),
        (
            X + "where = [{claim = 'c', measure = 'm'}]\nsays = 's'\n" + RATE,
            "needs at_least",
        ),
        (
            X + "where = [{role = 'r', score = 'name', at_least = 1}]\n" + RATE,
            "score must be",
        ),
        (X + "where = [{role = 'r', found = true}]\n" + RATE, "say in says="),
        (X + WHERE + RATE + "within = [0, 1]\n", "or a difference= between="),
        (PLAN.replace("39", "7") + ENTRY + WHERE + RATE, "predicts nothing: 0 seeds"),
        (
            PLAN.replace("claims_seed = 0", "claims_seed = 'x'") + ENTRY + WHERE + RATE,
            r"\[plan\]: ",
        ),
        ("prediction = []\n" + PLAN, "predicts nothing: 32 seeds, 0 predictions"),
        (PLAN + (ENTRY + WHERE + "rate = [0.8, 1.0]\n") * 2, "two predictions x"),
        ("plan = ", "not a readable TOML file"),
    ],
)
def test_a_bad_registration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "registered.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RegistrationError, match=message) as caught:
        read_registration(path)
    assert str(path) in str(caught.value)


def test_a_registration_counts_once_it_is_committed_and_as_it_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "registered.toml"
    path.write_bytes(REGISTERED.read_bytes())
    with pytest.raises(RegistrationError, match="commit the predictions before"):
        registered_commit(read_registration(path))

    def git(*arguments: str) -> str:
        names = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    git("add", ".")
    with pytest.raises(RegistrationError, match="commit the predictions before"):
        registered_commit(read_registration(path))
    git("commit", "--quiet", "--message=first")
    assert registered_commit(read_registration(path)) == git("rev-parse", "HEAD").strip()
    path.write_text(path.read_text() + "\n# a word more\n", encoding="utf-8")
    with pytest.raises(RegistrationError, match="is not as it was committed"):
        registered_commit(read_registration(path))


def test_what_is_registered_is_measured() -> None:
    """Every prediction can be met and missed by records as they are."""
    ledger = read_record(ROOT / "checkpoints" / "default" / "verdicts.json").subjects[0]
    measured = {claim.id: claim.measurements for claim in ledger.claims}
    for prediction in read_registration(REGISTERED).predictions:
        for condition in (*prediction.among, *prediction.where, *prediction.agree):
            if condition.role is not None:
                assert condition.role in ledger.roles, prediction.id
                assert condition.score in (None, "score", "runner_up_score"), prediction.id
            elif condition.measure is not None:
                assert condition.measure in measured[str(condition.claim)], prediction.id
            else:
                assert condition.claim in measured, prediction.id
                assert condition.verdict == "holds", prediction.id
