"""Proofs that an entry is in a log, as files that can be checked offline.

References:
    c2sp.org/tlog-proof; RFC 6962 section 2.1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from expunge.core import merkle
from expunge.core.errors import NoteInvalid, ProofInvalid
from expunge.ledger import note, strict
from expunge.ledger.note import Checkpoint, Verifier

HEADER: Final = "c2sp.org/tlog-proof@v1"
MOST_PATH: Final = 63  # trees have fewer than 2^63 entries
MOST_EXTRA: Final = 65_536
MOST_BYTES: Final = note.MOST_BYTES + 2 * MOST_EXTRA


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An entry's place in a log, and the log's signed word for it.

    Attributes:
        index: Number of the entry, from 0.
        path: Hashes from the entry's sibling upwards; 32 bytes each.
        checkpoint: The log's note, as it was published.
        extra: Bytes of an application's own, which nobody signed; our proofs have none.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def to_bytes(self) -> bytes:
        """The file; its name should end in ``.tlog-proof``."""
        extra = [] if self.extra is None else [f"extra {strict.encode(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(strict.encode, self.path)]
        return "".join(f"{line}\n" for line in [*lines, ""]).encode() + self.checkpoint


@dataclass(frozen=True, slots=True)
class Checked:
    """What a proof has shown.

    Attributes:
        checkpoint: The tree that the entry is in; its log signed it.
        witnesses: Those that cosigned it.
    """

    checkpoint: Checkpoint
    witnesses: tuple[Verifier, ...] = ()


def parse(data: bytes) -> TlogProof:
    """Read a file. Checks its form alone, and not the form of its checkpoint.

    Raises:
        ProofInvalid: It is no such file, too long, or not spelt as
            :meth:`TlogProof.to_bytes` spells it.
    """
    head, blank, checkpoint = data.partition(b"\n\n")
    if len(data) > MOST_BYTES or not head.isascii() or not blank or not checkpoint:
        raise _no_proof("lines of ASCII, an empty line and a signed checkpoint")
    first, *lines = head.decode().split("\n")
    if first != HEADER:
        raise _no_proof(f"the first line {HEADER!r}")
    extra = _extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else None
    index = _index(lines.pop(0)) if lines else None
    if index is None:
        raise _no_proof("a line 'index' and a number without leading zeros, below 2^63")
    path = [strict.decode(line, merkle.SIZE) for line in lines]
    hashes = tuple(hash_ for hash_ in path if hash_ is not None)
    if len(hashes) != len(path) or len(path) > MOST_PATH:
        raise _no_proof(f"up to {MOST_PATH} lines of base64, of 32 bytes each")
    return TlogProof(index, hashes, checkpoint, extra)


def check(
    proof: TlogProof, leaf: bytes, verifier: Verifier, witnesses: Sequence[Verifier] = ()
) -> Checked:
    """Check that an entry is in the log of ``verifier``, by the proof alone.

    Args:
        proof: Its place, and the log's checkpoint.
        leaf: The entry itself, byte for byte; not its hash.
        verifier: The log's public key. Its name is the log's origin.
        witnesses: Public keys whose cosignatures count; how many are enough is the caller's rule.

    Raises:
        ProofInvalid: The checkpoint is not by that log, a signature by a known key is wrong,
            or the path does not lead from the entry to the root.
    """
    checkpoint, signed = _opened(proof.checkpoint, (verifier, *witnesses))
    if verifier not in signed:
        raise ProofInvalid(
            f"The checkpoint of a proof is not signed by the log's key {verifier.name!r}. Get the "
            f"log's key from its owner, or the proof from the right log."
        )
    if checkpoint.origin != verifier.name:
        raise ProofInvalid(
            f"A proof is of the log {checkpoint.origin!r}. Expected {verifier.name!r}. Get the "
            f"proof from the right log."
        )
    hashed, size = merkle.leaf_hash(leaf), checkpoint.size
    if not merkle.check_inclusion(hashed, proof.index, size, proof.path, checkpoint.root):
        raise ProofInvalid(
            f"A proof does not show that this entry is number {proof.index:,} of the log of "
            f"{size:,}: entry, place or path was changed. Get entry and proof again."
        )
    return Checked(checkpoint, tuple(w for w in dict.fromkeys(witnesses) if w in signed))


def _opened(data: bytes, verifiers: Sequence[Verifier]) -> tuple[Checkpoint, tuple[Verifier, ...]]:
    """The checkpoint in a note, and who signed it."""
    try:
        opened = note.parse(data)
        return Checkpoint.parse(opened.text), note.verified(opened, verifiers)
    except NoteInvalid as error:
        raise ProofInvalid(f"The checkpoint of a proof cannot be trusted. {error}") from error


def _extra(line: str) -> bytes:
    extra = strict.decode(line.removeprefix("extra "))
    if not extra or len(extra) > MOST_EXTRA:
        raise _no_proof(f"after 'extra' base64 of 1 to {MOST_EXTRA:,} bytes")
    return extra


def _index(line: str) -> int | None:
    return strict.number(line.removeprefix("index ")) if line.startswith("index ") else None


def _no_proof(expected: str) -> ProofInvalid:
    return ProofInvalid(f"This is no proof of a log's entry. Expected {expected}. Get it again.")
