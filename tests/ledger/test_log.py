from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from expunge.core import merkle
from expunge.core.errors import InputError, LeaseHeld, LedgerError
from expunge.ledger import files, note, proof
from expunge.ledger import lease as leases
from expunge.ledger.fsck import fsck
from expunge.ledger.note import Checkpoint, Verifier
from expunge.storage import disk, locks
from expunge.storage.database import Database, sqlite_url

SCRIPT = Path(__file__).with_name("append_many.py")


def heads(ledger):
    return Checkpoint.parse(note.parse(ledger.checkpoint).text)


def test_the_first_sync_opens_the_log(either):
    ledger = either.ledger()
    with pytest.raises(LedgerError, match="no entries yet"):
        _ = ledger.size
    either.record(2)
    assert ledger.sync() == 3
    assert (ledger.size, ledger.origin) == (3, "expunge/test")
    assert [entry["kind"] for _, entry in ledger.newest(9)] == [
        "ledger.opened",
        "salt.destroyed",
        "salt.destroyed",
    ]
    verifier = Verifier.parse(ledger.vkey)
    assert note.verified(note.parse(ledger.checkpoint), [verifier]) == (verifier,)
    assert ledger.fsck().is_clean


def test_an_open_log_keeps_its_name(desk):
    desk.ledger().sync()
    from expunge.ledger.log import Ledger

    other = Ledger(desk.database, desk.folder, "expunge/otherwise")
    assert other.origin == "expunge/test"
    desk.record()
    other.sync()
    assert heads(other).origin == "expunge/test"


def test_syncing_with_nothing_to_do_writes_nothing(desk, monkeypatch):
    ledger = desk.ledger()
    desk.record(3)
    ledger.sync()

    def refuse(*_):
        raise AssertionError("something was written")

    for name in ("write", "sync", "replace", "sync_folder", "remove"):
        monkeypatch.setattr(disk, name, refuse)
    monkeypatch.setattr(leases, "take", refuse)
    assert ledger.sync() == 4
    assert ledger.sync(wait=True) == 4


def test_every_entry_is_proven_and_every_size_is_a_beginning(either):
    ledger = either.ledger()
    sizes = []
    for count in (1, 3, 250, 2, 300, 1):
        either.record(count)
        sizes.append((ledger.sync(), ledger.checkpoint))
    verifier, leaves = Verifier.parse(ledger.vkey), ledger.entries()
    assert leaves == either.tree()
    for index in [0, 1, 255, 256, 500, ledger.size - 1]:
        made = proof.parse(ledger.proof(index).to_bytes())
        assert proof.check(made, leaves[index], verifier).checkpoint == heads(ledger)
    root = heads(ledger).root
    for size, data in sizes:
        older = Checkpoint.parse(note.parse(data).text)
        path = ledger.consistency(size)
        assert merkle.check_consistency(size, older.root, ledger.size, root, path)
        made = ledger.proofs([0, size - 1], data)
        assert [one.checkpoint for one in made] == [data, data]
        assert proof.check(made[1], leaves[size - 1], verifier).checkpoint == older
    between = ledger.consistency(sizes[1][0], sizes[3][0])
    first, second = (Checkpoint.parse(note.parse(sizes[i][1]).text) for i in (1, 3))
    assert merkle.check_consistency(first.size, first.root, second.size, second.root, between)


def test_what_does_not_exist_has_no_proof(desk):
    ledger = desk.ledger()
    desk.record(3)
    ledger.sync()
    desk.record(1)  # it waits
    for index in (-1, 4, 10**9):
        with pytest.raises(ValueError, match="No leaf"):
            ledger.proof(index)
    with pytest.raises(ValueError, match="no prefix"):
        ledger.consistency(5)


def test_damaged_files_give_no_proof(desk):
    ledger = desk.ledger()
    desk.record(3)
    ledger.sync()
    path = desk.files / "tile/0/000.p/4"
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    with pytest.raises(LedgerError, match="expunge ledger fsck"):
        ledger.proof(2)


