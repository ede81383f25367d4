"""Find the rows that requests name, many requests at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Final, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from expunge.core.errors import InputError, SamplesUnknown
from expunge.data import stones
from expunge.data.datasets import Gone, Ground, are_within, joined
from expunge.data.places import EVERYTHING, NOWHERE, Place, Places, gather
from expunge.data.ring import Ring
from expunge.requests.terms import EVERY_MODEL

_Mask: TypeAlias = NDArray[np.bool_]

MISSING = ("raise", "ignore")

spot: Final = attrgetter("tier", "batch", "ordinal")
"""Sorts places as they sort by themselves, three times as quick."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request names.

    Attributes:
        missing: ``raise`` or ``ignore`` ids that the dataset never held.
    """

    samples: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    missing: str = "raise"

    def __post_init__(self) -> None:
        if self.missing not in MISSING:
            raise InputError(f"`missing` must be 'raise' or 'ignore', got {self.missing!r}.")

    @property
    def identifiers(self) -> tuple[tuple[str, str], ...]:
        """All that is named, each once: pairs of its kind and the identifier."""
        named = (("sample", self.samples), ("subject", self.subjects))
        return tuple((kind, one) for kind, given in named for one in dict.fromkeys(given))


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that a request names: those to forget, and those that were gone already.

    Attributes:
        places: To forget.
        gone: Gone already, in all of the request's scopes.
        buried: Those that need a tombstone, by its scope; together they are ``places``.
        shared: Rows that others had forgotten already, in one of the scopes at least, and that
            are not destroyed yet.
    """

    places: Places = NOWHERE
    gone: Places = NOWHERE
    buried: Mapping[str, Places] = field(default_factory=dict)
    shared: Places = NOWHERE

    @property
    def already(self) -> int:
        """How many were gone already."""
        return len(self.gone)

    @property
    def named(self) -> Places:
        """All that it names."""
        return Places.joined([self.places, self.gone])

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do about these rows."""
        return bool(self.buried) or len(self.shared) > 0


class Ledge:
    """What is gone in each scope, while one request after the other is sorted out.

    Args:
        ground: As it was before the first of them.
        transaction: In which the dataset is locked.
    """

    def __init__(self, ground: Ground, transaction: sa.Connection) -> None:
        self._ground, self._transaction = ground, transaction
        self._gone: dict[str, Gone] = {}
        self._added: Gone = {}

    def sort_out(self, places: Iterable[Place], scopes: Sequence[str] = EVERY_MODEL) -> Found:
        """Which of these rows a request is to forget; for those after it they are gone."""
        return self.sort_out_each([Places.of(places)], scopes)[0]

    def sort_out_each(self, named: Sequence[Places], scopes: Sequence[str]) -> list[Found]:
        """As :meth:`sort_out`, one after the other."""
        every = Places.joined(named)
        missing = {scope: ~self._have_stones(every, scope) for scope in scopes}
        added = np.logical_or.reduce(list(missing.values()))
        later = ~every.are_first()
        for one in missing.values():  # what the first to name a row forgot is gone for the others
            one &= ~later
        shared = self._are_shared(every, missing, later & added)
        for scope, of in missing.items():
            self._gone[scope] = joined(self._gone.get(scope, {}), every.where(of))
        self._added = joined(self._added, every.where(added))
        return _split(named, missing, shared)

    def look(self, places: Iterable[Place], scopes: Sequence[str] = EVERY_MODEL) -> Found:
        """Which of these rows a request would forget now."""
        return self.look_each([Places.of(places)], scopes)[0]

    def look_each(self, named: Sequence[Places], scopes: Sequence[str]) -> list[Found]:
        """As :meth:`look`."""
        every = Places.joined(named)
        missing = {scope: ~self._have_stones(every, scope) for scope in scopes}
        shared = self._are_shared(every, missing, np.zeros(len(every), np.bool_))
        return _split(named, missing, shared)

    def _are_shared(self, places: Places, missing: Mapping[str, _Mask], held: _Mask) -> _Mask:
        """Which rows have a tombstone in one scope at least, and are not destroyed."""
        shared = ~np.logical_and.reduce(list(missing.values()))
        asked = shared & ~held
        if asked.any():
            shared[asked] = self._are_held(places.where(asked))
        return np.asarray(shared)

    def _have_stones(self, places: Places, scope: str) -> _Mask:
        """Which rows need no tombstone in that scope.

        One that is forgotten for all models needs one for some, too, until it is destroyed: what
        forgot it for all may still be undone.
        """
        own = self._are_gone(places, scope)
        if scope == EVERYTHING:
            return own
        others = self._are_gone(places, EVERYTHING) & ~own
        if others.any():
            others[others] = ~self._are_held(places.where(others))
        return own | others

    def _are_gone(self, places: Places, scope: str) -> _Mask:
        """Which rows are gone in that very scope."""
        ground = self._ground
        gone = ground.gone if scope == EVERYTHING else ground.scoped.get(scope, {})
        return are_within(gone, places) | are_within(self._gone.get(scope, {}), places)

    def _are_held(self, places: Places) -> _Mask:
        """Which rows that were forgotten are not destroyed yet."""
        added = are_within(self._added, places)
        if added.all():
            return added
        asked, dataset = places.where(~added), self._ground.dataset.id
        held = stones.at(self._transaction, dataset, asked, held=True)
        return added | are_within(joined({}, Places.of(stone.place for stone in held)), places)


def _split(named: Sequence[Places], missing: Mapping[str, _Mask], shared: _Mask) -> list[Found]:
    """What was found about all rows, for each request."""
    alive = np.logical_or.reduce(list(missing.values()))
    found, start = [], 0
    for places in named:
        part = slice(start, start := start + len(places))
        buried = {scope: places.where(of[part]) for scope, of in missing.items()}
        here = alive[part]
        found.append(
            Found(
                places.where(here),
                places.where(~here),
                {scope: of for scope, of in buried.items() if len(of)},
                places.where(shared[part]),
            )
        )
    return found


def find(ground: Ground, wanted: Wanted) -> Found:
    """Where the rows are that ``wanted`` names, each row once; for all models.

    Raises:
        SamplesUnknown: Some are nowhere, and ``missing`` says to raise.
    """
    (named,) = name(ground, [wanted])
    if isinstance(named, SamplesUnknown):
        raise named
    gone = are_within(ground.gone, named)
    return Found(named.where(~gone), named.where(gone))


def name(ground: Ground, wanted: Sequence[Wanted]) -> list[Places | SamplesUnknown]:
    """Rows that each of ``wanted`` names, each once, sorted; or what is wrong with it.

    Costs one look into the indexes for all sample ids, and one for each subject.
    """
    samples, unknown = _samples(ground, [each.samples for each in wanted])
    subjects, strangers = _subjects(ground, [each.subjects for each in wanted])
    found: list[Places | SamplesUnknown] = []
    for number, each in enumerate(wanted):
        if each.missing == "raise" and unknown[number]:
            found.append(SamplesUnknown(unknown[number], "sample ids"))
        elif each.missing == "raise" and strangers[number]:
            found.append(SamplesUnknown(strangers[number], "subjects"))
        else:
            found.append(Places.joined([samples[number], subjects[number]]).unique())
    return found


@dataclass(frozen=True, slots=True)
class _Hits:
    """Rows by what names them.

    Attributes:
        at: Number of each name.
        starts: Where the rows of each name begin, and in the end where the last ones end.
        rows: In the order of these numbers.
    """

    at: Mapping[str, int]
    starts: NDArray[np.int64]
    rows: Places

    @classmethod
    def made(cls, names: Iterable[str], found: Sequence[tuple[NDArray[np.int64], Places]]) -> _Hits:
        """Rows in some batches, each with the number of its name."""
        at = {name: number for number, name in enumerate(names)}
        numbers = np.concatenate([np.empty(0, np.int64), *(of for of, _ in found)])
        order = np.argsort(numbers, kind="stable")
        starts = np.searchsorted(numbers[order], np.arange(len(at) + 1))
        return cls(at, starts, Places.joined([rows for _, rows in found]).where(order))

    def of(self, named: Sequence[Sequence[str]]) -> tuple[list[Places], list[set[str]]]:
        """For each of some lists of names: the rows, and the names that have none."""
        every = [name for names in named for name in names]
        at = np.fromiter(map(self.at.__getitem__, every), np.int64, len(every))
        counts = self.starts[at + 1] - self.starts[at]
        ends = np.cumsum(counts)
        chosen = np.repeat(self.starts[at] - (ends - counts), counts) + np.arange(counts.sum())
        rows, unknown = self.rows.where(chosen), [set[str]() for _ in named]
        owners = np.repeat(np.arange(len(named)), [len(names) for names in named])
        for one in np.flatnonzero(counts == 0).tolist():
            unknown[owners[one]].add(every[one])
        bounds = np.concatenate([[0], ends])[np.cumsum([0, *map(len, named)])].tolist()
        return [rows[start:stop] for start, stop in pairwise(bounds)], unknown


def _samples(ground: Ground, named: Sequence[Sequence[str]]) -> tuple[list[Places], list[set[str]]]:
    ids = list(dict.fromkeys(one for names in named for one in names))
    ring, found = Ring(ground.dataset.secret), []
    for key, batch in ground.batches.items() if ids else ():
        ordinals = batch.find_ids(ids, ring)
        there = np.flatnonzero(ordinals >= 0)
        found.append((there, _places(ground, key, ordinals[there])))
    return _Hits.made(ids, found).of(named)


def _subjects(
    ground: Ground, named: Sequence[Sequence[str]]
) -> tuple[list[Places], list[set[str]]]:
    subjects = list(dict.fromkeys(one for names in named for one in names))
    ring, found = Ring(ground.dataset.secret), []
    for number, subject in enumerate(subjects):
        for key, batch in ground.batches.items():
            if len(ordinals := batch.find_subject(subject, ring)):
                numbers = np.full(len(ordinals), number, np.int64)
                found.append((numbers, _places(ground, key, ordinals)))
    return _Hits.made(subjects, found).of(named)


def _places(ground: Ground, key: tuple[int, int], ordinals: NDArray[np.int64]) -> Places:
    return Places.at(key, ordinals, gather(ground.batches[key].tokens, ordinals))
