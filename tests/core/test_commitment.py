from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import merkle
from expunge.core.commitment import Opening, commit, commit_all, root

KEY = bytes(range(32))
keys = st.binary(min_size=32, max_size=32)
kinds = st.sampled_from(["sample", "subject"])
identifiers = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def opening_of(named, keys_, place):
    """What opens one of several commitments, made by hand."""
    sealed = sorted((commit(k, *one), k, one) for k, one in zip(keys_, named, strict=True))
    position = next(at for at, (_, _, one) in enumerate(sealed) if one == named[place])
    leaves = [merkle.leaf_hash(committed) for committed, _, _ in sealed]
    path = merkle.prove_inclusion(position, len(leaves), merkle.in_memory(leaves))
    whole = root([committed for committed, _, _ in sealed])
    return Opening(sealed[position][1], position, tuple(path), whole)


@given(st.lists(st.tuples(kinds, identifiers), min_size=1, max_size=9, unique=True), st.data())
def test_each_identifier_of_a_request_opens_and_no_other(named, data):
    keys_ = data.draw(st.lists(keys, min_size=len(named), max_size=len(named), unique=True))
    said = {"count": len(named), "root": opening_of(named, keys_, 0).root.hex()}
    for place, one in enumerate(named):
        opening = opening_of(named, keys_, place)
        assert opening.check(*one, said)
        assert Opening.from_json(opening.to_json()) == opening
        others = [other for other in named if other != one]
        assert not any(opening.check(*other, said) for other in others)


@given(st.lists(st.tuples(keys, kinds, identifiers), max_size=9))
def test_many_commitments_are_those_of_each(named):
    found = commit_all(b"".join(key for key, _, _ in named), [one for _, *one in named])
    assert found == [commit(*one) for one in named]


@given(keys, st.tuples(kinds, identifiers), st.tuples(kinds, identifiers))
def test_commitments_are_equal_for_equal_things_alone(key, one, other):
    assert (commit(key, *one) == commit(key, *other)) is (one == other)


def test_a_commitment_by_hand():
    parts = [b"expunge/commitment/v1", b"subject", "Zoë".encode()]
    message = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    expected = hmac.new(KEY, message, hashlib.sha256).digest()
    assert commit(KEY, "subject", "Zoë") == expected


def test_the_root_is_that_of_rfc_6962():
    one, other = commit(KEY, "sample", "a"), commit(KEY, "sample", "b")
    first, second = (hashlib.sha256(b"\0" + leaf).digest() for leaf in (one, other))
    assert root([one, other]) == hashlib.sha256(b"\1" + first + second).digest()
    assert root([one]) == first


SAID_ONE = {"count": 1, "root": root([commit(KEY, "sample", "ada")]).hex()}


@pytest.mark.parametrize(
    ("kind", "identifier", "said"),
    [
        ("subject", "ada", SAID_ONE),
        ("sample", "Ada", SAID_ONE),
        ("sample", "ada", SAID_ONE | {"count": 2}),
        ("sample", "ada", SAID_ONE | {"root": "00" * 32}),
    ],
)
def test_what_was_not_named_does_not_open(kind, identifier, said):
    opening = opening_of([("sample", "ada")], [KEY], 0)
    assert opening.check("sample", "ada", SAID_ONE)
    assert not opening.check(kind, identifier, said)


def test_a_key_is_not_shown():
    opening = opening_of([("sample", "ada")], [KEY], 0)
    assert KEY.hex() not in repr(opening)
    assert repr(KEY) not in repr(opening)
