"""Check that served names leave a row out. Needs the standard library and nothing else.

A model's constituent has a name that is computed from the roots of its slices, one after the
other. Each root is that of a tree whose leaves are the slice's rows in the order of their keys.
So the neighbours between which a row would have to stand show that it does not; a document
holds, for the one shard in which the row belongs, the whole chain of the served name, and of
each slice these neighbours with their places in the tree::

    {"v": 1,
     "model": random id, "recipe": digest, "ring": digest, "shard": s, "shards": S,
     "key": of the row, 8 bytes, "token": of the row, 8 bytes,
     "filtered": whether the view's filters keep the row out; null where nobody knows any more,
     "name": of the served checkpoint; null where the shard has no model,
     "slices": [{"place": "slice:tier:batch:part", "samples": n, "root": digest,
                 "first": index of the first leaf shown, "leaves": [48 bytes each],
                 "paths": [RFC 6962 audit path of each leaf]}]}

Bytes are hexadecimal. ``filtered`` is the word of whoever made the document: true where the
model would never have learnt from the row, so that it is absent anyway.

What it does not say: that the same facts are not there under another id, in the rows of
somebody else. That rows are where their keys say, and keys and tokens those of their ids: a
builder who put the row into another shard, under another key, or out of order, is found by a
replay only. And it speaks of the names, not of bytes: that a checkpoint of this name has
seen these rows and no others is what a replay shows.

References:
    RFC 6962 sections 2.1.1 (audit paths) and 2.1 (hashes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from expunge.core import merkle, names
from expunge.core.errors import CertificateInvalid

_FIELDS: Final = frozenset(
    {
        "v",
        "model",
        "recipe",
        "ring",
        "shard",
        "shards",
        "key",
        "token",
        "filtered",
        "name",
        "slices",
    }
)
_SLICE_FIELDS: Final = frozenset({"place", "samples", "root", "first", "leaves", "paths"})
_PLACE: Final = re.compile(r"slice:(0|[1-9]\d{0,18}):(0|[1-9]\d{0,18}):(0|[1-9]\d{0,18})", re.ASCII)
_LARGEST: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice of a document, of the right types."""

    place: str
    samples: int
    root: bytes
    first: int
    leaves: tuple[bytes, ...]
    paths: tuple[tuple[bytes, ...], ...]

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(number) for number in self.place.split(":")[1:])

    @property
    def last(self) -> int:
        return self.first + len(self.leaves) - 1


def check(document: Mapping[str, Any], leaf: bytes, served: Sequence[str | None]) -> list[str]:
    """What is wrong with a proof that a row is absent; nothing, if it shows that.

    Args:
        document: As above.
        leaf: Of the row, 48 bytes: key, token and commitment, as the request's root has it.
        served: Names of the version that is served, hexadecimal, one for each shard, None where
            there is no model: whoever calls knows them from a version's digest.

    Returns:
        Problems, in words without any identity. Costs one hash for each step of each path.
    """
    try:
        _check(document, leaf, served)
    except CertificateInvalid as problem:
        return [str(problem)]
    return []


def returned(document: Mapping[str, Any], leaf: bytes) -> int:
    """How many rows a document shows that have the row's id, and are other rows.

    The id came in again, corrected or readmitted; its old row is absent all the same.

    Args:
        document: One that :func:`check` finds nothing wrong with.
        leaf: Of the row, 48 bytes.
    """
    named = leaf[: 2 * names.HASH_BYTES].hex()
    return sum(shown.startswith(named) for part in document["slices"] for shown in part["leaves"])


def _check(document: Any, leaf: bytes, served: Sequence[str | None]) -> None:  # noqa: ANN401 - JSON
    _require(isinstance(document, Mapping) and document.keys() == _FIELDS, "has other fields")
    _require(_is_int(document["v"]) and document["v"] == 1, "is of another version")
    filtered = document["filtered"]
    _require(filtered is None or isinstance(filtered, bool), "says nothing about filters")
    _require(isinstance(document["model"], str), "names no model")
    _check_row(document, leaf, served)
    slices = [_slice(value) for value in _list(document["slices"])]
    order = [part.order for part in slices]
    _require(order == sorted(set(order)), "has slices that do not follow one another")
    _check_chain(document, slices)
    for part in slices:
        _check_window(part, leaf)


