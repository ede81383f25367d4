"""The page for people: whole in itself, readable by everybody, and nothing but the evidence."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.types import Guarantee
from expunge.ledger import ladder, page, predicate
from expunge.ledger.predicate import Claims
from expunge.ledger.statement import Evidence, Export
from expunge.testing.certificates import MadeUp

HOME = MadeUp(samples=2, models=2, audits=("membership",))
VOID = {"meta", "br"}


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


def claims(evidence: Evidence = HOME.evidence) -> Claims:
    return predicate.claims(evidence, {})


def rendered(evidence: Evidence = HOME.evidence) -> str:
    return page.render(claims(evidence), "ab" * 32)


def with_model(**fields: Any) -> Evidence:
    first, *others = HOME.evidence.models
    return replace(HOME.evidence, models=(replace(first, **fields), *others))


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_whatever_names_people_choose_the_page_stays_a_page(a: str, b: str, c: str) -> None:
    model = replace(HOME.evidence.models[0], name=a)
    dataset = replace(HOME.evidence.dataset, name=b)
    html = rendered(replace(HOME.evidence, models=(model,), dataset=dataset, issuer=c))
    read = Reader(html)
    assert read.open == []
    assert [tag for tag, _ in read.elements] == [
        tag
        for tag, _ in Reader(
            rendered(replace(HOME.evidence, models=(replace(model, name="x"),), issuer="y"))
        ).elements
    ]


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs() -> None:
    read = Reader(rendered())
    tags = {tag for tag, _ in read.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "a"}
    assert all(not name.startswith("on") for _, attributes in read.elements for name in attributes)
    style = re.search(r"<style>(.*)</style>", rendered(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = [m["content"] for m in read.of("meta") if m.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_can_be_read_by_ear_and_by_keyboard() -> None:
    read = Reader(rendered())
    assert read.open == []
    assert read.of("html") == [{"lang": "en"}]
    assert Counter(tag for tag, _ in read.elements)["h1"] == 1
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(th.get("scope") in ("row", "col") for th in read.of("th"))
    assert read.of("main")
    assert "width=device-width" in str(read.of("meta"))


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, 1.4.3."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(first), light(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_words_stand_out_from_what_is_behind_them() -> None:
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", rendered()))
    pairs = [(ink, back) for ink in ("ink", "soft", "deep") for back in ("pale", "wash")]
    pairs += [("ink", "warm"), ("soft", "warm")]
    for ink, back in pairs:
        assert contrast(colours[ink], colours[back]) >= 4.5, (ink, back)
    assert contrast("#ffffff", colours["deep"]) >= 7
    assert contrast("#ffffff", colours["soft"]) >= 4.5


def test_every_limit_and_every_level_stands_there_in_words() -> None:
    text = Reader(rendered()).text
    for limit in claims().limitations:
        assert limit.text in text
    for meaning in ladder.MEANINGS:
        assert meaning in text
    for level in claims().evidence.levels:
        assert level.why in text
    assert Counter(re.findall(r"\b(holds|not shown)\b", text))["not shown"] == 4


def test_what_was_measured_stands_there_with_its_unit() -> None:
    text = Reader(rendered()).text
    for words in (
        "Request 7d1f0c52-8b1e-4b8e-9d5c-0a4f6f1c2e77",
        "On 21 November 2026 at 14:00:06 UTC, Example Ltd accepted a request to erase.",
        "It concerned 2 rows of data, from which 2 trained models could have learnt.",
        "2 stored states that had learnt from forgotten rows went first.",
        "2 rows overwritten, and 2 stored states more of models removed.",
        "2 pieces of work, 12 visits to rows, 0.5 seconds of computing",
        "level 5 of 8",
        "0.503",
        "0.481 to 0.525",
    ):
        assert words in text


def test_it_shows_no_digit_that_is_not_in_the_claims() -> None:
    """Every long hexadecimal number on the page is one of the statement's."""
    found = set(re.findall(r"\b[0-9a-f]{64}\b", rendered()))
    assert found
    known = predicate.payload(claims()).decode() + "ab" * 32
    assert all(number in known for number in found)


@pytest.mark.parametrize("guarantee", Guarantee)
def test_each_guarantee_is_said_in_its_own_words(guarantee: Guarantee) -> None:
    promise = replace(
        HOME.evidence.models[0].promise, guarantee=guarantee, parameters={"epsilon": 0.5}
    )
    text = Reader(rendered(with_model(promise=promise))).text
    assert f"Model “income 0” {guarantee.value} by the method" in text
    assert "epsilon 0.5" in text
    if guarantee is not Guarantee.EXACT:
        weaker = replace(HOME.evidence, models=(replace(HOME.evidence.models[0], promise=promise),))
        assert "byte for byte" not in Reader(rendered(weaker)).text


def test_copies_that_left_are_listed() -> None:
    exports = (Export("2026-11-21T15:00:00Z", "0" * 64, 3),)
    assert "1 copy of it was exported" in Reader(rendered(with_model(exports=exports))).text


def test_a_request_for_nothing_new_says_so() -> None:
    home = MadeUp(samples=0, models=1)
    request = replace(home.evidence.request, already=3)
    evidence = replace(home.evidence, request=request, destroyed=None)
    text = Reader(rendered(evidence)).text
    assert "those that it named had been forgotten before" in text
    assert "nothing to destroy" in text


def test_a_dataset_without_models_says_so() -> None:
    assert (
        "No model learns from this dataset"
        in Reader(rendered(replace(HOME.evidence, models=(), absences=()))).text
    )


def test_a_model_that_is_not_whole_says_so() -> None:
    served = replace(HOME.evidence.models[0].served, whole=False)
    assert "still being rebuilt" in Reader(rendered(with_model(served=served, rebuilt=None))).text


def test_its_commands_are_those_that_work() -> None:
    # The same words are run, on a real certificate, by test_foreign.py.
    html = rendered()
    assert (
        "openssl dgst -sha256 -verify keys/certificate.pem -signature statement.sig signed" in html
    )
    assert f"--signature models/{HOME.ids[0]}.sig" in html


def test_a_step_that_finished_several_requests_says_so() -> None:
    destroyed = replace(HOME.evidence.destroyed, checkpoints=0, requests=3)  # type: ignore[type-var]
    text = Reader(rendered(replace(HOME.evidence, destroyed=destroyed))).text
    assert "2 rows overwritten, for 3 requests together." in text
    assert "states more of models" not in text


def test_measured_values_are_read_as_people_read_them() -> None:
    assert [page.figure(one) for one in (True, False, 12_000, "n/a", 0.5)] == [
        *("yes", "no", "12,000", "n/a", "0.5"),
    ]
