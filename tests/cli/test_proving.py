"""Commands that prove: the ledger, certificates, and checking them without a home."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from expunge.data.layout import SALT


@pytest.fixture
def certified(trained, answer):
    """A working folder with a certificate, ``c.zip``; the log's public key, and the request."""
    done = answer("forget", "--subject", "p-017")
    (request,) = done["requests"]
    saved = answer("certificate", "save", request, "--out", "c.zip")
    return saved["log_key"], request


def test_a_certificate_is_checked_without_its_home(certified, answer, call, folder):
    key, request = certified
    shutil.rmtree(folder / "home")
    found = answer("verify", "c.zip", "--log-key", key)
    assert (found["ok"], found["level"], found["request"]) == (True, 4, request)
    assert (
        "Verified. Evidence: level 4 of 8, absent."
        in call("verify", "c.zip", "--log-key", key).stdout
    )
    unkeyed = answer("verify", "c.zip", code=1)
    assert not unkeyed["ok"]
    assert "Not verified." in call("verify", "c.zip").stdout


def test_one_flipped_bit_is_found(certified, answer, folder):
    key, _ = certified
    data = bytearray((folder / "c.zip").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "c.zip").write_bytes(data)
    found = answer("verify", "c.zip", "--log-key", key, code=1)
    failed = [check for check in found["checks"] if check["verdict"] == "failed"]
    assert failed[0]["name"] == "archive"
    assert "at byte" in failed[0]["what"]


def test_the_verifier_builds_again_what_is_named(certified, answer, call):
    key, _ = certified
    found = answer("verify", "c.zip", "--log-key", key, "--replay")
    assert found["level"] == 8
    assert [(one["verdict"], one["rebuilt"]) for one in found["replayed"]] == [("passed", 4)]
    shown = call("verify", "c.zip", "--log-key", key, "--replay").stdout
    assert "4 of 4 shards built again: the same bytes" in shown
    assert "Evidence: level 8 of 8" in shown


def test_a_share_is_no_more_than_a_share(certified, answer):
    key, _ = certified
    found = answer("verify", "c.zip", "--log-key", key, "--replay", "--share", "0.3")
    assert [one["rebuilt"] for one in found["replayed"]] == [2]
    assert found["level"] == 4


def test_an_auditor_needs_a_package_and_no_home(certified, answer, folder):
    key, _ = certified
    answer("package", "people", "rows")
    shutil.rmtree(folder / "home")
    found = answer("verify", "c.zip", "--log-key", key, "--replay", "--data", "rows")
    assert (found["level"], found["replayed"][0]["same_bytes"]) == (8, 4)


def test_rows_that_were_forgotten_since_cannot_be_compared(certified, answer, call):
    key, _ = certified
    answer("forget", "--subject", "p-020")
    found = answer("verify", "c.zip", "--log-key", key, "--replay", code=1)
    assert [one["verdict"] for one in found["replayed"]] == ["inconclusive"]
    assert found["replayed"][0]["forgotten_since"] == 1
    shown = call("verify", "c.zip", "--log-key", key, "--replay").stdout
    assert "lost rows to later requests" in " ".join(shown.split())
    assert "Verified, but not by building it again." in shown


def test_rows_that_were_changed_on_the_disk_are_found(certified, answer, call, folder):
    key, _ = certified
    segment = next((folder / "home/data").rglob("*.arrow"))
    _change_a_cell(segment)
    found = answer("verify", "c.zip", "--log-key", key, "--replay", code=1)
    assert found["replayed"][0]["verdict"] == "failed"
    assert "Not confirmed" in call("verify", "c.zip", "--log-key", key, "--replay").stdout
    assert answer("verify", "income", code=1)["verdict"] == "rows-changed"
    assert "files were changed" in call("verify", "income").stdout


def _change_a_cell(segment):
    with pa.memory_map(str(segment)) as source:
        rows = pa.ipc.open_file(source).get_batch(0)
        salts = np.frombuffer(rows.column(SALT).buffers()[1], np.uint8).reshape(-1, 16)
        alive = int(np.flatnonzero(salts.any(axis=1))[0])
        column = rows.column("age").buffers()[1]
        base = pa.py_buffer(memoryview(segment.read_bytes()))
        width = rows.column("age").type.bit_width // 8
        wanted = bytes(memoryview(column)[alive * width : (alive + 1) * width])
        at = bytes(memoryview(base)).find(bytes(memoryview(column)[: rows.num_rows * width]))
    assert at >= 0
    data = bytearray(segment.read_bytes())
    data[at + alive * width] ^= 1
    assert wanted
    segment.write_bytes(data)


