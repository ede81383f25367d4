"""Places in an array are what a list of places is."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.data import places
from expunge.data.datasets import are_within, joined
from expunge.data.places import Place, Places, gather

SPOTS = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 9))
LISTS = st.lists(SPOTS.map(lambda spot: Place(*spot, 2**63 + sum(spot))), max_size=12)


@given(LISTS)
def test_an_array_is_a_sequence_of_its_places(one):
    placed = Places.of(one)
    assert placed == one == list(placed)
    assert placed == tuple(one)
    assert hash(placed) == hash(tuple(one))
    assert [placed[at] for at in range(len(one))] == one
    assert placed[1:] == one[1:]
    assert Places.of(placed) is placed
    assert (placed != one[1:]) is bool(one)


@given(LISTS)
def test_each_is_kept_once_and_sorted(one):
    placed = Places.of(one)
    assert placed.unique() == sorted(set(one))
    first = placed.are_first().tolist()
    assert first == [one.index(place) == at for at, place in enumerate(one)]


@given(LISTS)
def test_runs_of_the_same_batch(one):
    expected = [
        (key, list(run)) for key, run in groupby(one, key=lambda place: (place.tier, place.batch))
    ]
    placed = Places.of(one)
    assert [(key, list(placed[part])) for key, part in placed.groups()] == expected


@given(st.lists(LISTS, max_size=4))
def test_joined_they_stand_one_behind_the_other(several):
    assert Places.joined([Places.of(one) for one in several]) == [p for one in several for p in one]


@given(LISTS, LISTS, LISTS)
def test_what_is_gone_grows_by_what_joins_it(before, added, asked):
    gone = joined(joined({}, Places.of(before)), Places.of(added))
    assert all((np.diff(of) > 0).all() for of in gone.values())
    assert {(*key, o) for key, of in gone.items() for o in of.tolist()} == {
        (place.tier, place.batch, place.ordinal) for place in (*before, *added)
    }
    expected = [place in {*before, *added} for place in asked]
    assert are_within(gone, Places.of(asked)).tolist() == expected


@given(st.lists(st.integers(0, 99), max_size=20), st.sampled_from([1, 3, 50, 1000]))
def test_single_rows_are_read_in_windows(ordinals, window):
    column = np.arange(100, dtype=np.uint64)[::-1] * 7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "_WINDOW", window)
        found = gather(lambda start, stop: column[start:stop], np.array(ordinals, np.int64))
    assert found.tolist() == column[np.array(ordinals, int)].tolist()
