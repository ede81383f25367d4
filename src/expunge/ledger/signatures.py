"""The kinds of signatures that notes carry: what is signed, and with which algorithm.

References:
    c2sp.org/signed-note, section "Signature types"; c2sp.org/tlog-cosignature, sections
    "Ed25519 signed message" and "ML-DSA-44 signed message"; RFC 8032; FIPS 204.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from expunge.core.errors import KeyInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
SUBTREE: Final = 0x06

# Length of public keys. Unit: bytes.
_PUBLIC: Final = {ED25519: 32, COSIGNATURE: 32, SUBTREE: 1312}
_LABEL: Final = b"subtree/v1\n\0"
_MOST_NAME: Final = 255


def check_public(kind: int, public: bytes) -> None:
    """Refuse a public key that cannot verify anything.

    Raises:
        KeyInvalid: Its kind is unknown, its length is not that of its kind, or the installed
            ``cryptography`` has no ML-DSA-44.
    """
    if kind not in _PUBLIC:
        raise KeyInvalid(
            f"A public key has the kind 0x{kind:02x}. Expected 0x01 (Ed25519), 0x04 (cosignatures "
            f"with Ed25519) or 0x06 (cosignatures with ML-DSA-44). Ask its owner for one of those."
        )
    if len(public) != _PUBLIC[kind]:
        raise KeyInvalid(
            f"A public key of kind 0x{kind:02x} has {len(public):,} bytes. Expected "
            f"{_PUBLIC[kind]:,}. Copy it again."
        )
    if kind == SUBTREE:
        _ml_dsa(public)


def cosignature(text: str, time: int) -> bytes:
    """What a cosignature of kind 0x04 signs.

    Args:
        text: The checkpoint's text.
        time: Unit: seconds since 1970.
    """
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def subtree(name: str, time: int, origin: str, size: int, root: bytes) -> bytes | None:
    """What a cosignature of kind 0x06 signs; None where a name is too long for it.

    Args:
        name: The cosigner's name.
        time: Unit: seconds since 1970; 0 says nothing about time.
        origin: The log's name.
        size: Entries in the log.
        root: Root of the tree over them.
    """
    names = name.encode(), origin.encode()
    if max(map(len, names)) > _MOST_NAME:
        return None
    cosigner, log = (len(n).to_bytes(1, "big") + n for n in names)
    first, last = (0).to_bytes(8, "big"), size.to_bytes(8, "big")
    return _LABEL + cosigner + time.to_bytes(8, "big") + log + first + last + root


def verify(kind: int, public: bytes, message: bytes, value: bytes) -> bool:
    """Whether ``value`` is a signature over ``message`` by a key that :func:`check_public` took."""
    try:
        if kind == SUBTREE:
            _ml_dsa(public).verify(value, message)
        else:
            Ed25519PublicKey.from_public_bytes(public).verify(value, message)
    except InvalidSignature:
        return False
    return True


def _ml_dsa(public: bytes) -> MLDSA44PublicKey:
    # Imported here: an auditor's older `cryptography` does for logs without such witnesses.
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

        return MLDSA44PublicKey.from_public_bytes(public)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(
            "A public key is for ML-DSA-44, which the installed `cryptography` cannot verify. "
            "Upgrade it, or leave that key out."
        ) from error
