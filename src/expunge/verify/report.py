"""What an audit says: frozen values, and the rules by which figures become verdicts.

*Passed* is only ever said by equivalence: the whole 90 % interval of a value lies within a margin
that was fixed beforehand (two one-sided tests at 5 %). *Failed* is said where the whole 95 %
interval lies outside of that margin and outside of where truly retrained models lie. All else is
*inconclusive*: a test that finds nothing has not shown that there is nothing.

References:
    Schuirmann, "A comparison of the two one-sided tests procedure and the power approach",
    J. Pharmacokinetics and Biopharmaceutics 15, 1987: the rule of equivalence.
    Hayes et al., "Inexact Unlearning Needs More Careful Evaluations", arXiv:2403.01218: the null
    of an audit is a retrained model, not a model that nobody tried to attack.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from expunge.core.errors import FormatUnsupported, InputError
from expunge.ledger import ladder
from expunge.verify import plain

Verdict: TypeAlias = Literal["passed", "failed", "inconclusive"]
Group: TypeAlias = Literal[
    "membership", "gold-standard", "canaries", "relearn", "retained", "utility"
]
Range: TypeAlias = tuple[float, float]

FORMAT: Final = 1
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
NO_LEVEL: Final = "no level shown"
RETRAINED: Final = "retrained models"
"""The key of their number in a check's counts."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question that an audit asked, and what it found.

    Attributes:
        name: Key of the check: ``lira``, ``confidence-auc``, ``gold-accuracy-test`` ….
        question: What this asks, in plain words.
        value: What was measured; None where it could not be, and then the verdict is
            inconclusive and ``why`` says what is missing.
        interval: Where the true value lies, at :attr:`confidence`.
        null: Where a truly retrained model lies (retrain against retrain).
        ideal: What an ideal result is.
        minimum_effect: The smallest departure from ``ideal`` that this check sees four times of
            five (80 % power). Same unit as the value.
        margin: How far from ``ideal`` was declared beforehand to be near enough. Same unit.
        unit: ``""``, ``AUC``, ``nats``, ``points``, ``s`` ….
        counts: Of rows, models …, by name.
        why: The verdict in one sentence.
        source: Paper and section that the check is from.
        confidence: Of ``interval``, in (0, 1).
        needed: Whether the audit passes only where this check does.

    Raises:
        InputError: A number is not finite, a range is upside down, or a verdict is given
            without a value.
    """

    name: str
    group: Group
    question: str
    value: float | None
    interval: Range | None
    null: Range | None
    ideal: float | None
    minimum_effect: float | None
    margin: float | None
    unit: str
    counts: Mapping[str, int]
    verdict: Verdict
    why: str
    source: str
    confidence: float = 0.95
    needed: bool = True

    def __post_init__(self) -> None:
        where = f"The check {self.name!r}"
        _check_finite(where, self.value, self.ideal, self.minimum_effect, self.margin)
        for pair in (self.interval, self.null):
            _check_finite(where, *(pair or ()))
            if pair is not None and pair[0] > pair[1]:
                raise InputError(f"{where} has the range {pair}. Expected the lower end first.")
        if not 0 < self.confidence < 1:
            raise InputError(f"{where} has the confidence {self.confidence}. Expected (0, 1).")
        if self.value is None and self.verdict != "inconclusive":
            raise InputError(
                f"{where} is said to have {self.verdict}, and has no value. What could not be "
                f"computed is inconclusive."
            )


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one set of bars, of a curve.

    Attributes:
        x: (n,). Of a histogram: the edges of its bins, so that ``y`` is one shorter.
        y: (n,).
        role: Whose figures they are: the audited model's, those of retrained models, or a line
            to compare with, such as chance.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    role: Literal["served", "null", "reference"]

    def __post_init__(self) -> None:
        _check_finite(f"The series {self.name!r}", *self.x, *self.y)
        if len(self.x) - len(self.y) not in (0, 1):
            raise InputError(
                f"The series {self.name!r} has {len(self.x):,} x and {len(self.y):,} y. Expected "
                f"as many of both, or one x more: the edges of bins."
            )


@dataclass(frozen=True, slots=True)
class Curve:
    """One plot. A ``roc`` is drawn on logarithmic scales."""

    kind: Literal["roc", "histogram", "epsilon", "tradeoff"]
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit of one model says.

    Attributes:
        subject: Name of the model or file. No identities.
        version: Digest of the audited version, where it is known.
        guarantee: What the model's method promises, where it is known.
        made: When, RFC 3339 in UTC.
        level: Of evidence, as :func:`level_of` finds it; 0 where none is shown.
        settings: All that was fixed before anything was measured: counts, seeds, margins.
        seconds: What the audit took. Unit: s.
    """

    format: int
    subject: str
    version: str | None
    guarantee: str | None
    made: str
    level: int
    level_name: str
    checks: tuple[Check, ...]
    curves: tuple[Curve, ...]
    settings: Mapping[str, Any]
    seconds: float

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise FormatUnsupported("The report", self.format, FORMAT)
        if (self.level, self.level_name) != level_of(self.checks):
            raise InputError(
                f"The report claims level {self.level}, {self.level_name!r}; its checks show "
                f"{level_of(self.checks)}. The level follows from the checks alone."
            )

    @property
    def verdict(self) -> Verdict:
        """The answer of all checks together."""
        return together(self.checks)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, with the verdict."""
        return {"verdict": self.verdict, **plain.encode(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Report:
        """Read what :meth:`to_json` wrote.

        Raises:
            InputError: A field is missing, unknown or of another type, or the verdict or level is
                not what the checks show.
            FormatUnsupported: Another version of Expunge wrote it.
        """
        fields = dict(value)
        stated = fields.pop("verdict", None)
        if fields.get("format") != FORMAT:
            raise FormatUnsupported("The report", fields.get("format"), FORMAT)
        report = plain.decode(cls, fields, "The report")
        if stated != report.verdict:
            raise InputError(
                f"The report says {stated!r}; its checks show {report.verdict!r}. Somebody "
                f"changed it: make the audit again."
            )
        return report


def judge(
    interval_90: Range, interval_95: Range, ideal: float, margin: float, null: Range | None = None
) -> Verdict:
    """The verdict on a value of which two intervals are known.

    Args:
        interval_90: Wholly within ``ideal ± margin``: passed (TOST at 5 %).
        interval_95: Wholly outside of that and of ``null``, on one side: failed.
        ideal: What a model that never saw the rows would have.
        margin: Fixed beforehand, positive.
        null: Where truly retrained models lie, if it was measured. It only ever keeps a check
            from failing: a wide null makes no check pass.
    """
    low, high = ideal - margin, ideal + margin
    if low <= interval_90[0] and interval_90[1] <= high:
        return "passed"
    least, most = (low, high) if null is None else (min(low, null[0]), max(high, null[1]))
    return "failed" if interval_95[1] < least or interval_95[0] > most else "inconclusive"


def judge_upper(
    interval_90: Range, interval_95: Range, ideal: float, margin: float, null: Range | None = None
) -> Verdict:
    """As :func:`judge`, for values of which only more than ``ideal`` is worse."""
    high = ideal + margin
    if interval_90[1] <= high:
        return "passed"
    return "failed" if interval_95[0] > max(high, null[1] if null else high) else "inconclusive"


def together(checks: Iterable[Check]) -> Verdict:
    """Failed if any check failed; passed if all that are needed did, and there is one."""
    found = tuple(checks)
    if any(check.verdict == "failed" for check in found):
        return "failed"
    needed = [check.verdict for check in found if check.needed]
    return "passed" if needed and set(needed) == {"passed"} else "inconclusive"


def level_of(checks: Iterable[Check]) -> tuple[int, str]:
    """The level of evidence that checks show, and its name; 0 where they show none.

    Level 5 takes all needed checks of membership, level 6 all needed ones against retrained
    models; a check that failed, of whatever group, leaves no level.
    """
    found = tuple(checks)
    if together(found) == "failed":
        return 0, NO_LEVEL
    shown = [
        level
        for group, level in ladder.AUDITS.items()
        if together(check for check in found if check.group == group) == "passed"
    ]
    level = max(shown, default=0)
    return level, ladder.LEVELS[level - 1] if level else NO_LEVEL


def _check_finite(where: str, *numbers: float | None) -> None:
    if any(number is not None and not math.isfinite(number) for number in numbers):
        raise InputError(
            f"{where} has a number that is not finite. Leave out what could not be computed."
        )