def _check_row(document: Mapping[str, Any], leaf: bytes, served: Sequence[str | None]) -> None:
    """It is about this row, and about the name that is served where the row belongs."""
    _require(len(leaf) == names.LEAF_BYTES, "is checked against a leaf of another size")
    about = _bytes(document["key"], names.HASH_BYTES) + _bytes(document["token"], names.HASH_BYTES)
    _require(leaf.startswith(about), "is about another row")
    shards, shard = document["shards"], document["shard"]
    _require(_is_int(shards) and shards == len(served) > 0, "counts other shards than are served")
    _require(_is_int(shard), "names no shard")
    key = int.from_bytes(leaf[: names.HASH_BYTES], "big")
    _require(shard == names.shard_of(key, shards), "is about a shard where the row does not belong")
    _require(document["name"] == served[shard], "is about a name that is not served")


def _check_chain(document: Mapping[str, Any], slices: Sequence[_Slice]) -> None:
    """The slices lead to the served name, and are all that it was made from."""
    recipe, ring = (_bytes(document[field], merkle.SIZE) for field in ("recipe", "ring"))
    if document["name"] is None:
        _require(not slices, "shows slices of a shard that has no model")
        return
    served = _bytes(document["name"], merkle.SIZE)
    name = names.constituent(recipe, ring, document["shard"])
    for part in slices:
        name = names.checkpoint(name, part.place, part.samples, part.root)
    _require(bool(slices) and name == served, "does not lead to the served name")


def _check_window(part: _Slice, row: bytes) -> None:
    """The row would have to stand among the leaves shown, which are all there is, and does not."""
    _require(len(part.leaves) == len(part.paths) > 0, "shows a leaf without its path")
    for index, (leaf, path) in enumerate(zip(part.leaves, part.paths, strict=True), part.first):
        found = merkle.leaf_hash(leaf)
        inside = merkle.check_inclusion(found, index, part.samples, path, part.root)
        _require(inside, "shows a leaf that is not in its slice at that place")
    key, *keys = (leaf[: names.HASH_BYTES] for leaf in (row, *part.leaves))
    _require(keys == sorted(keys), "shows leaves out of order")
    _require(part.first == 0 or keys[0] < key, "begins behind where the row could stand")
    _require(
        part.last == part.samples - 1 or keys[-1] > key, "ends before where the row could stand"
    )
    _require(row not in part.leaves, "shows the row itself")


def _slice(value: Any) -> _Slice:  # noqa: ANN401 - anything that JSON can hold
    _require(isinstance(value, Mapping) and value.keys() == _SLICE_FIELDS, "has an unknown slice")
    place, samples, first = value["place"], value["samples"], value["first"]
    _require(isinstance(place, str) and bool(_PLACE.fullmatch(place)), "names no place of a slice")
    for number in (samples, first):
        _require(_is_int(number) and 0 <= number < _LARGEST, "counts what cannot be counted")
    return _Slice(
        place,
        samples,
        _bytes(value["root"], merkle.SIZE),
        first,
        tuple(_bytes(leaf, names.LEAF_BYTES) for leaf in _list(value["leaves"])),
        tuple(
            tuple(_bytes(step, merkle.SIZE) for step in _list(path))
            for path in _list(value["paths"])
        ),
    )


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - anything that JSON can hold
    _require(isinstance(value, list), "has something else than a list")
    return list(value)


def _bytes(value: Any, size: int) -> bytes:  # noqa: ANN401 - anything that JSON can hold
    good = isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value, re.ASCII)
    _require(bool(good), f"has something else than {size} bytes in hexadecimal")
    return bytes.fromhex(value)


def _is_int(value: Any) -> bool:  # noqa: ANN401 - anything that JSON can hold
    return type(value) is int  # True would count as 1


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise CertificateInvalid(f"The proof of absence {problem}.")
