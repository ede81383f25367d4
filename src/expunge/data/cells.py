"""From what users pass to stored cells: one column of one block at a time.

Ingest and predict share this, so that a cell means the same to both. Every refusal names the
1-based row of the source and the column, never the content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expunge.core.errors import CellInvalid
from expunge.core.types import Column, Kind, Role
from expunge.data.layout import arrow_type, stored_dtype

_EXACT_FLOAT: Final = 2**53

MISSING_ADVICE: Final = "Fill it in, leave the row out, or name the column in `nullable`."
TYPE_ADVICE: Final = "Give all rows the same type, or declare the column's type with `schema`."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block's column stands, for errors.

    Attributes:
        first: 1-based row of the source of the block's first row.
    """

    column: str
    first: int

    def refuse(self, bad: NDArray[np.bool_], problem: str, advice: str) -> NoReturn:
        """Raise for the first row that is ``bad``; at least one is."""
        raise CellInvalid(self.first + int(np.argmax(bad)), self.column, problem, advice)

    def refuse_missing(self, bad: NDArray[np.bool_]) -> NoReturn:
        """Raise for the first missing cell."""
        self.refuse(bad, "the cell is missing", MISSING_ADVICE)

    def refuse_type(self, array: pa.Array, expected: str) -> NoReturn:
        """Raise for the first cell that is there: its column's type is a wrong one."""
        there = ~nulls(array)
        self.refuse(there, f"the cell is no {expected}", TYPE_ADVICE)


def nulls(array: pa.Array) -> NDArray[np.bool_]:
    """Where cells are missing, NaN included."""
    mask: NDArray[np.bool_] = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    return mask


def plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One chunk, without dictionaries and extension types."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def is_text(kind: pa.DataType) -> bool:
    """Whether cells are strings."""
    views = pa.types.is_string_view(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or views)


def is_number(kind: pa.DataType) -> bool:
    """Whether cells are integers, floats or decimals; not booleans."""
    whole = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(whole or pa.types.is_decimal(kind))


def texts(array: pa.Array, at: Place, *, nullable: bool = False) -> pa.Array:
    """Strings, or integers as decimal text; missing ones become empty where ``nullable``."""
    if not (is_text(array.type) or pa.types.is_integer(array.type) or pa.types.is_null(array.type)):
        if nulls(array).any() and not nullable:
            at.refuse_missing(nulls(array))
        at.refuse_type(array, "text")
    if is_text(array.type):
        _check_utf8(array, at)
    strings = array.cast(pa.string())
    if strings.null_count:
        if not nullable:
            at.refuse_missing(nulls(strings))
        strings = strings.fill_null("")
    return strings


def names(array: pa.Array, at: Place, *, nullable: bool = False) -> pa.Array:
    """Texts that name someone or something: an empty one is a missing one."""
    strings = texts(array, at, nullable=nullable)
    empty = pc.binary_length(strings).to_numpy(zero_copy_only=False) == 0
    if not nullable and empty.any():
        at.refuse_missing(empty)
    return strings


def numbers(array: pa.Array, column: Column, at: Place) -> NDArray[Any]:
    """Numbers in the column's stored type."""
    if pa.types.is_null(array.type):
        values = np.full(len(array), np.nan)
    elif is_number(array.type):
        decimal = pa.types.is_decimal(array.type)
        array = array.cast(pa.float64()) if decimal else array
        values = array.to_numpy(zero_copy_only=False)
    else:
        at.refuse_type(array, "number")
    return settle(values, column, at)


def tensors(array: pa.Array, column: Column, at: Place) -> NDArray[Any]:
    """Tensors in the column's stored type; (n, *shape)."""
    size = int(np.prod(column.shape))
    lists = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    if not (lists or pa.types.is_fixed_size_list(array.type)):
        at.refuse_type(array, f"tensor of {size} elements")
    if array.null_count:
        at.refuse_missing(nulls(array))
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    if (wrong := lengths != size).any():
        at.refuse(wrong, f"the tensor has not {size} elements", TYPE_ADVICE)
    flat = array.flatten()
    if not is_number(flat.type):
        at.refuse_type(array, "tensor of numbers")
    return settle(flat.to_numpy(zero_copy_only=False).reshape(-1, *column.shape), column, at)


def settle(values: NDArray[Any], column: Column, at: Place) -> NDArray[Any]:
    """Check finiteness and range, cast to the stored type, normalise NaN and -0."""
    dtype = stored_dtype(column)
    floats = values.dtype.kind == "f"
    if floats and not (finite := np.isfinite(values)).all():
        _check_finite(values, finite, column, at)
    declared = np.dtype(column.dtype)
    if declared.kind in "iu":
        _check_whole(values, declared, column, at)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
    if dtype.kind == "f":
        cast = cast + dtype.type(0)  # -0 + 0 is +0
        _normalise(cast, values, at)
    return cast


