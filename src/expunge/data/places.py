"""Where rows stand, and for which models they are gone.

One row is a :class:`Place`. Many are :class:`Places`: an array that is a sequence of places to
whoever looks at single ones, so that a hundred thousand rows are no hundred thousand objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

EVERYTHING: Final = ""
"""The scope of a tombstone that counts for all models of its dataset."""

Key: TypeAlias = tuple[int, int]
"""(tier, batch number): the order of slices."""

_WINDOW: Final = 1 << 14
_ROW: Final = np.dtype(
    [("tier", np.int32), ("batch", np.int32), ("ordinal", np.int64), ("token", np.uint64)]
)
_RAW: Final = np.dtype(f"V{_ROW.itemsize}")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row stands; also how a tombstone names it."""

    tier: int
    batch: int
    ordinal: int
    token: int


@dataclass(frozen=True, slots=True, eq=False)
class Places(Sequence[Place]):
    """Where rows stand, in one array; equal to any sequence of the same places.

    Attributes:
        rows: Fields ``tier``, ``batch``, ``ordinal`` and ``token``.
    """

    rows: NDArray[np.void]

    @classmethod
    def of(cls, places: Iterable[Place]) -> Places:
        """These places, in their order; costs nothing where they are in an array already."""
        if isinstance(places, Places):
            return places
        found = [(place.tier, place.batch, place.ordinal, place.token) for place in places]
        return cls(np.array(found, _ROW))

    @classmethod
    def at(cls, key: Key, ordinals: NDArray[np.int64], tokens: NDArray[np.uint64]) -> Places:
        """Rows of one batch."""
        rows = np.empty(len(ordinals), _ROW)
        rows["tier"], rows["batch"] = key
        rows["ordinal"], rows["token"] = ordinals, tokens
        return cls(rows)

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """All of these, one behind the other."""
        some = [part for part in parts if len(part.rows)]
        if len(some) == 1:
            return some[0]
        # As bytes: to find that the fields of all are the same takes longer than the rest.
        return (
            cls(np.concatenate([part.rows.view(_RAW) for part in some]).view(_ROW))
            if some
            else NOWHERE
        )

    @property
    def ordinals(self) -> NDArray[np.int64]:
        """Ordinal of each row in its batch."""
        return self.rows["ordinal"]

    @property
    def tokens(self) -> NDArray[np.uint64]:
        """Keyed hash of each row's sample id."""
        return self.rows["token"]

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Places:
        """Those that a mask, or their positions, choose."""
        return Places(self.rows[chosen])

    def unique(self) -> Places:
        """Each once, sorted."""
        if len(self) < 2:
            return self
        order = self._order()
        return Places(self.rows[order[_begin(self.rows[order])]])

    def are_first(self) -> NDArray[np.bool_]:
        """Which of them stand nowhere before."""
        order = self._order()
        first = np.zeros(len(self), np.bool_)
        first[order[_begin(self.rows[order])]] = True
        return first

    def _order(self) -> NDArray[np.int64]:
        return np.lexsort([self.rows[name] for name in ("ordinal", "batch", "tier")])

    def groups(self) -> Iterator[tuple[Key, slice]]:
        """Runs of places in the same batch."""
        rows = self.rows
        cuts = (
            (np.flatnonzero(_differ(rows, "tier", "batch")) + 1).tolist() if len(rows) > 1 else ()
        )
        for start, stop in pairwise([0, *cuts, len(rows)]):
            if stop > start:
                yield (int(rows["tier"][start]), int(rows["batch"][start])), slice(start, stop)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> Places: ...
    def __getitem__(self, index: int | slice) -> Place | Places:
        if isinstance(index, slice):
            return Places(self.rows[index])
        return Place(*self.rows[index].item())

    def __iter__(self) -> Iterator[Place]:
        return (Place(*row) for row in self.rows.tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Places):
            return bool(np.array_equal(self.rows, other.rows))
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


NOWHERE: Final = Places(np.empty(0, _ROW))


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A forgotten row.

    Attributes:
        scope: For which models it is.
    """

    number: int
    place: Place
    request: str
    scope: str = EVERYTHING


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """A row that went, or that came back."""

    number: int
    tier: int
    batch: int
    ordinal: int
    scope: str = EVERYTHING


def gather(read: Callable[[int, int], NDArray[Any]], ordinals: NDArray[np.int64]) -> NDArray[Any]:
    """What ``read`` finds at single ordinals; those that stand close together are read at once."""
    if not len(ordinals):
        return read(0, 0)
    order = np.argsort(ordinals, kind="stable")
    near = ordinals[order]
    cuts = np.flatnonzero(np.diff(near // _WINDOW)) + 1
    parts = [read(int(of[0]), int(of[-1]) + 1)[of - of[0]] for of in np.split(near, cuts)]
    found = np.concatenate(parts)
    placed = np.empty_like(found)
    placed[order] = found
    return placed


def _begin(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows, sorted, are not the same as the one before."""
    found = np.ones(len(rows), np.bool_)
    found[1:] = _differ(rows, "tier", "batch", "ordinal")
    return found


def _differ(rows: NDArray[np.void], *names: str) -> NDArray[np.bool_]:
    """Which rows, but for the first, differ from the one before."""
    found = [rows[name][1:] != rows[name][:-1] for name in names]
    return np.asarray(np.logical_or.reduce(found))
