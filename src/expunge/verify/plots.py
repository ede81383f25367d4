"""Where the lines, bars and marks of a report's plots lie. The page's template draws them.

Plots are 360 wide and 250 high, which on a phone and in two columns on a desk is about their
size in pixels, so that their letters can be read on both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from expunge.verify.report import Check, Curve, Series

WIDTH: Final = 360.0
HEIGHT: Final = 250.0
LEFT: Final = 60.0
RIGHT: Final = 350.0
TOP: Final = 10.0
BOTTOM: Final = 208.0
_TICKS: Final = 5
_MOST_DECADES: Final = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of one axis become places.

    Attributes:
        low: Number at the axis's beginning; smaller ones are drawn there.
        high: Number at its end.
        start: Place of ``low``.
        end: Place of ``high``.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, number: float) -> float:
        """The place of ``number``, rounded to a tenth."""
        kept = min(max(number, self.low), self.high)
        share = (self._of(kept) - self._of(self.low)) / (self._of(self.high) - self._of(self.low))
        return round(self.start + share * (self.end - self.start), 1)

    def _of(self, number: float) -> float:
        return math.log10(number) if self.log else number

    def ticks(self) -> tuple[Tick, ...]:
        """Round numbers along the axis."""
        return tuple(Tick(self(number), _label(number, self.log)) for number in self._rounds())

    def _rounds(self) -> Sequence[float]:
        if self.log:
            decades = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
            return [10.0**decade for decade in decades]
        step = _round_step((self.high - self.low) / _TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One series, drawn.

    Attributes:
        line: An SVG path; empty where only marks are drawn.
        area: The path that is filled below it; empty where nothing is.
        marks: Places of single points.
    """

    name: str
    role: str
    line: str
    area: str
    marks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A curve, drawn; and the same in words, for those who cannot see it."""

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class Ruler:
    """A check's figures along one line. Places are in percent of its width.

    Attributes:
        margin: Where the declared margin begins and how wide it is; None where there is none.
        null: Likewise of retrained models.
        interval: Where the interval begins and ends.
    """

    value: float
    ideal: float | None
    margin: tuple[float, float] | None
    null: tuple[float, float] | None
    interval: tuple[float, float] | None
    ticks: tuple[Tick, ...]
    description: str


def plot(curve: Curve) -> Plot:
    """``curve`` as paths in a box of :data:`WIDTH` by :data:`HEIGHT`."""
    log, room = curve.kind == "roc", 0.06 if curve.kind == "tradeoff" else 0.0
    drawn = [one for one in curve.series if one.x and one.y]
    x = _scale([n for one in drawn for n in one.x], (LEFT, RIGHT), log=log, room=room)
    floor = [0.0] if curve.kind in ("histogram", "epsilon") else []
    y = _scale([*floor, *(n for one in drawn for n in one.y)], (BOTTOM, TOP), log=log, room=room)
    # The audited model's line comes last, on top of the others.
    order = sorted(drawn, key=lambda one: one.role == "served")
    return Plot(
        curve.title,
        _in_words(curve),
        curve.x_label,
        curve.y_label,
        x.ticks(),
        y.ticks(),
        tuple(_drawn(one, curve.kind, x, y) for one in order),
    )


def ruler(check: Check) -> Ruler | None:
    """``check`` along a line; None where it has no value, or nothing to compare it with."""
    low_high = _margin(check)
    pairs = [pair for pair in (check.interval, check.null, low_high) if pair is not None]
    if check.value is None or not pairs:
        return None
    ends = [check.value, *(end for pair in pairs for end in pair)]
    room = (max(ends) - min(ends)) * 0.08 or 1.0
    scale = Scale(min(ends) - room, max(ends) + room, 0.0, 100.0)
    return Ruler(
        scale(check.value),
        None if check.ideal is None else scale(check.ideal),
        _band(low_high, scale),
        _band(check.null, scale),
        check.interval and (scale(check.interval[0]), scale(check.interval[1])),
        tuple(tick for tick in scale.ticks() if 4 <= tick.at <= 96),
        _ruler_in_words(check, low_high),
    )


def _margin(check: Check) -> tuple[float, float] | None:
    if check.ideal is None or check.margin is None:
        return None
    return check.ideal - check.margin, check.ideal + check.margin


def _band(pair: tuple[float, float] | None, scale: Scale) -> tuple[float, float] | None:
    return None if pair is None else (scale(pair[0]), round(scale(pair[1]) - scale(pair[0]), 1))


def _ruler_in_words(check: Check, margin: tuple[float, float] | None) -> str:
    parts = [f"Measured {check.value:.4g}"]
    for words, pair in (
        (f"{check.confidence:.0%} interval", check.interval),
        ("retrained models", check.null),
        ("declared margin", margin),
    ):
        if pair is not None:
            parts.append(f"{words} {pair[0]:.4g} to {pair[1]:.4g}")
    return "; ".join(parts) + "."


def _scale(
    numbers: Sequence[float], ends: tuple[float, float], *, log: bool, room: float = 0.0
) -> Scale:
    if log:
        least = min((number for number in numbers if number > 0), default=0.1)
        decades = min(max(1, math.ceil(-math.log10(min(least, 0.9)) - 1e-9)), _MOST_DECADES)
        return Scale(10.0**-decades, 1.0, *ends, log=True)
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    beside = (high - low) * room or (0.0 if high > low else 0.5)
    return Scale(low - beside, high + beside, *ends)


def _drawn(series: Series, kind: str, x: Scale, y: Scale) -> Drawn:
    draw: Callable[[Series, Scale, Scale], Drawn] = {
        "histogram": _bars,
        "tradeoff": _marks,
    }.get(kind, _line)
    return draw(series, x, y)


def _line(series: Series, x: Scale, y: Scale) -> Drawn:
    points = [(x(a), y(b)) for a, b in zip(series.x, series.y, strict=False)]
    kept = [points[0], *(after for before, after in pairwise(points) if after != before)]
    return Drawn(series.name, series.role, _path(kept), "", ())


def _bars(series: Series, x: Scale, y: Scale) -> Drawn:
    edges = [x(edge) for edge in series.x]
    tops = [y(height) for height in series.y]
    steps = [
        point
        for (left, right), top in zip(pairwise(edges), tops, strict=False)
        for point in ((left, top), (right, top))
    ]
    if not steps:
        return _line(series, x, y)
    outline = [(steps[0][0], BOTTOM), *steps, (steps[-1][0], BOTTOM)]
    path = _path(outline)
    return Drawn(series.name, series.role, path, f"{path}Z", ())


def _marks(series: Series, x: Scale, y: Scale) -> Drawn:
    places = tuple((x(a), y(b)) for a, b in zip(series.x, series.y, strict=False))
    return Drawn(series.name, series.role, "", "", places)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a:g} {b:g}" for a, b in points)


def _in_words(curve: Curve) -> str:
    """What the plot shows, without seeing it."""
    parts = [
        f"{one.name}: {len(one.y):,} points, {curve.y_label} from {min(one.y):.3g} to "
        f"{max(one.y):.3g}"
        for one in curve.series
        if one.y
    ]
    return f"{curve.y_label} over {curve.x_label}. {'; '.join(parts) or 'No points'}."


def _round_step(rough: float) -> float:
    """The next of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))


def _label(number: float, log: bool) -> str:
    if log:
        return f"{number * 100:g} %"
    return f"{round(number, 10):.4g}".replace("-", "−")
