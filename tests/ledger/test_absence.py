"""A row that is there cannot be proved absent, whatever a document says; honest ones pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import merkle, names
from expunge.ledger.absence import check, returned

RECIPE, RING = b"r" * 32, b"s" * 32
SHARDS = 4
EIGHTH = 1 << 61


def row(eighth: int, token: int) -> bytes:
    """A leaf in that eighth of the ring: two of them are a shard."""
    return names.leaf(eighth * EIGHTH, token, bytes([token]) * 32)


@dataclass
class Chain:
    """An honest chain: of each slice its place and its leaves, in order."""

    slices: list[tuple[str, list[bytes]]]
    shard: int = 0

    @property
    def roots(self) -> list[bytes]:
        return [merkle.root([merkle.leaf_hash(leaf) for leaf in rows]) for _, rows in self.slices]

    @property
    def name(self) -> str | None:
        if not self.slices:
            return None
        name = names.constituent(RECIPE, RING, self.shard)
        for (place, rows), root in zip(self.slices, self.roots, strict=True):
            name = names.checkpoint(name, place, len(rows), root)
        return name.hex()

    def document(self, leaf: bytes, windows: list[tuple[int, int]] | None = None) -> dict[str, Any]:
        """A document about ``leaf`` with these windows, by default the honest ones."""
        slices = []
        for number, (place, rows) in enumerate(self.slices):
            first, stop = windows[number] if windows else honest(rows, leaf)
            read = merkle.in_memory([merkle.leaf_hash(one) for one in rows])
            paths = [merkle.prove_inclusion(i, len(rows), read) for i in range(first, stop)]
            slices.append(
                {
                    "place": place,
                    "samples": len(rows),
                    "root": self.roots[number].hex(),
                    "first": first,
                    "leaves": [one.hex() for one in rows[first:stop]],
                    "paths": [[step.hex() for step in path] for path in paths],
                }
            )
        return {
            "v": 1,
            "model": "17-abc",
            "recipe": RECIPE.hex(),
            "ring": RING.hex(),
            "shard": self.shard,
            "shards": SHARDS,
            "key": leaf[:8].hex(),
            "token": leaf[8:16].hex(),
            "filtered": False,
            "name": self.name,
            "slices": slices,
        }

    def served(self) -> list[str | None]:
        """What a version serves: this chain, and others in the other shards."""
        return [self.name if s == self.shard else elsewhere(s).name for s in range(SHARDS)]


def elsewhere(shard: int) -> Chain:
    """The chain of another shard: the last one has no model."""
    rows = [row(2 * shard, 199)]
    return Chain([("slice:0:0:0", rows)] if shard < SHARDS - 1 else [], shard)


def honest(rows: list[bytes], leaf: bytes) -> tuple[int, int]:
    before = [i for i, one in enumerate(rows) if one[:8] < leaf[:8]]
    behind = [i for i, one in enumerate(rows) if one[:8] > leaf[:8]]
    return (before[-1] if before else 0), (behind[0] + 1 if behind else len(rows))


ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 200)), max_size=9, unique_by=lambda r: r[1]
)


@given(slices=st.lists(ROWS, max_size=4), eighth=st.integers(0, 1), data=st.data())
def test_an_honest_proof_passes_exactly_where_the_row_is_absent(
    slices: list[list[tuple[int, int]]], eighth: int, data: st.DataObject
) -> None:
    sorted_ = [sorted(row(*one) for one in rows) for rows in slices]
    chain = Chain([(f"slice:0:{i}:0", rows) for i, rows in enumerate(sorted_) if rows])
    everything = [leaf for _, rows in chain.slices for leaf in rows]
    stranger = row(eighth, 250)
    assert check(chain.document(stranger), stranger, chain.served()) == []
    if everything:
        known = data.draw(st.sampled_from(everything))
        assert check(chain.document(known), known, chain.served()) == [
            "The proof of absence shows the row itself."
        ]


def liars(chain: Chain, leaf: bytes) -> Iterator[dict[str, Any]]:
    """Every document about ``leaf`` that has other windows, or lies about one thing in them."""
    spans = [
        [(a, b) for a in range(len(rows) + 1) for b in range(a, len(rows) + 1)]
        for _, rows in chain.slices
    ]
    for windows in product(*spans):
        document = chain.document(leaf, list(windows))
        yield document
        for number in range(len(windows)):
            for lie in lies(document["slices"][number]):
                told = dict(document)
                told["slices"] = [*document["slices"]]
                told["slices"][number] = lie
                yield told
    yield from lies_about_the_chain(chain, leaf)


def lies(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for by in (-2, -1, 1, 2):
        yield part | {"first": part["first"] + by}
        yield part | {"samples": part["samples"] + by}
    yield part | {"samples": len(part["leaves"]), "first": 0}
    count = len(part["leaves"])
    for kept in range(1, count):  # leaves left out of the middle, each with its own path
        for chosen in combinations(range(count), kept):
            yield part | {
                "leaves": [part["leaves"][i] for i in chosen],
                "paths": [part["paths"][i] for i in chosen],
            }
    for order in permutations(range(count)):
        yield part | {"leaves": [part["leaves"][i] for i in order]}
        shuffled = {key: [part[key][i] for i in order] for key in ("leaves", "paths")}
        yield part | shuffled


def lies_about_the_chain(chain: Chain, leaf: bytes) -> Iterator[dict[str, Any]]:
    document = chain.document(leaf, [(0, len(rows)) for _, rows in chain.slices])
    for chosen in (slice(0, 0), slice(0, 1), slice(1, None), slice(None, None, -1)):
        yield document | {"slices": document["slices"][chosen]}
    yield document | {"slices": [], "name": None}
    for shard, shards in product(range(-1, SHARDS + 1), range(SHARDS + 2)):
        other = elsewhere(
            min(max(shard, 0), SHARDS - 1)
        )  # what an honest proof about another row shows
        yield other.document(leaf) | {"shards": shards, "shard": shard}
        yield other.document(leaf) | {"shards": shards, "shard": shard, "name": chain.name}


# Trees that are full, uneven, of one leaf, and with several rows of one key.
SMALL = [
    [[row(0, 1)]],
    [[row(0, 1), row(0, 2)]],
    [[row(0, 1), row(0, 2), row(0, 3)]],
    [[row(0, 1), row(1, 2), row(1, 3)]],
    [[row(0, 9), row(1, 1), row(1, 2), row(1, 3)]],
    [[row(0, 1)], [row(0, 2), row(1, 3)]],
    [[row(0, 3), row(1, 2)], [row(0, 4), row(0, 5), row(1, 6)]],
]


@pytest.mark.parametrize("trees", SMALL, ids=range(len(SMALL)))
def test_no_document_shows_that_a_row_is_absent_that_is_there(
    trees: list[list[bytes]], record_property: Any
) -> None:
    chain = Chain([(f"slice:0:{i}:0", sorted(rows)) for i, rows in enumerate(trees)])
    cases = 0
    for leaf in (leaf for rows in trees for leaf in rows):
        for document in liars(chain, leaf):
            cases += 1
            assert check(document, leaf, chain.served()), document
            # An id that came in again, under another commitment, cannot be hidden.
            older = leaf[:16] + bytes(32)
            assert check(document, older, chain.served()) or returned(document, older)
    record_property("cases", cases)


@pytest.mark.parametrize("trees", SMALL, ids=range(len(SMALL)))
def test_any_window_is_enough_that_holds_the_place_of_the_row(trees: list[list[bytes]]) -> None:
    chain = Chain([(f"slice:0:{i}:0", sorted(rows)) for i, rows in enumerate(trees)])
    stranger = row(1, 150)
    for windows in product(
        *(
            [(a, b) for a in range(len(r)) for b in range(a + 1, len(r) + 1)]
            for _, r in chain.slices
        )
    ):
        holds = all(
            a <= honest(rows, stranger)[0] and b >= honest(rows, stranger)[1]
            for (a, b), (_, rows) in zip(windows, chain.slices, strict=True)
        )
        found = check(chain.document(stranger, list(windows)), stranger, chain.served())
        assert holds <= (found == [])
        if not found:  # and if it holds less, it is still shown: both ends are beyond the place
            for (a, b), (_, rows) in zip(windows, chain.slices, strict=True):
                assert a == 0 or rows[a][:8] < stranger[:8]
                assert b == len(rows) or rows[b - 1][:8] > stranger[:8]


def test_an_id_that_came_in_again_is_said_to_be_one() -> None:
    older = row(1, 2)[:16] + bytes(32)
    document = CHAIN.document(older)
    assert check(document, older, CHAIN.served()) == []
    assert returned(document, older) == 1
    assert returned(CHAIN.document(STRANGER), STRANGER) == 0


def test_a_shard_without_a_model_has_no_rows_to_show() -> None:
    stranger, chain = row(0, 5), Chain([])
    assert check(chain.document(stranger), stranger, chain.served()) == []
    shown = chain.document(stranger) | {
        "slices": Chain([("slice:0:0:0", [row(0, 1)])]).document(stranger)["slices"]
    }
    assert check(shown, stranger, chain.served())


def test_slices_follow_one_another_in_the_order_of_places() -> None:
    stranger, rows = row(0, 5), [row(0, 1)]
    good = [["slice:0:0:9", "slice:0:0:10"], ["slice:0:9:0", "slice:0:10:0", "slice:1:0:0"]]
    bad = [["slice:0:0:1", "slice:0:0:1"], ["slice:1:0:0", "slice:0:0:0"], ["slice:0:0:01"]]
    bad += [["slice:0:0"], ["0:0:0"], ["slice:0:0:-1"], ["slice:0:0:٣"], ["slice:0:0:0\n"]]
    for places, passes in [*((p, True) for p in good), *((p, False) for p in bad)]:
        chain = Chain([(place, rows) for place in places])
        problems = check(chain.document(stranger), stranger, chain.served())
        assert (problems == []) is passes, places


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every single value of a document."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_in(inner, (*path, key))
    else:
        yield path


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    copy = deepcopy(document)
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


CHAIN = Chain([("slice:0:0:0", [row(0, 1), row(1, 2), row(1, 3)]), ("slice:0:1:0", [row(1, 7)])])
STRANGER = row(1, 100)
FREE = {("model",), ("filtered",)}
"""The words of whoever made the document, which nothing in it can show."""


def test_every_value_that_is_another_is_noticed() -> None:
    document = CHAIN.document(STRANGER)
    for path in paths_in(document):
        inner = document
        for key in path:
            inner = inner[key]
        others: list[Any] = [None, [], {}, "", 1.0, "x" * 64, True, -1, 2**70]
        if isinstance(inner, str) and inner:
            others += [inner[:-1], inner + "0", inner.upper() + "A", f"{int(inner[-1], 16) ^ 1:x}"]
            others += [inner[:-1] + ("0" if inner[-1] != "0" else "1")]
        if type(inner) is int:
            others += [inner + 1, inner - 1, float(inner), str(inner), bool(inner)]
        for other in others:
            if path not in FREE and (type(other), other) != (type(inner), inner):
                assert check(changed(document, path, other), STRANGER, CHAIN.served()), (
                    path,
                    other,
                )


def test_fields_that_are_missing_or_strange_are_noticed() -> None:
    document = CHAIN.document(STRANGER)
    ways = {way[:depth] for way in paths_in(document) for depth in range(1, len(way) + 1)}
    for path in ways:
        inner = deepcopy(document)
        place: Any = inner
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        assert check(inner, STRANGER, CHAIN.served()), path
    assert check(document | {"more": 1}, STRANGER, CHAIN.served())
    strange = changed(document, ("slices", 0, "more"), 1)
    assert check(strange, STRANGER, CHAIN.served())
    for nothing in ({}, [], None, "x", 3):
        assert check(nothing, STRANGER, CHAIN.served())  # type: ignore[arg-type]


def test_a_proof_is_about_one_row_and_one_version() -> None:
    document = json.loads(json.dumps(CHAIN.document(STRANGER)))
    assert check(document, STRANGER, CHAIN.served()) == []
    assert check(document, row(1, 101), CHAIN.served())
    assert check(document, row(0, 100), CHAIN.served())
    assert check(document, STRANGER[:47], CHAIN.served())
    assert check(document, STRANGER, CHAIN.served()[1:])
    assert check(document, STRANGER, [])
    assert check(document, STRANGER, [None, *CHAIN.served()[1:]])
    other = Chain([*CHAIN.slices, ("slice:0:2:0", [STRANGER])])
    assert check(document, STRANGER, other.served())
