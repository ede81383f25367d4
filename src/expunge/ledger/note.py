"""Signed notes: the statements that a log and its witnesses sign.

A note is a text and signature lines, each by a key that has a name. Signatures by unknown keys
are kept, and count for nothing.

References:
    c2sp.org/signed-note, c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core.errors import KeyInvalid, NoteInvalid
from expunge.ledger import signatures, strict
from expunge.ledger.checkpoint import Checkpoint

__all__ = [
    "MOST_BYTES",
    "MOST_SIGNATURES",
    "Checkpoint",
    "Cosigner",
    "Note",
    "Signature",
    "Signer",
    "Verifier",
    "parse",
    "verified",
]

MOST_SIGNATURES: Final = 64  # verifiers must take at least 16
MOST_BYTES: Final = 1 << 20  # 64 post-quantum signatures and a text

_DASH = "— "


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line.

    Attributes:
        name: Name of the key.
        key_id: First 4 bytes of a hash of name, kind and public key; no more than a hint.
        value: What the key made: for Ed25519 64 bytes, for cosignatures 8 bytes of time more.
    """

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line, without its newline."""
        return f"{_DASH}{self.name} {strict.encode(self.key_id + self.value)}"

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read one line, without its newline.

        Raises:
            NoteInvalid: It is no signature line, or not spelt as :attr:`line` spells it.
        """
        name, _, text = line.removeprefix(_DASH).partition(" ")
        data = strict.decode(text)
        if not line.startswith(_DASH) or not _is_name(name) or data is None or len(data) < 5:
            raise NoteInvalid(
                "A note has a line that is no signature. Expected an em dash, a key's name and "
                "base64 of at least 5 bytes, with one blank between. Fetch the note again."
            )
        return cls(name, data[:4], data[4:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, in the order of their lines.

    Attributes:
        text: What is signed; ends with a newline.
        signatures: At least one, once the note is written.
    """

    text: str
    signatures: tuple[Signature, ...] = ()

    def with_signature(self, signature: Signature) -> Note:
        """The note with ``signature``, in place of an older one by the same key."""
        key = (signature.name, signature.key_id)
        kept = [s for s in self.signatures if (s.name, s.key_id) != key]
        return Note(self.text, (*kept, signature))

    def to_bytes(self) -> bytes:
        """The note as it is stored and sent."""
        lines = "".join(f"{signature.line}\n" for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key, with its name.

    Attributes:
        name: Name of the key; for a log, its origin.
        kind: 0x01 for Ed25519 over the text; 0x04 (Ed25519) or 0x06 (ML-DSA-44) for a
            cosignature, which says when a checkpoint was the largest that the key's owner saw.
        public: The raw public key.
    """

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise KeyInvalid("A key's name is empty, or has a blank or a plus. Name it otherwise.")
        signatures.check_public(self.kind, self.public)

    @property
    def key_id(self) -> bytes:
        """What signature lines call the key; 4 bytes."""
        return sha256(b"%b\n%c%b" % (self.name.encode(), self.kind, self.public)).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as it is published: name, id and key, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{strict.encode(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read a published key.

        Raises:
            KeyInvalid: It is none, of a kind that we do not know, or not spelt as
                :attr:`vkey` spells it.
        """
        name, _, rest = vkey.partition("+")
        data = strict.decode(rest.partition("+")[2])
        if not data or not _is_name(name):
            raise KeyInvalid(
                "This is no public key of a log or witness. Expected name+id+base64, in one "
                "line, as `expunge ledger show` prints it."
            )
        found = cls(name, data[0], data[1:])
        if found.vkey != vkey:
            raise KeyInvalid(
                "The id in a public key does not fit its name and key: a part of it was changed. "
                "Copy it again."
            )
        return found

    def verify(self, text: str, signature: Signature) -> bool:
        """Whether ``signature`` is by this key and over ``text``."""
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            return False
        value = signature.value
        if self.kind == signatures.ED25519:
            return signatures.verify(self.kind, self.public, text.encode(), value)
        time, value = int.from_bytes(value[:8], "big"), value[8:]
        message = _cosigned(self.kind, self.name, text, time) if time <= strict.MOST else None
        return message is not None and signatures.verify(self.kind, self.public, message, value)


@dataclass(frozen=True, slots=True)
class Signer:
    """A log's private key. Signs texts as they are (0x01)."""

    name: str
    private: Ed25519PrivateKey

    @property
    def verifier(self) -> Verifier:
        """The public key."""
        raw = self.private.public_key().public_bytes_raw()
        return Verifier(self.name, signatures.ED25519, raw)

    def sign(self, text: str) -> Signature:
        """Sign a text.

        Raises:
            NoteInvalid: The text cannot be a note's: no newline at its end, or control
                characters.
        """
        _check_text(text)
        return Signature(self.name, self.verifier.key_id, self.private.sign(text.encode()))


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's private key. Signs checkpoints with a time (0x04)."""

    name: str
    private: Ed25519PrivateKey

    @property
    def verifier(self) -> Verifier:
        """The public key."""
        raw = self.private.public_key().public_bytes_raw()
        return Verifier(self.name, signatures.COSIGNATURE, raw)

    def sign(self, text: str, time: int) -> Signature:
        """Cosign a checkpoint.

        Args:
            text: The checkpoint's text.
            time: When it was the largest one seen, up to 2^63 - 1. Unit: seconds since 1970.

        Raises:
            NoteInvalid: The text is no checkpoint.
            ValueError: There is no such time.
        """
        _check_text(text)
        Checkpoint.parse(text)
        if not 0 <= time <= strict.MOST:
            raise ValueError(f"Cosignatures have times from 0 to 2^63 - 1, not {time}.")
        value = time.to_bytes(8, "big") + self.private.sign(signatures.cosignature(text, time))
        return Signature(self.name, self.verifier.key_id, value)


def parse(data: bytes) -> Note:
    """Read a note. Verifies no signature: see :func:`verified`.

    Raises:
        NoteInvalid: It is no note, too long, or not spelt as :meth:`Note.to_bytes` spells it.
    """
    if len(data) > MOST_BYTES:
        raise NoteInvalid(f"A note has {len(data):,} bytes; up to {MOST_BYTES:,} are read.")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise NoteInvalid("A note is not UTF-8. Fetch it again.") from error
    # The last empty line parts them: a text may hold empty lines of its own.
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NoteInvalid(
            "A note has no signatures, or is cut off. Expected a text, an empty line and "
            "signature lines, each ended by a newline. Fetch it again."
        )
    _check_text(text + "\n")
    found = lines[:-1].split("\n")
    if len(found) > MOST_SIGNATURES:
        raise NoteInvalid(f"A note has {len(found):,} signatures; {MOST_SIGNATURES} are read.")
    return Note(text + "\n", tuple(map(Signature.parse, found)))


def verified(note: Note, verifiers: Sequence[Verifier]) -> tuple[Verifier, ...]:
    """Those of ``verifiers`` that signed the note, each once and in their order.

    Raises:
        NoteInvalid: A signature that names one of the keys is not by it: whoever made the
            note is not to be trusted, whatever else signed it.
    """
    signed = set[Verifier]()
    for signature in note.signatures:
        known = {v for v in verifiers if (v.name, v.key_id) == (signature.name, signature.key_id)}
        right = {verifier for verifier in known if verifier.verify(note.text, signature)}
        if known and not right:
            raise NoteInvalid(
                f"The signature of {signature.name!r} does not fit the note: note or signature was "
                f"changed, or another key made it. Do not trust the note; fetch it again."
            )
        signed |= right
    return tuple(dict.fromkeys(verifier for verifier in verifiers if verifier in signed))


def _cosigned(kind: int, name: str, text: str, time: int) -> bytes | None:
    """What a cosignature of ``kind`` signs; None where the text is no checkpoint."""
    try:
        checkpoint = Checkpoint.parse(text)
    except NoteInvalid:
        return None
    if kind == signatures.COSIGNATURE:
        return signatures.cosignature(text, time)
    if checkpoint.extensions:  # the message leaves them out, so it cannot vouch for the text
        return None
    tree = (checkpoint.size, checkpoint.root)
    return signatures.subtree(name, time, checkpoint.origin, *tree)


def _check_text(text: str) -> None:
    if not text.endswith("\n") or not strict.is_plain(text.replace("\n", "")):
        raise NoteInvalid(
            "The text of a note does not end with a newline, or has control characters. Expected "
            "lines of plain text."
        )


def _is_name(name: str) -> bool:
    """Names have no blanks (of all of Unicode's) and no plus, which would end them."""
    return name != "" and "+" not in name and strict.is_plain(name) and len(name.split()) == 1
