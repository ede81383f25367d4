"""Plots keep to their box, and say in words what they show."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.verify import plots
from expunge.verify.report import Curve, Series

from .conftest import CURVES, OPEN, PASSED, check  # noqa: TID252 - tests are no package

FINITE = st.floats(-1e9, 1e9, allow_subnormal=False)


def places(plot: plots.Plot) -> list[tuple[float, float]]:
    found = [mark for one in plot.series for mark in one.marks]
    for one in plot.series:
        numbers = [float(n) for n in re.findall(r"-?[\d.]+(?:e-?\d+)?", one.line)]
        found += zip(numbers[::2], numbers[1::2], strict=True)
    return found


@given(
    st.sampled_from(["roc", "histogram", "epsilon", "tradeoff"]),
    st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=30),
)
def test_everything_is_drawn_inside_of_the_frame(
    kind: str, points: list[tuple[float, float]]
) -> None:
    x, y = (tuple(each) for each in zip(*sorted(points), strict=True))
    if kind == "histogram":
        y = y[:-1]
    plot = plots.plot(Curve(kind, "t", "x", "y", (Series("s", x, y, "served"),)))  # type: ignore[arg-type]
    assert places(plot)
    for a, b in places(plot):
        assert plots.LEFT <= a <= plots.RIGHT
        assert plots.TOP <= b <= plots.BOTTOM
    assert all(plots.LEFT <= tick.at <= plots.RIGHT for tick in plot.x_ticks)
    assert all(plots.TOP <= tick.at <= plots.BOTTOM for tick in plot.y_ticks)


def test_a_curve_of_rates_is_drawn_by_decades() -> None:
    series = Series("s", (0.0, 0.001, 0.01, 0.1, 1.0), (0.0, 0.001, 0.1, 1.0, 1.0), "served")
    plot = plots.plot(Curve("roc", "t", "x", "y", (series,)))
    assert [tick.label for tick in plot.x_ticks] == ["0.1 %", "1 %", "10 %", "100 %"]
    step = (plots.RIGHT - plots.LEFT) / 3
    assert [tick.at for tick in plot.x_ticks] == pytest.approx(
        [plots.LEFT + i * step for i in range(4)], abs=0.1
    )
    # Rates of 0 have no logarithm: they are drawn on the edge.
    assert plot.series[0].line.startswith(f"M{plots.LEFT:g} {plots.BOTTOM:g}L")


def test_bars_stand_on_the_axis_and_are_closed() -> None:
    (bars,) = plots.plot(
        Curve("histogram", "t", "x", "y", (Series("s", (0, 1, 2), (1, 2), "served"),))
    ).series
    middle = (plots.LEFT + plots.RIGHT) / 2
    half = (plots.TOP + plots.BOTTOM) / 2
    corners = [(plots.LEFT, plots.BOTTOM), (plots.LEFT, half), (middle, half)]
    corners += [(middle, plots.TOP), (plots.RIGHT, plots.TOP), (plots.RIGHT, plots.BOTTOM)]
    assert bars.line == "M" + "L".join(f"{a:g} {b:g}" for a, b in corners)
    assert bars.area == f"{bars.line}Z"


def test_the_audited_model_is_drawn_last_and_said_first() -> None:
    for curve in CURVES:
        plot = plots.plot(curve)
        assert [one.role for one in plot.series][-1] == "served"
        for one in curve.series:
            assert f"{one.name}: {len(one.y):,} points" in plot.description


def test_a_curve_without_points_is_an_empty_frame() -> None:
    plot = plots.plot(Curve("epsilon", "t", "x", "y", (Series("s", (), (), "served"),)))
    assert plot.series == ()
    assert plot.x_ticks
    assert "No points" in plot.description


def test_a_ruler_keeps_the_order_of_its_figures() -> None:
    found = plots.ruler(
        check(value=0.6, interval=(0.55, 0.65), null=(0.45, 0.52), ideal=0.5, margin=0.1)
    )
    assert found is not None
    assert found.interval is not None
    assert found.margin is not None
    assert found.null is not None
    assert found.ideal is not None
    # 0.4 … 0.65 with 8 % of room beside it is 0.38 … 0.67: each hundredth is 3.448 %.
    assert found.value == pytest.approx(75.9, abs=0.1)
    assert found.interval == pytest.approx((58.6, 93.1), abs=0.1)
    assert found.margin == pytest.approx((6.9, 69.0), abs=0.1)
    assert found.null == pytest.approx((24.1, 24.1), abs=0.1)
    assert found.ideal == pytest.approx(41.4, abs=0.1)
    assert found.description == (
        "Measured 0.6; 95% interval 0.55 to 0.65; retrained models 0.45 to 0.52; declared margin "
        "0.4 to 0.6."
    )


def test_what_has_no_value_or_nothing_to_compare_has_no_ruler() -> None:
    assert plots.ruler(OPEN) is None
    assert plots.ruler(check(interval=None, null=None, margin=None)) is None
    assert plots.ruler(PASSED) is not None
