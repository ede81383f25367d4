"""Read arrays of scores of models that Expunge never saw: NPZ, JSON or CSV, strictly.

A score is one number that a model gave for one row; the higher, the more like a row that it has
learnt. Nothing in a file is executed or unpickled; what is not known is refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import InputError

Numbers: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["score", "margin", "phi", "confidence", "loss"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
COUNTS: Final = ("backdoor_hits", "backdoor_never", "relearn_served", "relearn_retrained")
"""Arrays of whole numbers, whatever the kind: hits (1) and misses (0); steps, −1 for never."""
VECTORS: Final = ("forgotten", "unseen", "retained", "canaries", "references", *COUNTS)
"""Arrays of one axis: (rows,), (queries,) or (runs,)."""
POPULATIONS: Final = (
    *("retrained_forgotten", "retrained_unseen", "shadow_in", "shadow_out"),
    *("forgotten_models", "never_models"),
)
"""Arrays of several models: (models, rows)."""
FILE_BYTES: Final = 256 * 2**20
NUMBERS: Final = 2**25
"""The most numbers that all arrays of a file may hold together."""
LARGEST: Final = 1e30
"""Of numbers: their squares, and sums of these, stay far from overflow."""

_TOGETHER: Final = (
    ("retrained_forgotten", "forgotten", 1),
    ("retrained_unseen", "unseen", 1),
    ("never_models", "forgotten_models", 1),
    ("shadow_out", "shadow_in", 1),
    ("retrained_unseen", "retrained_forgotten", 0),
)
"""Arrays that are about the same rows (axis 1), or the same models (axis 0)."""
_TINY: Final = 1e-45
_WHOLE: Final = re.compile("[0-9]{1,9}", re.ASCII)
_HEADERS: Final = (["array", "score"], ["array", "model", "score"])


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Named arrays of scores, higher for rows that look more like learnt ones.

    Attributes:
        arrays: By the names in :data:`VECTORS` and :data:`POPULATIONS`; float64, finite.
        kind: What the numbers were before they became scores.
        sha256: Of the file, hexadecimal.
    """

    arrays: Mapping[str, Numbers]
    kind: Kind
    sha256: str

    def get(self, name: str) -> Numbers | None:
        """An array, or None where the file has none of this name."""
        return self.arrays.get(name)


def read(path: Path, kind: Kind = "score") -> Scores:
    """Read a file of scores; its ending says the format: ``.npz``, ``.json`` or ``.csv``.

    Args:
        path: At most 256 MiB, and 2^25 numbers.
        kind: ``score``, ``margin`` and ``phi`` are taken as they are; ``loss`` is turned round;
            ``confidence``, in [0, 1], becomes log p − log(1 − p), which is nearer to normal.

    Raises:
        InputError: Another format, unknown names, other shapes, no numbers, or numbers that are
            not finite; says which.
    """
    readers = {".npz": _from_npz, ".json": _from_json, ".csv": _from_csv}
    if path.suffix.lower() not in readers:
        raise InputError(
            f"Scores in a file {path.suffix or 'without an ending'!r}. Expected one of "
            f"{', '.join(readers)}: the ending says the format."
        )
    with path.open("rb") as file:
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise InputError(f"The file is larger than {FILE_BYTES >> 20} MiB. Give fewer rows.")
    found = readers[path.suffix.lower()](data)
    return of(found, kind, sha256(data).hexdigest())


def of(arrays: Mapping[str, Any], kind: Kind = "score", digest: str = "") -> Scores:
    """Check arrays that are in memory; as :func:`read`."""
    if kind not in KINDS:
        raise InputError(f"The kind {kind!r} is not known. Expected one of {', '.join(KINDS)}.")
    known = (*VECTORS, *POPULATIONS)
    if strangers := sorted(set(arrays) - set(known)):
        raise InputError(
            f"There is no array {strangers[0]!r} in an audit. Expected any of {', '.join(known)}."
        )
    checked = {name: _checked(name, arrays[name], kind) for name in known if name in arrays}
    if sum(array.size for array in checked.values()) > NUMBERS:
        raise InputError(f"More than {NUMBERS:,} numbers. Give fewer rows or models.")
    _check_together(checked)
    return Scores(checked, kind, digest)


