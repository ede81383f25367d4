"""Sorted out together, requests find what they find one after the other, row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expunge
from expunge.core.errors import SamplesUnknown
from expunge.data.datasets import Ground, joined
from expunge.data.places import EVERYTHING, Place, Places, Tombstone
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.requests import effect, finding
from expunge.requests.effect import Taking
from expunge.requests.finding import Ledge, Wanted
from expunge.testing.fakes import people

SCOPES = ((EVERYTHING,), ("model:a",), ("model:a", "purpose:ads"))
PLACES = [Place(0, batch, ordinal, ordinal) for batch in (0, 1) for ordinal in range(5)]
ROWS = st.lists(st.sampled_from(PLACES), unique=True, max_size=6).map(sorted)


@dataclass
class RowByRow:
    """What the ledge does, said about one row."""

    gone: dict[str, set[Place]]
    held: set[Place]

    def sort_out(self, places, scopes, *, waits):
        alive, gone, shared = [], [], []
        buried: dict[str, list[Place]] = defaultdict(list)
        for place in places:
            missing = [scope for scope in scopes if not self._has(place, scope)]
            (alive if missing else gone).append(place)
            for scope in missing:
                buried[scope].append(place)
            if len(missing) < len(scopes) and place in self.held:
                shared.append(place)
        if not waits:
            for scope, of in buried.items():
                self.gone[scope].update(of)
            self.held.update(alive)
        return alive, gone, dict(buried), shared

    def _has(self, place, scope):
        if place in self.gone[scope]:
            return True
        return place in self.gone[EVERYTHING] and place not in self.held


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Forty rows in two batches."""
    place = tmp_path_factory.mktemp("finding") / "home"
    with expunge.open(place, executor=Inline(), progress=Silent(), background=False) as made:
        made.ingest("people", people(30), id="id", subject="who")
        made.ingest("people", people(10, first=30), id="id", subject="who")
        yield made


@pytest.fixture(scope="module")
def ground(home: Home) -> Ground:
    with home.site.database.reading() as transaction:
        return home.site.ground(transaction, 1)


@settings(max_examples=300)
@given(
    groups=st.lists(
        st.tuples(st.lists(ROWS, min_size=1, max_size=3), st.sampled_from(SCOPES), st.booleans()),
        max_size=4,
    ),
    gone=st.dictionaries(st.sampled_from([EVERYTHING, "model:a", "purpose:ads"]), ROWS),
    held=ROWS,
)
def test_together_as_one_after_the_other(ground, groups, gone, held):
    held = [place for place in held if any(place in of for of in gone.values())]
    stood = {scope: joined({}, Places.of(of)) for scope, of in gone.items()}
    every = stood.pop(EVERYTHING, {})
    before = Ground(ground.dataset, ground.batches, every, 0, scoped=stood)
    slow = RowByRow(defaultdict(set, {scope: set(of) for scope, of in gone.items()}), set(held))
    with pytest.MonkeyPatch.context() as patch:
        stones = [Tombstone(1, place, "r") for place in held]
        patch.setattr(finding.stones, "at", lambda *_, **__: stones)
        ledge = Ledge(before, None)
        for named, scopes, waits in groups:
            placed = [Places.of(one) for one in named]
            look = ledge.look_each if waits else ledge.sort_out_each
            found = look(placed, scopes)
            expected = [slow.sort_out(one, scopes, waits=waits) for one in named]
            assert [
                (list(f.places), list(f.gone), {s: list(b) for s, b in f.buried.items()}, f.shared)
                for f in found
            ] == expected


@given(
    st.lists(
        st.builds(
            Wanted,
            st.lists(st.integers(0, 44).map("s{}".format), max_size=5).map(tuple),
            st.lists(st.integers(0, 11).map("p{}".format), max_size=3).map(tuple),
            st.sampled_from(["raise", "ignore"]),
        ),
        max_size=4,
    )
)
def test_what_many_requests_name_is_what_each_of_them_names(ground, wanted):
    rows = [
        (name, who, Place(*key, ordinal, int(batch.tokens(ordinal, ordinal + 1)[0])))
        for key, batch in ground.batches.items()
        for ordinal in range(batch.rows)
        for name, who in [[batch.read([c], ordinal, ordinal + 1)[c][0] for c in ("id", "who")]]
    ]
    for one, found in zip(wanted, finding.name(ground, wanted), strict=True):
        samples = set(one.samples) - {name for name, _, _ in rows}
        subjects = set(one.subjects) - {who for _, who, _ in rows}
        if one.missing == "raise" and (samples or subjects):
            assert isinstance(found, SamplesUnknown)
            assert found.ids == sorted(samples or subjects)
            continue
        named = {p for name, who, p in rows if name in one.samples or who in one.subjects}
        assert found == sorted(named)


@given(st.lists(st.tuples(ROWS, ROWS), max_size=4), st.integers(1, 200))
def test_shards_are_those_of_each_row(ground, named, shards):
    taken = [
        Taking(str(at), (EVERYTHING,), finding.Found(places=Places.of(a), shared=Places.of(b)))
        for at, (a, b) in enumerate(named)
    ]

    class Model:
        class recipe:  # noqa: N801 - stands in for one
            pass

    Model.recipe.shards = shards

    def of(places):
        return {ground.batches[p.tier, p.batch].key(p.ordinal) * shards >> 64 for p in places}

    found = effect.keys(ground, taken).shards(Model)
    assert found == {str(at): (of(a), of(b)) for at, (a, b) in enumerate(named)}


def test_ids_of_the_same_hash_are_told_apart(ground):
    batch = ground.batches[0, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(batch), "find", lambda _, tokens: np.array([3, -1, 7, 7]))
        ids = batch.read(["id"], 0, batch.rows)["id"]
        ring = finding.Ring(ground.dataset.secret)
        assert batch.find_ids([ids[3], ids[4], ids[7], ids[8]], ring).tolist() == [3, -1, 7, -1]
