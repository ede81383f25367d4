"""OpenSSF model-signing signatures of a version's files, byte-compatible with its 1.1 command.

``model_signing verify key FOLDER --signature FILE --public_key FILE`` accepts them, and anybody
can check them from the files' digests alone, as :func:`verify` does.

References:
    OpenSSF, "Model Signing v1.0", https://github.com/sigstore/model-transparency; its
    predicate ``https://model_signing/signature/v1.0``.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from expunge.core import jcs
from expunge.core.digest import Json
from expunge.core.errors import CertificateInvalid
from expunge.ledger import dsse

PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"


def statement(files: Mapping[str, str], name: str) -> dict[str, Json]:
    """What is signed: one subject, whose digest is that of all the files' digests.

    Args:
        files: SHA-256 of each file, hexadecimal, by its path in the folder.
        name: Of the folder. Informative: renaming a folder does not break its signature.
    """
    # By the parts of the path, as model-signing sorts: the order is part of the digest.
    names = sorted(files, key=PurePosixPath)
    whole = sha256(b"".join(bytes.fromhex(files[one]) for one in names))
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": one, "algorithm": "sha256", "digest": files[one]} for one in names
            ],
        },
    }


def sign(files: Mapping[str, str], name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign the ``files`` of a model; the bundle that model-signing expects."""
    return dsse.seal(jcs.dumps(statement(files, name)), key)


def verify(data: bytes, key: ec.EllipticCurvePublicKey, what: str) -> dict[str, str]:
    """SHA-256 of the files that a signature by ``key`` covers, by name.

    Raises:
        CertificateInvalid: It is malformed, not canonical, or signed by another key.
    """
    payload = dsse.unseal(data, key, what)
    try:
        found = jcs.loads(payload, what)
        files = {one["name"]: one["digest"] for one in found["predicate"]["resources"]}
        expected = statement(files, found["subject"][0]["name"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unreadable(what) from error
    if found != expected:
        raise _unreadable(what)
    return files


def _unreadable(what: str) -> CertificateInvalid:
    return CertificateInvalid(f"{what} is not a model signature of files by SHA-256.")
