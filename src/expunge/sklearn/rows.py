"""The rows that an estimator holds: on the ring, in order, and gone when they are forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import digest
from expunge.core.errors import DuplicateSamples, InputError, SamplesUnknown
from expunge.data.ring import Ring


@dataclass(frozen=True)
class Rows:
    """Rows in ring order, each array (n, …); they own their memory.

    Attributes:
        ids: What `forget` calls them; shapes nothing.
        subjects: Likewise, or None.
        keys: Places on the ring.
        names: What tells apart the rows of one place: hash of the sample id, or of the content.
        x: Features, (n, features).
        y: Class codes (n,), or values (n, targets).
        weights: Of the samples, not negative, or None where all weigh the same.
    """

    ids: NDArray[np.str_]
    subjects: NDArray[np.str_] | None
    keys: NDArray[np.uint64]
    names: NDArray[np.uint64]
    x: NDArray[np.float64]
    y: NDArray[Any]
    weights: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: NDArray[Any]) -> Rows:
        """Copy some rows, in the order of ``which`` (indices, or a mask)."""
        return Rows(
            ids=self.ids[which],
            subjects=None if self.subjects is None else self.subjects[which],
            keys=self.keys[which],
            names=self.names[which],
            x=self.x[which],
            y=self.y[which],
            weights=None if self.weights is None else self.weights[which],
        )

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Which rows are learnt from: a weight of 0 is as good as no row."""
        return np.ones(len(self), np.bool_) if self.weights is None else self.weights > 0

    @cached_property
    def tokens(self) -> NDArray[np.uint64]:
        """What the visiting order hashes. Equal rows count 0, 1, 2, …, anew after forgetting.

        They share a place, so only a slice that lost a row can see the count change.
        """
        at = np.arange(len(self))
        first = at.copy()
        same = (self.keys[1:] == self.keys[:-1]) & (self.names[1:] == self.names[:-1])
        first[1:][same] = 0
        nth = at - np.maximum.accumulate(first)
        return (self.keys ^ self.names) + nth.astype(np.uint64)


def place(
    x: NDArray[np.float64],
    y: NDArray[Any],
    weights: NDArray[np.float64] | None,
    sample_ids: Iterable[str | int] | None,
    subjects: Iterable[str | int] | None,
    seed: int,
) -> Rows:
    """Copy rows onto the ring: by subject, else by sample id, else by their features.

    Without sample ids the content of rows tells them apart, and the number of a row is only
    what `forget` calls it: then rows are a multiset, and its order shapes nothing.

    Raises:
        InputError: Ids or subjects are too few or too many, or missing.
        DuplicateSamples: Ids are not unique; numbers of rows count from 0.
    """
    ring = Ring(digest("estimator-ring", str(seed).encode()))
    x = np.where(np.isnan(x), np.nan, x + 0.0)  # one NaN and one zero, as in all stored rows
    ids = texts(range(len(x)) if sample_ids is None else sample_ids, "sample id", len(x))
    people = None if subjects is None else texts(subjects, "subject", len(x))
    _refuse_duplicates(ids)
    if sample_ids is None:
        keys, names = _hashes(ring, x), _hashes(ring, np.column_stack([x, y]))
    else:
        keys, names = ring.keys(ids), ring.tokens(ids)
    if people is not None:
        keys = ring.keys(people)
    ties = () if weights is None else (weights,)
    rows = Rows(
        ids=np.array(ids),
        subjects=None if people is None else np.array(people),
        keys=keys,
        names=names,
        x=x,
        y=y,
        weights=weights,
    )
    return rows.take(np.lexsort((*ties, names, keys)))


def texts(given: Iterable[str | int], what: str, rows: int | None = None) -> list[str]:
    """Ids or subjects as text; 7 and "7" are the same one.

    Args:
        given: Strings and integers; a lone string is one of them.
        what: A word for one, for errors.
        rows: How many there must be.

    Raises:
        InputError: They are not as many, or something else.
    """
    items: list[object] = [given] if isinstance(given, str) else list(given)
    if rows is not None and len(items) != rows:
        raise InputError(f"Expected one {what} per row, {rows:,}; got {len(items):,}.")
    if wrong := [i for i, one in enumerate(items) if not isinstance(one, str | int | np.integer)]:
        raise InputError(
            f"{len(wrong):,} {what}s are neither strings nor integers (the first at place "
            f"{wrong[0]:,}). Give each row one, and fill in those that are missing."
        )
    return [str(one) for one in items]


def find(
    known: NDArray[np.str_], wanted: Collection[str], what: str, missing: str
) -> NDArray[np.bool_]:
    """Which rows are meant, (n,).

    Raises:
        SamplesUnknown: Some that are wanted are not here, and ``missing`` is ``raise``.
    """
    if missing == "raise" and (strangers := set(wanted).difference(known.tolist())):
        raise SamplesUnknown(strangers, what)
    return np.isin(known, np.array(list(wanted), np.str_))


def _refuse_duplicates(ids: list[str]) -> None:
    if len(set(ids)) < len(ids):
        first = {one: i for i, one in reversed(list(enumerate(ids)))}
        raise DuplicateSamples([i for i, one in enumerate(ids) if first[one] != i], False)


def _hashes(ring: Ring, cells: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Of each row's content."""
    new = blake2b(digest_size=8, key=ring.secret, person=b"content").copy
    digests = []
    for row in np.ascontiguousarray(cells):
        state = new()
        state.update(row)
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), "<u8")
