"""The page in a real browser, at the width of a phone and of a desk: nothing asked for, no error,
and all of it works."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from circuits.subject import REGISTRY
from claims.project import PROJECT
from figures.cases import pytest_claims_case
from figures.diagram import claims_by_part
from tests.pages import shipped, shipped_extras, shipped_page
from tests.served import PATIENCE, serving
from verdicts.compare import compare
from verdicts.history import read_history, render_history_page
from verdicts.page import render_page
from verdicts.schema import AnswersChange, ShownCase
from verdicts.side_by_side import render_side_by_side

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the page is not tested in a browser: pip install playwright"
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="the page is not tested in a browser: there is none here (apt-get install chromium)",
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
WIDTHS = (400, 1400)
PAGE_HOST = "http://127.0.0.1"


def about(part: str) -> tuple[str, ...]:
    """The claims of the shipped page that are about a part."""
    claims = shipped()[1].subjects[0].claims
    return claims_by_part({claim.id: claim for claim in claims})[part]


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        sync_api.expect.set_options(timeout=1000 * PATIENCE)
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": ""},
            timeout=1000 * PATIENCE,
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "claims.html"
    path.write_text(shipped_page(), encoding="utf-8")
    return path.as_uri()


class Watched:
    """A page, with every complaint of the browser and every request that it makes."""

    def __init__(
        self, browser: sync_api.Browser, address: str, *, width: int = 1400, dark: bool = False
    ) -> None:
        self.page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        self.page.set_default_timeout(1000 * PATIENCE)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def shown_claims(self) -> list[str]:
        return self.page.eval_on_selector_all(
            ".card", "cards => cards.filter(c => c.offsetParent).map(c => c.id.slice(6))"
        )


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width}px")
def watched(
    request: pytest.FixtureRequest, browser: sync_api.Browser, file: str
) -> Iterator[Watched]:
    opened = Watched(browser, file, width=request.param, dark=request.param == WIDTHS[0])
    yield opened
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("data:", "file:"))] == []
    opened.page.close()


def ids(**wanted: str) -> list[str]:
    claims = shipped()[1].subjects[0].claims
    return [
        claim.id
        for claim in claims
        if all(getattr(claim, key) == value for key, value in wanted.items())
    ]


def shows(page: sync_api.Page, count: int) -> None:
    sync_api.expect(page.locator("output")).to_have_text(f"{count} of {len(ids())} shown")


def test_every_claim_is_shown_and_nothing_runs_over_the_edge(watched: Watched) -> None:
    assert sorted(watched.shown_claims()) == sorted(ids())
    assert watched.page.locator("output").inner_text() == f"{len(ids())} of {len(ids())} shown"
    width = watched.page.viewport_size["width"]
    assert watched.page.evaluate("document.documentElement.scrollWidth") == width
    over = (
        "es => es.filter(e => e.offsetParent && !e.closest('.scrolls,nav') &&"
        " e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert watched.page.eval_on_selector_all("main *:not(svg *)", over) == 0


def is_readable(page: sync_api.Page) -> None:
    """No text is too small."""
    in_drawings = (
        "ts => ts.map(t => parseFloat(getComputedStyle(t).fontSize) *"
        " Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b))"
    )
    assert min(page.eval_on_selector_all("svg text", in_drawings)) >= 11
    elsewhere = "es => es.map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(page.eval_on_selector_all("body *:not(svg *)", elsewhere)) >= 11


def test_no_text_is_too_small_to_read(watched: Watched) -> None:
    watched.page.get_by_role("button", name="Open those shown").click()
    is_readable(watched.page)


def test_cards_are_closed_until_they_are_asked_for(watched: Watched) -> None:
    page, cards = watched.page, watched.page.locator(".card details")
    open_ones = watched.page.locator(".card details[open]")
    assert open_ones.count() == 0
    if page.viewport_size["width"] == WIDTHS[1]:
        assert page.evaluate("document.documentElement.scrollHeight") < 6000
    cards.first.locator("summary").first.click()
    assert open_ones.count() == 1
    page.get_by_role("link", name="the pointer needs degree").first.click()
    opened = page.locator("#claim-the_pointer_needs_degree details").first
    sync_api.expect(opened).to_have_attribute("open", "")
    page.get_by_role("checkbox", name=re.compile("^proved")).check()
    page.get_by_role("button", name="Close all").click()
    page.get_by_role("button", name="Open those shown").click()
    assert open_ones.count() == len(ids(evidence="proved"))
    page.get_by_role("button", name="Close all").click()
    assert open_ones.count() == 0


def test_an_open_card_uses_its_whole_width(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("button", name="Open those shown").click()
    reached = page.eval_on_selector_all(
        ".card .inside",
        """insides => insides.map(inside => {
            const box = inside.getBoundingClientRect();
            const marks = [...inside.querySelectorAll("figure, .axis, .measure p")];
            const right = Math.max(...marks.map(mark => mark.getBoundingClientRect().right));
            return (right - box.left) / box.width;
        })""",
    )
    assert len(reached) == len(ids())
    assert min(reached) > 0.7


def test_the_viewer_is_three_tab_stops_away(watched: Watched) -> None:
    for _ in range(3):
        watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.getAttribute('href')") == "#viewer"


def test_filters_show_what_fits_and_reset(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("checkbox", name=re.compile("^refuted")).check()
    assert sorted(watched.shown_claims()) == sorted(ids(verdict="refuted"))
    page.get_by_role("checkbox", name=re.compile("^searched")).check()
    assert sorted(watched.shown_claims()) == sorted(ids(verdict="refuted", evidence="searched"))
    page.get_by_role("button", name="Show all").click()
    shows(page, 50)
    page.get_by_role("checkbox", name=re.compile("^last MLP")).check()
    assert sorted(watched.shown_claims()) == sorted(about("last MLP"))
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Find").fill("erasing degree")
    assert watched.shown_claims() == ["the_pointer_needs_degree"]
    assert page.locator("output").inner_text() == "1 of 50 shown"


def test_filters_work_by_keyboard(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("checkbox", name=re.compile("^proved")).focus()
    page.keyboard.press("Space")
    assert sorted(watched.shown_claims()) == sorted(ids(evidence="proved"))
    page.get_by_role("button", name="Show all").focus()
    page.keyboard.press("Enter")
    shows(page, 50)


def test_a_link_into_what_is_filtered_away_shows_it(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("checkbox", name=re.compile("^proved")).check()
    page.evaluate("location.hash = 'figure-dimensions'")
    sync_api.expect(page.locator("#figure-dimensions")).to_be_visible()
    shows(page, 50)


def test_a_node_or_path_of_the_circuit_opens_its_claims(watched: Watched) -> None:
    page = watched.page
    page.locator(
        ".circuit a[aria-label^='dimension'], .circuit a[aria-label^='residual']"
    ).first.click()
    shows(page, 6)
    assert sorted(watched.shown_claims()) == sorted(about("dimension"))
    page.locator(".circuit a[aria-label^='embed into the key']").first.focus()
    page.keyboard.press("Enter")
    shows(page, 1)
    assert watched.shown_claims() == ["key_paths_alone_do_not_reproduce_the_pattern"]


def viewer(page: sync_api.Page) -> dict[str, object]:
    return json.loads(page.locator("#viewer-data").text_content())


def test_a_vertex_shades_all_by_its_attention(watched: Watched) -> None:
    page, data = watched.page, viewer(watched.page)
    shown = data["graphs"][data["first"]]
    layer, head = map(int, data["start"].split("."))
    for vertex in (4, 7):
        page.locator(f".viewer [data-vertex='{vertex}']").hover()
        row = shown["patterns"][layer][head][vertex]
        assert page.locator(".viewer .share").all_text_contents() == [
            f"{value / 1000:.2f}" for value in row
        ]
        assert f"vertex {vertex}" in page.locator(".told").inner_text()
        assert page.locator(".viewer .chosen").get_attribute("data-vertex") == str(vertex)


def test_the_viewer_leaves_the_drawings_of_the_gate_alone(
    browser: sync_api.Browser, tmp_path: Path
) -> None:
    subject, record = shipped()
    result = record.subjects[0]
    newly = AnswersChange("c", "m", (7,), (), 0.5, "one", (ShownCase(7, "wrong", "I?"),))
    same = compare(result, result, whole=True)
    gated = replace(result, comparison=replace(same, answers=(newly,)))
    drawn = pytest_claims_case(subject, 7).drawing
    assert drawn is not None
    extras = dataclasses.replace(shipped_extras(), cases={7: drawn})
    file = tmp_path / "gate.html"
    file.write_text(
        render_page(replace(record, subjects=(gated,)), extras, project=PROJECT), encoding="utf-8"
    )
    opened = Watched(browser, file.as_uri())
    assert opened.page.locator("#gate .vertex").count() == 0
    assert opened.page.locator(".viewer .vertex").count() == 10
    assert opened.complaints == []
    opened.page.close()


def test_the_same_cell_is_lit_in_both(watched: Watched) -> None:
    page = watched.page
    page.locator(".pattern [data-cell='37']").hover()
    assert page.locator(".viewer .chosen").get_attribute("data-vertex") == "3"
    assert page.locator(".pattern .lit").get_attribute("visibility") == "visible"
    ring, vertex = page.locator(".drawing .ring"), page.locator(".viewer [data-vertex='7'] circle")
    assert ring.get_attribute("cx") == vertex.get_attribute("cx")
    cell = page.locator(".pattern [data-cell='37']")
    assert float(page.locator(".pattern .lit").get_attribute("x")) == pytest.approx(
        float(cell.get_attribute("x"))
    )


def test_the_viewer_works_by_keyboard(watched: Watched) -> None:
    page = watched.page
    page.locator(".viewer [data-vertex][tabindex='0']").focus()
    start = int(page.locator(".viewer .chosen").get_attribute("data-vertex"))
    page.keyboard.press("ArrowRight")
    assert page.locator(".viewer .chosen").get_attribute("data-vertex") == str((start + 1) % 10)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.dataset.vertex") == str((start - 1) % 10)
    assert "attention" in page.evaluate("document.activeElement.getAttribute('aria-label')")


def test_every_graph_and_head_can_be_chosen(watched: Watched) -> None:
    page, data = watched.page, viewer(watched.page)
    choose = page.locator("select[name=graph]")
    for index, shown in enumerate(data["graphs"]):
        choose.select_option(str(index))
        assert page.locator(".viewer .edge").count() == len(shown["edges"])
        assert page.locator(".viewer .obstructs").count() == len(shown["obstruction"])
        assert shown["graph6"] in page.locator(".about").inner_text()
        if shown["vertex"] is not None:
            assert page.locator(".viewer .chosen").get_attribute("data-vertex") == str(
                shown["vertex"]
            )
    page.locator("select[name=head]").select_option("0.5")
    row = data["graphs"][-1]["patterns"][0][5][
        int(page.locator(".viewer .chosen").get_attribute("data-vertex"))
    ]
    assert page.locator(".viewer .share").all_text_contents() == [
        f"{value / 1000:.2f}" for value in row
    ]


def test_a_heat_map_tells_its_numbers(watched: Watched) -> None:
    watched.page.evaluate("location.hash = 'figure-reader-pattern'")  # which opens its card
    heat = watched.page.locator("#figure-reader-pattern .heat")
    sync_api.expect(heat).to_be_visible()
    cells = json.loads(heat.get_attribute("data-cells"))
    heat.focus()
    watched.page.keyboard.press("ArrowDown")
    watched.page.keyboard.press("ArrowDown")
    told = watched.page.locator("#readout").inner_text()
    assert told.endswith(f"position 0: {cells[1][0]}")
    assert told.startswith("vertex, degree 1, ")


def test_edges_of_a_counterexample_can_be_copied(watched: Watched) -> None:
    button = watched.page.get_by_role("button", name="Copy the edges").first
    button.click()
    watched.page.wait_for_selector("#readout:not([hidden])")
    assert (
        watched.page.locator("#readout").inner_text()
        == f"copied: {button.get_attribute('data-copy')}"
    )


def test_what_can_be_reached_has_a_name(watched: Watched) -> None:
    named = (
        "e => ['aria-label', 'alt'].some(a => e.getAttribute(a)) || e.textContent.trim() ||"
        " e.labels?.length || e.querySelector('[alt]')"
    )
    nameless = f"es => es.filter(e => !({named})(e)).map(e => e.outerHTML.slice(0, 99))"
    reachable = "a, button, input, select, summary, [tabindex='0'], [role=img], [role=button]"
    assert watched.page.eval_on_selector_all(reachable, nameless) == []


def test_a_hostile_name_does_nothing(browser: sync_api.Browser, tmp_path: Path) -> None:
    from tests.pages import shipped_extras
    from verdicts.page import render_page

    ledger = shipped()[1]
    name = (
        "<img src=x"
        " onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
    )
    path = tmp_path / "hostile.html"
    path.write_text(
        render_page(
            replace(ledger, subjects=(replace(ledger.subjects[0], name=name),)), shipped_extras()
        ),
        encoding="utf-8",
    )
    opened = Watched(browser, path.as_uri())
    assert opened.page.title() == f"{name}: claims"
    assert opened.complaints == []
    opened.page.close()


def test_the_served_page_looks_at_what_is_typed(browser: sync_api.Browser) -> None:
    with serving(shipped()[0], shipped_page(served=True)) as server:
        opened = Watched(browser, server.address)
        page, field = opened.page, opened.page.get_by_label(re.compile("^Or type one"))
        field.fill("0-1 1-2 2-3")
        page.keyboard.press("Enter")
        sync_api.expect(page.locator(".viewer .edge")).to_have_count(3)
        field.fill("0-99")
        page.get_by_role("button", name="Look").click()
        sync_api.expect(page.locator(".about")).to_have_text(
            "edge 0-99: an edge joins two different vertices from 0 to 9"
        )
        assert page.locator(".viewer .edge").count() == 3, "what was there stays"
        assert {
            url.rpartition(":")[0] for url in opened.requests if not url.startswith("data:")
        } == {PAGE_HOST}
        assert [text for text in opened.complaints if "400" not in text] == []
        page.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_records_side_by_side_fit_and_can_be_read(
    browser: sync_api.Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    names = ("default", "seed-2", "seed-5", "seed-6", "seed-7", "transformer_2024-09-05_13-28-07")
    path = tmp_path / "compare.html"
    path.write_text(
        render_side_by_side([REGISTRY / name / "verdicts.json" for name in names], project=PROJECT),
        encoding="utf-8",
    )
    opened = Watched(browser, path.as_uri(), width=width, dark=dark)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    is_readable(page)
    colours = page.eval_on_selector_all(
        "#values ~ .lead .mark path", "ps => ps.map(p => getComputedStyle(p).fill)"
    )
    assert len(set(colours)) == len(names)
    shown = page.locator(".both:visible")
    assert shown.count() == len(ids())
    page.get_by_role("checkbox", name="Only claims whose verdicts differ").check()
    assert 0 < shown.count() == page.locator("#differ ~ .scrolls tbody tr").count() < len(ids())
    link = page.locator("#differ ~ .scrolls a").last
    link.click()
    place = link.get_attribute("href")
    assert page.locator(place).evaluate("e => e.getBoundingClientRect().top") < 900
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("data:", "file:"))] == []
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_history_fits_and_can_be_read(
    browser: sync_api.Browser, tmp_path: Path, width: int
) -> None:
    far = tmp_path / ("long" * 20)  # a path is shown, and nothing says how long it is
    for name in ("default", "seed-2", "seed-5", "seed-6", "seed-7"):
        (far / name).mkdir(parents=True)
        shutil.copy(REGISTRY / name / "verdicts.json", far / name)
    history = read_history(sorted(far.glob("*/verdicts.json")))
    path = tmp_path / "history.html"
    path.write_text(render_history_page(history), encoding="utf-8")
    opened = Watched(browser, path.as_uri(), width=width, dark=width == WIDTHS[0])
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    is_readable(page)
    assert page.locator("#lost ~ .lost li").count() == len(history.losses())
    link = page.locator("#lost ~ .lost a").last
    link.click()
    heading = page.locator(f"h4{link.get_attribute('href')}")
    assert heading.evaluate("e => e.getBoundingClientRect().top") < 900
    assert opened.complaints == []
    page.close()
