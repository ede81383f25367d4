"""An id stands in one row: build the token index, and refuse duplicates and forgotten ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expunge.core.errors import CellInvalid, DuplicateSamples, SamplesForgotten
from expunge.data.barred import Barred
from expunge.data.batch import TOKENS, Batch
from expunge.data.index import Hashes, Index, Ordinals, build, within
from expunge.data.layout import ROW, TOKEN
from expunge.data.ring import Ring
from expunge.data.segments import Segment
from expunge.data.spill import scan


@dataclass(frozen=True, slots=True)
class Known:
    """A batch that the dataset holds already.

    Attributes:
        gone: Sorted ordinals of its forgotten rows.
    """

    batch: Batch
    gone: NDArray[np.int64]


@dataclass(slots=True)
class Ids:
    """Checks the ids of an ingest, tier by tier.

    Attributes:
        column: Name of the id column.
        barred: Ids that were forgotten, and whose rows are not known.
    """

    ring: Ring
    known: Sequence[Known]
    readmit: bool
    column: str
    barred: Barred = field(default_factory=Barred)
    _siblings: list[Index] = field(default_factory=list)

    def index(self, folder: Path, segments: Sequence[Segment], runs: Sequence[Path]) -> None:
        """Write the token index of one tier's batch.

        Raises:
            DuplicateSamples: An id stands in two rows, or is in the dataset.
            SamplesForgotten: An id was forgotten, and may not come back.
            CellInvalid: Two ids have the same 64-bit hash.
        """
        build(
            folder,
            TOKENS,
            _tokens_of(folder, segments),
            sum(segment.rows for segment in segments),
            lambda tokens: self._check(tokens, runs),
        )
        self._siblings.append(Index(folder, TOKENS))

    def _check(self, tokens: Hashes, runs: Sequence[Path]) -> None:
        again = tokens[1:][tokens[1:] == tokens[:-1]]
        elsewhere = [tokens[sibling.find(tokens) >= 0] for sibling in self._siblings]
        if len(again) or any(map(len, elsewhere)):
            self._refuse_twice(again, np.concatenate([again[:0], *elsewhere]), runs)
        live, gone = self._in_dataset(tokens)
        if len(live):
            self._refuse_known(live, runs, DuplicateSamples([], in_dataset=True))
        if len(gone) and not self.readmit:
            self._refuse_known(gone, runs, SamplesForgotten([]))
        if not self.readmit and (barred := tokens[self.barred.holds(tokens)]).size:
            raise SamplesForgotten([row for _, row, _ in self._rows(barred, runs)])

    def _in_dataset(self, tokens: Hashes) -> tuple[Hashes, Hashes]:
        """Tokens that stand in known batches, and those that only forgotten rows have."""
        live = np.zeros(len(tokens), bool)
        gone = np.zeros(len(tokens), bool)
        for known in self.known:
            ordinals = known.batch.find(tokens)
            forgotten = np.isin(ordinals, known.gone)
            live |= (ordinals >= 0) & ~forgotten
            gone |= forgotten
        return tokens[live], tokens[gone & ~live]

    def _refuse_twice(self, again: Hashes, elsewhere: Hashes, runs: Sequence[Path]) -> NoReturn:
        seen: dict[int, str] = {}
        rows = []
        for token, row, name in self._rows(np.concatenate([again, elsewhere]), runs):
            if seen.setdefault(token, name) != name:
                self._refuse_collision(row)
            rows.append((token, row))
        first = {token: min(r for t, r in rows if t == token) for token in seen}
        others = set(elsewhere.tolist())
        raise DuplicateSamples(
            [row for token, row in rows if token in others or row != first[token]],
            in_dataset=False,
        )

    def _refuse_known(
        self, tokens: Hashes, runs: Sequence[Path], error: DuplicateSamples | SamplesForgotten
    ) -> NoReturn:
        rows = []
        for _, row, name in self._rows(tokens, runs):
            if all(known.batch.find_id(name, self.ring) < 0 for known in self.known):
                self._refuse_collision(row)
            rows.append(row)
        if isinstance(error, DuplicateSamples):
            raise DuplicateSamples(rows, in_dataset=True)
        raise SamplesForgotten(rows)

    def _refuse_collision(self, row: int) -> NoReturn:
        raise CellInvalid(
            row,
            self.column,
            "another id has the same 64-bit hash",
            "Give the row another id; this happens by chance in one dataset of billions of rows.",
        )

    def _rows(self, tokens: Hashes, runs: Sequence[Path]) -> Iterator[tuple[int, int, str]]:
        """(token, row of the source, id) of the rows with these tokens."""
        for run in scan(runs, [TOKEN, ROW, self.column]):
            chosen = run.filter(pa.array(np.isin(run.column(TOKEN).to_numpy(), tokens)))
            yield from zip(*(column.to_pylist() for column in chosen.columns), strict=True)


def _tokens_of(
    folder: Path, segments: Sequence[Segment]
) -> Callable[[int, int], Iterator[tuple[Hashes, Ordinals]]]:
    def entries(low: int, high: int) -> Iterator[tuple[Hashes, Ordinals]]:
        start = 0
        for segment in segments:
            with pa.memory_map(str(folder / segment.file)) as source:
                tokens = pa.ipc.open_file(source).get_batch(0).column(TOKEN).to_numpy()
                chosen = np.flatnonzero(within(tokens, low, high))
                yield tokens[chosen], chosen + start
            start += segment.rows

    return entries
