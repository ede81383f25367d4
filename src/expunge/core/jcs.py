"""Canonical JSON (RFC 8785) with the standard library alone, read as strictly as it is written.

A verifier that accepted two spellings of one document would let a third party change what is
said to be unchangeable. So :func:`loads` takes only what :func:`dumps` writes, byte for byte:
no blanks, no second spelling of a number or a string, no duplicate keys. Whoever makes
certificates uses the same function, so that both sides agree.

References:
    Rundgren, Jordan and Erdtman, "JSON Canonicalization Scheme (JCS)", RFC 8785, section 3.2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from expunge.core.digest import Json

LIMIT: Final = 16 * 2**20
"""The largest document that is read. Unit: bytes."""

_string = json.encoder.encode_basestring
_CONSTANTS: Final = {True: "true", False: "false", None: "null"}

_SAFE: Final = 2**53 - 1  # RFC 8785 appendix D: larger integers are not the same everywhere


def dumps(value: Json) -> bytes:
    """Encode ``value`` in the one way of RFC 8785.

    Raises:
        ValueError: It holds NaN, an infinity, or an integer beyond ±(2^53 - 1).

    >>> dumps({"b": 1.0, "a": [True, None, "é"]}).decode()
    '{"a":[true,null,"é"],"b":1}'
    """
    return _text(value).encode("utf-8")


def loads(data: bytes, what: str, limit: int = LIMIT) -> Any:  # noqa: ANN401 - any JSON
    """Decode what :func:`dumps` wrote.

    Args:
        data: The document.
        what: Its name, for messages.
        limit: How many bytes it may have.

    Raises:
        ValueError: It is too large, or not in the one canonical form.
    """
    if len(data) > limit:
        raise ValueError(f"{what} has {len(data):,} bytes; expected at most {limit:,}.")
    try:
        value = json.loads(data, parse_constant=_refuse, parse_int=_integer)
        again = dumps(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{what} is not JSON that can be read.") from error
    # Duplicate keys, blanks, escapes and spellings of numbers all end here.
    if again != data:
        at = next((i for i, (a, b) in enumerate(zip(data, again, strict=False)) if a != b), None)
        where = min(len(data), len(again)) if at is None else at
        raise ValueError(f"{what} is not in canonical form (RFC 8785) from byte {where:,} on.")
    return value


def _integer(text: str) -> float:
    """What digits without a point mean: beyond the safe integers, the float that they were."""
    number = int(text)
    return number if abs(number) <= _SAFE else float(number)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _text(value: Json) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool) or value is None:
        return _CONSTANTS[value]
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Mapping):
        # Keys are sorted by UTF-16 code units (RFC 8785 section 3.2.3), not by code points.
        by = None if "".join(value).isascii() else _code_units
        return (
            "{" + ",".join([f"{_string(k)}:{_text(value[k])}" for k in sorted(value, key=by)]) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise ValueError(f"A {type(value).__name__} has no JSON.")


def _code_units(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    """As ECMAScript writes it: RFC 8785 section 3.2.2.3."""
    if isinstance(value, int):
        if abs(value) > _SAFE:
            raise ValueError(f"The integer {value} is beyond ±(2^53 - 1).")
        return str(value)
    if not math.isfinite(value):
        raise ValueError("NaN and infinities have no JSON.")
    if value == 0:
        return "0"  # of minus zero too
    return ("-" if value < 0 else "") + _positive(abs(value))


def _positive(value: float) -> str:
    # Python's repr finds the same shortest digits as ECMAScript; only their layout differs.
    shortest = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, shortest.digits)).rstrip("0")
    assert isinstance(shortest.exponent, int)
    point = len(shortest.digits) + shortest.exponent
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
