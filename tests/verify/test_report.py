"""A report says what its checks show, nothing more, and survives being written and read."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import FormatUnsupported, InputError
from expunge.verify.report import NO_LEVEL, Check, Report, Series, judge, judge_upper, level_of

from .conftest import FAILED, OPEN, PASSED, check, report  # noqa: TID252 - tests are no package

NUMBERS = st.floats(-1, 1)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[tuple[float, float], tuple[float, float]]:
    """A 90 % interval within a 95 % interval."""
    a, b, c, d = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)))
    return (b, c), (a, d)


@given(intervals(), NUMBERS, st.floats(0.001, 1))
def test_passing_takes_the_whole_interval(
    pair: tuple[tuple[float, float], tuple[float, float]], ideal: float, margin: float
) -> None:
    narrow, wide = pair
    verdict = judge(narrow, wide, ideal, margin)
    inside = ideal - margin <= narrow[0] and narrow[1] <= ideal + margin
    outside = wide[1] < ideal - margin or wide[0] > ideal + margin
    assert verdict == ("passed" if inside else "failed" if outside else "inconclusive")


@given(intervals(), NUMBERS, st.floats(0.001, 1), st.tuples(NUMBERS, NUMBERS))
def test_what_retrained_models_do_saves_from_failing_and_never_passes(
    pair: tuple[tuple[float, float], tuple[float, float]],
    ideal: float,
    margin: float,
    null: tuple[float, float],
) -> None:
    null = (min(null), max(null))
    for rule in (judge, judge_upper):
        without = rule(*pair, ideal, margin)
        with_null = rule(*pair, ideal, margin, null)
        assert with_null == without or (without, with_null) == ("failed", "inconclusive")
        if null[0] <= pair[1][1] and pair[1][0] <= null[1]:
            assert with_null != "failed"


def test_verdicts_by_hand() -> None:
    assert judge((0.46, 0.54), (0.45, 0.55), 0.5, 0.05) == "passed"
    assert judge((0.46, 0.56), (0.45, 0.57), 0.5, 0.05) == "inconclusive"
    assert judge((0.57, 0.62), (0.56, 0.63), 0.5, 0.05) == "failed"
    assert judge((0.37, 0.42), (0.36, 0.43), 0.5, 0.05) == "failed"
    assert judge((0.57, 0.62), (0.56, 0.63), 0.5, 0.05, null=(0.44, 0.58)) == "inconclusive"
    # Where only more is worse, nothing is too little.
    assert judge_upper((0.1, 0.2), (0.0, 0.3), 0.5, 0.05) == "passed"
    assert judge_upper((0.57, 0.62), (0.56, 0.63), 0.5, 0.05) == "failed"
    assert judge_upper((0.57, 0.62), (0.56, 0.63), 0.5, 0.05, null=(0.9, 0.95)) == "inconclusive"


def test_a_report_fails_by_one_check_and_passes_by_all_that_are_needed() -> None:
    assert report(PASSED, OPEN).verdict == "passed"
    assert report(PASSED, dataclasses.replace(OPEN, needed=True)).verdict == "inconclusive"
    assert report(PASSED, OPEN, FAILED).verdict == "failed"
    assert report(PASSED, dataclasses.replace(FAILED, needed=False)).verdict == "failed"


def test_nothing_needed_is_nothing_passed() -> None:
    assert report().verdict == "inconclusive"
    assert report(dataclasses.replace(PASSED, needed=False)).verdict == "inconclusive"


def test_levels_follow_from_checks() -> None:
    gold = check(name="gold", group="gold-standard")
    assert level_of([PASSED]) == (5, "attacked in vain")
    assert level_of([PASSED, gold]) == level_of([gold]) == (6, "equivalent")
    assert level_of([PASSED, dataclasses.replace(OPEN, needed=True)]) == (5, "attacked in vain")
    assert level_of([PASSED, gold, FAILED]) == level_of([]) == (0, NO_LEVEL)
    assert level_of([check(group="utility")]) == (0, NO_LEVEL)
    with pytest.raises(InputError, match="follows from the checks alone"):
        report(PASSED, level=6, level_name="equivalent")


@given(
    st.lists(
        st.builds(
            check,
            name=st.text(),
            group=st.sampled_from(["membership", "gold-standard", "relearn", "utility"]),
            value=NUMBERS,
            interval=st.none() | st.tuples(NUMBERS, NUMBERS).map(lambda pair: tuple(sorted(pair))),
            null=st.none(),
            counts=st.dictionaries(st.text(), st.integers()),
            verdict=st.sampled_from(["passed", "failed", "inconclusive"]),
            needed=st.booleans(),
        )
    ),
    st.text(),
)
def test_what_is_written_is_read_again(checks: list[Check], subject: str) -> None:
    whole = report(*checks, subject=subject)
    assert Report.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def written() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(report(PASSED, FAILED, OPEN).to_json()))
    return value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("subject",), 3),
        (("subject",), None),
        (("seconds",), "1"),
        (("seconds",), True),
        (("seconds",), math.nan),
        (("seconds",), 10**400),
        (("level",), 1.5),
        (("checks",), {}),
        (("checks", 0, "verdict"), "fine"),
        (("checks", 0, "verdict"), ["passed"]),
        (("checks", 0, "group"), "other"),
        (("checks", 0, "interval"), [0.4]),
        (("checks", 0, "interval"), [0.6, 0.4]),
        (("checks", 0, "counts"), {"rows": 0.5}),
        (("checks", 0, "counts"), []),
        (("checks", 0, "needed"), 1),
        (("checks", 0, "confidence"), 1),
        (("checks", 0), "passed"),
        (("curves", 0, "series", 0, "y"), [1.0]),
        (("settings",), []),
        (("settings",), {"a": [{"b": math.inf}]}),
    ],
)
def test_what_is_no_report_is_refused(path: tuple[Any, ...], value: Any) -> None:
    whole = written()
    place = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InputError):
        Report.from_json(whole)


def test_unknown_and_missing_fields_are_refused() -> None:
    more, less = written(), written()
    more["checks"][0]["note"] = "trust me"
    del less["checks"][0]["null"]
    with pytest.raises(InputError, match="'note'"):
        Report.from_json(more)
    with pytest.raises(InputError, match="lacks the field 'null'"):
        Report.from_json(less)


def test_a_verdict_that_was_changed_is_noticed() -> None:
    whole = written() | {"verdict": "passed"}
    with pytest.raises(InputError, match="its checks show 'failed'"):
        Report.from_json(whole)


@pytest.mark.parametrize("number", [0, 2, None, "1"])
def test_another_format_is_another_version(number: Any) -> None:
    with pytest.raises(FormatUnsupported):
        Report.from_json(written() | {"format": number})


def test_a_check_without_a_value_can_only_be_inconclusive() -> None:
    with pytest.raises(InputError, match="could not be computed is inconclusive"):
        check(value=None, verdict="passed")


@pytest.mark.parametrize("field", ["value", "ideal", "minimum_effect", "margin"])
def test_numbers_are_finite(field: str) -> None:
    with pytest.raises(InputError, match="not finite"):
        check(**{field: math.inf})


def test_a_series_has_a_height_for_each_place() -> None:
    assert Series("bars", (0, 1, 2), (3, 4), "served").y == (3, 4)
    with pytest.raises(InputError, match="Expected as many of both"):
        Series("bars", (0, 1), (3, 4, 5), "served")
