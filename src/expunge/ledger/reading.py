"""What a ledger has published: entries, proofs, the checkpoint. Reads alone.

What the database knows beyond the published tree is nobody's business yet.

References:
    c2sp.org/tlog-proof; RFC 6962 sections 2.1.1 and 2.1.2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expunge.core import merkle
from expunge.core.errors import LedgerError
from expunge.core.merkle import leaf_hash
from expunge.ledger import files, note, sql, tiles
from expunge.ledger.files import Published
from expunge.ledger.note import Checkpoint
from expunge.ledger.proof import TlogProof
from expunge.storage.database import Database


class Reading:
    """The published side of a ledger. Before anything is published, all raise LedgerError."""

    def __init__(self, database: Database, folder: Path) -> None:
        """Read nothing yet.

        Args:
            database: Holds the entries, for their places and for who they are about.
            folder: The log's folder.
        """
        self._database, self._folder = database, folder
        self._reader: tuple[int, merkle.Read] | None = None

    @property
    def size(self) -> int:
        """Entries in the published tree."""
        return self._published().checkpoint.size

    @property
    def checkpoint(self) -> bytes:
        """The published checkpoint, with its cosignatures."""
        return self._published().data

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Names of those that cosigned the published checkpoint."""
        signed = {signature.line for signature in self._published().note.signatures}
        with self._database.reading() as transaction:
            rows = sql.cosignatures(transaction, self.size)
        return tuple(row.key.partition("+")[0] for row in rows if row.line in signed)

    def entries(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """Entries from ``start`` to before ``stop``, byte for byte; by default all."""
        size = self.size
        with self._database.reading() as transaction:
            return sql.leaves(transaction, start, size if stop is None else min(stop, size))

    def newest(self, most: int) -> list[tuple[int, dict[str, Any]]]:
        """The last entries, ``most`` of them at most, as (number, JSON), in order."""
        start = max(0, self.size - most)
        return [(i, json.loads(leaf)) for i, leaf in enumerate(self.entries(start), start)]

    def find(self, request: str) -> list[tuple[int, dict[str, Any]]]:
        """The entries about a request, as (number, JSON), in order."""
        size = self.size
        with self._database.reading() as transaction:
            found = sql.of_request(transaction, request, size)
        return [(index, json.loads(leaf)) for index, leaf in found]

    def proof(self, index: int) -> TlogProof:
        """Prove that an entry is in the log; see :meth:`proofs`."""
        return self.proofs([index])[0]

    def proofs(self, indexes: Sequence[int], checkpoint: bytes | None = None) -> list[TlogProof]:
        """Prove that entries are in the log, all under one checkpoint.

        Costs some tiles' reading and one row's, each. Every proof is checked.

        Args:
            indexes: Numbers of the entries.
            checkpoint: One of the log's, such as one that a witness cosigned; by default the
                published one.

        Raises:
            ValueError: There is no such entry.
            LedgerError: The files are damaged, or the checkpoint is not this log's.
        """
        data = self.checkpoint if checkpoint is None else checkpoint
        head = Checkpoint.parse(note.parse(data).text)
        with self._database.reading() as transaction:
            leaves = {index: sql.leaves(transaction, index, index + 1) for index in indexes}
        read = self._read(head.size)
        return [
            TlogProof(index, _checked(index, leaves[index], head, read), data) for index in indexes
        ]

    def consistency(self, first: int, size: int | None = None) -> list[bytes]:
        """Prove that the tree of ``first`` entries begins that of ``size``, by default all.

        Raises:
            ValueError: There is no such tree.
        """
        size = self.size if size is None else size
        return merkle.prove_consistency(first, size, self._read(size))

    def _published(self) -> Published:
        found = files.published(self._folder)
        if found is None:
            raise LedgerError("The ledger has no entries yet. Sync it first.")
        return found

    def _read(self, size: int) -> merkle.Read:
        """Reads hashes of the tree of ``size``; the last reader is kept, for more proofs."""
        kept = self._reader
        if kept is None or kept[0] != size:
            kept = size, tiles.reader(size, files.fetcher(self._folder))
            self._reader = kept
        return kept[1]


def _checked(
    index: int, found: list[bytes], head: Checkpoint, read: merkle.Read
) -> tuple[bytes, ...]:
    """The path from an entry to the root, after it was tried."""
    path = merkle.prove_inclusion(index, head.size, read)
    leaf = leaf_hash(found[0]) if found else b""
    if not merkle.check_inclusion(leaf, index, head.size, path, head.root):
        raise LedgerError(
            f"The ledger's files give no proof of entry {index:,} in the tree of "
            f"{head.size:,}: they are damaged. Run `expunge ledger fsck`."
        )
    return tuple(path)
