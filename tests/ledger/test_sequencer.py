from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core import merkle
from expunge.core.errors import KeyInvalid, LeaseHeld, LedgerError
from expunge.ledger import lease as leases
from expunge.ledger import note, sequencer, sql
from expunge.ledger.keys import Keys
from expunge.ledger.note import Checkpoint
from expunge.storage import facts
from expunge.storage.database import Database, sqlite_url
from expunge.storage.facts import FACTS, Fact


class Sequencing:
    """A database with an open log, and the lease of it."""

    def __init__(self, database, folder):
        self.database = database
        self.keys = Keys(folder / "keys", "expunge/test")
        self.signer = self.keys.log()
        self.lease = leases.take(database, "ledger", "me", 1000)
        with database.transaction() as transaction:
            sequencer.open_log(transaction, self.lease, self.signer, "00" * 32)

    def run(self, most=1000):
        with self.database.transaction() as transaction:
            return sequencer.sequence(transaction, self.lease, self.signer, most)

    def head(self):
        with self.database.reading() as transaction:
            return sql.head(transaction)


@pytest.fixture
def sequencing(either):
    return Sequencing(either.database, either.folder)


def check(desk, sequencing):
    """The head is the signed root over the entries, in the order of their places."""
    leaves, head = desk.tree(), sequencing.head()
    signed = note.parse(head.note)
    wanted = Checkpoint("expunge/test", len(leaves), merkle.root([*map(merkle.leaf_hash, leaves)]))
    assert Checkpoint.parse(signed.text) == wanted
    assert note.verified(signed, [sequencing.signer.verifier]) == (sequencing.signer.verifier,)
    assert (head.size, head.frontier.root) == (wanted.size, wanted.root)


@settings(max_examples=20)  # each waits for the disk some thirty times
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), max_size=8))
def test_whatever_comes_between_nothing_is_lost_doubled_or_reordered(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("s")
    database = Database(sqlite_url(folder / "home.sqlite"))
    database.create()
    sequencing, recorded = Sequencing(database, folder), 0
    for count, most in steps:
        with database.transaction() as transaction:
            for _ in range(count):
                facts.record(transaction, Fact("salt.destroyed", {"count": recorded}))
                recorded += 1
        waiting = recorded - (sequencing.head().size - 1)
        assert sequencing.run(most) == min(waiting, most)
    while sequencing.run(5):
        pass
    with database.reading() as transaction:
        leaves = sql.leaves(transaction, 0, 10**6)
        counts = [f.body["count"] for f in facts.read(transaction) if f.kind == "salt.destroyed"]
    assert counts == list(range(recorded))
    head = sequencing.head()
    assert (head.size, len(leaves)) == (recorded + 1, recorded + 1)
    assert head.frontier.root == merkle.root([*map(merkle.leaf_hash, leaves)])
    database.close()


def test_facts_get_their_places_in_the_order_of_their_numbers(either, sequencing):
    either.record(2500)
    assert [sequencing.run(), sequencing.run(), sequencing.run()] == [1000, 1000, 500]
    assert [entry for entry, _ in either.rows()] == list(range(2501))
    check(either, sequencing)


def test_nothing_waits_and_nothing_changes(either, sequencing):
    before = sequencing.head()
    assert sequencing.run() == 0
    assert sequencing.head() == before


@pytest.mark.postgres
def test_a_fact_that_commits_late_comes_in_a_later_batch(postgres_url, tmp_path):
    database = Database(postgres_url)
    database.create()
    sequencing = Sequencing(database, tmp_path)

    def add(transaction, count):
        facts.record(transaction, Fact("salt.destroyed", {"count": count}))

    def places():
        with database.reading() as transaction:
            found = facts.read(transaction, kinds=["salt.destroyed"])
        return [(fact.number, fact.body["count"], fact.entry) for fact in found]

    engine = sa.create_engine(database.url)
    with engine.connect() as early, engine.connect() as late:
        add(late, 1)  # takes the smaller number …
        add(early, 2)
        early.commit()
        assert sequencing.run() == 1
        assert places() == [(3, 2, 1)]
        late.commit()  # … and commits later
        assert sequencing.run() == 1
    assert places() == [(2, 1, 2), (3, 2, 1)]
    assert sequencing.run() == 0
    with database.reading() as transaction:
        leaves = sql.leaves(transaction, 0, 9)
    assert sequencing.head().frontier.root == merkle.root([*map(merkle.leaf_hash, leaves)])
    engine.dispose()
    database.close()


def test_many_writers_and_one_sequencer(either, sequencing):
    def write():
        for _ in range(25):
            either.record(2)

    def take(writing):
        while not all(writer.done() for writer in writing) or sequencing.run(7):
            sequencing.run(7)

    with ThreadPoolExecutor(5) as pool:
        writing = [pool.submit(write) for _ in range(4)]
        taking = pool.submit(take, writing)
    for finished in (*writing, taking):
        finished.result()
    assert len(either.tree()) == len(either.rows()) == 201
    check(either, sequencing)


def test_a_sequencer_whose_lease_was_taken_changes_nothing(either, sequencing):
    either.record(3)
    leases.release(either.database, sequencing.lease)
    leases.take(either.database, "ledger", "another", 1000)
    with pytest.raises(LeaseHeld, match="Nothing was written"):
        sequencing.run()
    assert [entry for entry, _ in either.rows()] == [0, None, None, None]


def test_a_head_that_moved_on_is_not_replaced(either, sequencing):
    before = sequencing.head()
    either.record(1)
    sequencing.run()
    with pytest.raises(LeaseHeld, match="meanwhile"), either.database.transaction() as transaction:
        sql.set_head(transaction, before, before)
    assert sequencing.head().size == 2


def test_a_head_and_its_entries_come_together_or_not_at_all(either, sequencing, monkeypatch):
    either.record(3)
    before = sequencing.head()

    def fail(*_):
        raise OSError("no more room")

    monkeypatch.setattr(sql, "set_head", fail)
    with pytest.raises(OSError, match="no more room"):
        sequencing.run()
    assert sequencing.head() == before
    assert [entry for entry, _ in either.rows()] == [0, None, None, None]


def test_only_the_log_s_key_signs(desk):
    sequencing = Sequencing(desk.database, desk.folder)
    desk.record(1)
    sequencing.signer = Keys(desk.folder / "other", "expunge/test").log()
    with pytest.raises(KeyInvalid, match=r"The log is signed by expunge/test\+.* at hand is"):
        sequencing.run()
    assert len(desk.tree()) == 1


def test_a_log_is_opened_once(desk):
    sequencing = Sequencing(desk.database, desk.folder)
    with pytest.raises(sa.exc.IntegrityError), desk.database.transaction() as transaction:
        sequencer.open_log(transaction, sequencing.lease, sequencing.signer, "00" * 32)


def test_a_log_that_is_not_open_cannot_grow(desk):
    lease = leases.take(desk.database, "ledger", "me", 10)
    signer = Keys(desk.folder / "keys", "expunge/test").log()
    with pytest.raises(LedgerError, match="no entries"), desk.database.transaction() as transaction:
        sequencer.sequence(transaction, lease, signer)


def test_facts_before_the_opening_come_behind_it(desk):
    desk.record(2)
    sequencing = Sequencing(desk.database, desk.folder)
    sequencing.run()
    assert [entry for entry, _ in desk.rows()] == [1, 2, 0]
    assert FACTS.c.entry.unique
    check(desk, sequencing)
