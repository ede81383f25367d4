"""Open what users pass as a stream of small record batches.

Arrow's types are taken as they are. Python objects (pandas columns, lists) are typed by their
first block, and every later block must fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pyarrow as pa

from expunge.core.errors import InputError, SchemaMismatch, SourceEmpty
from expunge.data import csvs
from expunge.data.cells import TYPE_ADVICE, Place
from expunge.data.layout import BLOCK_ROWS

Source: TypeAlias = Any
"""A path, a table of Arrow or pandas or what exports Arrow streams, a mapping of arrays, a
2-D array, or an iterable of record batches."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A source that was opened.

    Attributes:
        what: Its name in errors.
        columns: Names, in order.
        blocks: At most 65,536 rows each, none empty.
    """

    what: str
    columns: tuple[str, ...]
    blocks: Iterator[pa.RecordBatch]


def open_source(source: Source, types: Mapping[str, pa.DataType]) -> Stream:
    """Open a source. Where a format has no types of its own (CSV), use ``types``."""
    if isinstance(source, str | Path):
        return _open_path(Path(source), types)
    if isinstance(source, np.ndarray):
        return _from_matrix(source)
    if isinstance(source, Mapping):
        return _from_columns("The mapping", {str(name): _sized(v) for name, v in source.items()})
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        names = [str(name) for name in source.columns]
        _check_names(names)
        columns = {name: source.iloc[:, place] for place, name in enumerate(names)}
        return _from_columns("The data frame", columns)
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if hasattr(source, "__arrow_c_stream__"):
        source = pa.RecordBatchReader.from_stream(source)
        return _stream("The table", source.schema.names, source)
    return _from_iterable(source)


def _open_path(path: Path, types: Mapping[str, pa.DataType]) -> Stream:
    name = path.name.lower()
    what = f"The file {path.name!r}"
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}. Check the path.")
    if name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        names, batches = csvs.read(path, types)
        return _stream(what, names, batches)
    if name.endswith((".parquet", ".pq")):
        return _open_parquet(path, what)
    if name.endswith((".arrow", ".feather", ".arrows", ".ipc")):
        return _open_arrow(path, what)
    raise InputError(
        f"{what} has an ending that is not known. Expected .csv, .csv.gz, .tsv, .parquet, "
        f".arrow or .feather."
    )


def _open_parquet(path: Path, what: str) -> Stream:
    import pyarrow.parquet as pq  # loaded only where needed: it costs 20 MB

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{what} is no Parquet file, or is damaged.") from error
    return _stream(what, file.schema_arrow.names, file.iter_batches(batch_size=BLOCK_ROWS))


def _open_arrow(path: Path, what: str) -> Stream:
    # Not a memory map: its pages would count as ours, and they would be the whole file.
    try:
        file = pa.ipc.open_file(pa.OSFile(str(path)))
        names = file.schema.names
        batches = (file.get_batch(i) for i in range(file.num_record_batches))
        return _stream(what, names, batches)
    except pa.ArrowInvalid:
        try:
            stream = pa.ipc.open_stream(pa.OSFile(str(path)))
        except pa.ArrowInvalid as error:
            raise InputError(f"{what} is no Arrow file, or is damaged.") from error
    return _stream(what, stream.schema.names, stream)


def _from_matrix(matrix: np.ndarray[Any, Any]) -> Stream:
    if matrix.ndim != 2:
        raise InputError(f"An array must have 2 dimensions (rows, columns), got {matrix.ndim}.")
    columns = {f"x{place}": matrix[:, place] for place in range(matrix.shape[1])}
    return _from_columns("The array", columns)


def _from_columns(what: str, columns: Mapping[str, Any]) -> Stream:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise SchemaMismatch(f"{what} has columns of different lengths: {sorted(lengths)}.")
    rows = lengths.pop() if lengths else 0
    return _stream(what, list(columns), _object_blocks(columns, rows))


def _object_blocks(columns: Mapping[str, Any], rows: int) -> Iterator[pa.RecordBatch]:
    types: dict[str, pa.DataType] = {}
    for start in range(0, rows, BLOCK_ROWS):
        arrays = {}
        for name, values in columns.items():
            place = Place(name, start + 1)
            arrays[name] = to_arrow(_rows(values, start), types.get(name), place)
            if not pa.types.is_null(arrays[name].type):
                types[name] = arrays[name].type
        yield pa.record_batch(arrays)


def _rows(values: Any, start: int) -> Any:  # noqa: ANN401 - arrays, series and sequences
    if hasattr(values, "iloc"):
        return values.iloc[start : start + BLOCK_ROWS]
    return values[start : start + BLOCK_ROWS]


def to_arrow(values: Any, kind: pa.DataType | None, at: Place) -> pa.Array:  # noqa: ANN401
    """One block of a column's values as Arrow, refusing mixed types by row."""
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return _tensor(values)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    dictionary = kind is not None and pa.types.is_dictionary(kind)
    array = _typed(values, None if dictionary else kind)
    if array is None:
        _refuse_mixed(list(values), kind, at)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _typed(values: Any, kind: pa.DataType | None) -> pa.Array | None:  # noqa: ANN401 - as above
    """As Arrow, or None. Arrow's own errors hold content, so they end here."""
    try:
        return pa.array(values, kind, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return None


def _tensor(values: np.ndarray[Any, Any]) -> pa.Array:
    shape = values.shape[1:]
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    lists = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape)))
    if len(shape) == 1:
        return lists
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, shape), lists)


def _refuse_mixed(values: Sequence[Any], kind: pa.DataType | None, at: Place) -> NoReturn:
    """Find the first value that does not fit ``kind``, or the values before it."""
    if kind is None:
        there = [value for value in values if value is not None and value == value]
        first = _typed(there[:1], None)
        kind = first.type if first is not None else pa.null()
    bad = np.array([_typed([value], kind) is None for value in values])
    at.refuse(bad, "the cell's type differs from the rows above", TYPE_ADVICE)


def _sized(values: Any) -> Any:  # noqa: ANN401 - see Source
    return values if hasattr(values, "__len__") else list(values)


def _from_iterable(source: Source) -> Stream:
    if not isinstance(source, Iterable):
        raise InputError(
            f"A {type(source).__name__} cannot be ingested. Expected a path, a table of pandas or "
            f"Arrow, a mapping of arrays, a 2-D array, or an iterable of record batches."
        )
    batches = iter(source)
    first = next(batches, None)
    if first is None:
        raise SourceEmpty("The iterable")
    if not isinstance(first, pa.RecordBatch):
        raise InputError(f"The iterable gave a {type(first).__name__}, not a pyarrow.RecordBatch.")
    return _stream("The iterable", first.schema.names, chain([first], batches))


def _stream(what: str, names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> Stream:
    _check_names(names)
    return Stream(what, tuple(names), _split(batches, what, tuple(names)))


def _split(
    batches: Iterable[pa.RecordBatch], what: str, names: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if tuple(batch.schema.names) != names:
            raise SchemaMismatch(f"{what} changes its columns on the way.")
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            yield batch.slice(start, BLOCK_ROWS)


def _check_names(names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise SchemaMismatch(f"Column names must be unique; {', '.join(map(repr, twice))} is not.")
