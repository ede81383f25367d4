"""What checking a certificate has found, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from expunge.ledger import codec, ladder
from expunge.ledger.ladder import Level

OPTIONAL: Final = frozenset({"witnesses", "absence"})
"""Checks that may be skipped: the level of evidence says what is missing then."""


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check, in plain words.

    Attributes:
        what: What was found, or what is wrong and where.
    """

    name: str
    verdict: Verdict
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """What checking a certificate has found.

    Attributes:
        level: The highest level of evidence that the checks bear out; 0 where it is not verified.
        levels: All eight, as the checks bear them out; none where it could not be read.
        request: Id of the request, once the signature was right.
        statement: The signed statement as JSON, once the signature was right.
    """

    checks: tuple[Check, ...]
    level: int = 0
    levels: tuple[Level, ...] = ()
    request: str | None = None
    statement: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and everything that is needed was looked at."""
        skipped = {check.name for check in self.checks if check.verdict is Verdict.SKIPPED}
        return not self.failed and skipped <= OPTIONAL

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict is Verdict.FAILED)

    @property
    def text(self) -> str:
        """All of it, for people: a line for each check, then the answer."""
        width = max(len(check.name) for check in self.checks)
        lines = [f"{c.verdict.value:8} {c.name:{width}}  {c.what}" for c in self.checks]
        if not self.ok:
            return "\n".join([*lines, "", "NOT VERIFIED."])
        name = ladder.LEVELS[self.level - 1]
        answer = f"VERIFIED: request {self.request}. Evidence: level {self.level} of 8, {name}."
        marks = [
            f"  {'yes' if one.holds else 'no':3} {one.level} {one.name}: {one.why}"
            for one in self.levels
        ]
        return "\n".join([*lines, "", answer, *marks])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"ok": self.ok, **codec.encode(self)}
