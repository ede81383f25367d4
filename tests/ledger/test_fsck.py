from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core import merkle
from expunge.core.errors import KeyInvalid, LedgerError, NoteInvalid
from expunge.ledger import files, note, sql, tiles
from expunge.ledger.fsck import fsck
from expunge.ledger.note import Cosigner
from expunge.ledger.sql import HEADS
from expunge.storage.facts import FACTS

ATTACKS = Path(__file__).with_name("attacks")


def paths(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def grown(desk, steps):
    """A log that was published at each step, so that it has stale partial tiles too."""
    ledger = desk.ledger()
    for count in steps:
        desk.record(count)
        ledger.sync()
    return ledger


def flipped(path, position, bit):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def named(folder, vkey, path, position, bit):
    """The files that are named when one bit of one file is flipped; it is mended after."""
    flipped(folder / path, position, bit)
    found = fsck(folder, vkey)
    flipped(folder / path, position, bit)
    return {problem.file for problem in found.problems}


def test_a_flipped_bit_in_a_log_of_a_thousand_entries_is_found_and_named(desk, record_property):
    ledger = grown(desk, [240, 600, 100])
    ledger.rotate("log")
    desk.record(57)
    assert ledger.sync() == 1000 - 1
    desk.record(1)
    assert ledger.sync() == 1000
    vkey, held = ledger.vkey, paths(desk.files)
    assert {"checkpoint", "handover/942", "tile/0/003.p/231", "tile/0/003.p/232"} <= set(held)
    assert fsck(desk.files, vkey).problems == ()
    draws = np.random.default_rng(1)
    sizes = {path: (desk.files / path).stat().st_size for path in held}
    tried = [(path, at) for path in held for at in (0, sizes[path] - 1)]
    weights = np.array([*sizes.values()]) / sum(sizes.values())
    chosen = draws.choice(held, 300, p=weights)
    tried += [(str(path), int(draws.integers(sizes[path]))) for path in chosen]
    for path, position in tried:
        bit = int(draws.integers(8))
        assert named(desk.files, vkey, path, position, bit) == {path}, (path, position, bit)
    record_property("cases", len(tried))


@pytest.mark.slow
def test_every_flipped_byte_of_a_small_log_is_found_and_named(desk, record_property):
    ledger = grown(desk, [3, 2])
    ledger.rotate("log")
    desk.record(2)
    ledger.sync()
    tried = 0
    for path in paths(desk.files):
        for position in range((desk.files / path).stat().st_size):
            bit = position % 8
            assert named(desk.files, ledger.vkey, path, position, bit) == {path}
            tried += 1
    record_property("cases", tried)


def test_every_file_is_missed(desk):
    ledger = grown(desk, [300])
    ledger.rotate("log")
    for path in paths(desk.files):
        kept = (desk.files / path).rename(desk.folder / "kept")
        found = fsck(desk.files, ledger.vkey).problems
        stale = path in ("tile/0/001.p/45", "tile/entries/001.p/45")
        assert {problem.file for problem in found} == (set() if stale else {path})
        kept.rename(desk.files / path)


@pytest.mark.parametrize("length", [0, 1, 32, -1, 1000])
def test_files_of_another_length_are_found(desk, length):
    ledger = grown(desk, [300])
    for path in paths(desk.files):
        data = (desk.files / path).read_bytes()
        other = data[:length] if length < 1000 else data + b"\0" * 40
        (desk.files / path).write_bytes(other)
        found = {problem.file for problem in fsck(desk.files, ledger.vkey).problems}
        assert path in found or other == data
        (desk.files / path).write_bytes(data)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/002",
        "tile/0/001.p/46",
        "tile/entries/001",
        "tile/2/000.p/1",
        "tile/0/x000/001",
        "notes.txt",
        "handover/7",
        "tile/0/.000.17.part",
    ],
)
def test_files_that_do_not_belong_are_found(desk, path):
    ledger = grown(desk, [300])
    (desk.files / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(desk.files / "tile/0/000", desk.files / path)
    (found,) = fsck(desk.files, ledger.vkey).problems
    assert (found.file, found.what) == (path, "does not belong to a log of 301 entries")


def test_where_a_bundle_or_tile_is_damaged_is_told(desk):
    ledger = grown(desk, [599])
    bundle = desk.files / "tile/entries/001"
    leaves = tiles.decode_bundle(bundle.read_bytes())
    start = sum(2 + len(leaf) for leaf in leaves[:9])
    flipped(bundle, start + 40, 3)
    (found,) = fsck(desk.files, ledger.vkey).problems
    assert found.where == f"entry 265, from byte {start:,} on"
    assert str(found).startswith("tile/entries/001, entry 265, from byte ")
    flipped(bundle, start + 40, 3)
    flipped(bundle, start, 0)  # the length of an entry
    (found,) = fsck(desk.files, ledger.vkey).problems
    assert found.where == f"entry 265, from byte {start:,} on"
    flipped(bundle, start, 0)
    flipped(desk.files / "tile/0/002.p/88", 70, 3)
    (found,) = fsck(desk.files, ledger.vkey).problems
    assert (found.file, found.where) == ("tile/0/002.p/88", "byte 70, in hash 2")


def test_several_faults_are_all_named(desk):
    ledger = grown(desk, [900])
    hurt = ["tile/entries/000", "tile/0/001", "tile/0/003.p/133", "tile/entries/002"]
    for path in hurt:
        flipped(desk.files / path, 50, 1)
    found = {problem.file for problem in fsck(desk.files, ledger.vkey).problems}
    assert found == set(hurt)


def test_a_log_whose_checkpoint_is_gone_is_checked_as_far_as_it_goes(desk):
    ledger = grown(desk, [300])
    (desk.files / "checkpoint").write_bytes(b"\xff")
    flipped(desk.files / "tile/entries/000", 500, 1)
    report = fsck(desk.files, ledger.vkey)
    assert {problem.file for problem in report.problems} == {"checkpoint", "tile/entries/000"}
    assert report.entries == 301
    assert not report.is_clean


def test_an_empty_folder_is_no_log(desk, tmp_path):
    ledger = desk.ledger()
    (problem,) = fsck(tmp_path / "nothing", ledger.vkey).problems
    assert problem.what == "is missing, or cannot be read"


def test_another_key_does_not_do(desk, tmp_path):
    ledger = grown(desk, [3])
    other = note.Signer("expunge/test", Ed25519PrivateKey.generate()).verifier.vkey
    found = fsck(desk.files, other).problems
    assert {problem.file for problem in found} == {"checkpoint"}
    assert any("another key" in problem.what for problem in found)
    with pytest.raises(KeyInvalid):
        fsck(desk.files, ledger.vkey[:-2])


def test_logs_of_others_hold_what_they_like(tmp_path):
    signer = note.Signer("example.org/log", Ed25519PrivateKey.generate())
    leaves = [b"", b'{"kind":"ledger.opened"}', b'"key.rotated"', b'["key.rotated"]', bytes(300)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    for place in files.places(len(leaves)):
        path = tmp_path / place.path
        path.parent.mkdir(parents=True, exist_ok=True)
        is_bundle = place.level is None
        path.write_bytes(tiles.encode_bundle(leaves) if is_bundle else b"".join(hashes))
    text = note.Checkpoint("example.org/log", 5, merkle.root(hashes)).text
    (tmp_path / "checkpoint").write_bytes(note.Note(text, (signer.sign(text),)).to_bytes())
    assert fsck(tmp_path, signer.verifier.vkey).problems == ()


def test_an_empty_log_is_one(tmp_path):
    signer = note.Signer("example.org/log", Ed25519PrivateKey.generate())
    text = note.Checkpoint("example.org/log", 0, merkle.root([])).text
    (tmp_path / "checkpoint").write_bytes(note.Note(text, (signer.sign(text),)).to_bytes())
    assert fsck(tmp_path, signer.verifier.vkey).problems == ()


def test_an_earlier_checkpoint_tells_a_rollback_and_a_fork(desk):
    ledger = grown(desk, [300, 200])
    now = ledger.checkpoint
    copied = shutil.copytree(desk.files, desk.folder / "copy")
    desk.record(100)
    ledger.sync()
    later = ledger.checkpoint
    assert fsck(desk.files, ledger.vkey, earlier=now).problems == ()
    assert fsck(copied, ledger.vkey, earlier=now).problems == ()
    (found,) = fsck(copied, ledger.vkey, earlier=later).problems
    assert found.what == "was rolled back: the log had 601 entries before"

    signer = desk.ledger().keys.log()
    text = note.Checkpoint("expunge/test", 400, bytes(32)).text
    forked = note.Note(text, (signer.sign(text),)).to_bytes()
    (found,) = fsck(desk.files, ledger.vkey, earlier=forked).problems
    assert found.what == "is of another history than the earlier one of 400 entries"
    stranger = note.Signer("expunge/test", Ed25519PrivateKey.generate())
    unsigned = note.Note(text, (stranger.sign(text),)).to_bytes()
    with pytest.raises(NoteInvalid, match="not signed by a key of this log"):
        fsck(desk.files, ledger.vkey, earlier=unsigned)


def test_checking_a_copy_needs_no_database_and_no_arrays():
    wanted = (
        "import sys, expunge.ledger.fsck;"
        "bad = {'numpy', 'sqlalchemy', 'torch', 'pyarrow', 'pydantic', 'jinja2'} & {*sys.modules};"
        "sys.exit(', '.join(sorted(bad)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", wanted], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# Handovers


def test_a_handover_that_one_key_did_not_sign_is_found(desk):
    ledger = grown(desk, [3])
    first = ledger.vkey
    ledger.rotate("log")
    desk.record()
    ledger.sync()
    path = desk.files / "handover" / "5"
    whole = note.parse(path.read_bytes())
    for index in (0, 1):
        path.write_bytes(note.Note(whole.text, whole.signatures[index : index + 1]).to_bytes())
        found = fsck(desk.files, ledger.vkey).problems
        assert [problem.file for problem in found] == ["handover/5"]
        assert "is not signed by expunge/test+" in found[0].what
        # From the first key on, nothing leads to the present one any more.
        assert {p.file for p in fsck(desk.files, first).problems} == {"handover/5", "checkpoint"}


def test_a_handover_of_another_tree_is_found(desk):
    ledger = grown(desk, [3])
    old = ledger.keys.log()
    ledger.rotate("log")
    desk.record()
    ledger.sync()
    new, text = ledger.keys.log(), note.Checkpoint("expunge/test", 5, bytes(32)).text
    forged = note.Note(text, (old.sign(text), new.sign(text))).to_bytes()
    (desk.files / "handover" / "5").write_bytes(forged)
    (found,) = fsck(desk.files, ledger.vkey).problems
    assert found.what == "is not of this log's first 5 entries"


# Cosignatures


def test_cosignatures_are_checked_where_their_keys_are_known(desk):
    ledger = grown(desk, [3])
    witness = Cosigner("witness.example", Ed25519PrivateKey.generate())
    head = note.parse(ledger.checkpoint)
    line = witness.sign(head.text, 1700000000)
    with desk.database.transaction() as transaction:
        sql.add_cosignature(transaction, 4, witness.verifier.vkey, line.line)
    ledger.sync()
    keys = [witness.verifier.vkey]
    assert ledger.fsck().is_clean
    assert fsck(desk.files, ledger.vkey, witnesses=keys).problems == ()
    data = (desk.files / "checkpoint").read_bytes()
    for position in range(data.rindex("—".encode()), len(data)):
        flipped(desk.files / "checkpoint", position, position % 8)
        found = fsck(desk.files, ledger.vkey, witnesses=keys).problems
        assert {problem.file for problem in found} == {"checkpoint"}
        (desk.files / "checkpoint").write_bytes(data)
    flipped(desk.files / "checkpoint", len(data) - 8, 0)
    assert {problem.file for problem in ledger.fsck().problems} == {"checkpoint"}


# The database


def problems(ledger):
    return [(problem.file, problem.where) for problem in ledger.fsck().problems]


def change(desk, statement):
    with desk.database.transaction() as transaction:
        transaction.execute(statement)


def test_a_log_that_is_not_open_cannot_be_checked(desk):
    with pytest.raises(LedgerError, match="no entries yet"):
        desk.ledger().fsck()


def test_a_changed_fact_is_found(either):
    ledger = grown(either, [300])
    leaf = ledger.entries(7, 8)[0]
    change(either, FACTS.update().where(FACTS.c.entry == 7).values(leaf=leaf.replace(b"6", b"7")))
    assert ("database: fact", "entry 7") in problems(ledger)
    assert ("database: tree_head", "root") in problems(ledger)


@pytest.mark.parametrize(
    "values", [{"leaf": b"\xff"}, {"leaf": b"[]"}, {"kind": "request.refused"}, {"request": "r"}]
)
def test_a_fact_that_says_otherwise_than_its_leaf_is_found(desk, values):
    ledger = grown(desk, [30])
    change(desk, FACTS.update().where(FACTS.c.entry == 7).values(**values))
    assert ("database: fact", "entry 7") in problems(ledger)


def test_a_missing_fact_is_found(desk):
    ledger = grown(desk, [300])
    change(desk, FACTS.delete().where(FACTS.c.entry == 7))
    assert problems(ledger)[0] == ("database: fact", "entry 7")
    assert ledger.fsck().problems[0].what == "is missing"


def test_a_fact_behind_the_head_is_found(desk):
    ledger = grown(desk, [3])
    change(desk, FACTS.insert().values(kind="k", leaf=b'{"kind":"k"}', entry=4))
    assert ("database: fact", "entry 4") in problems(ledger)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"note": b"expunge/test\n4\n"}, "note"),
        ({"log_key": "expunge/test+00000000+AAAA"}, None),
        ({"frontier": bytes(32)}, "root"),
        ({"frontier": bytes(31)}, "frontier"),
        ({"size": 8}, None),
    ],
)
def test_a_changed_head_is_found(desk, values, where):
    ledger = grown(desk, [3])
    change(desk, HEADS.update().values(**values))
    try:
        found = problems(ledger)
    except (KeyInvalid, LedgerError):
        return  # refused before anything is checked
    assert any(file == "database: tree_head" for file, _ in found)
    assert where is None or ("database: tree_head", where) in found


