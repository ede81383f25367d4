"""Where rows stand that the journal names by their places and keyed hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from expunge.data.batch import META, Batch
from expunge.data.datasets import Ground, Key
from expunge.data.erase import erase
from expunge.data.places import Place
from expunge.requests.journaled import Told
from expunge.storage.journal import digests
from expunge.storage.records import Row


def find(
    key: bytes, ground: Ground, told: Sequence[Told]
) -> tuple[dict[str, list[Place]], dict[str, list[Row]]]:
    """Look for the rows of requests: where they stood, else wherever their ids stand now.

    An id whose row is not where it was has come back in ignorance of the request.

    Args:
        key: Of the journal's hashes.
        ground: Of the dataset that all of them are about.
        told: The requests.

    Returns:
        By request, the rows that stand there, forgotten ones too; and those that are nowhere.
    """
    rows = list(dict.fromkeys(row for one in told for row in one.rows))
    stand = _where_they_stood(key, ground, rows)
    lost = {row.digest for row in rows if row not in stand}
    elsewhere = _wherever(key, ground, lost, {*stand.values()}) if lost else {}
    found: dict[str, list[Place]] = {}
    unknown: dict[str, list[Row]] = {}
    for one in told:
        at = {r: [stand[r]] if r in stand else elsewhere.get(r.digest, []) for r in one.rows}
        found[one.request] = list(
            dict.fromkeys(place for places in at.values() for place in places)
        )
        unknown[one.request] = [row for row, places in at.items() if not places]
    return found, unknown


def erase_strays(key: bytes, folder: Path, known: set[Path], rows: Sequence[Row]) -> None:
    """Erase forgotten rows of batches that the database does not know, where they are there."""
    wanted: dict[Key, list[Row]] = {}
    for row in rows:
        wanted.setdefault((row.tier, row.batch), []).append(row)
    for batch in _strays(folder, known) if wanted else ():
        named = wanted.get((batch.tier, batch.number), [])
        erase(batch, np.array([row.ordinal for row in _right(key, batch, named)], np.int64))
        batch.close()


def _strays(folder: Path, known: set[Path]) -> Iterator[Batch]:
    for place in sorted(folder.iterdir()) if folder.exists() else ():
        if place not in known and (place / META).exists():
            yield Batch(place)


def _right(key: bytes, batch: Batch, rows: Sequence[Row]) -> dict[Row, int]:
    """Those of the rows that stand in this batch where they say, with their tokens."""
    inside = [row for row in rows if row.ordinal < batch.rows]
    tokens = [int(batch.tokens(row.ordinal, row.ordinal + 1)[0]) for row in inside]
    hashed = zip(inside, tokens, digests(key, tokens), strict=True)
    return {row: token for row, token, digest in hashed if digest == row.digest}


def _where_they_stood(key: bytes, ground: Ground, rows: Sequence[Row]) -> dict[Row, Place]:
    """Places of the rows that stand where they say."""
    found: dict[Row, Place] = {}
    for place, batch in ground.batches.items():
        right = _right(key, batch, [row for row in rows if (row.tier, row.batch) == place])
        found |= {row: Place(*place, row.ordinal, token) for row, token in right.items()}
    return found


def _wherever(
    key: bytes, ground: Ground, wanted: set[bytes], named: set[Place]
) -> dict[bytes, list[Place]]:
    """Remaining rows with these digests but for ``named``. Looks at all tokens of the dataset."""
    found: dict[bytes, list[Place]] = {}
    for place, batch in ground.batches.items():
        tokens = batch.tokens(0, batch.rows).tolist()
        hashed = enumerate(digests(key, tokens))
        ordinals = np.array([at for at, digest in hashed if digest in wanted], np.int64)
        for at in ordinals[~ground.is_gone(place, ordinals)].tolist():
            (digest,) = digests(key, [tokens[at]])
            if (there := Place(*place, at, tokens[at])) not in named:
                found.setdefault(digest, []).append(there)
    return found
