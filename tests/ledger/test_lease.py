from __future__ import annotations

import threading
import time

import pytest

from expunge.core.errors import LeaseHeld
from expunge.ledger import lease as leases


class Clock:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self, _transaction):
        return self.at


@pytest.fixture
def clock():
    return Clock()


def check(desk, lease):
    with desk.database.transaction() as transaction:
        leases.check(transaction, lease)


def test_one_holder_at_a_time_until_the_time_runs_out(either, clock):
    first = leases.take(either.database, "a", "one", 10, clock=clock)
    clock.at += 9.9
    with pytest.raises(LeaseHeld, match=r"runs out in 0\.1 s"):
        leases.take(either.database, "a", "two", 10, clock=clock)
    check(either, first)
    clock.at += 0.1
    second = leases.take(either.database, "a", "two", 10, clock=clock)
    assert second.fence == first.fence + 1
    with pytest.raises(LeaseHeld, match="another process took it"):
        check(either, first)
    check(either, second)


def test_leases_of_other_names_do_not_matter(desk, clock):
    leases.take(desk.database, "a", "one", 10, clock=clock)
    leases.take(desk.database, "b", "two", 10, clock=clock)


def test_a_holder_extends_its_lease_and_keeps_its_fence(desk, clock):
    first = leases.take(desk.database, "a", "one", 10, clock=clock)
    clock.at += 5
    again = leases.take(desk.database, "a", "one", 10, clock=clock)
    assert (again.fence, again.until) == (first.fence, 1015)
    clock.at += 5
    assert leases.renew(desk.database, again, 10, clock=clock).until == 1020
    clock.at += 9
    with pytest.raises(LeaseHeld):
        leases.take(desk.database, "a", "two", 10, clock=clock)


def test_one_that_ran_out_and_nobody_took_is_extended(desk, clock):
    lease = leases.take(desk.database, "a", "one", 10, clock=clock)
    clock.at += 60
    assert leases.renew(desk.database, lease, 10, clock=clock).fence == lease.fence


def test_one_that_another_took_is_not_extended(desk, clock):
    lease = leases.take(desk.database, "a", "one", 10, clock=clock)
    clock.at += 60
    leases.take(desk.database, "a", "two", 10, clock=clock)
    with pytest.raises(LeaseHeld):
        leases.renew(desk.database, lease, 10, clock=clock)


def test_a_holder_that_comes_back_after_its_time_has_a_new_fence(desk, clock):
    first = leases.take(desk.database, "a", "one", 10, clock=clock)
    clock.at += 60
    second = leases.take(desk.database, "a", "one", 10, clock=clock)
    assert second.fence == first.fence + 1
    with pytest.raises(LeaseHeld):
        check(desk, first)


def test_letting_go_lets_others_in_at_once(desk, clock):
    first = leases.take(desk.database, "a", "one", 10, clock=clock)
    leases.release(desk.database, first)
    second = leases.take(desk.database, "a", "two", 10, clock=clock)
    leases.release(desk.database, first)  # too late to matter
    with pytest.raises(LeaseHeld):
        leases.take(desk.database, "a", "three", 10, clock=clock)
    check(desk, second)


def test_many_that_take_the_first_lease_at_once(either, clock):
    gate, taken, refused = threading.Barrier(6), [], []

    def take(holder):
        gate.wait()
        try:
            taken.append(leases.take(either.database, "a", holder, 10, clock=clock))
        except LeaseHeld:
            refused.append(holder)

    threads = [threading.Thread(target=take, args=(f"holder {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (1, 5)


@pytest.mark.postgres
def test_a_check_keeps_others_from_taking_the_lease_until_the_end(postgres_url, clock, tmp_path):
    from expunge.storage.database import Database

    database = Database(postgres_url)
    database.create()
    lease = leases.take(database, "a", "one", 10, clock=clock)
    clock.at += 60
    order, begun = [], threading.Event()

    def take():
        begun.set()
        leases.take(database, "a", "two", 10, clock=clock)
        order.append("taken")

    with database.transaction() as transaction:
        leases.check(transaction, lease)
        other = threading.Thread(target=take)
        other.start()
        begun.wait()
        time.sleep(0.3)
        order.append("still ours")
    other.join()
    assert order == ["still ours", "taken"]
    database.close()


def test_the_shared_clock_runs(either):
    with either.database.transaction() as transaction:
        first = leases.shared_clock(transaction)
        time.sleep(0.01)
        # PostgreSQL's now() would stand still within a transaction.
        assert first < leases.shared_clock(transaction)
    assert abs(first - time.time()) < 3600
