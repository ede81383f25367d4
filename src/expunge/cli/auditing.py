"""The command that audits: does a model still know what it was to forget?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from expunge.cli.common import AsJson, finish, whole
from expunge.cli.endings import Exit
from expunge.storage import disk

if TYPE_CHECKING:
    from expunge.verify.report import Report, Verdict

ENDINGS: Final[dict[Verdict, Exit]] = {
    "passed": Exit.DONE,
    "failed": Exit.NO,
    "inconclusive": Exit.UNCLEAR,
}
"""How each verdict ends the command."""


def audit(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Name of the model that the scores are of."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="Arrays of scores: .npz, .json or .csv.",
            dir_okay=False,
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="What the scores are: score, margin, phi, confidence or loss.",
        ),
    ] = "score",
    margin: Annotated[
        float,
        typer.Option("--margin", help="How far from the ideal is near enough; fixed beforehand."),
    ] = 0.05,
    fpr: Annotated[
        float, typer.Option("--fpr", help="Rate of false alarms at which rows are counted.")
    ] = 0.01,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the report as one page for people."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try to find out whether a model still knows rows that it was to forget.

    With --scores, from arrays of scores of models that Expunge never saw: of the forgotten rows and
    of rows that no model saw, at least. Each check passes only where the model is shown to lie
    within the margin of one that never saw the rows. An audit that finds nothing is no proof.
    Exit code 0: passed. Exit code 1: failed. Exit code 5: inconclusive, and the answer says what it
    would take.
    """
    if scores is None:
        raise typer.BadParameter(
            "Say --scores FILE: an audit needs the scores of a model.", param_hint="'--scores'"
        )
    report = _of_scores(scores, model or scores.name, kind, margin, fpr)
    _told(report, html, as_json)
    if ending := ENDINGS[report.verdict]:
        raise typer.Exit(int(ending))


def _of_scores(file: Path, subject: str, kind: str, margin: float, fpr: float) -> Report:
    from expunge.core.errors import InputError
    from expunge.verify import score_audit
    from expunge.verify import scores as readings
    from expunge.verify.score_plan import Plan

    plan = Plan(margin=margin, fpr=fpr)
    for known in readings.KINDS:
        if kind == known:
            return score_audit.audit(readings.read(file, known), subject, plan)
    raise InputError(f"The kind {kind!r} is not known. Expected {', '.join(readings.KINDS)}.")


def _told(report: Report, html: Path | None, as_json: bool) -> None:
    from expunge.verify import page, terminal

    body = report.to_json()
    shown = [terminal.Shown(report)]
    if html is None:
        finish(as_json, body, *shown)
        return
    disk.write_file(html, page.render(report).encode())
    finish(as_json, {**body, "html": str(html)}, *shown, whole(f"\nPage: {html}"))
