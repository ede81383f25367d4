"""Units and claims: against a simple model, by hand, and with many at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from expunge.core.errors import ClaimLost, UnknownName
from expunge.home import Home
from expunge.requests import claims, units
from expunge.requests.claims import Claim, Retry
from expunge.requests.unit_tables import LINKS, OUTBOX, UNITS, awaited_by
from expunge.requests.units import State, Unit
from expunge.storage.database import METADATA
from expunge.testing.fakes import Tiny, people
from expunge.training import sql as training_sql
from expunge.training.recipe import Sharded
from expunge.training.sql import Constituent, Model, Version

EXAMPLES = int(os.environ.get("EXPUNGE_EXAMPLES", "15"))
SHARDS = 3
LEASE_S = 10.0
RESULT = {"seconds": 0.5, "samples": 7}
POLICY = Retry(attempts=3, backoff_s=4.0, backoff_max_s=6.0)


@dataclass
class Desk:
    """A home whose clock is moved by hand, and one model in it."""

    home: Home
    model: Model
    at: float = 1000.0
    tombstones: int = 0
    named: int = 0

    @property
    def database(self):
        return self.home.site.database

    def clock(self, _transaction: sa.Connection) -> float:
        return self.at

    def empty(self) -> None:
        with self.database.transaction() as transaction:
            for table in (OUTBOX, LINKS, UNITS):
                transaction.execute(table.delete())

    def want(self, *shards: int, count: int = 1, not_before: float = 0.0) -> list[str]:
        """New requests, each with its tombstone, for all of these shards. Returns their ids."""
        requests = [f"r{self.named + n}" for n in range(count)]
        self.named += count
        self.tombstones += count
        with self.database.transaction() as transaction:
            self.lock(transaction)
            datasets = METADATA.tables["dataset"]
            transaction.execute(datasets.update().values(tombstones=self.tombstones))
            units.want(transaction, self.model, shards, requests, not_before)
        return requests

    def lock(self, transaction: sa.Connection) -> None:
        self.home.site.locked_ground(transaction, self.model.dataset)

    def claim(self, holder: str = "one", unit: int | None = None) -> Claim | None:
        return claims.claim(self.database, holder, LEASE_S, unit, clock=self.clock)

    def claimed(self, holder: str = "one", unit: int | None = None) -> Claim:
        claim = self.claim(holder, unit)
        assert claim is not None
        return claim

    def beat(self, claim: Claim) -> Claim:
        return claims.beat(self.database, claim, LEASE_S, clock=self.clock)

    def finish(self, claim: Claim) -> None:
        with self.database.transaction() as transaction:
            self.lock(transaction)
            claims.check(transaction, claim)
            claims.finish(transaction, claim, RESULT)

    def fail(self, claim: Claim, policy: Retry = POLICY) -> State | None:
        return claims.fail(self.database, claim, "Boom", policy, clock=self.clock)

    def finish_whole(self, *shards: int) -> None:
        """As after publishing a version in which these are whole."""
        with self.database.transaction() as transaction:
            self.lock(transaction)
            version = training_sql.current(transaction, self.model.id)
            assert version is not None
            units.finish_whole(transaction, self.model, with_whole(version, shards))

    def unfinished(self) -> dict[int, Unit]:
        with self.database.reading() as transaction:
            return {unit.id: unit for unit in units.all_unfinished(transaction)}

    def waiting(self, requests: list[str]) -> set[str]:
        with self.database.reading() as transaction:
            asked = {one: sa.select(awaited_by(sa.literal(one))) for one in requests}
            return {one for one, query in asked.items() if transaction.scalar(query)}

    def told(self) -> set[int]:
        with self.database.reading() as transaction:
            return set(transaction.scalars(sa.select(OUTBOX.c.unit)))

    def counts(self) -> units.Counts:
        with self.database.reading() as transaction:
            return units.counts(transaction)


def with_whole(version: Version, shards: tuple[int, ...]) -> Version:
    constituents = tuple(
        Constituent(c.shard, c.pack, c.frame, c.depth, c.shard in shards)
        for c in version.constituents
    )
    return Version(
        version.model,
        version.number,
        version.clean_to,
        version.batches,
        version.digest,
        all(c.whole for c in constituents),
        constituents,
        version.created,
    )


@pytest.fixture
def desk(place: dict[str, Any], opened: Callable[..., Home]) -> Desk:
    home = opened(**place)
    home.ingest("people", people(30), id="id", subject="who", values=["y"])
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(passes=1), shards=SHARDS))
    with home.site.database.reading() as transaction:
        return Desk(home, home.site.model(transaction, "m"))


@dataclass
class Held:
    """What the model knows of a shard that somebody builds."""

    claim: Claim
    until: float


@dataclass
class Waiting:
    """What the model knows of a unit that waits."""

    unit: int
    attempt: int = 0
    not_before: float = 0.0
    aside: bool = False


@dataclass
class Known:
    """All that was wanted and done, told in the simplest way."""

    wanted: dict[str, tuple[int, frozenset[int]]] = field(default_factory=dict)
    built_to: dict[int, int] = field(default_factory=dict)
    held: dict[int, Held] = field(default_factory=dict)
    waiting: dict[int, Waiting] = field(default_factory=dict)

    def unfinished(self) -> set[str]:
        """Requests one of whose shards was not built at or past their tombstones."""
        return {
            request
            for request, (number, shards) in self.wanted.items()
            if any(self.built_to.get(shard, 0) < number for shard in shards)
        }

    def claimable(self, at: float) -> dict[int, int]:
        """Units that somebody may claim, with their shards."""
        free = {
            one.unit: shard
            for shard, one in self.waiting.items()
            if shard not in self.held and not one.aside and one.not_before <= at
        }
        ran_out = {one.claim.unit: shard for shard, one in self.held.items() if one.until <= at}
        return free | ran_out


class Machine(RuleBasedStateMachine):
    """Several holders and one clock."""

    taken = Bundle("taken")

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk, self.known = desk, Known()
        desk.empty()
        self.fences: dict[int, int] = {}

    @rule(
        shards=st.sets(st.integers(0, SHARDS - 1), min_size=1),
        count=st.integers(1, 3),
        later=st.sampled_from([0.0, 0.0, 5.0]),
    )
    def want(self, shards: set[int], count: int, later: float) -> None:
        not_before = self.desk.at + later if later else 0.0
        requests = self.desk.want(*shards, count=count, not_before=not_before)
        found = {
            unit.shard: unit
            for unit in self.desk.unfinished().values()
            if unit.state is not State.RUNNING
        }
        for request in requests:
            self.known.wanted[request] = (self.desk.tombstones, frozenset(shards))
        for shard in shards:
            one = self.known.waiting.get(shard)
            if one is None or one.aside:
                assert one is None or one.unit == found[shard].id
                self.known.waiting[shard] = Waiting(found[shard].id, not_before=not_before)
                assert found[shard].id in self.desk.told()
            elif one.attempt == 0:
                one.not_before = min(one.not_before, not_before)

    @rule(target=taken, holder=st.sampled_from("abc"))
    def claim(self, holder: str) -> Any:
        expected = self.known.claimable(self.desk.at)
        claim = self.desk.claim(holder)
        assert (claim is None) == (not expected)
        return multiple() if claim is None else self._take(claim, min(expected))

    @rule(target=taken, shard=st.integers(0, SHARDS - 1), ours=st.booleans())
    def claim_one(self, shard: int, ours: bool) -> Any:
        held, waiting = self.known.held.get(shard), self.known.waiting.get(shard)
        unit = waiting.unit if waiting and not ours else held.claim.unit if held else 0
        claim = self.desk.claim("d", unit)
        assert (claim is None) == (unit not in self.known.claimable(self.desk.at))
        return multiple() if claim is None else self._take(claim, unit)

    def _take(self, claim: Claim, unit: int) -> Claim:
        assert claim.unit == unit
        shard, held = claim.shard, self.known.held.get(claim.shard)
        waiting = self.known.waiting.pop(shard, None)  # also what waits beside one that ran out
        before = held.claim if held else waiting
        assert before is not None
        assert claim.attempt == before.attempt + 1
        assert claim.claimed_to == self.desk.tombstones
        assert claim.fence > self.fences.get(unit, 0)
        self.known.held[shard] = Held(claim, self.desk.at + LEASE_S)
        return claim

    @rule(seconds=st.sampled_from([0.5, 4.0, LEASE_S]))
    def time_goes_by(self, seconds: float) -> None:
        self.desk.at += seconds

    @rule(claim=taken)
    def beat(self, claim: Claim) -> None:
        if self._is_ours(claim):
            assert self.desk.beat(claim).fence == claim.fence
            self.known.held[claim.shard].until = self.desk.at + LEASE_S
        else:
            with pytest.raises(ClaimLost):
                self.desk.beat(claim)

    @rule(claim=consumes(taken))
    def finish(self, claim: Claim) -> None:
        if self._is_ours(claim):
            self.desk.finish(claim)
            self._built(claim.shard, claim.claimed_to)
            del self.known.held[claim.shard]
        else:
            with pytest.raises(ClaimLost):
                self.desk.finish(claim)

    @rule(claim=consumes(taken))
    def fail(self, claim: Claim) -> None:
        beside = self.known.waiting.get(claim.shard)
        ours = self._is_ours(claim)
        state = self.desk.fail(claim)
        if not ours:
            assert state is None
            return
        spent = claim.attempt >= POLICY.attempts
        assert state is (State.ASIDE if spent and beside is None else State.OPEN)
        attempt = 0 if spent and beside else claim.attempt
        self._give_back(claim, attempt, aside=state is State.ASIDE)
        wait_s = self.known.waiting[claim.shard].not_before - self.desk.at
        assert 0 <= wait_s <= min(6.0, 4.0 * 2 ** (claim.attempt - 1))

    @rule(claim=consumes(taken))
    def release(self, claim: Claim) -> None:
        ours = self._is_ours(claim)
        claims.release(self.desk.database, claim)
        if ours:
            self._give_back(claim, claim.attempt - 1, aside=False)

    def _give_back(self, claim: Claim, attempt: int, *, aside: bool) -> None:
        found = self.desk.unfinished()[claim.unit]
        assert found.attempt == attempt
        assert claim.unit in self.desk.told()
        del self.known.held[claim.shard]
        self.known.waiting[claim.shard] = Waiting(claim.unit, attempt, found.not_before, aside)

    @rule(shards=st.sets(st.integers(0, SHARDS - 1), min_size=1))
    def made_whole_by_somebody(self, shards: set[int]) -> None:
        self.desk.finish_whole(*shards)
        for shard in shards:
            self._built(shard, self.desk.tombstones)
            self.known.held.pop(shard, None)
            self.known.waiting.pop(shard, None)

    @rule(shard=st.integers(0, SHARDS - 1))
    def retry(self, shard: int) -> None:
        one = self.known.waiting.get(shard)
        if one is None:
            return
        with self.desk.database.transaction() as transaction:
            assert units.retry(transaction, one.unit) is one.aside
        if one.aside:
            self.known.waiting[shard] = Waiting(one.unit)

    def _is_ours(self, claim: Claim) -> bool:
        held = self.known.held.get(claim.shard)
        return held is not None and held.claim == claim

    def _built(self, shard: int, number: int) -> None:
        self.known.built_to[shard] = max(number, self.known.built_to.get(shard, 0))

    @invariant()
    def requests_wait_for_what_was_not_built_past_them(self) -> None:
        assert self.desk.waiting(sorted(self.known.wanted)) == self.known.unfinished()

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        found = self.desk.unfinished()
        expected = Counter((shard, State.RUNNING) for shard in self.known.held)
        for shard, one in self.known.waiting.items():
            expected[shard, State.ASIDE if one.aside else State.OPEN] += 1
        assert Counter((u.shard, u.state) for u in found.values()) == expected
        assert {u.id for u in found.values()} == {
            *(one.claim.unit for one in self.known.held.values()),
            *(one.unit for one in self.known.waiting.values()),
        }

    @invariant()
    def fences_only_go_up(self) -> None:
        with self.desk.database.reading() as transaction:
            rows = transaction.execute(sa.select(UNITS.c.id, UNITS.c.fence))
            found = {row.id: row.fence for row in rows}
        assert all(found[unit] >= fence for unit, fence in self.fences.items() if unit in found)
        self.fences |= found


def test_any_interleaving_is_as_the_simple_model_says(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Waits that are the same each time an example is tried.
    monkeypatch.setattr(claims, "_RANDOM", waits := Random())

    def machine() -> Machine:
        waits.seed(1)
        return Machine(desk)

    plain = settings(max_examples=EXAMPLES, stateful_step_count=40)
    run_state_machine_as_test(machine, settings=plain)


def test_a_thousand_requests_for_ten_shards_are_ten_units(
    place: dict[str, Any], opened: Callable[..., Home]
) -> None:
    home = opened(**place)
    home.ingest("people", people(60), id="id", subject="who", values=["y"])
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(passes=1), shards=10))
    with home.site.database.reading() as transaction:
        desk = Desk(home, home.site.model(transaction, "m"))
    wanted = {f"r{n}": [n % 10, n * 7 % 10] for n in range(1000)}
    statements = []
    engine = desk.database._engine
    sa.event.listen(engine, "before_cursor_execute", lambda *what: statements.append(what[2]))
    for start in range(0, 1000, 100):
        some = dict(list(wanted.items())[start : start + 100])
        with desk.database.transaction() as transaction:
            desk.lock(transaction)
            statements.clear()
            units.want_each(transaction, desk.model, some)
        assert len(statements) <= 6
    assert desk.counts().open == 10
    assert desk.waiting(list(wanted)) == set(wanted)
    while claim := desk.claim():
        desk.finish(claim)
    assert desk.counts() == units.Counts(0, 0, 0, 10, None)
    assert desk.waiting(list(wanted)) == set()


def test_many_at_once_claim_each_unit_once(desk: Desk) -> None:
    models = METADATA.tables["model"]
    with desk.database.transaction() as transaction:
        row = transaction.execute(models.select()).one()._asdict()
        for number in range(2, 14):
            transaction.execute(models.insert().values(row | {"id": number, "name": f"m{number}"}))
            values = {"state": "open", "wanted_at": "now", "not_before": 0.0, "model": number}
            transaction.execute(UNITS.insert(), [values | {"shard": s} for s in range(5)])
    start = Barrier(8)

    def work(holder: str) -> list[Claim]:
        start.wait()
        found = []
        while claim := claims.claim(desk.database, holder, LEASE_S):
            found.append(claim)
        return found

    with ThreadPoolExecutor(8) as pool:
        found = [claim for some in pool.map(work, map(str, range(8))) for claim in some]
    assert len(found) == len({claim.unit for claim in found}) == 60
    assert all(claim.fence == 1 for claim in found)


def test_wanting_claiming_and_finishing_at_once_loses_nothing_and_never_locks_up(
    desk: Desk,
) -> None:
    start = Barrier(6)

    def want(number: int) -> list[str]:
        start.wait()
        requests = []
        for n in range(15):
            request = f"w{number}-{n}"
            with desk.database.transaction() as transaction:
                desk.lock(transaction)
                units.want(transaction, desk.model, [2, 1, 0][: 1 + n % 3], [request])
            requests.append(request)
        return requests

    def work(number: int) -> list[str]:
        start.wait()
        for turn in range(25):
            claim = claims.claim(desk.database, str(number), LEASE_S)
            if claim is None:
                continue
            claims.beat(desk.database, claim, LEASE_S)
            if turn % 5 == number:
                claims.fail(desk.database, claim, "Boom", Retry(99, 0.0, 0.0))
            else:
                desk.finish(claim)
        return []

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(want, n) for n in range(3)] + [pool.submit(work, n) for n in range(3)]
        requests = [request for job in jobs for request in job.result(timeout=60)]
    while claim := claims.claim(desk.database, "last", LEASE_S):
        desk.finish(claim)
    assert desk.waiting(requests) == set()
    assert desk.unfinished() == {}


def test_what_fails_again_and_again_is_set_aside_and_a_later_request_revives_it(
    desk: Desk,
) -> None:
    (first,) = desk.want(1)
    states = []
    for _ in range(POLICY.attempts):
        desk.at += 10.0
        states.append(desk.fail(desk.claimed()))
    assert states == [State.OPEN, State.OPEN, State.ASIDE]
    desk.at += 10_000.0
    assert desk.claim() is None
    with desk.database.reading() as transaction:
        (unit,) = units.of_request(transaction, first)
    assert (unit.state, unit.error, unit.attempt) == (State.ASIDE, "Boom", 3)

    (second,) = desk.want(1)
    claim = desk.claimed()
    assert (claim.unit, claim.attempt, claim.fence) == (unit.id, 1, 4)
    desk.finish(claim)
    assert desk.waiting([first, second]) == set()
    with desk.database.reading() as transaction:
        (unit,) = units.of_request(transaction, first)
    assert (unit.state, unit.seconds, unit.samples, unit.error) == (State.DONE, 0.5, 7, None)


def test_a_request_that_comes_while_a_unit_runs_waits_for_another(desk: Desk) -> None:
    (first,) = desk.want(0)
    claim = desk.claimed("one")
    (second,) = desk.want(0)
    assert desk.claim("two") is None  # while one builds the shard
    desk.finish(claim)
    assert desk.waiting([first, second]) == {second}
    assert desk.claimed("two").claimed_to == 2


def test_where_a_running_unit_fails_the_one_beside_becomes_one_with_it(desk: Desk) -> None:
    (first,) = desk.want(0)
    failing = desk.claimed()
    (second,) = desk.want(0)
    assert desk.fail(failing) is State.OPEN
    assert list(desk.unfinished()) == [failing.unit]
    assert desk.waiting([first, second]) == {first, second}
    desk.at += 10.0
    desk.finish(desk.claimed())
    assert desk.waiting([first, second]) == set()


def test_what_is_claimed_again_is_built_for_those_too_that_came_since(desk: Desk) -> None:
    (first,) = desk.want(0)
    desk.claimed("dead")
    (second,) = desk.want(0)
    desk.at += LEASE_S
    again = desk.claimed("next")
    desk.want(0)
    desk.finish(again)
    assert desk.waiting([first, second]) == set()


def test_a_holder_that_was_late_has_lost_all_and_changes_nothing(desk: Desk) -> None:
    desk.want(0)
    late = desk.claimed("late")
    desk.at += LEASE_S
    taken = desk.claimed("next")
    assert (taken.unit, taken.fence, taken.attempt) == (late.unit, 2, 2)
    before = desk.unfinished()
    with pytest.raises(ClaimLost):
        desk.beat(late)
    with pytest.raises(ClaimLost):
        desk.finish(late)
    claims.release(desk.database, late)
    assert desk.fail(late) is None
    assert desk.unfinished() == before


def test_a_lease_that_ran_out_and_nobody_took_goes_on(desk: Desk) -> None:
    desk.want(0)
    claim = desk.claimed()
    desk.at += 5 * LEASE_S
    desk.want(0)  # it waits beside, and must not overtake
    assert desk.beat(claim).until == desk.at + LEASE_S
    assert desk.claim("two") is None
    desk.finish(claim)


def test_what_is_given_back_is_free_at_once_and_does_not_count(desk: Desk) -> None:
    desk.want(0, count=2)
    claims.release(desk.database, desk.claimed("one"))
    assert desk.claimed("two").attempt == 1


def test_a_batch_that_begins_later_begins_when_the_first_of_its_requests_says(desk: Desk) -> None:
    desk.want(0, not_before=desk.at + 100)
    desk.want(0, not_before=desk.at + 50)
    desk.want(0, not_before=desk.at + 200)
    desk.at += 49
    assert desk.claim() is None
    desk.at += 1
    desk.claimed()


def test_a_request_does_not_hurry_what_failed(desk: Desk) -> None:
    desk.want(0)
    slow = Retry(attempts=9, backoff_s=1e9, backoff_max_s=1e9)
    desk.fail(desk.claimed(), slow)
    desk.want(0)
    assert desk.claim() is None


def test_units_of_a_model_that_goes_are_over(desk: Desk) -> None:
    requests = desk.want(0, 1)
    running = desk.claimed()
    with desk.database.transaction() as transaction:
        desk.lock(transaction)
        units.end(transaction, desk.model)
    assert desk.waiting(requests) == set()
    with pytest.raises(ClaimLost):
        desk.finish(running)


def test_a_unit_that_is_not_there_cannot_be_retried(desk: Desk) -> None:
    with desk.database.transaction() as transaction, pytest.raises(UnknownName):
        units.retry(transaction, 99)
    assert desk.claim(unit=99) is None


def test_a_model_without_a_version_wants_nothing(desk: Desk) -> None:
    with desk.database.transaction() as transaction:
        transaction.execute(METADATA.tables["version"].delete())
    desk.want(0, 1, 2)
    assert desk.unfinished() == {}


def test_rows_that_were_added_are_wanted_without_a_request(desk: Desk) -> None:
    desk.home.ingest("people", people(8, first=100, seed=1), id="id", subject="who")
    for _ in range(2):  # the second time, all of it is under way
        with desk.database.transaction() as transaction:
            ground = desk.home.site.locked_ground_of(transaction, desk.model)
            version = training_sql.current(transaction, desk.model.id)
            units.ensure(transaction, desk.model, version, ground)
    with desk.database.reading() as transaction:
        version = training_sql.current(transaction, desk.model.id)
    assert version is not None
    assert version.batches == 2
    behind = {c.shard for c in version.constituents if not c.whole}
    assert behind
    assert [u.shard for u in desk.unfinished().values()] == sorted(behind)


def test_waits_grow_up_to_the_longest() -> None:
    policy = Retry(attempts=9, backoff_s=1.0, backoff_max_s=5.0)
    assert all(0 <= policy.wait_s(3) <= 4 for _ in range(100))
    assert all(0 <= policy.wait_s(10_000) <= 5 for _ in range(100))
    assert max(policy.wait_s(3) for _ in range(100)) > 1
