"""A page from a record and what its run left beside it: the same page, and nothing measured."""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from msgspec.structs import replace

import verdicts.bundle
from tests.toy import facts, project, run
from tests.verdicts.test_gate import claim, subject
from verdicts.__main__ import LACKING, main
from verdicts.bundle import Bundle, page_of_record, read_bundle, write_bundle
from verdicts.page import Figure, PageExtras
from verdicts.project import PLAIN
from verdicts.record import RecordError, make_record, write_record

pytest_plugins = ["pytester"]
__all__ = ["project", "scipy"]  # a fixture; what a page imports and pytester would forget
HOOKS = """

def pytest_claims_project():
    from verdicts.project import EVIDENCE, Project
    return Project(subject="coin", data="throws", cite="chapter {}".format, parts=("head", "tail"))

def pytest_claims_page_extras(subject, result):
    from markupsafe import Markup
    from verdicts.page import Figure, PageExtras, Panel
    drawing = Markup("<svg><text>x &amp; y</text></svg>")
    return PageExtras(
        figures=(Figure("f", "F & f", "about", drawing, "7", ("x_is_large", "y_is_small")),),
        panels=(Panel("p", "Own", drawing),),
        counterexamples={"x_is_large": drawing},
        counted={"other": result},
        style=".own { color: red }",
        script="'x' < 'y' && 1;",
    )
"""


@pytest.fixture
def drawing(project: pytest.Pytester) -> pytest.Pytester:
    """A project that draws."""
    project.makeconftest((project.path / "conftest.py").read_text() + HOOKS)
    return project


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one", "two"])
def test_the_page_of_a_record_and_its_bundle_is_the_page_of_the_run(
    drawing: pytest.Pytester, processes: list[str]
) -> None:
    outputs = ["--claims-json=out.json", "--claims-page=run.html", "--claims-bundle=out.bundle"]
    assert run(drawing, *outputs, *processes).ret == 0
    assert main(["page", "out.json", "--bundle", "out.bundle", "--out", "again.html"]) == 0
    again = (drawing.path / "again.html").read_text(encoding="utf-8")
    assert again == (drawing.path / "run.html").read_text(encoding="utf-8")
    assert "<svg><text>x &amp; y</text></svg>" in again
    assert "chapter 7" in again
    assert "F &amp; f" in again


def test_a_bundle_is_the_same_each_time(drawing: pytest.Pytester) -> None:
    for name in ("a", "b"):
        run(drawing, f"--claims-bundle={name}")
    assert (drawing.path / "a").read_bytes() == (drawing.path / "b").read_bytes()


def test_a_project_that_draws_nothing_has_a_bundle_too(project: pytest.Pytester) -> None:
    assert run(project, "--claims-bundle=b").ret == 0
    assert list(read_bundle(project.path / "b").extras.figures) == []


