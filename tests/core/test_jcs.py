"""Canonical JSON: the same bytes as another implementation's, and read in one form only."""

from __future__ import annotations

import math
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from expunge.core import jcs

SAFE = 2**53 - 1
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(values)
@example({"€": 1, "\r": 2, "דּ": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7})
def test_another_implementation_writes_the_same_bytes(value: Any) -> None:
    assert jcs.dumps(value) == rfc8785.dumps(value)


@given(values)
@example(2.0**60)
def test_what_is_written_is_read(value: Any) -> None:
    assert jcs.loads(jcs.dumps(value), "it") == value


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(1e21)
@example(1e-7)
@example(-0.0)
@example(123456789012345680000.0)
def test_numbers_are_written_as_ecmascript_does(value: float) -> None:
    assert jcs.dumps(value) == rfc8785.dumps(value)


def test_the_standards_own_example() -> None:
    # RFC 8785 section 3.2.2, by hand.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\u000aA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert jcs.dumps(value).decode() == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1, "b":2}',  # a blank
        '{"b":1,"a":2}',  # another order
        '{"a":1,"a":1}',  # a key twice
        '{"a":1.0}',  # another spelling of a number
        '{"a":1e0}',
        '{"a":-0}',
        '{"a":"\\u0041"}',  # another spelling of a string
        '{"a":"\\ud800"}',  # half a character
        '{"a":9007199254740993}',  # another number elsewhere
        '{"a":1000000000000000000000}',  # written 1e+21
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":1}\n',
        '\ufeff{"a":1}',
        "",
        "{",
        "[" * 100_000,
        "1" * 400,
        "1" * 5_000,
    ],
)
def test_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it "):
        jcs.loads(text.encode(), "it")


def test_other_encodings_are_refused() -> None:
    with pytest.raises(ValueError, match="canonical"):
        jcs.loads('{"a":1}'.encode("utf-16"), "it")


def test_what_is_too_large_is_not_read() -> None:
    with pytest.raises(ValueError, match="expected at most 10"):
        jcs.loads(b'"' + b"a" * 20 + b'"', "it", limit=10)


def test_a_refusal_says_where() -> None:
    with pytest.raises(ValueError, match="from byte 7 on"):
        jcs.loads(b'{"a":1, "b":2}', "it")


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, {1, 2}, b"x"])
def test_what_has_no_json_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|beyond"):
        jcs.dumps(value)
