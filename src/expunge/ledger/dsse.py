"""Signed envelopes (DSSE), and the Sigstore bundle that carries one.

ECDSA over P-256 with SHA-256: what ``openssl``, ``cosign``, ``securesystemslib`` and OpenSSF
``model-signing`` all understand. Signatures are deterministic (RFC 6979) and have the smaller
of the two equivalent values of s; verifying demands it, and the one spelling of everything
else. So nobody but the holder of the key can make a second form of a signed envelope.

References:
    Secure Systems Lab, "DSSE: Dead Simple Signing Envelope", v1.0.0, protocol.md.
    Sigstore, protobuf-specs, ``sigstore_bundle.proto``, media type v0.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from expunge.core import jcs
from expunge.core.digest import Json
from expunge.core.errors import CertificateInvalid
from expunge.ledger import strict

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

# Order of the group of P-256 (FIPS 186-4, D.1.2.3).
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Envelope = dict[str, Any]


def pae(payload_type: str, body: bytes) -> bytes:
    """Pre-authentication encoding: what is really signed (protocol.md, "Signature Definition").

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def sign(payload: bytes, key: ec.EllipticCurvePrivateKey) -> Envelope:
    """Sign an in-toto ``payload`` with a P-256 ``key``."""
    signature = key.sign(
        pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    )
    r, s = utils.decode_dss_signature(signature)
    small = utils.encode_dss_signature(r, min(s, _ORDER - s))
    return {
        "payload": strict.encode(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id(key.public_key()), "sig": strict.encode(small)}],
    }


def verify(envelope: Mapping[str, Any], key: ec.EllipticCurvePublicKey) -> bytes:
    """Payload of an ``envelope`` that ``key`` signed, and that has the one form of :func:`sign`.

    Raises:
        CertificateInvalid: It is malformed, of another type, or signed by another key.
    """
    match envelope:
        case {
            "payload": str(payload),
            "payloadType": str(kind),
            "signatures": [{"keyid": str(key_name), "sig": str(signed), **nothing}],
            **nothing_else,
        } if not nothing and not nothing_else:
            pass
        case _:
            raise CertificateInvalid("The envelope is not a DSSE envelope with one signature.")
    if kind != PAYLOAD_TYPE:
        raise CertificateInvalid(f"The envelope's payload type is not {PAYLOAD_TYPE!r}.")
    if key_name != key_id(key):
        raise CertificateInvalid("The envelope names another key than the one it came with.")
    body, signature = strict.decode(payload), strict.decode(signed)
    if body is None or signature is None:
        raise CertificateInvalid("The envelope's base64 is not canonical.")
    _check(signature, pae(kind, body), key)
    return body


def bundle(envelope: Envelope, key: ec.EllipticCurvePublicKey) -> dict[str, Json]:
    """The Sigstore bundle v0.3 of an envelope that was signed with a key of one's own.

    Its hint is the SHA-256 of the key in PEM: OpenSSF model-signing compares it.
    """
    return {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": sha256(pem(key)).hexdigest()}},
        "dsseEnvelope": envelope,
    }


def seal(payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign ``payload`` and encode its bundle, canonical to the last byte."""
    return jcs.dumps(bundle(sign(payload, key), key.public_key()))


def unseal(data: bytes, key: ec.EllipticCurvePublicKey, what: str) -> bytes:
    """Payload of a bundle that :func:`seal` made with ``key``.

    Raises:
        CertificateInvalid: It is malformed, not canonical, or signed by another key.
    """
    try:
        found = jcs.loads(data, what)
    except ValueError as error:
        raise CertificateInvalid(str(error)) from error
    if not isinstance(found, dict) or not isinstance(found.get("dsseEnvelope"), dict):
        raise CertificateInvalid(f"{what} is not a Sigstore bundle with a DSSE envelope.")
    if found != bundle(found["dsseEnvelope"], key):
        raise CertificateInvalid(f"{what} is not a bundle v0.3 for the key it came with.")
    return verify(found["dsseEnvelope"], key)


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo in DER, hexadecimal."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """The key's SubjectPublicKeyInfo in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def public_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """Read a P-256 key that :func:`pem` wrote.

    Raises:
        CertificateInvalid: It is another kind of key, or has another form.
    """
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateInvalid("The public key is not a PEM file that can be read.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateInvalid("The public key is not one of the curve P-256.")
    if pem(key) != data:
        raise CertificateInvalid("The public key is not in the one PEM form.")
    return key


def _check(signature: bytes, message: bytes, key: ec.EllipticCurvePublicKey) -> None:
    try:
        r, s = utils.decode_dss_signature(signature)
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature) as error:
        raise CertificateInvalid("The signature is not one of this key over this text.") from error
    if s > _ORDER // 2 or utils.encode_dss_signature(r, s) != signature:
        raise CertificateInvalid("The signature is not in its one canonical form.")
