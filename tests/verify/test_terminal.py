"""A report in a terminal: it fits 80 columns, and says all without colour."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.markup import escape

from expunge.verify import limits, page, terminal
from expunge.verify.report import Report

from .conftest import FAILED, OPEN, PASSED, check, report  # noqa: TID252 - tests are no package

WHOLE = report(PASSED, FAILED, OPEN)


def shown(whole: Report, width: int) -> str:
    """As on a terminal without colours."""
    file = io.StringIO()
    Console(width=width, highlight=False, file=file).print(terminal.Shown(whole))
    return file.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_every_line_fits_and_nothing_is_cut(width: int) -> None:
    text = shown(WHOLE, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for one in (PASSED, FAILED, OPEN):
        assert one.why in flat(text)
        assert f"{page.MARKS[one.verdict]} {one.verdict}" in text
    assert page.ANSWERS["failed"] in flat(text)
    assert limits.LOWER_BOUND in flat(text)
    assert "1 passed, 1 failed, 1 inconclusive" in flat(text)


def test_figures_stand_beside_what_they_are_compared_with() -> None:
    narrow, wide = flat(shown(WHOLE, 80)), flat(shown(WHOLE, 120))
    assert "0.503 AUC (0.47 to 0.536)" in narrow
    assert "retrained 0.46 to 0.54 · margin 0.5 ± 0.05 · could see 0.048" in narrow
    assert "measured (95 %) retrained models margin could see" in wide
    assert "0.503 AUC (0.47 to 0.536) 0.46 to 0.54 0.5 ± 0.05 0.048" in wide
    bare = report(check(counts={}))
    assert "retrained 0.46 to 0.54 (theory)" in flat(shown(bare, 80))


def test_levels_are_said() -> None:
    assert "Evidence: level 5 of 8, attacked in vain." in flat(shown(report(PASSED), 80))
    assert "Evidence: no level shown." in flat(shown(WHOLE, 80))


def test_words_of_a_report_are_words_not_markup() -> None:
    odd = "[red]x[/nothing]"
    whole = report(check(why=odd, name="n", question=odd), subject=odd)
    assert shown(whole, 80).count(odd) == 2
    assert escape(odd) != odd
