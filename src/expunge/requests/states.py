"""The life of a request: one table of states and moves."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from expunge.core.errors import RequestMoveRefused


class State(StrEnum):
    """Where a request stands.

    SUBMITTED: it waits for a second person's approval. SCHEDULED: it is accepted, and takes
    effect at its effective moment. FORGOTTEN: it is in effect, no served model has seen the
    samples, and models are rebuilt. HELD: models are whole; rows wait for an undo window or
    a legal hold. DONE: models are whole, rows and checkpoints are destroyed.
    """

    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    FORGOTTEN = "forgotten"
    HELD = "held"
    DONE = "done"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    UNDONE = "undone"


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.SUBMITTED: frozenset({State.SCHEDULED, State.FORGOTTEN, State.REFUSED, State.CANCELLED}),
    State.SCHEDULED: frozenset({State.FORGOTTEN, State.REFUSED, State.CANCELLED}),
    State.FORGOTTEN: frozenset({State.HELD, State.DONE, State.UNDONE}),
    State.HELD: frozenset({State.DONE, State.UNDONE}),
    State.DONE: frozenset(),
    State.REFUSED: frozenset(),
    State.CANCELLED: frozenset(),
    State.UNDONE: frozenset(),
}
"""Where a request may go from each state."""

FINAL: Final = frozenset(state for state, ways in MOVES.items() if not ways)
WAITING: Final = frozenset({State.SUBMITTED, State.SCHEDULED})
"""Accepted, and not in effect yet."""
IN_EFFECT: Final = frozenset({State.FORGOTTEN, State.HELD})
"""In effect, and not done yet."""


def check(request: str, start: State, to: State) -> None:
    """See that a request may move.

    Raises:
        RequestMoveRefused: It may not.
    """
    if to not in MOVES[start]:
        raise RequestMoveRefused(request, start, to)
