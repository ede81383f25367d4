"""Signed envelopes: foreign tools accept them, and no second form of one is accepted by us."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from expunge.core import jcs
from expunge.core.errors import CertificateInvalid
from expunge.ledger import dsse, strict
from expunge.testing.certificates import Owner

KEY = Owner.named("owner").key
PUBLIC = KEY.public_key()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@given(st.binary(max_size=200))
def test_what_is_signed_is_verified_and_comes_back(payload: bytes) -> None:
    assert dsse.verify(dsse.sign(payload, KEY), PUBLIC) == payload


@given(st.binary(max_size=100))
def test_securesystemslib_accepts_our_envelopes(payload: bytes) -> None:
    key = SSlibKey.from_crypto(PUBLIC, keyid=dsse.key_id(PUBLIC))
    envelope = Envelope.from_dict(copy.deepcopy(dsse.sign(payload, KEY)))

    assert envelope.verify([key], 1) == {dsse.key_id(PUBLIC): key}
    assert envelope.payload == payload
    envelope.payload += b"!"
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_no_changed_bit_is_accepted(payload: bytes, data: st.DataObject) -> None:
    sealed = bytearray(dsse.seal(payload, KEY))
    place = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[place // 8] ^= 1 << place % 8

    with pytest.raises(CertificateInvalid):
        dsse.unseal(bytes(sealed), PUBLIC, "it")


def test_openssl_accepts_our_signatures(tmp_path: Path) -> None:
    envelope = dsse.sign(b'{"a":1}', KEY)
    (tmp_path / "signed").write_bytes(b'DSSEv1 28 application/vnd.in-toto+json 7 {"a":1}')
    (tmp_path / "sig").write_bytes(strict.decode(envelope["signatures"][0]["sig"]) or b"")
    (tmp_path / "key").write_bytes(dsse.pem(PUBLIC))

    command = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "sig", "signed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Verified OK"


def test_equal_payloads_give_equal_envelopes() -> None:
    # RFC 6979: no chance is needed to sign, so none can go wrong.
    assert dsse.seal(b"x", KEY) == dsse.seal(b"x", KEY)


def test_the_key_id_is_the_digest_of_the_key_in_der(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(
        PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-r", tmp_path / "key"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == dsse.key_id(PUBLIC)


def changed(**fields: Any) -> dict[str, Any]:
    envelope = dsse.sign(b'{"a":1}', KEY)
    signature = envelope["signatures"][0]
    for name, value in fields.items():
        target = signature if name in ("sig", "keyid") else envelope
        target[name] = value
    return envelope


def signature() -> tuple[int, int]:
    signed = strict.decode(dsse.sign(b'{"a":1}', KEY)["signatures"][0]["sig"])
    assert signed is not None
    return utils.decode_dss_signature(signed)


def long_form(r: int, s: int) -> bytes:
    """The same numbers as DER forbids them: with an empty byte in front of r."""
    first = b"\0\0" + r.to_bytes(33, "big").lstrip(b"\0")
    second = s.to_bytes(33, "big").lstrip(b"\0")
    second = b"\0" + second if second[0] & 0x80 else second
    body = b"".join(b"\x02%c%b" % (len(one), one) for one in (first, second))
    return b"\x30%c%b" % (len(body), body)


@pytest.mark.parametrize(
    ("envelope", "problem"),
    [
        (changed(payloadType="text/plain"), "payload type"),
        (changed(keyid="0" * 64), "another key"),
        (changed(payload="eyJhIjoxfQ"), "base64"),
        (changed(payload="eyJhIjoxfQ=\n="), "base64"),
        (changed(payload="eyJhIjoxfR=="), "base64"),
        (changed(payload="eyJhIjoyfQ=="), "not one of this key"),
        (changed(sig=""), "not one of this key"),
        (changed(sig=strict.encode(b"\x30\x06\x02\x01\x00\x02\x01\x00")), "not one of this key"),
        (changed(signatures=[]), "one signature"),
        (changed(extra=1), "one signature"),
        (changed(payload=7), "one signature"),
        ({}, "one signature"),
    ],
)
def test_other_envelopes_are_refused(envelope: dict[str, Any], problem: str) -> None:
    with pytest.raises(CertificateInvalid, match=problem):
        dsse.verify(envelope, PUBLIC)


def test_the_larger_of_two_equivalent_signatures_is_refused() -> None:
    r, s = signature()
    other = utils.encode_dss_signature(r, ORDER - s)
    PUBLIC.verify(other, dsse.pae(dsse.PAYLOAD_TYPE, b'{"a":1}'), ec.ECDSA(utils.hashes.SHA256()))
    with pytest.raises(CertificateInvalid, match="canonical"):
        dsse.verify(changed(sig=strict.encode(other)), PUBLIC)


def test_a_signature_in_a_longer_spelling_is_refused() -> None:
    with pytest.raises(CertificateInvalid):
        dsse.verify(changed(sig=strict.encode(long_form(*signature()))), PUBLIC)


def test_another_key_is_refused() -> None:
    mallory = Owner.named("mallory").key
    with pytest.raises(CertificateInvalid, match="another key"):
        dsse.verify(dsse.sign(b"x", mallory), PUBLIC)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
    ],
)
def test_keys_of_other_kinds_are_refused(key: Any) -> None:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(CertificateInvalid, match="P-256"):
        dsse.public_key(pem)


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PUBLIC KEY-----\n", dsse.pem(PUBLIC) + b" "])
def test_keys_in_other_forms_are_refused(data: bytes) -> None:
    with pytest.raises(CertificateInvalid, match="PEM"):
        dsse.public_key(data)


@pytest.mark.parametrize(
    "bundle",
    [
        [],
        {"dsseEnvelope": 1},
        {**dsse.bundle(dsse.sign(b"x", KEY), PUBLIC), "mediaType": "other"},
        {**dsse.bundle(dsse.sign(b"x", KEY), PUBLIC), "verificationMaterial": {}},
        {**dsse.bundle(dsse.sign(b"x", KEY), PUBLIC), "messageSignature": {}},
    ],
)
def test_other_bundles_are_refused(bundle: Any) -> None:
    with pytest.raises(CertificateInvalid, match="it is not"):
        dsse.unseal(jcs.dumps(bundle), PUBLIC, "it")
