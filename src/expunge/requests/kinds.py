"""What a request asks for."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a request asks for.

    ERASE, CORRECT and EXPIRE destroy rows, unless they are narrowed to some models: others still
    learn from the rows then. OBJECT and RESTRICT keep them; a restriction lasts until it is
    lifted.
    """

    ERASE = "erase"
    OBJECT = "object"
    RESTRICT = "restrict"
    CORRECT = "correct"
    EXPIRE = "expire"
