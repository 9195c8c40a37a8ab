"""Records side by side: all that decides a claim stands on one axis, whatever one of them lacks."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import circuit_claims
from tests.records import measured
from tests.verdicts.test_gate import claim, measurement, subject
from verdicts.__main__ import main
from verdicts.axes import SHAPES, shared_axis
from verdicts.page import render_page
from verdicts.project import Project
from verdicts.record import make_record, read_record, write_record
from verdicts.schema import SubjectResult
from verdicts.side_by_side import by_part, labelled, render_side_by_side
from verdicts.wording import bound, shown

LEDGERS = [Path("checkpoints") / name / "verdicts.json" for name in ("default", "seed-7")]
HOSTILE = "<script>alert('x')</script>\"'&"


def records(tmp_path: Path, *subjects: SubjectResult, **run: Any) -> list[Path]:
    paths = [tmp_path / f"{place}.json" for place in range(len(subjects))]
    for path, one in zip(paths, subjects, strict=True):
        write_record(path, make_record([one], seed=0, device="cpu", **run))
    return paths


def article(page: str, id_: str) -> str:
    return page[page.index(f'id="both-{id_}"') :].partition("</article>")[0]


def test_every_number_that_decides_stands_on_the_page() -> None:
    page = render_side_by_side(LEDGERS)
    subjects = [read_record(path).subjects[0] for path in LEDGERS]
    for one in subjects:
        for judged in one.claims:
            text = html.unescape(article(page, judged.id))
            assert judged.statement in text
            assert judged.reason is None or judged.reason in text
            for name, m in judged.deciding.items():
                words = (name.replace("_", " "), shown(m), bound(m), m.because)
                assert all(word in text for word in words)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    there = {judged.id for one in subjects for judged in one.claims}
    assert {id_.removeprefix("both-") for id_ in ids if id_.startswith("both-")} == there


def test_roles_stand_on_top_and_an_absent_one_is_said() -> None:
    page = render_side_by_side(LEDGERS)
    rows = dict(re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', page))
    assert re.findall(r"<b>(.*?)</b>", rows["reader"]) == ["0.3", "0.2"]
    assert re.findall(r"<b>(.*?)</b>", rows["pointer"]) == ["1.3", "absent"]
    assert re.findall(r"<b>(.*?)</b>", rows["anchors"]) == ["{2, 3, 4}", "{7, 8}"]


def test_claims_are_sorted_by_part_in_the_order_of_the_project() -> None:
    one = subject(
        c={**claim(), "parts": ["head", "tail"]}, d={**claim(), "parts": ["rim"]}, e=claim()
    )
    found = by_part({"a": one, "b": one}, Project(parts=("rim", "tail", "head", "none of it")))
    assert {part: [row.claim.id for row in rows] for part, rows in found.items()} == {
        "rim": ["d"],
        "tail": ["c"],
        "no part named": ["e"],
    }
    assert list(by_part({"a": one, "b": one})) == ["head", "rim", "no part named"]


def test_where_they_differ_is_said_first(tmp_path: Path) -> None:
    one = subject("sha256:a", c=claim(), d=claim("refuted"), e=claim())
    other = replace(subject("sha256:b", c=claim("refuted"), d=claim("refuted")), name="other")
    page = render_side_by_side(records(tmp_path, one, other))
    table = page[page.index('id="differ"') :].partition("</section>")[0]
    assert re.findall(r'href="#both-(\w)"', table) == ["c", "e"]
    assert "not judged" in table
    assert re.findall(r'class="both( same)?" id="both-(\w)"', page) == [
        ("", "c"),
        (" same", "d"),
        ("", "e"),
    ]
    same = render_side_by_side(records(tmp_path, one, replace(one, name="other")))
    assert "Every claim has the same verdict in all." in same


def test_each_subject_has_its_own_shape_hollow_where_it_misses() -> None:
    held, missed = measured(1.5), measured(0.5, outcome="refuted")
    drawing = str(shared_axis("m", {"a": held, "b": None, "c": missed}))
    assert re.findall(r'class="(of-\d(?: hollow)?)"', drawing) == ["of-0", "of-2 hollow"]
    assert SHAPES[0] in drawing
    assert SHAPES[2] in drawing
    assert len(set(SHAPES)) == 6
    assert f'aria-label="m: a {shown(held)}, must be {bound(held)}; c {shown(missed)}' in drawing
    places = [float(x) for x in re.findall(r"translate\(([\d.]+) ", drawing)]
    assert places[0] > places[1], "one scale for both"


def test_bounds_that_differ_are_drawn_and_told_each(tmp_path: Path) -> None:
    def with_bound(limit: float, because: str) -> dict[str, Any]:
        moved = {**measurement(1.5), "at_least": limit, "because": because}
        return {**claim(), "measurements": {"m": moved}}

    one = subject("sha256:a", c=with_bound(1.0, "before"))
    other = replace(subject("sha256:b", c=with_bound(0.25, "after")), name="other")
    text = article(render_side_by_side(records(tmp_path, one, other)), "c")
    assert re.findall(r'class="must">(.*?)<', text) == ["must be ≥ 0.25", "must be ≥ 1"]
    assert "after; before" in text
    assert len(set(re.findall(r'class="bound" x1="([\d.]+)"', text))) == 2


@pytest.mark.parametrize("value", [None, [1.0, 2.0], {"a": 1.0}])
def test_what_is_no_single_number_has_no_axis_and_is_told(value: Any, tmp_path: Path) -> None:
    several = measurement(value)
    one = subject("sha256:a", c={**claim(), "measurements": {"m": several}})
    other = replace(subject("sha256:b", c={**claim(), "measurements": {}}), name="other")
    text = article(render_side_by_side(records(tmp_path, one, other)), "c")
    assert shown(measured(value)) in html.unescape(text)
    assert 'class="axis"' not in text
    assert "not measured" in text


def test_subjects_that_share_a_name_are_told_apart(tmp_path: Path) -> None:
    paths = records(tmp_path, subject("sha256:aaaa1", c=claim()), subject("sha256:b", c=claim()))
    page = render_side_by_side(paths)
    assert all(f"toy ({path})" in page for path in paths)
    both = [subject("sha256:aaaa1", c=claim()), subject("sha256:b", c=claim())]
    assert list(labelled(both)) == ["toy (aaaa1)", "toy (b)"]
    with pytest.raises(ValueError, match="the same subject of a file comes twice"):
        render_side_by_side([paths[0], paths[0]])


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    bad = {HOSTILE: {**measurement(0.1, outcome="refuted"), "because": HOSTILE}}
    one = {**claim("refuted"), "statement": HOSTILE, "parts": [HOSTILE], "measurements": bad}
    toy = replace(subject(c=one), name=HOSTILE, roles={HOSTILE: HOSTILE})
    page = render_side_by_side(records(tmp_path, toy, replace(toy, content_hash=HOSTILE)))
    assert "<script" not in page


def test_a_part_of_a_run_says_so(tmp_path: Path) -> None:
    paths = records(tmp_path, subject("a", c=claim()), subject("b", c=claim()), partial="-k c")
    assert "a part only: -k c" in render_side_by_side(paths)


def test_a_run_with_two_subjects_has_the_axes_on_its_page() -> None:
    one = subject("sha256:a", c=claim())
    other = replace(subject("sha256:b", c=claim("refuted")), name="other")
    page = render_page(make_record([one, other], seed=0, device="cpu"))
    assert 'id="both-c"' in page
    alone = render_page(make_record([one], seed=0, device="cpu"))
    assert 'id="both-c"' not in alone
    seven = [replace(one, content_hash=str(place)) for place in range(7)]
    assert 'id="both-c"' not in render_page(make_record(seven, seed=0, device="cpu"))


def test_the_command_writes_it_in_the_words_of_the_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    arguments = ["compare", *map(str, LEDGERS), "--out", str(out)]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"wrote {', '.join(map(str, LEDGERS))} side by side to {out} (")
    assert '<th scope="col">subject</th>' in out.read_text(encoding="utf-8")
    assert circuit_claims.main(arguments) == 0
    page = out.read_text(encoding="utf-8")
    assert '<th scope="col">checkpoint</th>' in page
    order = re.findall(r'class="part">([^<]+)</h3>', page)
    assert order[:4] == ["whole model", "Embed", "PosEmbed", "reader"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["default"], "got 1"),
        (["default"] * 7, "got 7"),
        (["none"], "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(
    names: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(Path("checkpoints") / name / "verdicts.json") for name in names]
    assert main(["compare", *paths, "--out", str(tmp_path / "p.html")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()
