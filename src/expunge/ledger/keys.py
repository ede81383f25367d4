"""The two signing keys of a home: Ed25519 for its log, ECDSA P-256 for its certificates.

They are made on first use, or supplied in an environment variable, as a path or as the PEM
itself. Messages about keys never show any of their bytes.

References:
    RFC 5958 (PKCS #8), RFC 8032 (Ed25519), FIPS 186-5 (ECDSA over P-256).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core.errors import KeyInvalid
from expunge.ledger.note import Signer
from expunge.storage import disk, locks

Private: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey

_FIRST_LINE: Final = "-----BEGIN"


class Which(StrEnum):
    """What a key is for."""

    LOG = "log"
    CERTIFICATE = "certificate"


_WORDS: Final = {Which.LOG: "an Ed25519 key", Which.CERTIFICATE: "an ECDSA key on the curve P-256"}
_VARIABLES: Final = {Which.LOG: "EXPUNGE_LOG_KEY", Which.CERTIFICATE: "EXPUNGE_CERTIFICATE_KEY"}
_MAKE: Final[dict[Which, Callable[[], Private]]] = {
    Which.LOG: Ed25519PrivateKey.generate,
    Which.CERTIFICATE: lambda: generate_private_key(SECP256R1()),
}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one home, in a folder that only its owner may read.

    Attributes:
        folder: Holds ``log.pem`` and ``certificate.pem``: PKCS #8, unencrypted, mode 0600.
        origin: Name of the log's key in its signatures.
    """

    folder: Path
    origin: str

    def log(self, public: str | None = None) -> Signer:
        """The key that signs the log.

        Args:
            public: Which one it must be, as :meth:`public` writes it; a key that a rotation
                put in force before it moved the file is found too. By default the present
                one, made where there is none.

        Raises:
            KeyInvalid: It cannot be read, is of another kind, is another one, or is missing.
        """
        private = self._private(Which.LOG, public)
        assert isinstance(private, Ed25519PrivateKey)
        return Signer(self.origin, private)

    def certificate(self, public: str | None = None) -> EllipticCurvePrivateKey:
        """The key that signs certificates.

        Args:
            public: As for :meth:`log`.

        Raises:
            KeyInvalid: It cannot be read, is of another kind, is another one, or is missing.
        """
        private = self._private(Which.CERTIFICATE, public)
        assert isinstance(private, EllipticCurvePrivateKey)
        return private

    def public(self, private: Private) -> str:
        """How a key is written down: a log's as vkey, a certificate's as SHA-256 of its SPKI."""
        if isinstance(private, Ed25519PrivateKey):
            return Signer(self.origin, private).verifier.vkey
        return fingerprint(private)

    def is_settled(self, *public: str) -> bool:
        """Whether none of the keys in force waits for a rotation's end."""
        waiting = ((which, self._waiting(which)) for which in Which)
        found = (load(which, str(path), path.name) for which, path in waiting if path.exists())
        return not any(self.public(private) in public for private in found)

    def is_supplied(self, which: Which) -> bool:
        """Whether a key comes from the environment, so that it is not ours to replace."""
        return bool(os.environ.get(_VARIABLES[which]))

    def prepare(self, which: Which, supplied: str | None = None) -> Private:
        """The next key, not yet in use.

        It is kept beside the present one, so that a rotation that was cut short goes on with
        the same; not where it is supplied, nor where the present one is.

        Args:
            which: What it is for.
            supplied: A path or a PEM; made here by default.

        Raises:
            KeyInvalid: What was supplied cannot be used, or nothing was where it must be.
        """
        given = None if supplied is None else load(which, supplied, "The new key")
        if self.is_supplied(which):
            if given is None:
                raise KeyInvalid(
                    f"The {which} key is supplied by {_VARIABLES[which]}: supply the new one too, "
                    f"as a path or a PEM, and set the variable to it afterwards."
                )
            return given
        with locks.alone(self._folder() / ".lock"):
            waiting = self._waiting(which)
            if given is None and waiting.exists():
                return load(which, str(waiting), f"keys/{waiting.name}")
            fresh = given or _MAKE[which]()
            disk.write_file(waiting, _pem(fresh))
            return fresh

    def settle(self, which: Which, public: str) -> None:
        """End a rotation: ``public`` is in force, and all that says so is published.

        Where it is the next key, it takes the present one's place, which is destroyed.
        """
        waiting = self._waiting(which)
        if self.is_supplied(which) or not waiting.exists():
            return
        with locks.alone(self._folder() / ".lock"):
            if not waiting.exists():
                return
            found = load(which, str(waiting), f"keys/{waiting.name}")
            if self.public(found) == public:
                disk.replace(waiting, self._path(which))

    def _private(self, which: Which, public: str | None) -> Private:
        if public is None:
            return self._present(which)
        for found in self._candidates(which):
            if self.public(found) == public:
                return found
        where = f"{_VARIABLES[which]} or as keys/{which}.pem"
        raise KeyInvalid(
            f"The {which} key in force is {public}, and it is not at hand. Restore it, in {where}; "
            f"a key is replaced by `Ledger.rotate`, which the log records."
        )

    def _present(self, which: Which) -> Private:
        path = self._path(which)
        if not self.is_supplied(which) and not path.exists():
            self._make(which, path)
        return next(iter(self._candidates(which)))

    def _candidates(self, which: Which) -> Iterator[Private]:
        if self.is_supplied(which):
            yield load(which, os.environ[_VARIABLES[which]], _VARIABLES[which])
            return
        for path in (self._path(which), self._waiting(which)):
            if path.exists():
                yield load(which, str(path), f"keys/{path.name}")

    def _make(self, which: Which, path: Path) -> None:
        with locks.alone(self._folder() / ".lock"):
            if not path.exists():
                disk.write_file(path, _pem(_MAKE[which]()))

    def _folder(self) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder

    def _path(self, which: Which) -> Path:
        return self.folder / f"{which}.pem"

    def _waiting(self, which: Which) -> Path:
        return self.folder / f"{which}.next.pem"


def fingerprint(private: EllipticCurvePrivateKey) -> str:
    """SHA-256, in hex, of a key's public half (SubjectPublicKeyInfo, DER)."""
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(der).hexdigest()


def load(which: Which, supplied: str, where: str) -> Private:
    """Read a private key.

    Args:
        which: What it is for, and so of which kind it must be.
        supplied: A path, or the PEM itself.
        where: Names the place for an error's message.

    Raises:
        KeyInvalid: It cannot be read, or is of another kind.
    """
    advice = f"Expected {_WORDS[which]}, unencrypted, as PKCS #8 PEM."
    try:
        private = serialization.load_pem_private_key(_bytes(supplied), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        # Not the cause's words: a path may be a key that was pasted without its first line.
        raise KeyInvalid(f"{where} cannot be read as a private key. {advice}") from None
    if which is Which.LOG and isinstance(private, Ed25519PrivateKey):
        return private
    on_curve = isinstance(private, EllipticCurvePrivateKey) and private.curve.name == "secp256r1"
    if which is Which.CERTIFICATE and on_curve:
        assert isinstance(private, EllipticCurvePrivateKey)
        return private
    raise KeyInvalid(f"{where} holds a key of another kind. {advice}")


def _bytes(supplied: str) -> bytes:
    if supplied.lstrip().startswith(_FIRST_LINE):
        return supplied.lstrip().encode()
    return Path(supplied).read_bytes()


def _pem(private: Private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
