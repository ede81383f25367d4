from __future__ import annotations

import json
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from expunge.core.errors import KeyInvalid
from expunge.ledger import keys as made
from expunge.ledger import note, proof
from expunge.ledger.fsck import fsck
from expunge.ledger.keys import Keys, Which
from expunge.ledger.note import Verifier

LOG, CERTIFICATE = Which.LOG, Which.CERTIFICATE


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys", "expunge/test")


def pem(private, password=None, form=serialization.PrivateFormat.PKCS8):
    hidden = serialization.NoEncryption()
    if password:
        hidden = serialization.BestAvailableEncryption(password)
    return private.private_bytes(serialization.Encoding.PEM, form, hidden).decode()


def test_the_first_use_makes_a_key_and_later_ones_read_it(keys):
    assert keys.log().verifier == keys.log().verifier
    assert keys.log().name == "expunge/test"
    assert made.fingerprint(keys.certificate()) == made.fingerprint(keys.certificate())
    assert keys.certificate().curve.name == "secp256r1"


def test_keys_are_pkcs8_and_ours_alone(keys):
    keys.log()
    keys.certificate()
    assert keys.folder.stat().st_mode & 0o777 == 0o700
    for name in ("log.pem", "certificate.pem"):
        path = keys.folder / name
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_two_that_make_a_key_at_once_get_the_same(keys):
    found, gate = [], threading.Barrier(8)

    def use():
        gate.wait()
        found.append((keys.log().verifier.vkey, made.fingerprint(keys.certificate())))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("how", ["path", "pem"])
def test_keys_from_the_environment_come_before_files(keys, tmp_path, monkeypatch, how):
    log, certificate = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    for private, name in ((log, "EXPUNGE_LOG_KEY"), (certificate, "EXPUNGE_CERTIFICATE_KEY")):
        path = tmp_path / name
        path.write_text(pem(private))
        monkeypatch.setenv(name, str(path) if how == "path" else "\n" + pem(private))
    assert keys.log().verifier.public == log.public_key().public_bytes_raw()
    assert made.fingerprint(keys.certificate()) == made.fingerprint(certificate)
    assert not keys.folder.exists()


