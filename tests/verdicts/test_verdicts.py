from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from circuits.roles import AbsentRole
from studies.trim import write_lines
from tests.processes import ROOT
from tests.records import measured, subject_of
from verdicts.expectations import Expect, plain
from verdicts.judge import Claim, judge
from verdicts.markdown import markdown
from verdicts.page import render_page
from verdicts.record import (
    RecordError,
    as_json,
    as_ledger,
    make_record,
    read_record,
    write_record,
)
from verdicts.schema import Description, Record, json_schema
from verdicts.sentences import comparison_complaints, headline
from verdicts.statistics import Estimate, clopper_pearson
from verdicts.table import WIDTH, render
from verdicts.wording import counted, short_hash, shown, stated

ABOUT = Description(
    name="n",
    content_hash="sha256:0",
    roles={"reader": "0.2", "anchors": [3, 6], "pointer": None},
    validation_set="sha256:1",
)


def claim(body: Any, **marks: Any) -> Claim:
    """A claim whose body is `body(expect)`."""

    @pytest.mark.claim(**{"source": "1.2", "evidence": "exact", **marks})
    def test_something(subject: Any, expect: Expect) -> None:
        """Something is so."""
        body(expect)

    return Claim.from_function(test_something)


def verdict_of(body: Any) -> str:
    return judge(claim(body), None).verdict


# expectations


@pytest.mark.parametrize(
    ("value", "bounds", "outcome"),
    [
        (1.0, {"at_least": 1.0}, "holds"),
        (0.9, {"at_least": 1.0}, "refuted"),
        (1.1, {"at_most": 1.0}, "refuted"),
        (2, {"within": (1, 2)}, "holds"),
        (Estimate(0.5, 0.4, 0.6), {"at_least": 0.4}, "holds"),
        (Estimate(0.5, 0.4, 0.6), {"at_least": 0.45}, "unresolved"),
        (Estimate(0.5, 0.4, 0.6), {"at_least": 0.55}, "unresolved"),
        (Estimate(0.5, 0.4, 0.6), {"at_least": 0.7}, "refuted"),
        (Estimate(0.5, 0.4, 0.6), {"within": (0.3, 0.55)}, "unresolved"),
        (Estimate(0.5, math.nan, math.nan), {"at_least": 0.1}, "unresolved"),
        (math.nan, {"at_least": -1e9}, "refuted"),
        (math.inf, {"at_least": 0.0}, "refuted"),
        (None, {"at_least": 0.0, "note": "there is none"}, "unresolved"),
    ],
)
def test_a_value_meets_its_bound_whole_or_not_at_all(
    value: Any, bounds: dict[str, Any], outcome: str
) -> None:
    assert verdict_of(lambda expect: expect("x", value, because="so", **bounds)) == outcome


def test_what_is_not_a_number_is_null_in_the_record() -> None:
    expect = Expect()
    expect("x", math.nan, at_least=0, because="so")
    assert expect.measurements["x"].value is None
    assert "not a finite number" in str(expect.measurements["x"].note)
    assert plain({1: [math.inf, 0.123456789], "low": Estimate(1.0, 0.5, 2.0)}) == {
        "1": [None, 0.123457],
        "low": {"value": 1.0, "low": 0.5, "high": 2.0, "cases": None},
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda expect: expect("x", 1, at_least=0), "say because="),
        (lambda expect: expect("x", 1, at_least=-math.inf, because="so"), "a bound must be finite"),
        (lambda expect: expect("x", 1, within=(2, 1), because="so"), "no number is at least 2"),
        (lambda expect: expect("x", 1, within=(0, 1), at_most=2, because="so"), "already sets"),
        (lambda expect: expect("x", [1.0], at_least=0, because="so"), "a bound judges one number"),
        (lambda expect: expect("x", None, at_least=0, because="so"), "needs note="),
        (lambda expect: (expect("x", 1), expect("x", 1)), "measured twice"),
        (lambda expect: expect("x", object()), "must be a number"),
        (lambda expect: expect.enough("graphs", 3, needed=0), "a claim about nothing would hold"),
        (
            lambda expect: expect("x", 1, at_least=0, because="so", among="graphs"),
            "among='graphs' names nothing that was counted",
        ),
        (lambda expect: expect("x", 1), "the claim expects nothing"),
        (lambda expect: None, "the claim expects nothing"),
    ],
)
def test_a_careless_expectation_is_an_error_that_teaches(body: Any, message: str) -> None:
    verdict = judge(claim(body), None)
    assert verdict.verdict == "error"
    assert message in str(verdict.reason)


# judge


