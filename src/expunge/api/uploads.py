"""Ids in a file, read as it comes: a line holds one id."""

from __future__ import annotations

import csv
from codecs import getincrementaldecoder
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from starlette.requests import Request

from expunge.api import bodies
from expunge.api.desk import desk
from expunge.api.problems import Fault, Problem
from expunge.api.schemas import LONGEST_ID

HEADERS: Final = {
    "sample_id": "sample",
    "id": "sample",
    "subject": "subject",
    "subject_id": "subject",
}
_LONGEST_LINE: Final = 2 * LONGEST_ID + 3  # all of it quotes, in quotes, with a carriage return
_ONE_EACH: Final = f"Each line holds one id of at most {LONGEST_ID} characters."
_DECODER: Final = getincrementaldecoder("utf-8-sig")


@dataclass(frozen=True, slots=True)
class Upload:
    """Ids of a file.

    Attributes:
        column: ``sample`` or ``subject``.
        digest: SHA-256 of the file.
    """

    column: str
    digest: bytes
    ids: Sequence[str] = field(repr=False)


class Reader:
    """Takes a file in parts; its lines become ids.

    Args:
        most: Ids, at most.
        header: ``present``, ``absent``, or nothing where the first line tells.
    """

    def __init__(self, most: int, header: str = "", column: str = "sample") -> None:
        self._most, self._header, self.column = most, header, column
        self._decoder, self._rest = _DECODER(), ""
        self._lines = 0
        self.ids: list[str] = []

    def take(self, part: bytes, *, is_last: bool = False) -> None:
        """Read a part.

        Raises:
            Problem: It is no UTF-8, or a line of it is no id, or there are too many.
        """
        try:
            text = self._rest + self._decoder.decode(part, is_last)
        except UnicodeDecodeError:
            raise Problem("body-malformed", "The file is not UTF-8.") from None
        whole, _, self._rest = ("", "", text) if "\n" not in text else text.rpartition("\n")
        if is_last:
            whole, self._rest = text, ""
        if len(self._rest) > _LONGEST_LINE:
            raise self._wrong(_ONE_EACH)
        if whole:
            self._take_lines(whole.replace("\r\n", "\n"))

    def _take_lines(self, text: str) -> None:
        lines = text.removesuffix("\r").split("\n")
        if any(special in text for special in '",\r'):
            lines = [self._cell(line, number) for number, line in enumerate(lines, self._lines + 1)]
        found = self._below_header(lines) if self._lines == 0 else lines
        found = [line for line in found if line]
        if found and len(max(found, key=len)) > LONGEST_ID:
            raise self._wrong(_ONE_EACH)
        self._lines += len(lines)
        self.ids += found
        if len(self.ids) > self._most:
            raise Problem("body-too-large", f"At most {self._most:,} ids are taken.")

    def _cell(self, line: str, number: int) -> str:
        if not line:
            return line
        try:
            cells = next(csv.reader([line], strict=True))
        except (csv.Error, StopIteration):
            cells = []
        if len(cells) != 1:
            raise self._wrong("A line holds one id, and quotes are closed and doubled.", number)
        return cells[0]

    def _below_header(self, lines: list[str]) -> list[str]:
        is_header = lines[0].strip().lower() in HEADERS
        if self._header == "present" and not is_header:
            raise self._wrong("The header is sample_id or subject, and the only column.", 1)
        if not is_header or self._header == "absent":
            return lines
        self.column = HEADERS[lines[0].strip().lower()]
        return lines[1:]

    def _wrong(self, message: str, line: int = 0) -> Problem:
        at = line or self._lines + 1
        return Problem(
            "request-invalid", "The file is invalid.", faults=[Fault(f"line {at}", message)]
        )


async def read(request: Request, column: str) -> Upload:
    """The ids in the body of a request.

    Raises:
        Problem: It is no CSV, too long, too slow, malformed, or holds no id.
    """
    header = bodies.header_of(bodies.check_type(request, "text/csv"))
    settings, digest = desk(request).settings, sha256()
    reader = Reader(settings.bulk_ids, header, column)
    async for part in bodies.parts(request, settings, settings.bulk_bytes):
        digest.update(part)
        reader.take(part)
    reader.take(b"", is_last=True)
    if not reader.ids:
        raise Problem("nothing-to-forget", "The file holds no id.")
    return Upload(reader.column, digest.digest(), reader.ids)
