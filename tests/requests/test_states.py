"""The table of states: every state is reached, final ones are final, and nothing goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import RequestMoveRefused
from expunge.requests.states import FINAL, IN_EFFECT, MOVES, WAITING, State, check

START = (State.SUBMITTED, State.SCHEDULED, State.FORGOTTEN, State.DONE)
"""Where a request may stand once it is accepted; DONE where nothing of it is left to do."""


def reached(start: State) -> set[State]:
    found, fresh = set(), {start}
    while fresh:
        found |= fresh
        fresh = {to for state in fresh for to in MOVES[state]} - found
    return found


def test_every_state_has_its_row() -> None:
    assert set(MOVES) == set(State)


def test_every_state_is_reached() -> None:
    assert set.union(*(reached(start) for start in START)) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_leads_to_an_end_and_none_leads_back(state: State) -> None:
    assert reached(state) & FINAL
    assert all(state not in reached(to) for to in MOVES[state])


def test_each_state_is_waiting_or_in_effect_or_final() -> None:
    assert sorted([*WAITING, *IN_EFFECT, *FINAL]) == sorted(State)


@pytest.mark.parametrize("state", sorted(IN_EFFECT | {State.DONE, State.UNDONE}))
def test_what_is_in_effect_is_never_refused_or_cancelled(state: State) -> None:
    assert not reached(state) & {State.REFUSED, State.CANCELLED, *WAITING}


@given(st.sampled_from(State), st.sampled_from(State))
def test_the_table_is_all_that_is_asked(start: State, to: State) -> None:
    if to in MOVES[start]:
        check("r", start, to)
        return
    with pytest.raises(RequestMoveRefused) as caught:
        check("r", start, to)
    assert (caught.value.start, caught.value.to) == (start, to)