def test_an_unresolved_measurement_says_how_many_graphs_would_settle_it() -> None:
    expect = Expect()
    expect("one", Estimate(0.52, 0.48, 0.56, 400), at_least=0.5, because="b")
    expect(
        "two", Estimate(0.5, 0.4, 0.6, 400), within=(0.45, 0.58), because="b"
    )  # the nearer bound decides
    expect("on_it", Estimate(0.5, 0.4, 0.6, 400), at_least=0.5, because="b")  # no number would
    expect("unknown", Estimate(0.52, 0.48, 0.56), at_least=0.5, because="b", note="of the worst")
    notes = {name: measurement.note for name, measurement in expect.measurements.items()}
    assert notes == {
        "one": "about 3,272 cases would settle it four times in five, 400 were seen",
        "two": "about 3,272 cases would settle it four times in five, 400 were seen",
        "on_it": None,
        "unknown": "of the worst",
    }


def test_so_many_graphs_settle_it_four_times_in_five() -> None:
    """A rate of 0.53 against a bound of 0.5, first with a few graphs and then with as many as the
    note says."""
    generator = torch.Generator().manual_seed(0)
    expect = Expect()
    expect("rate", clopper_pearson(212, 400), at_least=0.5, because="b")
    note = expect.measurements["rate"].note
    assert note is not None
    graphs = int(note.split()[1].replace(",", ""))
    settled = sum(
        clopper_pearson(int((torch.rand(graphs, generator=generator) < 0.53).sum()), graphs).low
        >= 0.5
        for _ in range(400)
    )
    assert 0.78 <= settled / 400 <= 0.9


def test_an_interval_without_an_end_holds_where_the_other_end_clears() -> None:
    expect = Expect()
    expect("low", Estimate(0.7, 0.6, math.inf, 40), at_least=0.5, because="b")
    expect("high", Estimate(0.7, 0.6, math.inf, 40), at_most=0.9, because="b")
    expect("both", Estimate(0.7, -math.inf, math.inf, 12), at_least=0.5, because="b")
    found = expect.measurements
    assert [found[name].outcome for name in ("low", "high", "both")] == [
        "holds",
        "unresolved",
        "unresolved",
    ]
    assert found["low"].high is None
    assert shown(found["low"]) == "0.7 [0.6, ∞]"
    assert found["both"].note == "too few cases for an interval: 12"
    assert shown(found["both"]) == "0.7"


def test_the_worst_measurement_decides() -> None:
    def body(expect: Expect) -> None:
        expect("good", 1, at_least=0, because="so")
        expect("straddling", Estimate(0.5, 0.0, 1.0), at_least=0.5, because="so")

    assert verdict_of(body) == "unresolved"
    assert (
        verdict_of(lambda expect: (body(expect), expect("bad", -1, at_least=0, because="so")))
        == "refuted"
    )


def test_a_statement_about_too_few_cases_is_unresolved() -> None:
    def body(expect: Expect) -> None:
        expect.enough("vertices", 3, needed=10)
        expect("x", 1, at_least=0, because="so")

    verdict = judge(claim(body), None)
    assert (verdict.verdict, verdict.reason) == (
        "unresolved",
        "too little to judge: 3 vertices, 10 needed",
    )


def test_nothing_is_refuted_on_too_few_cases() -> None:
    def body(expect: Expect, *, among: str | None = None) -> None:
        expect.enough("vertices", 3, needed=10)
        expect.enough("graphs", 10, needed=10)
        expect("of_vertices", -1, at_least=0, because="so", among="vertices")
        expect("of_graphs", 1, at_least=0, because="so", among="graphs")

    verdict = judge(claim(body), None)
    assert (verdict.verdict, verdict.reason) == (
        "unresolved",
        "too little to judge: 3 vertices, 10 needed",
    )
    measured = verdict.expect.measurements
    assert {name: (m.outcome, m.note) for name, m in measured.items()} == {
        "of_vertices": ("unresolved", "3 vertices, 10 needed"),
        "of_graphs": ("holds", None),
    }
    text = "\n".join(line for line, _ in render(ABOUT.judged([verdict.result()]), accepted={}))
    assert "? too little to say" in text
    assert "straddles" not in text


def test_too_few_cases_of_one_kind_leave_what_was_measured_on_another() -> None:
    def body(expect: Expect) -> None:
        expect.enough("vertices", 3, needed=10)
        expect.enough("graphs", 10, needed=10)
        expect("of_graphs", -1, at_least=0, because="so", among="graphs")

    assert verdict_of(body) == "refuted"
    assert (
        verdict_of(
            lambda expect: (
                expect.enough("v", 3, needed=10),
                expect("x", -1, at_least=0, because="so"),
            )
        )
        == "unresolved"
    )