def codes(array: pa.Array, code: Callable[[Any], int], at: Place) -> NDArray[np.int32]:
    """Categories by their ``code``, asked once per distinct value; missing ones are -1."""
    if not (is_text(array.type) or pa.types.is_integer(array.type) or is_empty_type(array.type)):
        at.refuse_type(array, "category (text, integer or boolean)")
    if is_text(array.type):
        _check_utf8(array, at)
    encoded = array.dictionary_encode()
    of_value = [-1 if value == "" else code(value) for value in encoded.dictionary.to_pylist()]
    table = np.array([*of_value, -1], np.int32)
    filled = encoded.indices.fill_null(len(of_value))
    indices: NDArray[np.int32] = filled.to_numpy(zero_copy_only=False)
    return table[indices]


def is_empty_type(kind: pa.DataType) -> bool:
    """Whether the type is boolean, or that of a column without any value."""
    return bool(pa.types.is_boolean(kind) or pa.types.is_null(kind))


def categories(array: pa.Array, column: Column, at: Place) -> NDArray[np.int32]:
    """Codes of declared categories; what was not declared is -1 in a feature."""
    _check_category_type(array, column, at)
    gone = absent(array)
    if gone.any() and not column.nullable:
        at.refuse_missing(gone)
    known = {value: code for code, value in enumerate(column.categories)}
    result = codes(array, lambda value: known.get(value, -1), at)
    if column.role is not Role.FEATURE and (strange := (result < 0) & ~gone).any():
        at.refuse(strange, "the value is not declared", "Declare it in the `schema`.")
    return result


def absent(array: pa.Array) -> NDArray[np.bool_]:
    """Where categories are missing: null, or the empty text."""
    gone = nulls(array)
    if is_text(array.type):
        empty = pc.equal(pc.binary_length(array), 0).fill_null(True)
        gone = gone | empty.to_numpy(zero_copy_only=False)
    return gone


def convert(array: pa.Array | pa.ChunkedArray, column: Column, at: Place) -> pa.Array:
    """Cells of a declared column as they are stored."""
    array = plain(array)
    if column.kind is Kind.TEXT:
        return texts(array, at, nullable=column.nullable)
    if column.kind is Kind.CATEGORICAL:
        return pa.array(categories(array, column, at))
    if column.kind is Kind.TENSOR:
        return stored(tensors(array, column, at), column)
    return pa.array(numbers(array, column, at))


def stored(values: NDArray[Any], column: Column) -> pa.Array:
    """Wrap settled values as the column's Arrow array."""
    if column.kind is not Kind.TENSOR:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=arrow_type(column))


def _check_category_type(array: pa.Array, column: Column, at: Place) -> None:
    kinds = {type(value) for value in column.categories}
    fits = {
        str: is_text(array.type),
        bool: pa.types.is_boolean(array.type),
        int: pa.types.is_integer(array.type),
    }
    if not pa.types.is_null(array.type) and kinds and not any(fits[kind] for kind in kinds):
        words = {str: "text", bool: "boolean", int: "integer"}
        at.refuse_type(array, " or ".join(sorted(words[kind] for kind in kinds)))


def _check_utf8(array: pa.Array, at: Place) -> None:
    if not _is_valid(array):
        bad = np.array([not is_utf8(cell) for cell in array.cast(pa.binary()).to_pylist()])
        at.refuse(bad, "the text is not UTF-8", "Convert the source to UTF-8.")


def _is_valid(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def is_utf8(cell: bytes | None) -> bool:
    """Whether bytes are text in UTF-8."""
    try:
        (cell or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_row(bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(bad.reshape(len(bad), -1).any(axis=1), bool)


def _check_finite(
    values: NDArray[Any], finite: NDArray[np.bool_], column: Column, at: Place
) -> None:
    gone = np.isnan(values)
    if gone.any() and not column.nullable:
        at.refuse_missing(_by_row(gone))
    if (endless := ~finite & ~gone).any():
        at.refuse(_by_row(endless), "the number is infinite", "Replace it, or leave the row out.")


def _check_whole(values: NDArray[Any], dtype: np.dtype[Any], column: Column, at: Place) -> None:
    if np.can_cast(values.dtype, dtype):
        return
    limits = np.iinfo(dtype)
    least, most = limits.min, limits.max
    there = np.ones(values.shape, bool)
    if values.dtype.kind == "f":
        there = np.asarray(~np.isnan(values), bool)
        if (broken := there & (values != np.round(values))).any():
            at.refuse(_by_row(broken), "the number is not whole", TYPE_ADVICE)
        least, most = max(least, -_EXACT_FLOAT), min(most, _EXACT_FLOAT)
    outside = np.asarray(there & ((values < least) | (values > most)), bool)
    if outside.any():
        at.refuse(_by_row(outside), f"the number does not fit {dtype.name}", TYPE_ADVICE)


def _normalise(cast: NDArray[Any], values: NDArray[Any], at: Place) -> None:
    finite = np.isfinite(cast)
    if finite.all():
        return
    gone = np.isnan(cast)
    cast[gone] = np.nan
    if (over := ~finite & ~gone).any():
        at.refuse(_by_row(over), f"the number does not fit {cast.dtype.name}", TYPE_ADVICE)
