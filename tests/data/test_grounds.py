"""Which rows are gone, and for whom: grounds say what the tombstones do, whoever reads them when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

import expunge
from expunge.core.errors import DuplicateSamples
from expunge.data import sql
from expunge.data import stones as tombstones
from expunge.data.datasets import Ground, Grounds
from expunge.data.places import Places
from expunge.data.ring import Ring
from expunge.data.sql import Place
from expunge.data.tables import DATASETS, LIFTED, TOMBSTONES
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.testing.fakes import people
from expunge.training.site import Site

ROWS = 12
SCOPES = ("", "model:a", "model:b", "purpose:ads")
REQUESTS = ("r1", "r2", "r3")
KEY = (0, 0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A home with twelve rows."""
    place = tmp_path_factory.mktemp("grounds") / "home"
    home = expunge.open(place, executor=Inline(), progress=Silent(), background=False)
    home.ingest("people", people(ROWS), id="id", subject="who")
    yield home.site
    home.close()


def reset(site: Site) -> None:
    with site.database.transaction() as transaction:
        transaction.execute(TOMBSTONES.delete())
        transaction.execute(LIFTED.delete())
        transaction.execute(DATASETS.update().values(tombstones=0, era=0))


def dataset(site: Site, transaction: sa.Connection) -> sql.Dataset:
    return sql.get_dataset(transaction, 1, site.data)


def place(ordinal: int) -> Place:
    return Place(*KEY, ordinal, ordinal)


def bury(
    site: Site, ordinals: Iterable[int], request: str, scope: str = "", *, fails: bool = False
) -> None:
    with suppress(KeyError), site.database.transaction() as transaction:
        sql.lock(transaction, 1)
        places = [place(ordinal) for ordinal in ordinals]
        buried = [(Places.of(places), request, scope)]
        sql.bury(transaction, dataset(site, transaction), buried)
        if fails:
            raise KeyError


def lift(site: Site, request: str) -> list[sql.Tombstone]:
    with site.database.transaction() as transaction:
        sql.lock(transaction, 1)
        return sql.lift(transaction, dataset(site, transaction), request)


def load(grounds: Grounds, site: Site) -> Ground:
    with site.database.reading() as transaction:
        return grounds.load(transaction, dataset(site, transaction))


def gone(ground: Ground) -> dict[str, set[int]]:
    """Ordinals that are gone, for all and in each scope; nothing where none are."""
    found = {scope: ground.scoped.get(scope, {}) for scope in SCOPES} | {"": ground.gone}
    for of in found.values():
        for ordinals in of.values():
            assert np.all(np.diff(ordinals) > 0)
    return {scope: set(of[KEY].tolist()) for scope, of in found.items() if KEY in of}


@contextmanager
def since_now(site: Site) -> Iterator[sa.Connection]:
    """A transaction that sees what is there at this moment, however long it lasts."""
    with site.database.reading() as transaction:
        dataset(site, transaction)
        yield transaction


ordinals = st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=4)
steps = st.one_of(
    st.tuples(st.just("bury"), st.sampled_from(REQUESTS), st.sampled_from(SCOPES), ordinals),
    st.tuples(st.just("bury and fail"), st.sampled_from(REQUESTS), st.just(""), ordinals),
    st.tuples(st.just("lift"), st.sampled_from(REQUESTS)),
    st.tuples(st.just("lift and fail"), st.sampled_from(REQUESTS)),
    st.tuples(st.just("load"), st.integers(0, 1)),
    st.tuples(st.just("begin to read")),
    st.tuples(st.just("read on"), st.integers(0, 1)),
)