def test_a_counterexample_refutes_however_little_was_seen() -> None:
    def body(expect: Expect) -> None:
        expect.enough("vertices", 3, needed=10)
        expect("smallest", -1, at_least=0, because="so")
        expect.show_counterexample(graph6="I?", vertex=3, value=-1)

    assert verdict_of(body) == "refuted"


def test_what_was_measured_before_the_body_broke_stays() -> None:
    def body(expect: Expect) -> None:
        expect("x", 1, at_least=0, because="so")
        raise RuntimeError("broke at 0x7f0012345678")

    verdict = judge(claim(body), None)
    assert (verdict.verdict, verdict.reason) == ("error", "RuntimeError: broke at 0x…")
    assert verdict.expect.measurements["x"].outcome == "holds"


def test_an_absent_role_is_the_verdict_absent() -> None:
    def body(expect: Expect) -> None:
        raise AbsentRole("no pointer: none")

    verdict = judge(claim(body), None)
    assert (verdict.verdict, verdict.reason, verdict.error) == ("absent", "no pointer: none", None)


def test_a_claim_knows_its_statement_and_labels() -> None:
    made = claim(lambda expect: None, gauge={"b_K"}, companion="another")
    assert (made.id, made.statement, made.source, made.evidence, made.gauge) == (
        "something",
        "Something is so.",
        "1.2",
        "exact",
        {"b_K"},
    )


def function(name: str = "test_x", doc: str | None = "It is so.", fixture: str = "expect") -> Any:
    """A fresh function `name(subject, fixture)`, so that marks do not pile up."""
    scope: dict[str, Any] = {}
    exec(f"def {name}(subject, {fixture}): pass", scope)
    scope[name].__doc__ = doc
    return scope[name]