def test_without_a_bundle_the_page_has_the_claims_and_says_what_it_lacks(
    drawing: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    run(drawing, "--claims-json=out.json")
    capsys.readouterr()
    assert main(["page", "out.json", "--out", "page.html"]) == 0
    size = (drawing.path / "page.html").stat().st_size
    said = f"wrote the page of out.json to page.html ({size:,} bytes)\n"
    assert capsys.readouterr().out == said
    page = (drawing.path / "page.html").read_text(encoding="utf-8")
    assert 'id="claim-x_is_large"' in page
    assert LACKING in html.unescape(page)
    assert "<svg><text>" not in page


def test_kinds_of_evidence_of_another_project_can_be_filtered(tmp_path: Path) -> None:
    one = subject(c=claim(evidence="weighed"), d=claim(evidence="exact"))
    write_record(tmp_path / "out.json", make_record([one], seed=0, device="cpu"))
    page = page_of_record(tmp_path / "out.json")
    kinds = re.findall(r'name="evidence" value="(\w+)"', page)
    assert kinds == ["exact", "weighed"]


def test_a_part_of_a_run_has_no_bundle(drawing: pytest.Pytester) -> None:
    result = run(drawing, "--claims-bundle=b", "-kx_is")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--claims-bundle=b draws a whole run; drop -k x_is"])
    facts(drawing, x=1)
    result = run(drawing, "--claims-bundle=b", "-x")
    result.stdout.fnmatch_lines(["--claims-bundle=b: not written: 1 of 2 claims not judged*"])
    assert not (drawing.path / "b").exists()


# what is refused


def files(tmp_path: Path, **changes: Any) -> tuple[Path, Path]:
    """A record, and the bundle of one that differs from it by the changes."""
    one = subject("sha256:a", c=claim())
    record, bundle = tmp_path / "out.json", tmp_path / "out.bundle"
    write_record(record, make_record([one], seed=0, device="cpu"))
    seed = changes.pop("seed", 0)
    drawn = make_record([replace(one, **changes)], seed=seed, device="cpu")
    figure = Figure("f", "F", "about", "<svg/>", "1", ("c",))  # type: ignore[arg-type]
    write_bundle(bundle, drawn, PageExtras(figures=(figure,)), project=PLAIN)
    return record, bundle


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content_hash": "sha256:b"}, r"out\.bundle: was drawn of b, and the record is"),
        ({"validation_set": "sha256:w"}, "was drawn on the data sha256:w with seed 0, and the"),
        ({"seed": 3}, "with seed 3, and the record is on sha256:v with seed 0"),
    ],
)
def test_the_bundle_of_another_subject_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=message):
        page_of_record(*files(tmp_path, **changes))


def test_the_subject_that_was_drawn_comes_first(tmp_path: Path) -> None:
    _, bundle = files(tmp_path)
    other = replace(subject("sha256:b", c=claim()), name="other")
    toy = subject("sha256:a", c=claim())
    write_record(tmp_path / "two.json", make_record([other, toy], seed=0, device="cpu"))
    assert "<h1>toy, other</h1>" in page_of_record(tmp_path / "two.json", bundle)


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        content = json.loads(gzip.decompress(data))
        change(content)
        return gzip.compress(json.dumps(content).encode())

    return changed


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"{}", "not a readable bundle: Not a gzipped file"),
        (lambda data: data[:-20], "not a readable bundle: "),
        (lambda data: gzip.compress(b"[" * 100_000), "not a readable bundle: "),
        (damaged(lambda b: b.update(bundle_version=2)), r"`\$.bundle_version`"),
        (damaged(lambda b: b.update(more=1)), "unknown field `more`"),
        (damaged(lambda b: b.pop("content_hash")), "missing required field `content_hash`"),
        (
            damaged(lambda b: b["extras"]["figures"][0].update(body=3)),
            r"Expected `str`, got `int` - at `\$.extras.figures\[0\].body`",
        ),
        (
            damaged(lambda b: b["extras"]["figures"][0].update(claims=[])),
            r"figure 'f' names no claim to stand beside - at `\$.extras.figures\[0\]`",
        ),
        (damaged(lambda b: b["extras"].update(script=["x"])), r"`\$.extras.script`"),
    ],
    ids=["no gzip", "half", "deep", "version", "unknown", "missing", "body", "claims", "script"],
)
def test_what_is_no_bundle_is_refused_in_a_sentence(
    damage: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    record, bundle = files(tmp_path)
    bundle.write_bytes(damage(bundle.read_bytes()))
    with pytest.raises(RecordError, match=message) as refused:
        page_of_record(record, bundle)
    assert str(refused.value).startswith(f"{bundle}: ")


def test_a_bundle_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bundle = files(tmp_path)
    assert isinstance(read_bundle(bundle), Bundle)
    monkeypatch.setattr(verdicts.bundle, "MAX_BYTES", 100)
    with pytest.raises(RecordError, match="it holds more than the 100 bytes allowed"):
        read_bundle(bundle)


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, _ = files(tmp_path)
    out = str(tmp_path / "page.html")
    for arguments, message in (
        ([str(tmp_path / "none.json"), "--out", out], "error: " + str(tmp_path / "none.json")),
        ([str(record), "--bundle", str(tmp_path / "none"), "--out", out], "not a readable bundle"),
        ([str(record), "--out", str(tmp_path)], f"--out={tmp_path}: is a directory"),
    ):
        assert main(["page", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not Path(out).exists()
