"""A made-up ring and log: rows, slices, names and entries about nobody, always the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core import merkle, names
from expunge.ledger.note import Checkpoint, Cosigner, Note, Signer
from expunge.ledger.proof import TlogProof
from expunge.storage.facts import Fact, leaf

SHARDS: Final = 2
ORIGIN: Final = "example.com/expunge/log"


def fixed(*about: object) -> bytes:
    """32 bytes that follow from what they are about."""
    return sha256(repr(about).encode()).digest()


def hex_of(*about: object) -> str:
    """A digest that follows from what it is about, hexadecimal."""
    return fixed(*about).hex()


def row(*about: object) -> bytes:
    """A row's leaf; 48 bytes."""
    place = fixed(*about, "key")
    key, token = place[: names.HASH_BYTES], place[-names.HASH_BYTES :]
    return key + token + fixed(*about, "commitment")


def of_shard(rows: Sequence[bytes], shard: int) -> list[bytes]:
    """Those rows that are in a shard."""
    keys = [int.from_bytes(row[: names.HASH_BYTES], "big") for row in rows]
    pairs = zip(rows, keys, strict=True)
    return [row for row, key in pairs if names.shard_of(key, SHARDS) == shard]


def root_of(rows: Sequence[bytes]) -> bytes:
    """Root over a slice's rows."""
    return merkle.root([merkle.leaf_hash(row) for row in rows])


def name_of(shard: int, rows: Sequence[bytes]) -> str | None:
    """Name of a constituent after its one slice."""
    if not rows:
        return None
    first = names.constituent(fixed("recipe"), fixed("ring"), shard)
    return names.checkpoint(first, names.place(0, 0, 0), len(rows), root_of(rows)).hex()


def window(rows: Sequence[bytes], key: bytes) -> dict[str, Any]:
    """A slice's rows between which one of this key would stand."""
    before = [n for n, row in enumerate(rows) if row[: names.HASH_BYTES] < key]
    behind = [n for n, row in enumerate(rows) if row[: names.HASH_BYTES] > key]
    first = before[-1] if before else 0
    last = behind[0] if behind else len(rows) - 1
    read = merkle.in_memory([merkle.leaf_hash(row) for row in rows])
    shown = range(first, last + 1)
    return {
        "place": names.place(0, 0, 0),
        "samples": len(rows),
        "root": root_of(rows).hex(),
        "first": first,
        "leaves": [rows[n].hex() for n in shown],
        "paths": [[p.hex() for p in merkle.prove_inclusion(n, len(rows), read)] for n in shown],
    }


@dataclass(frozen=True, slots=True)
class Owner:
    """Whoever issues certificates, with its keys.

    Attributes:
        witnesses: Cosign every head of the log.
    """

    log: Signer
    key: ec.EllipticCurvePrivateKey
    witnesses: tuple[Cosigner, ...] = ()

    @classmethod
    def named(cls, name: str, witnesses: int = 0) -> Owner:
        """An owner whose keys follow from a name."""
        scalar = int.from_bytes(fixed(name, "certificate"), "big") >> 1
        return cls(
            Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(fixed(name, "log"))),
            ec.derive_private_key(scalar, ec.SECP256R1()),
            tuple(
                Cosigner(
                    f"witness.example/{index}",
                    Ed25519PrivateKey.from_private_bytes(fixed(name, "witness", index)),
                )
                for index in range(witnesses)
            ),
        )

    def head(self, leaves: Sequence[bytes]) -> bytes:
        """The signed head of a log with these entries."""
        root = merkle.root([merkle.leaf_hash(one) for one in leaves])
        text = Checkpoint(ORIGIN, len(leaves), root).text
        note = Note(text, (self.log.sign(text),))
        for witness in self.witnesses:
            note = note.with_signature(witness.sign(text, 1_795_000_000))
        return note.to_bytes()

    def prove(self, leaves: Sequence[bytes], index: int) -> bytes:
        """Proof that an entry is in the log."""
        read = merkle.in_memory([merkle.leaf_hash(one) for one in leaves])
        path = merkle.prove_inclusion(index, len(leaves), read)
        return TlogProof(index, tuple(path), self.head(leaves)).to_bytes()


class Log:
    """Entries of a log, a second apart."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self._facts: list[tuple[str, Mapping[str, Any], str]] = []

    def add(self, kind: str, body: Mapping[str, Any], request: str | None = None) -> None:
        """Add an entry."""
        at = f"2026-11-21T14:00:{len(self.leaves):02d}.000000Z"
        self._facts.append((kind, body, at))
        self.leaves.append(leaf(Fact(kind, body, request), at))

    def at(self, kind: str, model: str | None = None, method: str | None = None) -> str:
        """When the last entry of a kind was made, of a model and a method where they are said."""
        wanted = {"model": model, "method": method}.items()
        moment: str = next(
            at
            for found, body, at in reversed(self._facts)
            if found == kind and all(value in (None, body.get(name)) for name, value in wanted)
        )
        return moment
