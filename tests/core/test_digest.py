"""Digests, against SHA-256 spelled out and against values typed by hand."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.digest import SIZE, canonical_json, digest

PARTS = st.lists(st.binary(max_size=9), max_size=4)


def test_digest_is_sha256_over_length_prefixed_domain_and_parts() -> None:
    spelled_out = b"\x10\0\0\0\0\0\0\0expunge/slice/v1" + b"\2\0\0\0\0\0\0\0ab" + b"\0" * 8

    assert digest("slice", b"ab", b"") == hashlib.sha256(spelled_out).digest()


@given(thing=st.text(st.characters(codec="ascii"), max_size=9), parts=PARTS)
def test_any_digest_equals_the_reference(thing: str, parts: list[bytes]) -> None:
    whole = [f"expunge/{thing}/v1".encode(), *parts]
    reference = b"".join(struct.pack("<Q", len(part)) + part for part in whole)

    assert digest(thing, *parts) == hashlib.sha256(reference).digest()


@pytest.mark.parametrize(
    ("thing", "parts", "expected"),
    [
        ("recipe", (), "439294bdf32d5a4aab91a2f5881ae83b4116a50c6fb831bef30f737395668f11"),
        (
            "name",
            (b"\x00" * 32, b"\xff" * 32),
            "7af9a0386b01e67afd847c0e23046aaf8949b2df38ccdd8764d2ffb29438e9b3",
        ),
        (
            "seed",
            (b"str:shard", b"int:1"),
            "d3674c881d276e8bb41c1f980b4ac7e6f8a225bf784f83efa711513351fbd78c",
        ),
    ],
)
def test_golden_values_never_change(thing: str, parts: tuple[bytes, ...], expected: str) -> None:
    # Every stored name is one of these: whoever changes them orphans all checkpoints.
    assert digest(thing, *parts).hex() == expected
    assert len(digest(thing, *parts)) == SIZE


@given(one=PARTS, other=PARTS)
def test_two_lists_of_parts_never_share_a_digest(one: list[bytes], other: list[bytes]) -> None:
    assert (digest("x", *one) == digest("x", *other)) == (one == other)


def test_things_are_kept_apart() -> None:
    assert digest("a", b"x") != digest("b", b"x")
    assert digest("a", b"x") != digest("a/v1", b"x")


def test_json_has_one_form() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": "\u2028", "": -0.0}}

    assert canonical_json(value) == rb'{"a":{"":-0.0,"\u00e9":"\u2028"},"b":[1,2.5,null,true]}'
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_refuses_what_is_not_a_number(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": [number]})
