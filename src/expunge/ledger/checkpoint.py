"""Checkpoints: what a log says of itself, as the text of a signed note.

References:
    c2sp.org/tlog-checkpoint, section "Note text".
"""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core import merkle
from expunge.core.errors import NoteInvalid
from expunge.ledger import strict


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the text of a log's note says.

    Attributes:
        origin: Name of the log.
        size: Entries in the log, below 2^63.
        root: Root of the tree over them; 32 bytes.
        extensions: Further lines, which nobody audits; our logs have none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text to sign."""
        lines = (self.origin, str(self.size), strict.encode(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note.

        Raises:
            NoteInvalid: It is no checkpoint, or not spelt as :attr:`text` spells it.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise _no_checkpoint("at least three lines, none of them empty")
        origin, size, root = lines[0], strict.number(lines[1]), strict.decode(lines[2], merkle.SIZE)
        if size is None:
            raise _no_checkpoint("a size in decimal digits without leading zeros, below 2^63")
        if root is None:
            raise _no_checkpoint("base64 of a root of 32 bytes")
        return cls(origin, size, root, tuple(lines[3:-1]))


def _no_checkpoint(expected: str) -> NoteInvalid:
    return NoteInvalid(f"A note is no checkpoint of a log. Expected {expected}. Fetch it again.")