def _checked(name: str, values: Any, kind: Kind) -> Numbers:  # noqa: ANN401 - any array
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    axes = 1 if name in VECTORS else 2
    if array.dtype.kind not in "iuf" or array.ndim != axes or array.size == 0:
        shape = "(rows,)" if axes == 1 else "(models, rows)"
        raise InputError(
            f"`{name}` has shape {array.shape} and type {array.dtype}. Expected numbers, {shape}, "
            f"with at least one row, and as many rows for each model."
        )
    numbers = array.astype(np.float64)
    if not (np.abs(numbers) <= LARGEST).all():  # nor is NaN
        raise InputError(
            f"`{name}` holds a number that is not finite, or beyond ±{LARGEST:g}. Look for a model "
            f"that diverged, or a logarithm of zero."
        )
    return _turned(name, numbers, kind)


def _turned(name: str, numbers: Numbers, kind: Kind) -> Numbers:
    if name in COUNTS:
        return numbers
    if kind == "loss":
        if numbers.min() < 0:
            raise InputError(f"`{name}` holds a negative loss. Expected 0 or more: --kind margin?")
        return -numbers
    if kind == "confidence":
        if numbers.min() < 0 or numbers.max() > 1:
            raise InputError(f"`{name}` holds a confidence outside of [0, 1]. --kind margin?")
        logs: Numbers = np.log(np.maximum(numbers, _TINY)) - np.log(np.maximum(1 - numbers, _TINY))
        return logs
    return numbers


def _check_together(arrays: Mapping[str, Numbers]) -> None:
    for first, second, axis in _TOGETHER:
        if first not in arrays or second not in arrays:
            continue
        a = arrays[first].shape[axis]
        b = arrays[second].shape[-1 if axis else 0]
        if a != b:
            what = "rows" if axis else "models"
            raise InputError(
                f"`{first}` is about {a:,} {what}, `{second}` about {b:,}. Expected the same "
                f"{what}, in the same order."
            )
    _check_shadows(arrays)


def _check_shadows(arrays: Mapping[str, Numbers]) -> None:
    if not {"shadow_in", "forgotten", "unseen"} <= arrays.keys():
        return
    rows = len(arrays["forgotten"]) + len(arrays["unseen"])
    if arrays["shadow_in"].shape[1] != rows:
        raise InputError(
            f"`shadow_in` is about {arrays['shadow_in'].shape[1]:,} rows. Expected {rows:,}: the "
            f"forgotten rows, then the unseen ones."
        )


def _from_npz(data: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # What it will take in memory, before any of it is unpacked.
            if sum(member.file_size for member in archive.infolist()) > 8 * NUMBERS + FILE_BYTES:
                raise InputError(f"More than {NUMBERS:,} numbers. Give fewer rows or models.")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "The file is no NPZ of plain numbers. Expected what numpy.savez writes; objects are "
            "not read."
        ) from error


def _from_json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data, object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("The file is no JSON. Expected one object of named lists.") from error
    if not isinstance(found, dict):
        raise InputError("The file holds no JSON object. Expected one of named lists.")
    return found


def _without_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError("The file has one name twice. Expected each array once.")
    return found


def _no_constant(name: str) -> float:
    raise InputError(f"The file holds {name}, which is no number. Leave such rows out.")


def _from_csv(data: bytes) -> dict[str, Any]:
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        if header not in _HEADERS:
            raise InputError(
                "The file's first line is another. Expected `array,score` or `array,model,score`."
            )
        return _grouped(lines, header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("The file is no CSV in UTF-8.") from error


def _grouped(lines: Any, header: list[str]) -> dict[str, Any]:  # noqa: ANN401 - a csv reader
    rows: dict[str, list[float]] = {}
    models: dict[str, dict[int, list[float]]] = {}
    for number, line in enumerate(lines, 2):
        name, model, score = _cells(line, header, number)
        if model is None:
            rows.setdefault(name, []).append(score)
        else:
            models.setdefault(name, {}).setdefault(model, []).append(score)
    if both := rows.keys() & models.keys():
        raise InputError(
            f"Some lines of {min(both)!r} name a model, others do not. Expected one or the other."
        )
    return rows | {name: [found[one] for one in sorted(found)] for name, found in models.items()}


def _cells(line: list[str], header: list[str], number: int) -> tuple[str, int | None, float]:
    cells = dict(zip(header, line, strict=False))
    model, score = cells.get("model", ""), _number(cells.get("score", ""))
    if len(line) != len(header) or score is None or (model and not _WHOLE.fullmatch(model)):
        raise InputError(
            f"Line {number:,} of the file is not like its first. Expected {','.join(header)}, with "
            f"a finite number last and whole numbers for models."
        )
    return cells["array"], int(model) if model else None, score


def _number(text: str) -> float | None:
    """A finite number; None for all else, and for Python's own spellings such as 1_000."""
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