def test_a_claim_that_is_not_one_is_refused() -> None:
    mark = pytest.mark.claim(source="1", evidence="exact")
    for careless, message in (
        (function(), "marked once"),
        (mark(mark(function())), "marked once"),
        (mark(function(doc=None)), "first line of its docstring"),
        (mark(function(name="check_x")), "a claim is a function test_<id>"),
        (pytest.mark.claim(source="1", evidence="guessed")(function()), "evidence must be one of"),
        (pytest.mark.claim(evidence="exact")(function()), "needs source="),
        (
            pytest.mark.claim(source="1", evidence="exact", gauge="b_K")(function()),
            "gauge must be a set",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Claim.from_function(careless)


# record


def record_of(*bodies: Any) -> Record:
    results = (judge(claim(body), None).result() for body in bodies)
    claims = [replace(result, id=f"claim_{index}") for index, result in enumerate(results)]
    return make_record([ABOUT.judged(claims)], seed=3, device="cpu")


def held(expect: Expect) -> None:
    expect("x", Estimate(1.5, 1.25, 1.75), at_least=0, because="so")
    expect("list", [1.0, {"a": None}])
    expect.show_counterexample(graph6="I?", vertex=3, value=0.25)


def test_a_record_obeys_its_schema_and_survives_a_file(tmp_path: Path) -> None:
    record = record_of(held, lambda expect: 1 / 0)
    write_record(tmp_path / "r.json", record)
    assert read_record(tmp_path / "r.json") == record
    assert list(tmp_path.iterdir()) == [tmp_path / "r.json"]
    write_record(tmp_path / "ledger.json", as_ledger(record, record.subjects[0]))
    assert read_record(tmp_path / "ledger.json").subjects[0].claims[0].duration_s == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version must be 1, got 2"),
        ({"subjects": []}, r"at \$.subjects"),
        ({"run": {"seed": "x", "device": "cpu"}}, r"at \$.run.seed"),
        ({"extra": 1}, r"at \$: .*extra"),
        ({"run": {"seed": 0, "device": "cpu", "partial": ""}}, r"at \$.run.partial: "),
        ({"run": {"seed": 0, "device": "cpu", "partial": None}}, r"at \$.run.partial: "),
    ],
)
def test_a_record_that_breaks_the_schema_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (tmp_path / "r.json").write_text(json.dumps({**as_json(record_of(held)), **change}))
    with pytest.raises(RecordError, match=rf"r\.json: {message}"):
        read_record(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "hold"}, r"claims\[0\].verdict: .*hold"),
        ({"p": 0.0}, r"claims\[0\].p: "),
        ({"id": ""}, r"claims\[0\].id: "),
        ({"values": {}}, r"claims\[0\]: .*values"),
        ({"measurements": {"x": {"value": 1}}}, r"claims\[0\].measurements\[...\]: .*low"),
    ],
)
def test_a_claim_that_breaks_the_schema_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    record = json.loads(json.dumps(as_json(record_of(held))))
    record["subjects"][0]["claims"][0] |= change
    (tmp_path / "r.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match=rf"r\.json: at \$.subjects\[0\].{message}"):
        read_record(tmp_path / "r.json")


@pytest.mark.parametrize("value", ["text", True, [[1.0], {"a": "text"}]])
def test_a_value_is_made_of_numbers(value: Any) -> None:
    record = record_of(held)
    with pytest.raises(ValueError, match="must be a number, a list or a mapping of them"):
        replace(record.subjects[0].claims[0].measurements["x"], value=value).__post_init__()


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record: at \$.subjects: "):
        write_record(tmp_path / "r.json", replace(record_of(held), subjects=()))
    assert not list(tmp_path.iterdir())


def test_the_schema_that_is_shipped_is_that_of_the_types() -> None:
    shipped = json.loads((ROOT / "verdicts" / "record.schema.json").read_text(encoding="utf-8"))
    made = json.loads(json.dumps(json_schema()))
    assert shipped == made, "python -m verdicts.schema > verdicts/record.schema.json"


KEPT = [
    *ROOT.glob("checkpoints/*/verdicts.json"),
    *ROOT.glob("studies/*/**/*.json"),
    ROOT / "examples" / "induction" / "weights" / "verdicts.json",
]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_on_disk_is_written_as_it_was(tmp_path: Path, path: Path) -> None:
    write = write_lines if "studies" in path.parts else write_record
    write(tmp_path / "r.json", read_record(path))
    before, after = (one.read_text(encoding="utf-8") for one in (path, tmp_path / "r.json"))
    if "records" in path.parts:  # their keys are in the order of the alphabet
        before, after = (json.dumps(json.loads(text), sort_keys=True) for text in (before, after))
    assert after == before


def test_an_environment_may_say_more_than_is_known_of_it(tmp_path: Path) -> None:
    record = as_json(record_of(held))
    record["environment"] |= {"cluster": "north", "cores": 2}
    (tmp_path / "r.json").write_text(json.dumps(record))
    assert read_record(tmp_path / "r.json").environment.python == record["environment"]["python"]


def test_a_comparison_from_before_there_were_three_questions_is_read(tmp_path: Path) -> None:
    record = as_json(record_of(held))
    status = {"claim_0": {"status": "drifted", "moved": ["x 1 → 2"]}}
    old = {"name": "then", "content_hash": "sha256:b", "claims": status}
    record["subjects"][0]["comparison"] = old
    (tmp_path / "r.json").write_text(json.dumps(record))
    found = read_record(tmp_path / "r.json")
    comparison = found.subjects[0].comparison
    assert comparison
    assert headline(comparison) == []
    assert list(comparison_complaints(comparison)) == ["the gate fails against then: 1 drifted"]
    assert "**drifted**: `claim_0` x 1 → 2" in markdown(found)
    assert "x 1 → 2" in render_page(found)


def test_numbers_of_numpy_are_recorded_as_numbers(tmp_path: Path) -> None:
    def body(expect: Expect) -> None:
        within = (np.float64(0.123456789), np.float64(1.0))
        expect("x", np.float64(0.5), within=within, because="so")
        expect("n", np.int64(3), at_least=3, because="so")
        expect.show_counterexample(graph6=np.str_("I?"), value=np.float64(0.5))

    class Toy:
        def describe(self) -> dict[str, Any]:
            about = {"rate": np.float64(0.1), "sizes": (np.float64(2.0), 3)}
            return {"name": "n", "content_hash": "sha256:a", "about": about}

    verdict = judge(claim(body, drift=np.float64(0.1)), None)
    subject = Description.of(Toy()).judged([verdict.result()])
    assert subject.about == {"rate": 0.1, "sizes": [2.0, 3]}
    write_record(tmp_path / "r.json", make_record([subject], seed=0, device="cpu"))
    (judged,) = read_record(tmp_path / "r.json").subjects[0].claims
    x, n = judged.measurements.values()
    assert judged.drift == 0.1
    assert (x.value, x.at_least, x.at_most, x.outcome) == (0.5, 0.123456789, 1.0, "holds")
    assert (n.value, n.at_least) == (3, 3)
    assert isinstance(n.at_least, int)
    assert judged.counterexample == {"graph6": "I?", "value": 0.5}


def test_what_json_cannot_hold_of_a_subject_is_named() -> None:
    class Toy:
        def describe(self) -> dict[str, Any]:
            return {"name": "n", "content_hash": "sha256:a", "about": {"parts": {1, 2}}}

    with pytest.raises(ValueError, match=r"Toy.describe\(\): Object of type set is not JSON"):
        Description.of(Toy())


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(RecordError, match=r"r.json: not a readable JSON"):
        read_record(tmp_path / "r.json")


# table


def test_a_value_that_misses_its_bound_does_not_read_as_if_it_met_it() -> None:
    said = [
        stated(measured(0.884, at_least=0.99, outcome=outcome))
        for outcome in ("holds", "refuted", "unresolved")
    ]
    assert said == ["0.884 ≥ 0.99", "0.884, not ≥ 0.99", "0.884, perhaps ≥ 0.99"]
    assert stated(measured(0.2, at_most=0.1, at_least=-0.1, outcome="refuted")) == (
        "0.2, not in [-0.1, 0.1]"
    )


@pytest.mark.parametrize(
    ("value", "facts", "said"),
    [
        (1.51, {"low": 1.49983, "high": 1.6}, "1.51 [1.4998, 1.6], perhaps ≥ 1.5"),
        (1.51, {"low": 1.49999, "high": 1.5}, "1.51 [1.49999, 1.5], perhaps ≥ 1.5"),
        (1.499999, {}, "1.5, perhaps ≥ 1.5"),  # beyond the six digits of a record
        (0.99997, {"at_least": 0.99995}, "0.99997, perhaps ≥ 0.99995"),
        (0.66667, {"at_least": 2 / 3}, "0.66667, perhaps ≥ 0.666667"),
        (3.00001, {"at_least": 2, "at_most": 3}, "3.00001, perhaps in [2, 3]"),
        (1.512345, {}, "1.512, perhaps ≥ 1.5"),
        (1.5, {"low": None, "high": 1.50001}, "1.5 [−∞, 1.50001], perhaps ≥ 1.5"),
    ],
)
def test_what_is_not_its_bound_does_not_read_as_if_it_were(
    value: float, facts: dict[str, Any], said: str
) -> None:
    facts = {"at_least": 1.5, "outcome": "unresolved", **facts}
    assert stated(measured(value, **facts)) == said


@pytest.mark.parametrize(
    ("whole", "short"),
    [
        ("sha256:72be708ccd60aa", "72be708ccd60…"),
        ("sha256:72be708ccd60", "72be708ccd60"),
        ("v1", "v1"),
        ("git:0123456789", "git:01234567…"),
    ],
)
def test_a_hash_is_cut_where_it_is_long(whole: str, short: str) -> None:
    assert short_hash(whole) == short


def test_one_is_not_many() -> None:
    assert [counted(n, "claim hangs", "claims hang") for n in (1, 1200)] == [
        "1 claim hangs",
        "1,200 claims hang",
    ]
    assert [counted(n, "holds still") for n in (1, 2)] == ["1 holds still", "2 hold still"]
    assert counted(2, "refuted") == "2 refuted"


def test_a_card_is_headed_by_what_refutes_its_claim() -> None:
    bound = {"at_least": 0.5, "because": "b"}
    open_, refuted = (
        {"value": value, "outcome": outcome, **bound}
        for value, outcome in ((0.6, "unresolved"), (0.1, "refuted"))
    )
    one = subject_of({"id": "c", "verdict": "refuted", "measurements": {"x": open_, "y": refuted}})
    page = render_page(make_record([one], seed=0, device="cpu"))
    assert '<span class="number" title="y 0.1, not ≥ 0.5">' in page
    assert '<span class="badge unresolved">? perhaps ≥ 0.5</span>' in page


def test_the_table_fits_in_100_columns_worst_first() -> None:
    def refuted(expect: Expect) -> None:
        expect("a_measurement_of_some_length", -1.23456789, at_least=0, because="so")
        expect("intervals", {str(d): {"low": d / 7, "high": d / 3} for d in range(10)})

    subject = record_of(held, refuted, lambda expect: 1 / 0).subjects[0]
    lines = [line for line, _ in render(subject, accepted={"claim_1": "refuted"})]
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    assert text.index("ERROR") < text.index("REFUTED") < text.index("holds   ")
    for expected in (
        "anchors {3, 6}",
        "pointer absent",
        "-1.235",
        "not ≥ 0  ✗",
        "1.5 [1.25, 1.75]",
        "refuted in the ledger",
        "counterexample: graph6 I?, vertex 3, value 0.25",
        "n: 1 error, 1 refuted, 1 holds",
        "ZeroDivisionError",
    ):
        assert expected in text, expected