# The same in every process: test ids are made of them.
ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(7, ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
BROKEN = pem(ED).replace("MC4C", "MC5C")
CUT = "".join(pem(ED).splitlines(keepends=True)[1:])  # a key that was pasted without its head


@pytest.mark.parametrize(
    ("which", "supplied"),
    [
        (LOG, pem(P256)),
        (LOG, pem(RSA)),
        (LOG, pem(ED, b"secret")),
        (LOG, BROKEN),
        (LOG, CUT),
        (LOG, "/no/such/file"),
        (LOG, "-----BEGIN PRIVATE KEY-----"),
        (CERTIFICATE, pem(ED)),
        (CERTIFICATE, pem(P384)),
        (CERTIFICATE, pem(RSA)),
        (CERTIFICATE, "/"),
        (CERTIFICATE, "x" * 5000),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_it(which, supplied):
    with pytest.raises(KeyInvalid, match="unencrypted, as PKCS #8 PEM") as caught:
        made.load(which, supplied, "EXPUNGE_LOG_KEY")
    said = str(caught.value)
    assert caught.value.__cause__ is None
    assert said.startswith("EXPUNGE_LOG_KEY ")
    assert not any(line in said for line in supplied.splitlines() if len(line) > 20)


def test_a_null_byte_in_a_path_is_no_key():
    with pytest.raises(KeyInvalid):
        made.load(LOG, "a\0b", "EXPUNGE_LOG_KEY")


def test_keys_in_openssl_s_older_form_do_too(tmp_path):
    older = pem(P256, form=serialization.PrivateFormat.TraditionalOpenSSL)
    (tmp_path / "key").write_text(older)
    found = made.load(CERTIFICATE, str(tmp_path / "key"), "The new key")
    assert made.fingerprint(found) == made.fingerprint(P256)


def test_a_file_that_is_no_key_is_named(keys):
    keys.folder.mkdir()
    (keys.folder / "log.pem").write_bytes(b"\xff\x00 not a key")
    with pytest.raises(KeyInvalid, match=r"keys/log\.pem cannot be read"):
        keys.log()


# Rotation


def entries(ledger, kind):
    found = map(json.loads, ledger.entries())
    return [entry["body"] for entry in found if entry["kind"] == kind]


def test_the_first_entry_names_log_and_keys(desk):
    ledger = desk.ledger()
    ledger.sync()
    assert entries(ledger, "ledger.opened") == [
        {
            "origin": "expunge/test",
            "log_key": ledger.vkey,
            "certificate_key": made.fingerprint(ledger.certificate_key),
        }
    ]


def test_a_new_log_key_signs_one_head_with_the_old_and_then_alone(desk):
    ledger = desk.ledger()
    desk.record(3)
    ledger.sync()
    old, before = Verifier.parse(ledger.vkey), ledger.checkpoint
    kept = ledger.proof(2)

    new = Verifier.parse(ledger.rotate("log"))

    assert new != old
    assert ledger.vkey == new.vkey
    assert entries(ledger, "key.rotated") == [{"key": "log", "new": new.vkey, "old": old.vkey}]
    assert note.verified(note.parse(ledger.checkpoint), [old, new]) == (old, new)
    handover = (desk.files / "handover" / "5").read_bytes()
    assert handover == ledger.checkpoint
    desk.record()
    ledger.sync()
    assert note.verified(note.parse(ledger.checkpoint), [old, new]) == (new,)
    # Old proofs stay as good as they were, and the old key leads to the new one.
    assert proof.check(kept, ledger.entries(2, 3)[0], old).checkpoint.size == 4
    for vkey in (old.vkey, new.vkey):
        assert fsck(desk.files, vkey, earlier=before).problems == ()
    assert ledger.fsck().is_clean


def test_keys_are_rotated_again_and_again(desk):
    ledger = desk.ledger()
    ledger.sync()
    names = [ledger.vkey]
    for _ in range(3):
        desk.record(2)
        names.append(ledger.rotate("log"))
    desk.record()
    ledger.sync()
    assert len(set(names)) == 4
    for vkey in names:
        assert fsck(desk.files, vkey).problems == ()
    assert sorted(p.name for p in (desk.files / "handover").iterdir()) == ["10", "4", "7"]
    assert ledger.fsck().is_clean


def test_a_new_certificate_key_is_recorded_and_used(desk):
    ledger = desk.ledger()
    ledger.sync()
    old = made.fingerprint(ledger.certificate_key)
    new = ledger.rotate("certificate")
    assert made.fingerprint(ledger.certificate_key) == new != old
    assert entries(ledger, "key.rotated") == [{"key": "certificate", "new": new, "old": old}]
    assert ledger.fsck().is_clean
    assert not (desk.folder / "keys" / "certificate.next.pem").exists()


def test_a_rotation_of_a_supplied_key_needs_the_new_one(desk, monkeypatch):
    monkeypatch.setenv("EXPUNGE_LOG_KEY", pem(ED))
    ledger = desk.ledger()
    ledger.sync()
    with pytest.raises(KeyInvalid, match="supply the new one too"):
        ledger.rotate("log")
    with pytest.raises(KeyInvalid, match="in force already"):
        ledger.rotate("log", pem(ED))
    with pytest.raises(KeyInvalid, match="The new key cannot be read"):
        ledger.rotate("log", "/no/such/file")
    fresh = ed25519.Ed25519PrivateKey.generate()
    ledger.rotate("log", pem(fresh))
    desk.record()
    with pytest.raises(KeyInvalid, match="is not at hand"):
        ledger.sync()
    monkeypatch.setenv("EXPUNGE_LOG_KEY", pem(fresh))
    assert ledger.sync() == 3
    assert ledger.fsck().is_clean
    assert not (desk.folder / "keys" / "log.pem").exists()


def test_a_key_may_be_replaced_by_a_supplied_one(desk, tmp_path):
    ledger = desk.ledger()
    ledger.sync()
    (tmp_path / "mine.pem").write_text(pem(ED))
    vkey = ledger.rotate("log", str(tmp_path / "mine.pem"))
    assert Verifier.parse(vkey).public == ED.public_key().public_bytes_raw()
    assert (desk.folder / "keys" / "log.pem").read_text() == pem(ED)


@pytest.mark.parametrize("name", ["log", "certificate"])
def test_a_lost_key_is_missed_and_not_made_again(desk, name):
    ledger = desk.ledger()
    ledger.sync()
    (desk.folder / "keys" / f"{name}.pem").unlink()
    desk.record()
    with pytest.raises(KeyInvalid, match=f"The {name} key in force is .* not at hand"):
        _ = ledger.sync() if name == "log" else ledger.certificate_key
    assert not (desk.folder / "keys" / f"{name}.pem").exists()


def test_another_log_key_does_not_sign(desk, monkeypatch):
    ledger = desk.ledger()
    ledger.sync()
    desk.record()
    monkeypatch.setenv("EXPUNGE_LOG_KEY", pem(ED))
    with pytest.raises(KeyInvalid, match="not at hand"):
        ledger.sync()
    assert desk.rows()[-1][0] is None