def test_a_certificate_says_what_it_says(certified, answer, call):
    _, request = certified
    said = answer("certificate", "show", "c.zip")
    assert said["predicate"]["request"]["id"] == request
    shown = call("certificate", "show", "c.zip").stdout
    assert "income: exact, by rebuild" in shown
    assert "Said, not checked" in shown


def test_a_certificate_is_not_ready_before_the_end(trained, answer):
    (request,) = answer("forget", "r-0003", "--no-wait")["requests"]
    error = answer("certificate", "save", request, code=2)["error"]
    assert error["code"] == "certificate-not-ready"
    assert "expunge recover" in error["message"]


def test_a_witness_has_an_address_and_a_key(certified, answer):
    _, request = certified
    error = answer("certificate", "save", request, "--witness", "https://w.example", code=2)[
        "error"
    ]
    assert "'URL KEY'" in error["message"]


def test_the_ledger_is_shown_proven_and_exported(certified, answer, call, folder):
    key, request = certified
    found = answer("ledger", "show", "--request", request)
    kinds = [entry["kind"] for entry in found["entries"]]
    assert kinds == ["request.received", "request.forgotten", "certificate.issued"]
    assert found["key"] == key
    assert f"{found['size']} entries" in call("ledger", "show", "--last", "3").stdout

    call("ledger", "proof", "0", "--out", "0.tlog-proof")
    proof = (folder / "0.tlog-proof").read_text()
    assert proof.startswith("c2sp.org/tlog-proof@v1\nindex 0\n")
    assert call("ledger", "proof", "0").stdout == proof
    assert answer("ledger", "proof", "0")["proof"] == proof

    answer("ledger", "export", "public")
    shutil.copy(folder / "public/checkpoint", folder / "kept")
    assert answer("ledger", "fsck")["problems"] == []
    assert answer("ledger", "fsck", "public", "--log-key", key)["problems"] == []
    answer("forget", "r-0100")
    assert answer("ledger", "fsck", "--earlier", "kept")["problems"] == []


def test_fsck_says_what_is_wrong_and_where(certified, answer, call, folder):
    key, _ = certified
    answer("ledger", "export", "public")
    bundle = next((folder / "public/tile/entries").rglob("*"))
    bundle = next(path for path in (folder / "public/tile/entries").rglob("*") if path.is_file())
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    found = answer("ledger", "fsck", "public", "--log-key", key, code=1)
    assert any("entries" in problem["file"] for problem in found["problems"])
    assert "problem" in call("ledger", "fsck", "public", "--log-key", key).stdout
    assert answer("ledger", "fsck", "public", code=2)["error"]["code"] == "input-invalid"


def test_keys_are_replaced_and_keys_of_commitments_destroyed(certified, answer, call):
    key, request = certified
    assert answer("ledger", "rotate", "certificate")["key"] == key
    new = answer("ledger", "rotate", "log")["key"]
    assert new != key
    assert answer("ledger", "show")["key"] == new
    assert answer("ledger", "fsck")["problems"] == []
    assert answer("ledger", "shred", request) == {"requests": 1}
    assert answer("ledger", "shred", request) == {"requests": 0}
    assert answer("ledger", "shred", "--older-than", "730") == {"requests": 0}
    assert answer("ledger", "shred", code=2)["error"]["code"] == "input-invalid"
    kinds = [entry["kind"] for entry in answer("ledger", "show", "--last", "3")["entries"]]
    assert kinds == ["key.rotated", "key.rotated", "salt.destroyed"]


def test_a_certificate_that_is_saved_again_comes_with_the_key_that_signed_it(certified, answer):
    old, request = certified
    new = answer("ledger", "rotate", "log")["key"]
    again = answer("certificate", "save", request, "--out", "again.zip")
    assert again["log_key"] == old
    assert answer("verify", "again.zip", "--log-key", old)["ok"]
    assert not answer("verify", "again.zip", "--log-key", new, code=1)["ok"]
    (later,) = answer("forget", "--subject", "p-020")["requests"]
    assert answer("certificate", "save", later, "--out", "later.zip")["log_key"] == new
    assert answer("verify", "later.zip", "--log-key", new)["ok"]


def test_what_is_served_is_exported(trained, answer, folder):
    found = answer("export", "income", "copy")
    assert sorted(found["files"]) == sorted(path.name for path in (folder / "copy").iterdir())
    described = json.loads((folder / "copy/version.json").read_text())
    assert len(described["constituents"]) == 4
