"""Follow units to their end, whoever builds them: what became of them since somebody looked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from expunge.requests.unit_tables import LINKS, UNFINISHED, UNITS, State
from expunge.service.snapshot import timestamp

_MODELS: Final = sa.table("model", sa.column("id"), sa.column("name"))
_AT_ONCE: Final = 500
_UNIT: Final = sa.select(UNITS, _MODELS.c.name.label("name")).join(
    _MODELS, _MODELS.c.id == UNITS.c.model
)
_NEWEST: Final = sa.select(sa.func.max(UNITS.c.id))
_CLAIMED: Final = sa.select(sa.func.max(UNITS.c.started))
_UNFINISHED: Final = sa.select(UNITS.c.id, UNITS.c.fence, UNITS.c.started).where(UNFINISHED)
_LINKS: Final = sa.select(LINKS.c.unit, sa.func.count().label("requests")).group_by(LINKS.c.unit)


@dataclass(frozen=True, slots=True)
class Ended:
    """A unit that is done.

    Attributes:
        seconds: That its rebuild took; None where another rebuild made it whole.
        samples: Visited by that.
        recovered_s: From when it was wanted until it was done.
        requests: That it was for.
    """

    model: str
    shard: int
    seconds: float | None
    samples: int
    recovered_s: float
    requests: int


class Follower:
    """Reads what became of units since it read last; begins with those that are not done now.

    Attributes:
        claimed: When a unit was claimed last, in seconds since 1970; 0.0 where none ever was.
        retries: How often units were claimed again.
    """

    def __init__(self) -> None:
        self.claimed, self.retries = 0.0, 0
        self._fences: dict[int, int] = {}
        self._newest: int | None = None

    def read(self, transaction: sa.Connection) -> list[Ended]:
        """Units that ended since the last call; none at the first.

        Costs a query for what is not done, and two for each five hundred that ended.
        """
        newest = transaction.scalar(_NEWEST) or 0
        unfinished = transaction.execute(_UNFINISHED).all()
        if self._newest is None:
            self._note_claim(transaction.scalar(_CLAIMED))
            ended = []
        else:
            gone = self._fences.keys() - {row.id for row in unfinished}
            ended = self._ended(transaction, gone, (self._newest, newest))
        for row in unfinished:
            self._note_claim(row.started)
            self._note_fence(row.id, row.fence, is_first=self._newest is None)
        self._fences = {row.id: row.fence for row in unfinished}
        self._newest = newest
        return ended

    def _ended(
        self, transaction: sa.Connection, gone: Collection[int], made: tuple[int, int]
    ) -> list[Ended]:
        done, t = UNITS.c.state == State.DONE, UNITS.c
        # What ended since, and what was made and ended since.
        rows = list(transaction.execute(_UNIT.where(done, t.id > made[0], t.id <= made[1])))
        for chunk in _chunks(sorted(gone)):
            rows += transaction.execute(_UNIT.where(done, t.id.in_(chunk)))
        requests: dict[int, int] = {}
        for chunk in _chunks([row.id for row in rows]):
            found = transaction.execute(_LINKS.where(LINKS.c.unit.in_(chunk)))
            requests |= {row.unit: row.requests for row in found}
        for row in rows:
            self._note_claim(row.started)
            self._note_fence(row.id, row.fence, is_first=False)
        return [_ended(row, requests.get(row.id, 0)) for row in rows]

    def _note_claim(self, started: str | None) -> None:
        if started is not None:
            self.claimed = max(self.claimed, timestamp(started))

    def _note_fence(self, unit: int, fence: int, *, is_first: bool) -> None:
        before = max(1, fence if is_first else self._fences.get(unit, 0))
        self.retries += max(0, fence - before)


def _chunks(units: Sequence[int]) -> Iterator[Sequence[int]]:
    return (units[at : at + _AT_ONCE] for at in range(0, len(units), _AT_ONCE))


def _ended(row: sa.Row[Any], requests: int) -> Ended:
    recovered = timestamp(row.finished) - timestamp(row.wanted_at)
    return Ended(row.name, row.shard, row.seconds, row.samples or 0, max(0.0, recovered), requests)