def test_a_database_that_is_older_than_its_files_is_told(desk):
    ledger = grown(desk, [3])
    with desk.database.reading() as transaction:
        before = transaction.execute(HEADS.select()).one()._asdict()
    desk.record(2)
    ledger.sync()
    change(desk, FACTS.delete().where(FACTS.c.entry > 3))
    change(desk, HEADS.update().values(**before))
    assert ("database: tree_head", "size") in problems(ledger)


def test_files_of_another_history_are_told(desk):
    ledger = grown(desk, [3])
    leaf = ledger.entries(3, 4)[0].replace(b"2}", b"3}")
    signer, hashes = ledger.keys.log(), [merkle.leaf_hash(x) for x in [*ledger.entries(0, 3), leaf]]
    text = note.Checkpoint("expunge/test", 4, merkle.root(hashes)).text
    (desk.files / "checkpoint").write_bytes(note.Note(text, (signer.sign(text),)).to_bytes())
    (desk.files / "tile/0/000.p/4").write_bytes(b"".join(hashes))
    bundle = tiles.encode_bundle([*ledger.entries(0, 3), leaf])
    (desk.files / "tile/entries/000.p/4").write_bytes(bundle)
    assert fsck(desk.files, ledger.vkey).problems == ()  # nothing in it tells
    found = problems(ledger)
    assert ("checkpoint", "") in found
    assert ("database: fact", "entry 3") in found


# Attacks, one by one: small logs made by tests/ledger/attacks/make.py


@pytest.mark.parametrize(
    "folder",
    sorted(p.parent for p in ATTACKS.glob("*/attack.json")),
    ids=lambda folder: folder.name,
)
def test_an_attack_is_found(folder):
    told = json.loads((folder / "attack.json").read_text())
    earlier = (folder / "earlier").read_bytes() if (folder / "earlier").exists() else None
    report = fsck(folder / "log", told["key"], earlier=earlier)
    found = [f"{problem.file}: {problem.what}" for problem in report.problems]
    assert len(found) == len(told["problems"]), found
    for wanted, said in zip(told["problems"], found, strict=True):
        assert said.startswith(wanted)


def test_there_are_attacks_and_an_honest_log():
    names = {path.parent.name for path in ATTACKS.glob("*/attack.json")}
    assert len(names) >= 12
    told = json.loads((ATTACKS / "honest" / "attack.json").read_text())
    assert told["problems"] == []
