"""Notes beside packs: JSON that is there whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from expunge.core.digest import Json, canonical_json
from expunge.storage import disk

_DIGEST_BYTES: Final = 32


def write(place: Path, value: Json) -> None:
    """Write a note, unless it stands there already."""
    body = canonical_json(value)
    whole = blake3(body).digest() + body
    if not place.exists() or place.read_bytes() != whole:
        disk.write_file(place, whole)


def read(place: Path) -> Any:  # noqa: ANN401 - any JSON
    """What a note says; None where there is none, or none that is whole."""
    whole = place.read_bytes() if place.exists() else b""
    body = whole[_DIGEST_BYTES:]
    return json.loads(body) if blake3(body).digest() == whole[:_DIGEST_BYTES] else None
