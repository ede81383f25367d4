"""Names, computed here by hand from bytes that are typed here: the scheme cannot change unseen."""

from __future__ import annotations

import hmac
import struct
from hashlib import blake2b, sha256

from expunge.training import plan as plans

SECRET = bytes(range(32))
NAMES = ["ada", "bob", "cyd", "dan", "eve"]

SCHEMA = (
    b'[{"categories":[],"dtype":"str","high":null,"kind":"text","low":null,"name":"id",'
    b'"nullable":false,"role":"id","shape":[]},'
    b'{"categories":[],"dtype":"str","high":null,"kind":"text","low":null,"name":"who",'
    b'"nullable":false,"role":"subject","shape":[]},'
    b'{"categories":[],"dtype":"float32","high":10.0,"kind":"numeric","low":0.0,"name":"x",'
    b'"nullable":false,"role":"feature","shape":[]},'
    b'{"categories":["no","yes"],"dtype":"int32","high":null,"kind":"categorical","low":null,'
    b'"name":"y","nullable":false,"role":"value","shape":[]}]'
)
RECIPE = (
    b'{"learner":{"fields":{"rounds":3},"name":"xgboost","revision":1},'
    b'"schema":"%s","seed":5,"shards":1,"slices":2,'
    b'"view":{"features":["x"],"filters":[],"purpose":"","targets":["y"],"weight":null}}'
)


def h(thing: str, *parts: bytes) -> bytes:
    whole = b""
    for part in (b"expunge/" + thing.encode() + b"/v1", *parts):
        whole += struct.pack("<Q", len(part)) + part
    return sha256(whole).digest()


def key(name: str) -> int:
    subject = f"of {name}".encode()
    hashed = blake2b(subject, digest_size=8, key=SECRET, person=b"key").digest()
    return int.from_bytes(hashed, "little")


def token(name: str) -> int:
    hashed = blake2b(name.encode(), digest_size=8, key=SECRET, person=b"token").digest()
    return int.from_bytes(hashed, "little")


def leaf(place: int, name: str) -> bytes:
    return struct.pack(">QQ", key(name), token(name)) + commitment(place, name)


def commitment(place: int, name: str) -> bytes:
    salt = b"\x01" * 15 + bytes([place])
    subject = f"of {name}".encode()
    row = struct.pack("<I", len(name)) + name.encode()
    row += struct.pack("<I", 1) + struct.pack("<I", len(subject)) + subject
    row += b"\x00" + struct.pack("<f", place) + struct.pack("<i", place % 2)
    return hmac.new(salt, row, "sha256").digest()


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def by_hand(gone: str = "") -> list[bytes]:
    ring = sorted((key(name), place, name) for place, name in enumerate(NAMES) if name != gone)
    halves = [[row for row in ring if row[0] * 2 >> 64 == part] for part in (0, 1)]
    recipe = h("recipe", RECIPE % h("schema", SCHEMA).hex().encode())
    name = h("constituent", recipe, h("ring", SECRET), b"\x00\x00\x00\x00")
    names = []
    for part, rows in enumerate(halves):
        if rows:
            leaves = [leaf(place, person) for _, place, person in rows]
            count = struct.pack("<Q", len(rows))
            name = h("checkpoint", name, b"slice:0:0:%d" % part, count, root(leaves))
            names.append(name)
    return names


def test_names_are_as_computed_by_hand(land) -> None:
    land.add(NAMES)
    assert list(plans.make(land.recipe(), land.ground, 0).names) == by_hand()


def test_names_without_a_sample_are_those_of_never_having_had_it(land) -> None:
    land.add(NAMES)
    ids = land.batches[0, 0].read(["id"], 0, 5)["id"].tolist()
    for ordinal, name in enumerate(ids):
        land.gone = {}
        land.forget((0, 0), ordinal)
        assert list(plans.make(land.recipe(), land.ground, 0).names) == by_hand(gone=name)


def test_names_are_these() -> None:
    """Who changes one of these changes what every stored checkpoint is called."""
    assert (
        h("schema", SCHEMA).hex()
        == "d482b4a18bcf9210b9c9721a67d8d392a3a968c663d54e62534a7838316646d5"
    )
    assert [name.hex() for name in by_hand()] == [
        "e7b565486c29df69ba1171c113e3c8a14dc3c08e6d16262fdd8857894e5a55e8",
        "9f8b54807a47803fd5a2b5ebffe44ad802c0cb409f357e27ae813766c5801e8e",
    ]


def test_seeds_are_as_computed_by_hand(land) -> None:
    land.add(NAMES)
    for part in plans.make(land.recipe(), land.ground, 0).slices:
        about = [b"int:5", b"int:0", b"str:slice", b"int:0", b"int:0", b"int:%d" % part.part]
        assert part.seed == int.from_bytes(h("seed", *about)[:8], "little")
