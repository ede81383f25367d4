"""A home's identity: its database and its folder of files know that they belong together.

Otherwise a second database over the same folder would take everybody's rows for leftovers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from expunge.core.errors import HomeMismatch
from expunge.storage import disk

_FILE: Final = "home-id"


def check(folder: Path, home: str) -> None:
    """Note in a new ``folder`` that it belongs to ``home``, or see that it does.

    Raises:
        HomeMismatch: It belongs to another database, or has rows and no identity.
    """
    path = folder / _FILE
    if path.exists():
        if path.read_text() != home:
            raise HomeMismatch
        return
    data = folder / "data"
    if data.exists() and any(entry.is_dir() for entry in data.iterdir()):
        raise HomeMismatch
    disk.write_file(path, home.encode())
