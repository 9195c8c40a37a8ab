"""The page without a browser: all of the record is in it, nothing from outside becomes markup,
whatever a model lacks."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from circuits.coalitions import notebook_players
from circuits.roles import Head
from claims.catalogue import all_claims
from claims.project import PROJECT, cite
from figures.__main__ import LACKING, main
from figures.diagram import circuit_diagram
from figures.extras import page_extras
from tests.pages import page_of, shipped, shipped_extras, shipped_page, untrained_subject
from tests.toy import facts, project, run
from tests.verdicts.test_gate import claim, measurement, subject
from verdicts.bundle import write_bundle
from verdicts.page import Figure, PageExtras, Panel, render_page
from verdicts.record import make_record, read_record, write_record
from verdicts.schema import Record, SubjectResult
from verdicts.wording import bound, shown

pytest_plugins = ["pytester"]
__all__ = ["project"]  # a fixture
DEFAULT = "checkpoints/default/verdicts.json"
HOSTILE = "<script>alert('x')</script>\"'&"
CARD = re.compile(r'<article class="card" id="claim-(\w+)" data-verdict="([^"]*)"')


def record_of(*subjects: SubjectResult) -> Record:
    return make_record(subjects, seed=0, device="cpu")


# what stands in it


def test_every_claim_of_the_record_has_a_card_with_all_its_numbers() -> None:
    page, claims = shipped_page(), shipped()[1].subjects[0].claims
    cards = dict(CARD.findall(page))
    assert cards == {one.id: one.verdict for one in claims}
    for one in claims:
        card = page[page.index(f'id="claim-{one.id}"') :].partition("</article>")[0]
        text = html.unescape(card)
        for words in (
            one.statement,
            one.evidence,
            cite(one.source),
            *(f"{m.because or ''}" for m in one.measurements.values()),
        ):
            assert words in text
        for name, m in one.measurements.items():
            assert name.replace("_", " ") in text
            assert shown(m) in text
            assert bound(m) in text
        assert card.count('<svg class="axis"') == sum(
            m.number is not None and bound(m) != "" for m in one.measurements.values()
        )
        assert one.companion is None or f'href="#claim-{one.companion}"' in card


def test_its_facts_and_reasons_are_named() -> None:
    page = shipped_page()
    assert "<dt>weights</dt>" in page
    assert "<dt>seed</dt><dd>0 on cpu</dd>" in page
    because = next(iter(shipped()[1].subjects[0].claims[0].deciding.values())).because
    assert f"Why this bound: {because}" in html.unescape(page)
    assert "@media print { nav, .filters { display: none; }" in page


def test_it_asks_for_nothing_and_is_small() -> None:
    page = shipped_page()
    assert len(page.encode()) < 2_000_000
    assert "default-src 'none'" in page
    assert "connect-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert not re.search(r"@import|url\(", page)
    assert set(re.findall(r"https?://[^\s\"'`)]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_the_page_is_the_same_each_time() -> None:
    subject, ledger = shipped()
    assert (
        render_page(ledger, page_extras(subject, ledger.subjects[0]), project=PROJECT)
        == shipped_page()
    )


def test_links_lead_somewhere() -> None:
    page = shipped_page()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_text_from_outside_stays_text() -> None:
    bad = {
        "measurements": {
            HOSTILE: measurement(0.1, because=HOSTILE, note=HOSTILE, outcome="refuted")
        },
        "reason": HOSTILE,
    }
    one = {
        **claim("refuted"),
        **bad,
        "statement": HOSTILE,
        "source": HOSTILE,
        "counterexample": {HOSTILE: HOSTILE},
    }
    toy = replace(subject(HOSTILE, HOSTILE, c=one), name=HOSTILE, roles={HOSTILE: HOSTILE})
    for page in (
        render_page(record_of(toy)),
        render_page(record_of(toy, replace(toy, name=HOSTILE * 2))),
    ):
        assert "<script>alert" not in page
        assert page.count("<script") == 1, "the page's own"


def test_the_name_of_a_checkpoint_stays_text_in_the_viewer_too() -> None:
    _, ledger = shipped()
    named = replace(ledger.subjects[0], name=HOSTILE)
    page = render_page(replace(ledger, subjects=(named,)), shipped_extras(), project=PROJECT)
    assert "<script>alert" not in page


# several checkpoints, and seeds


def test_checkpoints_stand_side_by_side() -> None:
    one = subject("sha256:a", c=claim("holds"), d=claim("refuted"))
    other = replace(subject("sha256:b", c=claim("refuted")), name="other")
    page = render_page(record_of(one, other))
    assert dict(CARD.findall(page)) == {"c": "holds refuted", "d": "refuted"}
    table = page[page.index('id="side-by-side"') :]
    rows = re.findall(
        r"<tr><th scope=\"row\"><a href=\"#claim-(\w)\">.*?</tr>", table, flags=re.DOTALL
    )
    assert rows == ["d", "c"], "worst first, by the first checkpoint"
    assert re.findall(r'class="badge (\w+)"', table.partition("</table>")[0]) == [
        "refuted",
        "holds",
        "refuted",
    ]


def test_seeds_are_counted_and_others_are_not() -> None:
    seeds = {
        name: subject(c=claim(verdict))
        for name, verdict in (("a", "holds"), ("b", "refuted"), ("c", "holds"))
    }
    page = render_page(
        record_of(subject(c=claim("holds"))),
        PageExtras(counted=seeds, beside={"d": subject(c=claim("holds"))}),
    )
    assert '<td class="count">2/3</td>' in page
    assert "0.09–0.99" in page  # Clopper and Pearson of 2 in 3


def test_the_shipped_seeds_stand_on_the_page() -> None:
    assert list(shipped_extras().counted) == ["default", *(f"seed-{i}" for i in (2, 5, 6, 7))]
    assert list(shipped_extras().beside) == ["transformer_2024-09-05_13-28-07"]


# what the project adds


def test_every_part_and_every_figure_is_about_claims_that_there_are() -> None:
    claims = {one.id for one in all_claims()}
    assert all(one.parts for one in all_claims())
    assert set().union(*(one.parts for one in all_claims())) == set(PROJECT.parts)
    ledger = {claim.id: list(claim.parts or ()) for claim in shipped()[1].subjects[0].claims}
    # a claim that is being written is not in the ledger yet
    assert ledger == {one.id: sorted(one.parts) for one in all_claims() if one.id in ledger}
    figures = shipped_extras().figures
    assert {id_ for figure in figures for id_ in figure.claims} <= claims
    assert len({figure.id for figure in figures}) == len(figures)
    assert all(f'<figure id="{figure.id}">' in shipped_page() for figure in figures)


NOTEBOOK = [
    "neighbour-queries",
    "position-queries",
    "reader-query",
    "reader-keys",
    "reader-values",
    "reader-z",
    "reader-result",
    "through-mlp",
    "reader-norms",
    "pointer-query-norms",
    "pointer-key-norms",
    "score-terms",
    "score-grid",
    "one-path",
    "best-by-size",
    "patched-patterns",
    "dimensions",
    "composition",
    "composition-null",
    "ov",
    "neurons-0",
    "neurons-1",
    "neuron-correlation",
    "attribution",
    "neuron-attribution",
    "certified-attention",
    "pointer-W_Q",
]


def test_the_notebooks_figures_are_all_there() -> None:
    assert {f"figure-{name}" for name in NOTEBOOK} <= {
        figure.id for figure in shipped_extras().figures
    }


def test_the_diagram_weighs_paths_by_the_records_shapley_values() -> None:
    judged, ledger = shipped()
    claims = {one.id: one for one in ledger.subjects[0].claims}
    shapley = claims["embed_and_helper_heads_also_q_compose"].measurements["shapley"].value
    assert isinstance(shapley, dict)
    drawing = circuit_diagram(judged, claims)
    widths = {
        title: float(width)
        for title, width in re.findall(
            r'aria-label="([^"]+) into the [^"]*; claims about it"><path class="flow [^"]*"'
            r' stroke-width="([\d.]+)"',
            drawing,
        )
    }
    assert len(shapley) == len(notebook_players(judged.model.cfg.n_heads)) == 10
    reader = str(judged.roles.reader)
    assert widths[reader] == max(widths.values()) == 13.0
    assert f"{reader} into the query: {shapley[f'{reader}->q']:.4f}".rstrip("0") in drawing
    assert float(re.search(r"embed into the key: ([\d.]+)", drawing)[1]) == pytest.approx(
        shapley["embed->k"], abs=1e-4
    )  # type: ignore[index]


def test_counterexamples_are_drawn_with_the_vertex_and_the_edges_to_copy() -> None:
    page, claims = shipped_page(), shipped()[1].subjects[0].claims
    refuted = [one for one in claims if one.counterexample]
    assert refuted
    drawn = page[page.index('<section id="counterexamples"') :].partition("</section>")[0]
    of_vertices = [one for one in refuted if "vertex" in (one.counterexample or {})]
    assert drawn.count('class="vertex chosen"') == len(of_vertices) < len(refuted)
    for one in refuted:
        found = one.counterexample
        assert found is not None
        assert f'data-copy="{found["edges"]}"' in drawn
        assert html.escape(found["graph6"]) in drawn or found["graph6"] in html.unescape(drawn)
        about = (
            f"Vertex {found['vertex']}: {found['value']}"
            if one in of_vertices
            else f"The answer: {found['answer']}"
        )
        assert f"<b>{about}</b>" in drawn


def test_a_figure_stands_beside_the_first_of_its_claims() -> None:
    figure = Figure("figure-f", "F", "about", shipped_extras().figures[0].body, "1", ("c", "d"))
    panel = Panel("p", "Own", shipped_extras().panels[0].body)
    page = render_page(
        record_of(subject(c={**claim(), "parts": ["head"]}, d=claim())),
        PageExtras(figures=(figure,), panels=(panel,)),
    )
    cards = page.split('<article class="card"')
    assert '<figure id="figure-f">' in next(card for card in cards if 'id="claim-c"' in card)
    assert '<a href="#figure-f">F</a>' in next(card for card in cards if 'id="claim-d"' in card)
    assert 'data-part="head"' in page
    assert '<section id="p"' in page


def test_controls_stand_on_the_axis_where_the_record_has_them() -> None:
    held = shipped()[1]
    assert any(
        one.controls["fresh weights"].values for one in held.subjects[0].claims if one.controls
    )
    assert "fresh weights: " in render_page(held)
    claims = tuple(replace(one, controls=UNSET) for one in held.subjects[0].claims)
    without = replace(held, subjects=(replace(held.subjects[0], claims=claims),))
    assert "fresh weights: " not in render_page(without)


# models that lack something


ALL_ROLES = {
    "reader": Head(0, 1),
    "anchors": (1, 2),
    "pointer": Head(1, 0),
    "target": 3,
    "dimension": 5,
}


@pytest.mark.parametrize(
    "lacking",
    [
        {},
        {"n_layers": 1},
        {"roles": {"reader": Head(0, 1), "anchors": (1, 2)}},
        *(
            pytest.param(lacking, marks=pytest.mark.long)
            for lacking in (
                {"d_mlp": 0},
                {"n_layers": 3},
                {"n_heads": 1, "d_head": 8},
                {"roles": {"reader": Head(0, 0)}},
                {"roles": {"pointer": Head(1, 0), "target": 3}},
                {"roles": ALL_ROLES},
                {"n_layers": 3, "roles": {**ALL_ROLES, "pointer": Head(2, 0)}},
            )
        ),
    ],
    ids=str,
)
def test_what_a_model_lacks_is_left_out(lacking: dict[str, Any]) -> None:
    untrained = untrained_subject(**lacking)
    page = page_of(untrained)
    assert len(CARD.findall(page)) == len(all_claims())
    assert ("figure-reader-pattern" in page) is ("reader" in untrained.roles.found)
    assert ("figure-pointer-pattern" in page) is ("pointer" in untrained.roles.found)


def test_a_part_of_a_run_has_a_page_too() -> None:
    subject, ledger = shipped()
    one = replace(ledger.subjects[0], claims=ledger.subjects[0].claims[:2])
    page = render_page(replace(ledger, subjects=(one,)), page_extras(subject, one), project=PROJECT)
    assert len(CARD.findall(page)) == 2


# the ways to it


def test_a_run_writes_it(project: pytest.Pytester) -> None:
    assert run(project, "--claims-page=page.html").ret == 0
    page = (project.path / "page.html").read_text(encoding="utf-8")
    assert dict(CARD.findall(page)) == {"x_is_large": "holds", "y_is_small": "holds"}


def test_a_run_that_fails_writes_it_and_so_does_one_on_two_processes(
    project: pytest.Pytester,
) -> None:
    facts(project, x=1)
    assert run(project, "--claims-page=page.html", "-n", "2").ret == 1
    assert (
        dict(CARD.findall((project.path / "page.html").read_text(encoding="utf-8")))["x_is_large"]
        == "refuted"
    )


def test_a_figure_that_breaks_takes_no_verdict_with_it(project: pytest.Pytester) -> None:
    hook = "def pytest_claims_page_extras(subject, result):\n    raise KeyError('no such head')\n"
    project.makeconftest(f"{(project.path / 'conftest.py').read_text()}\n\n{hook}")
    result = run(project, "--claims-page=page.html", "--claims-json=record.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*x is large*",
            "toy: 2 hold",
            "--claims-page=page.html: not written: KeyError: 'no such head'",
        ]
    )
    assert len(read_record(project.path / "record.json").subjects[0].claims) == 2
    assert not (project.path / "page.html").exists()


def test_the_first_checkpoint_comes_first_on_two_processes(project: pytest.Pytester) -> None:
    facts(project, "b.json", hash="sha256:b", x=1)
    for first, second in (("toy.json", "b.json"), ("b.json", "toy.json")):
        run(
            project,
            f"--checkpoint={first}",
            f"--checkpoint={second}",
            "--claims-json=record.json",
            "-n",
            "2",
        )
        hashes = [
            subject.content_hash for subject in read_record(project.path / "record.json").subjects
        ]
        assert hashes == (
            ["sha256:a", "sha256:b"] if first == "toy.json" else ["sha256:b", "sha256:a"]
        )


def test_a_page_that_cannot_be_written_is_refused_first(project: pytest.Pytester) -> None:
    result = run(project, "--claims-page=no/such/page.html")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--claims-page*no/such/page.html*"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["page", "--out", "{tmp}/no/page.html"], "--out"),
        (
            ["page", "--out", "{tmp}/p.html", "--record", "{tmp}/none.json"],
            "none.json: no such record; write one with",
        ),
        (
            [
                "page",
                "checkpoints/default",
                "--out",
                "{tmp}/p.html",
                "--record",
                "checkpoints/seed-2/verdicts.json",
            ],
            "says nothing of default, e93266486a4e…",
        ),
        (["serve", "--port", "65536"], "--port must be from 0 to 65535, got 65536"),
        (["page", "{tmp}", "--out", "{tmp}/p.html"], "config.json"),
        (["page", "--out", "{tmp}/p.html", "--bundle", "b"], "--bundle needs --record and no"),
        (
            ["page", "--out", "{tmp}/p.html", "--record", DEFAULT, "--validation-set", "."],
            "--validation-set is for a checkpoint; name one, or drop it",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()


def test_a_record_of_a_part_of_the_claims_has_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = read_record(Path("checkpoints/default/verdicts.json"))
    write_record(
        tmp_path / "part.json", replace(ledger, run=replace(ledger.run, partial="-k reader"))
    )
    assert (
        main(["page", "--out", str(tmp_path / "p.html"), "--record", str(tmp_path / "part.json")])
        == 2
    )
    assert (
        "part.json: is of a part of the claims only (-k reader); use the record"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "p.html").exists()


def test_a_record_has_a_page_without_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the bundle of its run it is the page that is measured on the weights."""
    out, bundle = tmp_path / "page.html", tmp_path / "bundle"
    assert main(["page", "--record", DEFAULT, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert LACKING in told.err
    assert told.out.startswith(f"wrote the page of {DEFAULT} to {out} (0.")
    page = out.read_text(encoding="utf-8")
    assert len(CARD.findall(page)) == len(all_claims())
    assert LACKING in html.unescape(page)
    write_bundle(bundle, shipped()[1], shipped_extras(), project=PROJECT)
    command = ["page", "--record", DEFAULT, "--bundle", str(bundle), "--out", str(out)]
    assert main(command) == 0
    assert out.read_text(encoding="utf-8") == shipped_page()
    assert bundle.stat().st_size < 1_000_000


def test_a_record_of_other_graphs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = read_record(Path("checkpoints/default/verdicts.json"))
    other = replace(ledger.subjects[0], validation_set="sha256:other")
    write_record(tmp_path / "record.json", replace(ledger, subjects=(other,)))
    assert (
        main(
            [
                "page",
                "checkpoints/default",
                f"--out={tmp_path / 'p.html'}",
                f"--record={tmp_path / 'record.json'}",
            ]
        )
        == 2
    )
    assert "was measured on another validation set, other;" in capsys.readouterr().err
