"""The pictures of the docs, taken anew: `make screenshots`, after `make page`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from studies.__main__ import main as timeline
from tests.figures.test_browser import CHROMIUM, FLAGS

ROOT = Path(__file__).parent.parent
PICTURES = {
    "page-circuit.png": ("light", "#circuit"),
    "page-claims.png": ("dark", "#claim-anchor_attention_grows_with_degree"),
}


def main() -> int:
    page_file = ROOT / "claims.html"
    if CHROMIUM is None or not page_file.exists():
        print("needs claims.html (make page) and a Chromium", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, (scheme, place) in PICTURES.items():
            page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
            page.goto(page_file.as_uri())
            page.evaluate("place => { location.hash = place; }", place)  # which opens a card
            page.wait_for_timeout(300)
            page.locator(place).evaluate(
                "place => scrollTo(0, place.getBoundingClientRect().top + scrollY - 60)"
            )
            page.screenshot(path=ROOT / "docs" / name)
            page.close()
        for record in sorted((ROOT / "studies" / "timelines").glob("*.json")):
            with tempfile.TemporaryDirectory() as directory:
                file = Path(directory) / "timeline.html"
                timeline(["timeline", str(record), f"--page={file}"])
                page = browser.new_page(viewport={"width": 900, "height": 900})
                page.goto(file.as_uri())
                table = page.locator(".steps")
                table.screenshot(path=ROOT / "docs" / f"timeline-{record.stem}.png")
                page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
