"""The page as people see it: in Chromium, on a desk and on a telephone, by day and by night.

Skipped where Playwright or Debian's Chromium are missing: `apt-get install chromium` brings it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expunge.verify import page

from .conftest import FAILED, OPEN, PASSED, check, report  # noqa: TID252 - tests are no package

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

LONG = "membership_of_a_very_long_name_without_any_blank_at_all_" * 3
REPORTS = {
    "failed": report(PASSED, FAILED, OPEN),
    "passed": report(PASSED, OPEN, settings={"sha256": "ab" * 32, "kind": "loss"}, version=None),
    "odd": report(
        check(name=LONG, question=LONG, why=LONG, unit="µ" * 20, counts={LONG: 10**12}),
        subject=LONG,
        settings={LONG: LONG},
    ),
}

# Every text, the colour behind it, and WCAG's contrast of the two.
CONTRASTS = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[0-9.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(c)) return c;
    }
    return "none";
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || ["TITLE", "DESC"].includes(e.tagName.toUpperCase())) continue;
    const s = getComputedStyle(e);
    const [a, b] = [light(e.closest("svg") ? s.fill : s.color), light(behind(e))];
    found.push([n.data.trim(), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""
# Pairs of letters of one plot that lie on each other, and letters that leave their plot.
COLLISIONS = """() => {
  const found = [];
  for (const plot of document.querySelectorAll("svg.plot, svg.ruler")) {
    const box = plot.getBoundingClientRect();
    const texts = [...plot.querySelectorAll("text")];
    const boxes = texts.map((t) => t.getBoundingClientRect());
    boxes.forEach((b, i) => {
      if (b.left < box.left - 2 || b.right > box.right + 2 || b.bottom > box.bottom + 2) {
        found.push("outside: " + texts[i].textContent);
      }
      boxes.slice(0, i).forEach((a, j) => {
        const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        if (!apart) found.push(texts[i].textContent + " on " + texts[j].textContent);
      });
    });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


class Opened:
    """A page in a window, and all that was said or asked for while it was opened."""

    def __init__(self, browser: Any, file: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())


@pytest.fixture(params=[1280, 390], ids=["desk", "telephone"])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=REPORTS)
def opened(
    request: pytest.FixtureRequest, browser: Any, tmp_path: Path, width: int, scheme: str
) -> Iterator[Opened]:
    file = tmp_path / "audit.html"
    file.write_text(page.render(REPORTS[request.param]), encoding="utf-8")
    found = Opened(browser, file, width, scheme)
    yield found
    found.context.close()


def test_it_looks_as_it_should(opened: Opened, width: int, scheme: str) -> None:
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("file:")] == []
    assert len(opened.asked) == 1
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    low = {text: seen for text, seen in opened.page.evaluate(CONTRASTS) if seen < 4.5}
    assert low == {}
    assert opened.page.evaluate(COLLISIONS) == []
    paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    # The answer stands on the first screen.
    said = opened.page.locator(".answer .said").bounding_box()
    assert said["y"] + said["height"] < 450

    # Tables become cards on a telephone; their headings stay for ears, and stand beside each figure.
    heads = opened.page.locator("table.stack thead th")
    assert heads.all_text_contents()[0] == "Check"
    shown = opened.page.locator("td[data-of='Margin']").first
    before = shown.evaluate("e => getComputedStyle(e, '::before').content")
    assert ("Margin" in before) == (width == 390)
