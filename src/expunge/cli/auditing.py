"""The command that audits: does a model still know what it was to forget?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from expunge.cli.common import DEFAULT_HOME, AsJson, Files, Place, Workers, finish, opened, whole
from expunge.cli.endings import Exit
from expunge.core.errors import InputError
from expunge.storage import disk

if TYPE_CHECKING:
    import pyarrow as pa

    from expunge.home import Home, Model
    from expunge.verify.report import Report, Verdict

ENDINGS: Final[dict[Verdict, Exit]] = {
    "passed": Exit.DONE,
    "failed": Exit.NO,
    "inconclusive": Exit.UNCLEAR,
}
"""How each verdict ends the command."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Files of rows to ask a model about.

    Attributes:
        forgot: Forgotten ones; None: those that the home holds still.
        unseen: Rows that no model saw.
        unseen_dataset: Dataset of such rows.
    """

    forgot: Path | None
    unseen: Path | None
    unseen_dataset: str | None


@dataclass(frozen=True, slots=True)
class Fixed:
    """What is fixed before anything is measured."""

    margin: float
    fpr: float
    shadows: int
    retrains: int
    seed: int


def audit(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Name of the model."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="Arrays of scores of any model: .npz, .json or .csv.",
            dir_okay=False,
        ),
    ] = None,
    forgot: Annotated[
        Path | None,
        typer.Option(
            "--forgot",
            metavar="FILE",
            help="Rows that were forgotten: CSV, Parquet or Arrow. By default, those held still.",
            dir_okay=False,
        ),
    ] = None,
    unseen: Annotated[
        Path | None,
        typer.Option(
            "--unseen", metavar="FILE", help="Rows that no model saw, likewise.", dir_okay=False
        ),
    ] = None,
    unseen_dataset: Annotated[
        str | None,
        typer.Option("--unseen-dataset", metavar="NAME", help="A dataset of such rows, instead."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="What --scores are: score, margin, phi, confidence or loss.",
        ),
    ] = "score",
    margin: Annotated[
        float,
        typer.Option("--margin", help="How far from the ideal is near enough; fixed beforehand."),
    ] = 0.05,
    fpr: Annotated[
        float, typer.Option("--fpr", help="Of --scores: rate of false alarms of the TPR.")
    ] = 0.01,
    shadows: Annotated[
        int, typer.Option("--shadows", help="Models of half of the rows to train; even.")
    ] = 16,
    retrains: Annotated[
        int, typer.Option("--retrains", help="Models of all remaining rows to train.")
    ] = 8,
    seed: Annotated[int, typer.Option("--seed", help="Of halves, trainings and draws.")] = 0,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the report as one page for people."),
    ] = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Try to find out whether a model still knows rows that it was to forget.

    A model of a home is attacked, and compared with models that are trained for that, as long as
    16 of its trainings take; what was found stands in the ledger. With --scores, from arrays of
    scores of models that Expunge never saw. Each check passes only where the model is shown to lie
    within the margin of one that never saw the rows. An audit that finds nothing is no proof.
    Exit code 0: passed. Exit code 1: failed. Exit code 5: inconclusive, and the answer says what it
    would take.
    """
    fixed = Fixed(margin, fpr, shadows, retrains, seed)
    if scores is not None:
        report = _of_scores(scores, model or scores.name, kind, fixed)
    elif model is not None:
        with opened(home, files, workers=workers) as there:
            report = _of_model(there, model, Rows(forgot, unseen, unseen_dataset), fixed)
    else:
        raise typer.BadParameter(
            "Say which MODEL to audit, or --scores FILE.", param_hint="'[MODEL]'"
        )
    _told(report, html, as_json)
    if ending := ENDINGS[report.verdict]:
        raise typer.Exit(int(ending))


def _of_model(home: Home, name: str, rows: Rows, fixed: Fixed) -> Report:
    from expunge.verify.settings import Settings

    model = home.model(name)
    return home.audit(
        name,
        forgot=_table(model, rows.forgot),
        unseen=_table(model, rows.unseen),
        unseen_dataset=rows.unseen_dataset,
        settings=Settings(
            shadows=fixed.shadows, retrains=fixed.retrains, margin=fixed.margin, seed=fixed.seed
        ),
    )


def _table(model: Model, file: Path | None) -> pa.Table | None:
    """Rows of a file, with the columns that the model learns from; None without a file."""
    if file is None:
        return None
    import pyarrow as pa

    from expunge.core.types import Schema
    from expunge.data.options import Ingest
    from expunge.data.sources import open_source

    columns = (*model.task.features, *model.task.targets)
    stream = open_source(file, Ingest(schema=Schema(columns)).csv_types())
    return pa.Table.from_batches(list(stream.blocks))


def _of_scores(file: Path, subject: str, kind: str, fixed: Fixed) -> Report:
    from expunge.verify import score_audit
    from expunge.verify import scores as readings
    from expunge.verify.score_plan import Plan

    plan = Plan(margin=fixed.margin, fpr=fixed.fpr, seed=fixed.seed)
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
