"""What an audit does not show. Every report says so, on the page and in the terminal."""

from __future__ import annotations

from typing import Final

from expunge.verify.report import RETRAINED, Report

LOWER_BOUND: Final = (
    "An audit is a search for traces. What it finds is there; what it does not find may still be "
    "there for a stronger attack. Its figures are lower bounds on what the model gives away, never "
    "upper ones: those come from a proof, or from building the model again and comparing bytes."
)
NOT_LAW: Final = (
    "It is a measurement. Whether a duty under some law is met is for people to say, and takes "
    "more than a model: the stored rows, their backups, and copies that others hold."
)
UNBOUND: Final = (
    "It was made from numbers alone. That they come from the model that is served, and from the "
    "rows that were forgotten, is the word of whoever supplied them; nobody checked it here."
)
NO_RETRAIN: Final = (
    "No truly retrained model was measured beside this one. Where forgotten and unseen rows differ "
    "for other reasons, even a model that was trained without them may seem to know them, or not."
)
OF_THE_ROWS: Final = (
    "It speaks of the rows that were given, on average over them where nothing else is said. Single "
    "rows may be remembered better than the average."
)


def of(report: Report) -> tuple[str, ...]:
    """The limits of ``report``, the general ones first."""
    found = [LOWER_BOUND, _errors(report), OF_THE_ROWS]
    if report.version is None:
        found.append(UNBOUND)
    if not any(check.counts.get(RETRAINED) for check in report.checks):
        found.append(NO_RETRAIN)
    return (*found, NOT_LAW)


def _errors(report: Report) -> str:
    many = len([check for check in report.checks if check.value is not None])
    return (
        f"Each check errs with a stated chance: where a model lies outside of its margin, it is "
        f"passed at most 5 times in 100; where a model was truly retrained, it is failed at most "
        f"5 times in 100. {many} {'check was' if many == 1 else 'checks were'} computed here"
        f"{', so one of them errs more often than that' if many > 1 else ''}."
    )
