"""The ladder of evidence: eight levels, and one function that says which of them hold.

Whoever issues a certificate and whoever checks it call :func:`judge` alike, each with what it
knows itself. So a certificate cannot claim a level that its own contents do not carry, and a
verifier never has to believe it (``docs/evidence.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from expunge.core.types import Guarantee

LEVELS: Final = (
    "asserted",
    "logged",
    "witnessed",
    "absent",
    "attacked in vain",
    "equivalent",
    "replayed by the owner",
    "replayed by the verifier",
)
"""Names of the levels 1 to 8."""

MEANINGS: Final = (
    "The owner of the models signs what was done.",
    "Every step stands in a log whose head is signed, so that none can be changed, or dated "
    "back, later.",
    "Others sign the head of the log too, so that nobody can be shown another history.",
    "Merkle proofs, which are chains of digests, show that the names of the served models leave "
    "the forgotten rows out.",
    "An attack tries to tell whether the models learnt from the rows, and finds nothing beyond a "
    "stated threshold.",
    "The served models behave like models that never saw the rows, within a stated margin.",
    "The owner builds the served models again from the remaining rows, and gets the same bytes.",
    "Whoever checks this certificate builds the served models again from the remaining rows, and "
    "gets the same bytes.",
)
"""What each level takes, in words for people."""

AUDITS: Final[Mapping[str, int]] = MappingProxyType(
    {"membership": 5, "gold-standard": 6, "replay": 7}
)
"""Which level an audit's method shows, where it passes for every model."""

METHODS: Final[Mapping[str, Guarantee]] = MappingProxyType(
    {
        "rebuild": Guarantee.EXACT,
        "sisa": Guarantee.EXACT,
        "retrain": Guarantee.EXACT,
        "certified": Guarantee.CERTIFIED,
        "influence": Guarantee.EMPIRICAL,
    }
)
"""The strongest word that each method may use. Others may only say what audits measured."""

PASSED: Final = "passed"


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody knows about a certificate, each for themselves.

    Attributes:
        signed: Whether it is signed.
        logged: Whether all of its story stands in a log with a signed head.
        witnesses: How many others cosigned that head.
        rows: How many proofs of absence there should be: forgotten rows times models.
        shown: How many there are.
        models: How many models it is about.
        audits: For each level from 5 to 7, of how many models the served version passed.
        replayed: Whether the verifier built the same bytes.
    """

    signed: bool
    logged: bool
    witnesses: int
    rows: int
    shown: int
    models: int
    audits: Mapping[int, int]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the ladder.

    Attributes:
        level: From 1 to 8.
        why: Why it holds, or why not.
    """

    level: int
    name: str
    holds: bool
    why: str


def judge(known: Known) -> tuple[Level, ...]:
    """Which of the eight levels hold, and why or why not."""
    answers = (
        (known.signed, "Signed." if known.signed else "Not signed."),
        (known.logged, "In the log." if known.logged else "Not shown to be in a log."),
        (known.witnesses > 0, _witnessed(known.witnesses)),
        (0 < known.rows == known.shown, _absent(known)),
        *(_audited(known, level) for level in (5, 6, 7)),
        (known.replayed, _replayed(known.replayed)),
    )
    return tuple(
        Level(number, name, holds, why)
        for number, (name, (holds, why)) in enumerate(zip(LEVELS, answers, strict=True), 1)
    )


def height(levels: tuple[Level, ...]) -> int:
    """The highest level that holds; 0 where none does."""
    return max((level.level for level in levels if level.holds), default=0)


def strongest(method: str) -> Guarantee:
    """The strongest guarantee that a method may claim."""
    return METHODS.get(method, Guarantee.EMPIRICAL)


def _witnessed(witnesses: int) -> str:
    if witnesses == 0:
        return "No witness signed the head of the log."
    return f"Signed by {witnesses} {'witness' if witnesses == 1 else 'witnesses'}."


def _absent(known: Known) -> str:
    if known.rows == 0:
        return "No row of a model had to be forgotten by this request."
    return f"Proofs: {known.shown:,} of {known.rows:,}, one for each forgotten row in each model."


def _audited(known: Known, level: int) -> tuple[bool, str]:
    passed = known.audits.get(level, 0)
    if known.models == 0:
        return False, "No model learns from this dataset."
    why = f"Such an audit of the served version passed for {passed} of {known.models} models."
    return passed == known.models, why if passed else "No such audit of the served version passed."


def _replayed(replayed: bool) -> str:
    return "The same bytes." if replayed else "Only whoever checks it can do this."
