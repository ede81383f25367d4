"""Stream a CSV file: types from its first block, then every row must fit.

The fast reader (Arrow, parsing in its own threads) knows neither row numbers nor when to keep
content out of its messages. When it fails, the file is read again slowly, to the first row
that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from expunge.core.errors import CellInvalid, InputError, SchemaMismatch, SourceEmpty
from expunge.data.cells import TYPE_ADVICE, Place, is_utf8

_FAILURES: Final = (pa.ArrowInvalid, pa.ArrowKeyError, OSError)
_BLOCK_BYTES: Final = 1 << 20
_MISSING: Final = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "#N/A"]


def read(
    path: Path, types: Mapping[str, pa.DataType]
) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """Open a CSV file, gzip or not; the given ``types`` win over what the first block shows."""
    names, kinds = _look(path, types)
    return names, _batches(path, kinds)


def _look(path: Path, types: Mapping[str, pa.DataType]) -> tuple[list[str], dict[str, pa.DataType]]:
    schema, empty = None, False
    try:
        schema = _open(path, types).schema
    except _FAILURES as error:
        empty = "Empty CSV" in str(error)
    if schema is None:
        if empty:
            raise SourceEmpty(f"The file {path.name!r}")
        _explain(path, types)
    if len(set(schema.names)) < len(schema.names):
        raise SchemaMismatch("The header names a column twice. Give each a name of its own.")
    return schema.names, {field.name: _kind(field.type) for field in schema}


def _kind(kind: pa.DataType) -> pa.DataType:
    # Dates and times stay text: they are categories or free text to us. Bytes are text that
    # is not UTF-8, and are found as such.
    return pa.string() if pa.types.is_temporal(kind) or pa.types.is_binary(kind) else kind


def _open(path: Path, types: Mapping[str, pa.DataType], **slow: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
    return pcsv.open_csv(
        str(path),
        read_options=pcsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=not slow),
        parse_options=pcsv.ParseOptions(
            delimiter="\t" if ".tsv" in path.name.lower() else ",",
            newlines_in_values=True,
            **slow,
        ),
        convert_options=pcsv.ConvertOptions(column_types=dict(types), null_values=_MISSING),
    )


def _batches(path: Path, kinds: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    done = False
    with suppress(*_FAILURES):
        yield from _open(path, kinds)
        done = True
    if not done:
        # Arrow's error holds content: outside of its handler, it is not chained to ours.
        _explain(path, kinds)


def _explain(path: Path, kinds: Mapping[str, pa.DataType]) -> NoReturn:
    """Raise for the first row that is wrong."""
    ragged: list[tuple[int, int, int]] = []

    def skip(row: Any) -> str:  # noqa: ANN401 - pyarrow.csv.InvalidRow
        ragged.append((row.number, row.expected_columns, row.actual_columns))
        return "skip"

    first = 1
    for batch in _raw(path, kinds, skip):
        _check_block(batch, kinds, first, len(ragged))
        first += batch.num_rows
        if ragged:
            break
    if ragged:
        _refuse_ragged(ragged[0])
    raise InputError(
        f"The file {path.name!r} cannot be read as comma-separated values. Check that it is not "
        f"damaged, its encoding (UTF-8), its quotes and its delimiter."
    )


def _raw(
    path: Path,
    kinds: Mapping[str, pa.DataType],
    skip: Any,  # noqa: ANN401 - a callback
) -> Iterator[pa.RecordBatch]:
    """Blocks of bytes, as far as the file can be cut into cells at all."""
    with suppress(*_FAILURES, UnicodeDecodeError):
        names = list(kinds) or _header(path)
        yield from _open(path, dict.fromkeys(names, pa.binary()), invalid_row_handler=skip)


def _header(path: Path) -> list[str]:
    with pa.input_stream(str(path)) as stream:
        line = stream.read(_BLOCK_BYTES).split(b"\n")[0].decode(errors="replace")
    delimiter = "\t" if ".tsv" in path.name.lower() else ","
    return [name.strip('"\r') for name in line.split(delimiter)]


def _refuse_ragged(row: tuple[int, int, int]) -> NoReturn:
    number, expected, actual = row
    raise CellInvalid(
        number - 1,  # the header is row 1 of the file
        "(all)",
        f"the row has {actual} cells, the header {expected}",
        "Mend the row, or its quotes.",
    )


def _check_block(
    batch: pa.RecordBatch, kinds: Mapping[str, pa.DataType], first: int, skipped: int
) -> None:
    if skipped:
        return  # the ragged row comes first, or in the same block: name it
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        at = Place(name, first)
        wrong = np.array([not is_utf8(cell) for cell in column.to_pylist()], bool)
        if wrong.any():
            at.refuse(wrong, "the text is not UTF-8", "Convert the file to UTF-8.")
        kind = kinds.get(name)
        if kind is not None and not pa.types.is_string(kind):
            _check_kind(column.cast(pa.string()), kind, at)


def _check_kind(texts: pa.Array, kind: pa.DataType, at: Place) -> None:
    texts = pc.utf8_trim_whitespace(texts)
    missing = pc.is_in(texts, pa.array(_MISSING))
    texts = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
    if _reads(texts, kind):
        return
    bad = np.array([not _reads(texts[i : i + 1], kind) for i in range(len(texts))], bool)
    at.refuse(bad, f"the cell is no {kind}, as the rows above are", TYPE_ADVICE)


def _reads(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
