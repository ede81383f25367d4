"""Stream a CSV file: types from its first block, then every row must fit.

The fast reader (Arrow, parsing in its own threads) knows neither row numbers nor when to keep
content out of its messages. When it fails, the file is read again slowly, to the first row
that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from expunge.core.errors import CellInvalid, InputError, SchemaMismatch, SourceEmpty
from expunge.data.cells import TYPE_ADVICE, Place

_BLOCK_BYTES: Final = 1 << 20
_MISSING: Final = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "#N/A"]


def read(
    path: Path, types: Mapping[str, pa.DataType]
) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """Open a CSV file, gzip or not; the given ``types`` win over what the first block shows."""
    names, kinds = _look(path, types)
    return names, _batches(path, kinds)


def _look(path: Path, types: Mapping[str, pa.DataType]) -> tuple[list[str], dict[str, pa.DataType]]:
    try:
        schema = _open(path, types).schema
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise SourceEmpty(f"The file {path.name!r}") from error
        _explain(path, types, error)
    names = schema.names
    if len(set(names)) < len(names):
        raise SchemaMismatch("The header names a column twice. Give each a name of its own.")
    # Dates and times stay text: they are categories or free text to us.
    temporal = {f.name: pa.string() for f in schema if pa.types.is_temporal(f.type)}
    return names, {f.name: f.type for f in schema} | temporal


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
    try:
        yield from _open(path, kinds)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        _explain(path, kinds, error)


def _explain(path: Path, kinds: Mapping[str, pa.DataType], error: Exception) -> NoReturn:
    """Raise for the first row that is wrong. ``error`` holds content: it is not chained."""
    ragged: list[tuple[int, int, int]] = []

    def skip(row: Any) -> str:  # noqa: ANN401 - pyarrow.csv.InvalidRow
        ragged.append((row.number, row.expected_columns, row.actual_columns))
        return "skip"

    reader = _open_raw(path, kinds, skip)
    first = 1
    for batch in reader:
        _check_block(batch, kinds, first, len(ragged))
        first += batch.num_rows
        if ragged:
            break
    if ragged:
        _refuse_ragged(ragged[0])
    raise InputError(
        f"The file {path.name!r} is no table of comma-separated values "
        f"({type(error).__name__}). Check its quotes and its delimiter."
    ) from None


def _open_raw(path: Path, kinds: Mapping[str, pa.DataType], skip: Any) -> Any:  # noqa: ANN401
    names = list(kinds) or _header(path)
    try:
        return _open(path, dict.fromkeys(names, pa.binary()), invalid_row_handler=skip)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        raise InputError(
            f"The file {path.name!r} is no table of comma-separated values in UTF-8. Check its "
            f"encoding, its quotes and its delimiter."
        ) from None


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
    ) from None


def _check_block(
    batch: pa.RecordBatch, kinds: Mapping[str, pa.DataType], first: int, skipped: int
) -> None:
    if skipped:
        return  # the ragged row comes first, or in the same block: name it
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        at = Place(name, first)
        wrong = np.array([not _is_utf8(cell) for cell in column.to_pylist()], bool)
        if wrong.any():
            at.refuse(wrong, "the text is not UTF-8", "Convert the file to UTF-8.")
        kind = kinds.get(name)
        if kind is not None and not pa.types.is_string(kind):
            _check_kind(column.cast(pa.string()), kind, at)


def _check_kind(texts: pa.Array, kind: pa.DataType, at: Place) -> None:
    texts = pc.utf8_trim_whitespace(texts)
    missing = pc.is_in(texts, pa.array(_MISSING))
    texts = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        bad = np.array([not _reads(text, kind) for text in texts.to_pylist()], bool)
        if bad.any():
            at.refuse(bad, f"the cell is no {kind}, as the rows above are", TYPE_ADVICE)


def _reads(text: str | None, kind: pa.DataType) -> bool:
    try:
        pa.array([text], pa.string()).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _is_utf8(cell: bytes | None) -> bool:
    try:
        (cell or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