class Watched:
    """A database with two caches over it, as two processes have, and what they must show."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self.site, self.stack = site, stack
        self.caches = [Grounds(site.data), Grounds(site.data)]
        self.stones: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.readers: list[tuple[sa.Connection, dict[str, set[int]]]] = []

    def expected(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = defaultdict(set)
        for stones in self.stones.values():
            for scope, ordinal in stones:
                found[scope].add(ordinal)
        return dict(found)

    def do(self, what: str, *how: Any) -> None:
        getattr(self, what.replace(" ", "_"))(*how)

    def bury(self, request: str, scope: str, ordinals: set[int]) -> None:
        bury(self.site, ordinals, request, scope)
        self.stones[request] |= {(scope, ordinal) for ordinal in ordinals}

    def bury_and_fail(self, request: str, scope: str, ordinals: set[int]) -> None:
        bury(self.site, ordinals, request, scope, fails=True)

    def lift(self, request: str) -> None:
        stones = {(stone.scope, stone.place.ordinal) for stone in lift(self.site, request)}
        assert stones == self.stones.pop(request, set())

    def lift_and_fail(self, request: str) -> None:
        # As a request does that needs the ground behind its own change, and then fails.
        with suppress(KeyError), self.site.database.transaction() as transaction:
            sql.lift(transaction, dataset(self.site, transaction), request)
            self.caches[0].load(transaction, dataset(self.site, transaction))
            raise KeyError

    def load(self, cache: int) -> None:
        assert gone(load(self.caches[cache], self.site)) == self.expected()

    def begin_to_read(self) -> None:
        reader = self.stack.enter_context(since_now(self.site))
        self.readers.append((reader, self.expected()))

    def read_on(self, cache: int) -> None:
        for reader, expected in self.readers[-2:]:
            ground = self.caches[cache].load(reader, dataset(self.site, reader))
            assert gone(ground) == expected


@settings(max_examples=120, deadline=None)
@given(done=st.lists(steps, max_size=14))
def test_every_reader_sees_the_tombstones_of_its_moment(site: Site, done: list[Any]) -> None:
    reset(site)
    with ExitStack() as stack:
        watched = Watched(site, stack)
        for step in done:
            watched.do(*step)
        for cache in (0, 1):
            watched.read_on(cache)
            watched.load(cache)


@given(
    gone_for_all=st.sets(st.integers(0, 9)),
    gone_in=st.dictionaries(st.sampled_from(SCOPES[1:]), st.sets(st.integers(0, 9))),
    asked=st.lists(st.sampled_from([*SCOPES, "model:unknown"])),
    further=st.sets(st.integers(0, 9)),
    where=st.sampled_from(SCOPES),
)
def test_a_ground_is_two_sets(
    gone_for_all: set[int],
    gone_in: dict[str, set[int]],
    asked: list[str],
    further: set[int],
    where: str,
) -> None:
    def bare() -> Ground:
        dataset: Any = None
        return Ground(dataset, {}, {}, 0)

    def all_of(ground: Ground, scope: str) -> set[int]:
        return set(np.flatnonzero(ground.is_gone(KEY, np.arange(10), scope)).tolist())

    ground = bare().without([place(o) for o in gone_for_all])
    for scope, ordinals in gone_in.items():
        ground = ground.without([place(o) for o in ordinals], scope)
    narrowed = ground.under(asked)
    expected = gone_for_all.union(*(gone_in.get(scope, set()) for scope in asked))
    assert all_of(ground, "") == gone_for_all
    assert all_of(narrowed, "") == expected
    assert narrowed.tombstones == ground.tombstones
    assert ground.under(asked) is narrowed
    assert ground.under(list(reversed(asked))) is narrowed
    assert narrowed.under(asked) is narrowed
    for scope in SCOPES:
        assert all_of(ground, scope) == gone_for_all | gone_in.get(scope, set())
        assert all_of(narrowed, scope) == expected | gone_in.get(scope, set())
        alive = [place(o) for o in sorted(set(range(10)) - all_of(ground, scope))]
        assert ground.remaining(map(place, range(9, -1, -1)), scope) == alive
    after = ground.without([place(o) for o in further], where).under(asked)
    assert all_of(after, "") == (expected | further if where in ["", *asked] else expected)


def test_known_answer(site: Site) -> None:
    # Row 3 is gone for all; 5 for model a; 7, and 3 again, for ads. Then ads gets its rows back.
    reset(site)
    grounds = Grounds(site.data)
    bury(site, [3], "r1")
    bury(site, [5], "r2", "model:a")
    bury(site, [3, 7], "r3", "purpose:ads")
    ground = load(grounds, site)
    assert ground.tombstones == 4
    assert ground.gone[KEY].tolist() == [3]
    assert ground.under(["model:a"]).gone[KEY].tolist() == [3, 5]
    assert ground.under(["model:a", "purpose:ads"]).gone[KEY].tolist() == [3, 5, 7]
    assert ground.under(["model:b", "purpose:news"]) is ground
    assert [stone.number for stone in lift(site, "r3")] == [3, 4]
    ground = load(grounds, site)
    assert ground.tombstones == 6  # a row that comes back is a change with a number, too
    assert ground.under(["model:a", "purpose:ads"]).gone[KEY].tolist() == [3, 5]
    with site.database.reading() as transaction:
        numbers = [(change.number, change.ordinal) for change in sql.lifted(transaction, 1)]
        assert numbers == [(5, 3), (6, 7)]
        assert [change.number for change in sql.forgotten(transaction, 1)] == [1, 2]


def test_a_ground_is_the_same_object_until_something_changes(site: Site) -> None:
    reset(site)
    grounds = Grounds(site.data)
    bury(site, [5], "r1", "model:a")
    first = load(grounds, site).under(["model:a"])
    assert load(grounds, site).under(["model:a"]) is first
    bury(site, [6], "r2", "model:b")
    assert load(grounds, site).under(["model:a"]) is not first


def test_a_lift_that_was_rolled_back_is_not_mistaken_for_another(site: Site) -> None:
    reset(site)
    watched = Watched(site, ExitStack())
    watched.bury("r1", "model:a", {5})
    watched.bury("r2", "model:a", {6})
    watched.lift_and_fail("r1")
    watched.lift("r2")
    watched.load(0)
    assert gone(load(watched.caches[0], site)) == {"model:a": {5}}


def test_a_request_names_a_row_once_in_however_many_scopes_it_is_gone(site: Site) -> None:
    reset(site)
    bury(site, [4, 2], "r1", "model:a")
    bury(site, [4, 3], "r1", "purpose:ads")
    bury(site, [5], "r2")
    with site.database.reading() as transaction:
        assert [found.ordinal for found in sql.tombstones_of(transaction, 1, "r1")] == [4, 2, 3]
        held = [
            (stone.number, stone.scope) for stone in tombstones.of(transaction, 1, ["r2", "r1"])
        ]
    assert held == [*enumerate(["model:a"] * 2 + ["purpose:ads"] * 2 + [""], 1)]


def test_destroyed_rows_do_not_come_back(site: Site) -> None:
    reset(site)
    bury(site, [1, 2], "r1")
    bury(site, [2, 3], "r1", "model:a")
    with site.database.transaction() as transaction:
        sql.release(transaction, 1, [1, 3])  # row 1, and what model a had seen of row 2
    lifted = {(stone.scope, stone.place.ordinal) for stone in lift(site, "r1")}
    assert lifted == {("", 2), ("model:a", 2), ("model:a", 3)}
    assert gone(load(Grounds(site.data), site)) == {"": {1}}
    assert lift(site, "r1") == []


def test_a_row_that_is_gone_for_some_models_may_not_come_again(home: Home) -> None:
    home.ingest("people", people(4), id="id", subject="who")
    found = home.site.grounds
    with home.site.database.transaction() as transaction:
        row = dataset(home.site, transaction)
        batch = found.load(transaction, row).batches[KEY]
        ordinal = int(batch.find_ids(["s1"], Ring(row.secret))[0])
        sql.bury(transaction, row, [(Places.of([place(ordinal)]), "r1", "model:a")])
    again = {name: cells[1:2] for name, cells in people(4).items()}
    for readmit in (False, True):
        with pytest.raises(DuplicateSamples):
            home.ingest("people", again, readmit=readmit)