def test_entries_are_found_by_their_request(either):
    ledger = either.ledger()
    either.record(2, "11111111-1111-4111-8111-111111111111")
    either.record(1)
    ledger.sync()
    either.record(1, "11111111-1111-4111-8111-111111111111")  # nobody's business yet
    found = ledger.find("11111111-1111-4111-8111-111111111111")
    assert [(index, entry["body"]["count"]) for index, entry in found] == [(1, 0), (2, 1)]
    assert [json.loads(leaf) for leaf in ledger.entries(1, 3)] == [entry for _, entry in found]
    assert ledger.find("nobody") == []
    assert [index for index, _ in ledger.newest(2)] == [2, 3]
    assert ledger.entries(2) == either.tree()[2:4]


# Several at once


class Clock:
    def __init__(self):
        self.at = 1000.0

    def __call__(self, _transaction):
        return self.at


def test_a_second_writer_is_refused_and_takes_over_when_the_lease_runs_out(either):
    clock = Clock()
    first, second = either.ledger(clock=clock), either.ledger(clock=clock)
    first.sync()
    # A writer on another machine: it holds the lease, and no lock here. Then it dies.
    leases.take(either.database, "ledger", "a writer far away", 10, clock=clock)
    either.record(5)
    assert second.sync() == 1
    with pytest.raises(LeaseHeld, match=r"runs out in 10\.0 s"):
        second.sync(wait=True, timeout_s=0.05)
    with pytest.raises(LeaseHeld):
        second.rotate("log", timeout_s=0)
    clock.at += 10
    assert second.sync() == 6
    assert second.fsck().is_clean


def test_a_writer_on_this_machine_is_refused_at_once(desk):
    ledger = desk.ledger()
    ledger.sync()
    desk.record()
    with locks.alone(desk.folder / "ledger.lock"):
        assert ledger.sync() == 1
        with pytest.raises(LeaseHeld, match="on this machine"):
            ledger.sync(wait=True, timeout_s=0)
    assert ledger.sync() == 2


def refusing(told, turn):
    """As ``turn``; tells that somebody asked for one."""

    def asked(*arguments):
        told.set()
        return turn(*arguments)

    return asked


def test_who_waits_is_content_when_another_did_the_work(desk, monkeypatch):
    ledger, other = desk.ledger(), desk.ledger()
    ledger.sync()
    desk.record(3)
    with other._writer.turn() as turn, ThreadPoolExecutor(1) as pool:
        waits = threading.Event()
        monkeypatch.setattr(ledger._writer, "turn", refusing(waits, ledger._writer.turn))
        waiting = pool.submit(ledger.sync, wait=True, timeout_s=120)
        assert waits.wait(60)
        assert not waiting.done()
        other._writer.catch_up(turn)
        desk.record(1)  # came after the call: it is not waited for
        assert waiting.result(timeout=60) == 4
    assert ledger.size == 4


def test_a_writer_that_woke_up_late_changes_nothing(either):
    clock = Clock()
    slow, quick = either.ledger(clock=clock), either.ledger(clock=clock)
    slow.sync()
    either.record(3)
    with slow._writer.turn() as turn:
        clock.at += 60
        stolen = leases.take(either.database, "ledger", "quick", 10, clock=clock)
        with pytest.raises(LeaseHeld):
            slow._writer.catch_up(turn)
        with pytest.raises(LeaseHeld):
            turn.guard()
        leases.release(either.database, stolen)
    assert quick.size == 1
    assert quick.sync() == 4
    assert quick.fsck().is_clean


def test_a_long_turn_is_extended(desk, monkeypatch):
    clock, now = Clock(), time.monotonic()
    ledger = desk.ledger(clock=clock)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with ledger._writer.turn() as turn:
        clock.at += 5
        turn.guard()
        assert turn.lease.until == 1010
        monkeypatch.setattr(time, "monotonic", lambda: now + 4)
        turn.guard()
        assert turn.lease.until == 1015


def test_many_threads_record_and_sync(either):
    def work(number):
        ledger = either.ledger()
        for _ in range(10):
            either.record(3)
            ledger.sync(wait=number % 2 == 0)

    with ThreadPoolExecutor(4) as pool:
        for finished in [pool.submit(work, number) for number in range(4)]:
            finished.result()
    ledger = either.ledger()
    assert ledger.sync(wait=True) == 121
    assert len(either.tree()) == len(either.rows()) == 121
    assert ledger.fsck().is_clean


