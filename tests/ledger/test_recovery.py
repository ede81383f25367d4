"""A restored database gets back what is published; two histories are never made of one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from expunge.core.errors import KeyInvalid, LeaseHeld, LedgerError, LedgerForked, NoteInvalid
from expunge.ledger import files, publish, tiles
from expunge.ledger import keys as key_files
from expunge.ledger.fsck import fsck
from expunge.ledger.sql import COSIGNATURES, HANDOVERS, HEADS, LEASES
from expunge.storage import facts
from expunge.storage.facts import FACTS, Fact

TABLES = (FACTS, HEADS, LEASES, HANDOVERS, COSIGNATURES)


def backup(desk):
    with desk.database.reading() as transaction:
        return {
            table: [row._asdict() for row in transaction.execute(sa.select(table))]
            for table in TABLES
        }


def restore(desk, saved):
    with desk.database.transaction() as transaction:
        for table in TABLES:
            transaction.execute(table.delete())
            if saved[table]:
                transaction.execute(table.insert(), saved[table])
        if not desk.database.is_sqlite:
            # A dump restores sequences too; here the next number must be free again.
            last = sa.select(sa.func.max(FACTS.c.number))
            transaction.execute(
                sa.select(sa.func.setval("fact_number_seq", last.scalar_subquery()))
            )


@pytest.mark.parametrize(("before", "after"), [(3, 2), (0, 300), (300, 700), (255, 1)])
def test_a_restored_database_gets_its_entries_back(either, before, after):
    ledger = either.ledger()
    either.record(before, "11111111-1111-4111-8111-111111111111")
    ledger.sync()
    saved = backup(either)
    either.record(after, "22222222-2222-4222-8222-222222222222")
    ledger.sync()
    data, leaves = ledger.checkpoint, either.tree()

    restore(either, saved)
    back = either.ledger()
    found = back.recover()

    assert (found.before, found.after) == (before + 1, before + after + 1)
    assert either.tree() == leaves
    assert back.checkpoint == data
    assert back.sync() == found.after
    assert len(back.find("22222222-2222-4222-8222-222222222222")) == after
    assert back.fsck().is_clean
    assert back.recover() == type(found)(found.after, found.after)
    either.record(2)
    assert back.sync() == found.after + 2
    assert back.fsck(earlier=data).is_clean


def test_syncing_recovers_first(either):
    ledger = either.ledger()
    ledger.sync()
    saved = backup(either)
    either.record(5)
    ledger.sync()
    data, leaves = ledger.checkpoint, either.tree()
    restore(either, saved)
    either.record(2)  # recorded before anybody noticed
    assert either.ledger().sync() == 8
    assert either.tree()[:6] == leaves
    assert ledger.fsck(earlier=data).is_clean


def test_a_fact_that_waits_in_the_backup_gets_its_own_place(either, monkeypatch):
    ledger = either.ledger()
    ledger.sync()
    monkeypatch.setattr(facts, "now", lambda: "2026-01-01T00:00:00.000000Z")  # equal leaves
    with either.database.transaction() as transaction:
        for _ in range(3):
            facts.record(transaction, Fact("salt.destroyed", {"count": 1}))
        facts.record(transaction, Fact("salt.destroyed", {"count": 2}))
    saved = backup(either)
    either.record(4)
    ledger.sync()
    leaves = either.tree()
    restore(either, saved)
    either.ledger().recover()
    assert either.tree() == leaves
    assert len(either.rows()) == len(leaves) == 9
    assert ledger.fsck().is_clean


def test_a_database_from_before_the_log_was_opened(either):
    either.record(2)
    saved = backup(either)
    ledger = either.ledger()
    either.record(300)
    ledger.rotate("certificate")
    leaves, names = either.tree(), (ledger.vkey, key_files.fingerprint(ledger.certificate_key))
    restore(either, saved)
    back = either.ledger()
    assert back.recover().before == 0
    assert either.tree() == leaves
    assert (back.vkey, key_files.fingerprint(back.certificate_key)) == names
    assert back.fsck().is_clean


def test_a_log_keeps_its_name_through_a_restore(desk):
    from expunge.ledger.log import Ledger

    saved = backup(desk)
    Ledger(desk.database, desk.folder, "example.org/mine").sync()
    restore(desk, saved)
    assert desk.ledger().sync() == 1
    assert desk.ledger().origin == "example.org/mine"


def test_keys_that_were_rotated_since_the_backup(desk):
    ledger = desk.ledger()
    ledger.sync()
    saved, first = backup(desk), ledger.vkey
    ledger.rotate("log")
    desk.record(3)
    ledger.rotate("log")
    ledger.rotate("certificate")
    desk.record(1)
    ledger.sync()
    names = (ledger.vkey, key_files.fingerprint(ledger.certificate_key))
    restore(desk, saved)
    back = desk.ledger()
    back.recover()
    assert (back.vkey, key_files.fingerprint(back.certificate_key)) == names
    with desk.database.reading() as transaction:
        sizes = transaction.execute(sa.select(HANDOVERS.c.size)).scalars().all()
    assert sorted(sizes) == [2, 6]
    assert back.fsck().is_clean
    assert fsck(desk.files, first).problems == ()


def test_a_rotation_that_is_the_last_thing_published(desk):
    ledger = desk.ledger()
    ledger.sync()
    saved = backup(desk)
    ledger.rotate("log")
    data = ledger.checkpoint
    restore(desk, saved)
    desk.ledger().sync()
    assert ledger.checkpoint == data
    assert ledger.fsck().is_clean


@pytest.mark.parametrize("which", ["log", "certificate"])
def test_a_rotation_that_nobody_saw_leaves_the_old_key_to_a_restored_database(
    desk, monkeypatch, which
):
    ledger = desk.ledger()
    ledger.sync()
    saved, kept = backup(desk), (desk.folder / "keys" / f"{which}.pem").read_bytes()

    works = [publish.publish]

    def publish_once(*arguments):
        if not works:
            raise OSError("no more room")
        return works.pop()(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "publish", publish_once)
        with pytest.raises(OSError, match="no more room"):
            ledger.rotate(which)
    assert (desk.folder / "keys" / f"{which}.pem").read_bytes() == kept
    restore(desk, saved)
    desk.record(1)
    assert ledger.sync() == 2
    _ = ledger.certificate_key
    assert ledger.fsck().is_clean
    # The key that was made is taken up when it is asked for again.
    waiting = desk.folder / "keys" / f"{which}.next.pem"
    made = waiting.read_bytes()
    ledger.rotate(which)
    assert (desk.folder / "keys" / f"{which}.pem").read_bytes() == made
    assert not waiting.exists()
    assert ledger.fsck().is_clean


# What cannot be taken back


def rolled_back(desk):
    ledger = desk.ledger()
    desk.record(300)
    ledger.sync()
    saved = backup(desk)
    desk.record(300)
    ledger.sync()
    restore(desk, saved)
    return ledger


def state(desk):
    return desk.rows(), {p: p.read_bytes() for p in desk.files.rglob("*") if p.is_file()}


def refused(desk, error, match):
    before = state(desk)
    for ask in (desk.ledger().recover, desk.ledger().sync):
        with pytest.raises(error, match=match):
            ask()
        assert state(desk) == before


def test_another_history_is_not_taken_in(desk):
    rolled_back(desk)
    with desk.database.transaction() as transaction:
        head = transaction.execute(sa.select(HEADS)).one()
        other = bytes(32) + head.frontier[32:]
        transaction.execute(HEADS.update().values(frontier=other))
    refused(desk, LedgerForked, "does not go on from the database's tree of 301")


@pytest.mark.parametrize("damage", ["flipped", "missing", "short"])
def test_damaged_bundles_are_not_taken_in(desk, damage):
    rolled_back(desk)
    path = desk.files / "tile/entries/001"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    if damage == "flipped":
        path.write_bytes(data)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(tiles.encode_bundle(tiles.decode_bundle(path.read_bytes())[:-1]))
    refused(desk, LedgerError, "expunge ledger fsck")


def test_what_another_key_signed_is_not_taken_in(desk):
    rolled_back(desk)
    (desk.folder / "keys" / "log.pem").unlink()
    refused(desk, KeyInvalid, "not at hand")


def test_an_unsigned_checkpoint_is_not_taken_in(desk):
    rolled_back(desk)
    path = desk.files / "checkpoint"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:4], lines[4].replace("expunge/test", "expunge/tset"), ""]))
    refused(desk, KeyInvalid, "did not sign it")
    path.write_text("\n".join([*lines[:4], lines[4][:-8] + "AAAAAAA=", ""]))
    refused(desk, NoteInvalid, "does not fit the note")
    path.write_bytes(b"damage")
    refused(desk, NoteInvalid, "Restore it from a copy of the ledger's files")


def test_a_damaged_checkpoint_that_is_removed_is_written_again(desk):
    ledger = desk.ledger()
    desk.record(300)
    ledger.sync()
    data = ledger.checkpoint
    (desk.files / "checkpoint").unlink()
    assert ledger.sync() == 301
    assert ledger.checkpoint == data
    assert ledger.fsck().is_clean


def test_nothing_is_taken_in_out_of_turn(desk):
    rolled_back(desk)
    with desk.ledger()._writer.turn(), pytest.raises(LeaseHeld):
        desk.ledger().recover(timeout_s=0)


def test_another_database_and_folder_do_not_mix(desk, tmp_path):
    from expunge.ledger.log import Ledger
    from expunge.storage.database import Database, sqlite_url

    desk.record(3)
    desk.ledger().sync()
    other = Database(sqlite_url(tmp_path / "other.sqlite"))
    other.create()
    mixed = Ledger(other, desk.folder, "expunge/test")
    shutil.rmtree(desk.files)
    mixed.sync()
    desk.record(1)
    with pytest.raises(LedgerForked, match="two histories"):
        desk.ledger().sync()
    other.close()


# Crashes


def test_files_that_were_never_signed_are_not_believed(desk):
    """A writer died before its checkpoint; then the database was restored from before it wrote."""
    ledger = desk.ledger()
    desk.record(299)
    ledger.sync()
    saved, signed = backup(desk), ledger.checkpoint
    desk.record(400)
    ledger.sync()
    (desk.files / files.CHECKPOINT).write_bytes(signed)
    restore(desk, saved)
    back = desk.ledger()
    assert back.recover() == type(back.recover())(300, 300)
    desk.record(5)
    assert back.sync() == 305
    assert back.fsck(earlier=signed).is_clean


SCRIPT = Path(__file__).with_name("kill_append.py")


def test_a_recovery_survives_a_kill_at_every_moment(tmp_path, record_property):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "recover", str(tmp_path), "1"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    record_property("cases", answer["points"])
    assert answer["failures"] == []
    assert answer["points"] > 5
