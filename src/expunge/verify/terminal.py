"""A report in a terminal: 80 columns are enough, more are used, and colour is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from expunge.ledger import ladder
from expunge.verify import limits
from expunge.verify.page import ANSWERS, HEADINGS, MARKS, totals, words
from expunge.verify.report import GROUPS, RETRAINED, Check, Range, Report, Verdict

_STYLES: Final[dict[Verdict, str]] = {
    "passed": "green",
    "failed": "bold red",
    "inconclusive": "yellow",
}
_WIDE: Final = 114
_INDENT: Final = 16
_WIDTHS: Final = (14, 18, 27, 23, 13, 9)
_HEADER: Final = ("", "", "measured (95 %)", "retrained models", "margin", "could see")


@dataclass(frozen=True, slots=True)
class Shown:
    """A report that fits itself to the width it is given."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from shown(self.report, wide=options.max_width >= _WIDE)


def shown(report: Report, *, wide: bool) -> Iterator[RenderableType]:
    """``report``, part by part."""
    yield Text(f"Audit of {report.subject}", style="bold")
    if wide:
        yield _row([Text(words, style="dim") for words in _HEADER])
    else:
        yield Text("")
    for group in GROUPS:
        checks = [check for check in report.checks if check.group == group]
        if checks:
            yield Text(HEADINGS[group], style="bold")
            for check in checks:
                yield _check(check, wide=wide)
            yield Text("")
    yield _answer(report)
    yield Text("")
    yield Text(limits.LOWER_BOUND, style="dim")


def _check(check: Check, *, wide: bool) -> RenderableType:
    """One line of figures, and below it why."""
    said = Text(f"{MARKS[check.verdict]} {check.verdict}", style=_STYLES[check.verdict])
    cells = [said, Text(words(check.name)), _figures(check)]
    beside = [_null(check), _margin(check), _short(check.minimum_effect)]
    below: list[RenderableType] = [Text(check.why, style="dim")]
    if not wide and check.value is not None:
        pairs = zip(("retrained", "margin", "could see"), beside, strict=True)
        below.insert(0, Text(" · ".join(f"{what} {said}" for what, said in pairs if said != "–")))
    figures = _row([*cells, *map(Text, beside)] if wide else cells)
    return Group(figures, *(Padding(one, (0, 0, 0, _INDENT)) for one in below))


def _row(cells: Sequence[Text]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for width in _WIDTHS[: len(cells) - 1]:
        table.add_column(width=width)
    table.add_column()
    table.add_row(*cells)
    return table


def _figures(check: Check) -> Text:
    if check.value is None:
        return Text("–")
    shown = f"{_short(check.value)} {check.unit}".rstrip()
    return Text(f"{shown} ({_range(check.interval)})" if check.interval else shown)


def _null(check: Check) -> str:
    if check.null is None:
        return "–"
    return _range(check.null) + ("" if check.counts.get(RETRAINED) else " (theory)")


def _margin(check: Check) -> str:
    if check.margin is None:
        return "–"
    ideal = "" if check.ideal is None else f"{_short(check.ideal)} "
    return f"{ideal}± {_short(check.margin)}"


def _range(pair: Range) -> str:
    return f"{_short(pair[0])} to {_short(pair[1])}"


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _answer(report: Report) -> RenderableType:
    verdict = report.verdict
    style = _STYLES[verdict]
    answer = f"[{style}]{MARKS[verdict]} {verdict.capitalize()}.[/] {ANSWERS[verdict]}"
    level = f"Checks: {totals(report)}. Evidence: {escape(report.level_name)}."
    if report.level:
        level = (
            f"Checks: {totals(report)}. Evidence: level {report.level} of {len(ladder.LEVELS)}, "
            f"{report.level_name}."
        )
    return Group(Text.from_markup(answer), Text(level))