def test_many_processes_record_and_two_sequencers_compete(either):
    url = str(either.database.url.render_as_string(hide_password=False))
    wanted = [sys.executable, str(SCRIPT), url, str(either.folder), "40"]
    running = [subprocess.Popen(wanted, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    sizes, ledger = [], either.ledger()
    while any(process.poll() is None for process in running):
        sizes.append((ledger.sync(), ledger.checkpoint))
        time.sleep(0.01)
    outputs = [process.communicate()[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    # Each saw sizes that only grow, and had its own entries in the tree whenever it waited.
    for seen in outputs:
        assert [*map(int, seen)] == sorted(map(int, seen))
    assert ledger.sync(wait=True) == 121
    assert len(either.tree()) == len(either.rows()) == 121
    for size, data in {size: data for size, data in sizes if size}.items():
        older = Checkpoint.parse(note.parse(data).text)
        if size == older.size:
            path = ledger.consistency(size)
            now = heads(ledger)
            assert merkle.check_consistency(size, older.root, now.size, now.root, path)
    assert ledger.fsck().is_clean


def test_a_home_opened_by_two_at_once_has_one_log(tmp_path):
    from expunge.ledger.log import Ledger

    databases = [Database(sqlite_url(tmp_path / "home.sqlite")) for _ in range(2)]
    databases[0].create()
    gate = threading.Barrier(2)

    def open_it(database):
        gate.wait()
        return Ledger(database, tmp_path, "expunge/test").sync(wait=True)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(open_it, databases)) == [1, 1]
    assert Ledger(databases[0], tmp_path, "expunge/test").fsck().is_clean
    for database in databases:
        database.close()


# Copies for everybody


def test_a_copy_is_whole_and_everybody_may_read_it(desk, tmp_path):
    ledger, target = desk.ledger(), tmp_path / "public"
    desk.record(300)
    ledger.rotate("log")
    assert ledger.export(target) == 302
    assert fsck(target, ledger.vkey).problems == ()
    assert {p.stat().st_mode & 0o777 for p in target.rglob("*") if p.is_file()} == {0o644}


def test_a_copy_is_brought_up_to_date(desk, tmp_path, monkeypatch):
    ledger, target = desk.ledger(), tmp_path / "public"
    desk.record(300)
    ledger.sync()
    ledger.export(target)
    earlier = (target / "checkpoint").read_bytes()
    desk.record(2)
    ledger.sync()
    fresh, write_file = [], disk.write_file
    monkeypatch.setattr(
        disk, "write_file", lambda path, data: (fresh.append(path), write_file(path, data))
    )
    assert ledger.export(target) == 303
    assert [path.name for path in fresh] == ["47", "47", "checkpoint"]
    assert fsck(target, ledger.vkey, earlier=earlier).problems == ()


def test_another_log_s_copy_is_not_written_over(desk, tmp_path):
    from expunge.ledger.log import Ledger

    desk.record(3)
    desk.ledger().sync()
    desk.ledger().export(tmp_path / "public")
    database = Database(sqlite_url(tmp_path / "other.sqlite"))
    database.create()
    other = Ledger(database, tmp_path / "other", "expunge/other")
    with pytest.raises(LedgerError, match="no entries yet"):
        other.export(tmp_path / "public")
    other.sync()
    with pytest.raises(InputError, match="Name another folder"):
        other.export(tmp_path / "public")
    database.close()


def test_a_newer_copy_is_not_rolled_back(desk, tmp_path):
    ledger = desk.ledger()
    desk.record(3)
    ledger.sync()
    older = ledger.checkpoint
    desk.record(3)
    ledger.sync()
    ledger.export(tmp_path / "public")
    (desk.files / files.CHECKPOINT).write_bytes(older)
    with pytest.raises(InputError, match="Name another folder"):
        ledger.export(tmp_path / "public")


def test_a_copy_of_damaged_files_is_refused(desk, tmp_path):
    ledger = desk.ledger()
    desk.record(3)
    ledger.sync()
    (desk.files / "tile/0/000.p/4").unlink()
    with pytest.raises(LedgerError, match=r"tile/0/000\.p/4 is missing"):
        ledger.export(tmp_path / "public")
    assert not (tmp_path / "public" / "checkpoint").exists()
