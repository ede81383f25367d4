"""Text that has one spelling only: base64 and decimal numbers, as C2SP's formats write them.

A verifier that accepted two spellings of one proof would let a third party change a file that
is said to be unchangeable; so decoding and encoding again must give the same characters.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import Final

# Sizes are signed 64-bit numbers for golang.org/x/mod, and for our database.
MOST: Final = 2**63 - 1
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)


def encode(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 section 4)."""
    return b64encode(data).decode()


def decode(text: str, size: int | None = None) -> bytes | None:
    """Bytes that :func:`encode` would spell ``text``; None where none do.

    Args:
        text: What to decode.
        size: The length that the bytes must have. Unit: bytes.
    """
    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return data if encode(data) == text and size in (None, len(data)) else None


def number(text: str) -> int | None:
    """A number from 0 to 2^63 - 1 without leading zeros; None for any other text."""
    found = int(text) if _DECIMAL.fullmatch(text) else MOST + 1
    return found if found <= MOST else None


def is_plain(text: str) -> bool:
    """Whether text has neither ASCII control characters nor halves of characters."""
    return all(char >= " " and not "\ud800" <= char <= "\udfff" for char in text)
