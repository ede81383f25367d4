"""The page of an audit: whole in itself, readable by everybody, and nothing but the report."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.ledger import ladder
from expunge.verify import limits, page
from expunge.verify.report import Curve, Report, Series

from .conftest import FAILED, OPEN, PASSED, check, report  # noqa: TID252 - tests are no package

VOID = {"meta", "br"}
SCORES = {"source": "scores", "sha256": "ab" * 32, "kind": "loss", "margin": 0.1, "fpr": 0.01}


class Reader(HTMLParser):
    """Elements, texts, and whether everything that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(whole: Report | None = None) -> Reader:
    return Reader(page.render(whole or report(PASSED, FAILED, OPEN)))


def tags(whole: Report) -> list[str]:
    return [tag for tag, _ in read(whole).elements]


def named(words: str, number: float = 0.5) -> Report:
    """A report that says ``words`` wherever words may stand."""
    one = check(
        name=words,
        question=words,
        unit=words,
        why=words,
        source=words,
        counts={words: 3},
    )
    curve = Curve("tradeoff", words, words, words, (Series(words, (number,), (number,), "served"),))
    return report(
        one,
        subject=words,
        version=words,
        guarantee=words,
        curves=(curve,),
        settings={words: words, "list": [words], "sha256": words, "kind": words},
    )


@settings(max_examples=40)
@given(
    st.text(min_size=1, max_size=20)
    | st.sampled_from(['<b x="', "</style>", "--><script>", "{{ 7*7 }}"])
)
def test_whatever_words_a_report_has_the_page_stays_a_page(words: str) -> None:
    found = read(named(words))
    assert found.open == []
    assert [tag for tag, _ in found.elements] == tags(named("x"))
    assert "49" not in read(named("{{ 7*7 }}")).text


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs() -> None:
    html = page.render(report(PASSED, FAILED, OPEN))
    found = Reader(html)
    names = {tag for tag, _ in found.elements}
    assert not names & {"script", "link", "img", "image", "iframe", "object", "embed", "form", "a"}
    assert not names & {"base", "use", "foreignobject", "animate", "set"}
    assert all(not name.startswith("on") for _, attributes in found.elements for name in attributes)
    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert style is not None
    assert set(re.findall(r"url\([^)]*\)", html)) == {"url(#hatch)"}
    assert "@import" not in style[1]
    assert "://" not in html
    policy = [m["content"] for m in found.of("meta") if m.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_can_be_read_by_ear_and_by_keyboard() -> None:
    found = read()
    assert found.open == []
    assert found.of("html") == [{"lang": "en"}]
    assert Counter(tag for tag, _ in found.elements)["h1"] == 1
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(th.get("scope") in ("row", "col") for th in found.of("th"))
    ids = {str(a["id"]) for _, a in found.elements if "id" in a}
    for drawing in found.of("svg"):
        if drawing.get("aria-hidden") == "true":
            continue
        assert drawing["role"] == "img"
        labels = str(drawing.get("aria-labelledby") or "").split()
        assert drawing.get("aria-label") or (labels and set(labels) <= ids)
    assert len(found.of("desc")) == len(found.of("figure")) == 4
    assert found.of("main")
    assert "width=device-width" in str(found.of("meta"))


@pytest.mark.parametrize("checks", [(PASSED,), (PASSED, FAILED), (OPEN,), ()])
def test_the_answer_comes_first_and_in_words(checks: Any) -> None:
    whole = report(*checks)
    text = read(whole).text
    start = text.index(page.ANSWERS[whole.verdict])
    assert whole.verdict.capitalize() in text[:start]
    assert start < text.index("What was asked") < text.index("What was found")
    for other in set(page.ANSWERS) - {whole.verdict}:
        assert page.ANSWERS[other] not in text


def test_every_check_stands_beside_its_null_its_margin_and_what_it_could_have_seen() -> None:
    text = read().text
    for words in (
        "membership AUC ✓ passed 0.5031 AUC 0.46 to 0.54 0.5 ± 0.05 0.048",
        "LiRA ✗ failed 0.71 AUC 0.46 to 0.54 0.5 ± 0.05 0.048",
        "gold accuracy test (not needed) ? inconclusive – – ± 0.02 –",
        "95 % interval 0.47 to 0.536",
        "500 forgotten rows 1,500 unseen rows 8 retrained models",
    ):
        assert words in text
    for one in (PASSED, FAILED, OPEN):
        assert text.count(one.why) == text.count(one.question) == text.count(one.source) == 1


def test_a_null_that_nobody_measured_is_said_to_be_theory() -> None:
    bare = report(check(counts={"rows": 9}))
    assert "0.46 to 0.54 (by theory)" in read(bare).text
    assert limits.NO_RETRAIN in read(bare).text
    assert "(by theory)" not in read().text
    assert limits.NO_RETRAIN not in read().text


def test_levels_are_said_as_they_are() -> None:
    shown = report(PASSED, OPEN)
    assert f"level 5 of {len(ladder.LEVELS)} attacked in vain" in read(shown).text
    assert ladder.MEANINGS[4] in read(shown).text
    assert "as a whole is not passed" not in read(shown).text
    gold = check(name="gold", group="gold-standard")
    mixed = report(gold, check(verdict="inconclusive"))
    assert "as a whole is not passed" in read(mixed).text
    assert "Evidence none no level shown" in read().text


def test_limits_stand_there_and_no_word_of_law_is_promised() -> None:
    for settings_ in ({}, SCORES):
        text = read(report(PASSED, version=None, settings=settings_)).text
        for limit in (limits.LOWER_BOUND, limits.NOT_LAW, limits.UNBOUND, limits.OF_THE_ROWS):
            assert limit in text
        assert not re.search(r"complian|GDPR|CCPA|guaranteed|certif", text, re.IGNORECASE)
    assert limits.UNBOUND not in read().text


def test_it_says_how_to_make_the_audit_again() -> None:
    text = read(report(PASSED, settings=SCORES)).text
    assert "sha256sum FILE" in text
    assert "expunge audit --scores FILE --kind loss --margin 0.1 --fpr 0.01" in text
    assert "sha256sum" not in read().text


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, 1.4.3."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(first), light(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_words_stand_out_from_what_is_behind_them_by_day_and_by_night() -> None:
    html = page.render(report(PASSED))
    schemes = re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
        pairs = [("ink", back) for back in ("paper", "pale", "wash", "warm", "badpale")]
        pairs += [("soft", back) for back in ("paper", "wash", "pale")]
        pairs += [("deep", "paper"), ("on", "deep"), ("paper", "bad"), ("warn", "paper")]
        for ink, back in pairs:
            assert contrast(colours[ink], colours[back]) >= 4.5, (ink, back)
