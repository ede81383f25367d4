"""Tables of datasets, batches and tombstones."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from expunge.storage.database import METADATA
from expunge.storage.journal import KEY_BYTES
from expunge.storage.records import DIGEST_BYTES

DATASETS: Final = sa.Table(
    "dataset",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("folder", sa.String(100), nullable=False),
    sa.Column("secret", sa.LargeBinary(32), nullable=False),
    sa.Column("schema", sa.Text, nullable=False),
    sa.Column("tombstones", sa.BigInteger, nullable=False),
    sa.Column("era", sa.BigInteger, nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
)
BATCHES: Final = sa.Table(
    "batch",
    METADATA,
    sa.Column("dataset", sa.ForeignKey("dataset.id"), primary_key=True),
    sa.Column("tier", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("folder", sa.String(100), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
)
TOMBSTONES: Final = sa.Table(
    "tombstone",
    METADATA,
    # No foreign key: whoever inserts holds the lock on the dataset's row, and PostgreSQL would
    # look that up again for each tombstone, which takes longer than inserting it.
    sa.Column("dataset", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("tier", sa.Integer, nullable=False),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("request", sa.String(36), nullable=False, index=True),
    sa.Column("held", sa.Boolean, nullable=False),
)
sa.Index(
    "tombstone_held",
    TOMBSTONES.c.dataset,
    sqlite_where=sa.text("held = 1"),  # as queries say it, or the index is not used
    postgresql_where=TOMBSTONES.c.held,
)
LIFTED: Final = sa.Table(
    "lifted",
    METADATA,
    sa.Column("dataset", sa.ForeignKey("dataset.id"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("tier", sa.Integer, nullable=False),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
)
"""Rows that came back, each at a number of its own between those of tombstones: without it,
nobody could tell why a model that was certified before has other names now."""
BARRED: Final = sa.Table(
    "barred",
    METADATA,
    sa.Column("dataset", sa.ForeignKey("dataset.id"), primary_key=True),
    sa.Column("key", sa.LargeBinary(KEY_BYTES), primary_key=True),
    sa.Column("digest", sa.LargeBinary(DIGEST_BYTES), primary_key=True),
    sa.Column("held", sa.Boolean, nullable=False),
)
"""Ids that stay forgotten though their rows are not known (``data.barred``).

``held`` where checkpoints that saw the rows may still rest in packs.
"""
