"""Digests with a purpose: SHA-256 over a domain and length-prefixed parts.

Every name in Expunge is ``H(thing, parts)`` = SHA-256 over ``expunge/<thing>/v1`` and the
parts, each behind its length (8 bytes, little-endian), the domain too. So no two lists of
parts, and no two things, can be mistaken for one another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

SIZE = 32


def digest(thing: str, *parts: bytes) -> bytes:
    """Digest ``parts`` as a ``thing``; 32 bytes.

    >>> digest("slice", b"ab", b"c") == digest("slice", b"a", b"bc")
    False
    """
    whole = sha256()
    for part in (f"expunge/{thing}/v1".encode(), *parts):
        whole.update(len(part).to_bytes(8, "little"))
        whole.update(part)
    return whole.digest()


def canonical_json(value: Json) -> bytes:
    """Encode as JSON in one way only: keys sorted, no blanks, ASCII, no NaN.

    Raises:
        ValueError: A number is NaN or infinite.

    >>> canonical_json({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
