"""Commands on samples: take rows in, correct them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from expunge.cli import recovery
from expunge.cli.common import (
    DEFAULT_HOME,
    AsJson,
    Files,
    OfDataset,
    Place,
    Workers,
    count,
    finish,
    only_dataset,
    opened,
    seconds,
    timed,
)
from expunge.cli.endings import keeps
from expunge.core.errors import InputError
from expunge.core.types import Column, Kind, Role, Schema

if TYPE_CHECKING:
    from expunge.home import People

_SHOWN_COLUMNS = 12


def ingest(
    name: Annotated[str, typer.Argument(help="Name of the dataset; made, or appended to.")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help=".csv, .csv.gz, .tsv, .parquet, .arrow or .feather."),
    ],
    id: Annotated[  # noqa: A002 - the word for it
        str | None,
        typer.Option("--id", metavar="COL", help="Column of sample ids; else rows are numbered."),
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option("--subject", metavar="COL", help="Column that says whom a row is about."),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option("--tier", metavar="COL", help="Column of the deletion tier; high ones last."),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", metavar="COL", help="Target or weight only, never a feature."),
    ] = None,
    categorical: Annotated[
        list[str] | None,
        typer.Option("--categorical", metavar="COL", help="Numbers that are categories."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="COL", help="Free text.")
    ] = None,
    nullable: Annotated[
        list[str] | None,
        typer.Option("--nullable", metavar="COL", help="Cells of it may be missing."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema", metavar="FILE", help="Declared columns: JSON as `--json` prints them."
        ),
    ] = None,
    slices: Annotated[
        int, typer.Option("--slices", min=1, help="Slices per shard of an appended batch.")
    ] = 1,
    readmit: Annotated[
        bool, typer.Option("--readmit", help="Let ids come back that were forgotten.")
    ] = False,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Take rows into a dataset, a new one or one that is there.

    Name the column that says whom a row is about with --subject: a person's rows then lie
    together, and forgetting that person is one short rebuild. Columns' types, categories and
    ranges are proposed from the first ingest and never inferred again; rare values are hidden.
    Columns given as --subject, --value and so on may be several: repeat the option. Appended
    rows become new last slices, so that training them leaves earlier checkpoints standing.
    """
    with opened(home, files, make=True) as there, keeps("The dataset is as it was before."):
        took = timed(
            lambda: there.ingest(
                name,
                file,
                id=id,
                subject=subject or (),
                tier=tier,
                values=value or (),
                categorical=categorical or (),
                text=text or (),
                nullable=nullable or (),
                schema=_schema(schema) if schema else None,
                slices=slices,
                readmit=readmit,
            )
        )
        people = there.dataset(name)
    body = {**described(people), "seconds": took}
    said = f"[bold]{name}[/] holds {count(people.rows, 'row')}, taken in {seconds(took)}."
    target = _likely_target(people.schema)
    following = f"Next: expunge train MODEL --dataset {name} --target {target} --learner xgboost"
    finish(as_json, body, said, columns(people.schema), f"[dim]{following}[/]")


def correct(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Rows under their known ids, with all columns of the dataset."
        ),
    ],
    dataset: OfDataset = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until models are whole again.")
    ] = True,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Replace rows by corrected ones (the right to rectification, GDPR Art. 16).

    In one transaction the rows with the same ids are forgotten, and those of FILE appended. At
    once no answer comes from a model that saw the old rows; then models are rebuilt, and
    the old rows and all checkpoints that saw them are destroyed.
    """
    with opened(home, files, workers=workers) as there:
        with keeps("Unless a line above says otherwise, nothing was changed."):
            receipt = there.correct(file, dataset=only_dataset(there, dataset))
        done = recovery.after(there, receipt, wait)
    finish(as_json, done.body, *done.shown("Corrected"))


def described(people: People) -> dict[str, Any]:
    """A dataset as JSON."""
    return {
        "dataset": people.name,
        "rows": people.rows,
        "forgotten": people.forgotten,
        "batches": people.batches,
        "schema": people.schema.to_json(),
    }


def columns(schema: Schema) -> Table:
    """The declared columns, as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("column", "role", "kind", "declared"):
        table.add_column(title)
    for column in schema.columns[:_SHOWN_COLUMNS]:
        table.add_row(column.name, column.role, column.kind, _declared(column))
    if (more := len(schema.columns) - _SHOWN_COLUMNS) > 0:
        table.add_row(f"… and {more:,} more", "", "", "")
    return table


def _declared(column: Column) -> str:
    missing = ", may be missing" if column.nullable else ""
    if column.kind is Kind.CATEGORICAL:
        return count(len(column.categories), "value") + missing
    if column.low is not None and column.high is not None:
        return f"{column.low:g} … {column.high:g}{missing}"
    return missing.removeprefix(", ")


def _likely_target(schema: Schema) -> str:
    last = schema.columns[-1]
    return last.name if last.role in (Role.VALUE, Role.FEATURE) else "COL"


def _schema(file: Path) -> Schema:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return Schema.from_json(value.get("schema", value))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file.name!r} is no schema ({type(error).__name__}). Expected JSON as "
            f"`expunge status --json` prints it for a dataset, under `schema`."
        ) from None


def package(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of the dataset.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    home: Place = DEFAULT_HOME,
    files: Files = None,
    as_json: AsJson = False,
) -> None:
    """Copy the remaining rows for an auditor, who replays certificates without this home.

    No byte of a forgotten row is in it, but everybody else's rows are, and the secret that
    orders them: give it only to whom you would give the data.
    """
    with opened(home, files) as there:
        there.package(dataset, folder)
    said = f"Remaining rows of {dataset!r}: {folder}. Check: expunge verify CERTIFICATE --replay"
    finish(as_json, {"dataset": dataset, "out": str(folder)}, f"{said} --data {folder}")
