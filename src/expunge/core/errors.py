"""Every error, one tree. Messages say what happened, what was expected, what to do.

Messages carry counts, never an identity or a cell's content; ids are attributes.

ExpungeError
├── InputError                  what was given cannot be used; nothing was changed
│   ├── ColumnUnknown
│   ├── CellInvalid             a cell that is missing, mixed or out of what is declared
│   ├── DuplicateSamples
│   ├── SourceEmpty
│   ├── SchemaMismatch
│   ├── ViewInvalid
│   ├── RecipeInvalid
│   ├── NothingToForget
│   ├── SamplesUnknown
│   └── SamplesForgotten        a forgotten id came back without ``readmit``
├── UnknownName                 no such dataset, model, learner or method
├── NameTaken
├── ModelWithdrawn              no clean constituent is left to answer
├── StateNotCanonical           a learner's state has no canonical bytes
├── PlanStale                   rows changed under a plan; make a new one
├── DataCorrupt                 stored bytes do not match their digest
├── FormatUnsupported           written by another version of Expunge
├── HomeMismatch                a database and a folder that do not belong together
└── WorkerFailed                a worker process died or raised
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


class ExpungeError(Exception):
    """Base of all errors that Expunge raises on purpose."""

    code = "expunge-error"


class InputError(ExpungeError, ValueError):
    """What was given cannot be used. Nothing was changed."""

    code = "input-invalid"


class ColumnUnknown(InputError):
    """A column was named that is not there."""

    code = "column-unknown"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, sorted(known)
        super().__init__(
            f"No column {name!r}. There are: {', '.join(map(repr, self.known)) or 'none'}."
        )


class CellInvalid(InputError):
    """A cell is missing, of another type than its column, or not declared."""

    code = "cell-invalid"

    def __init__(self, row: int, column: str, problem: str, advice: str) -> None:
        self.row, self.column, self.problem = row, column, problem
        super().__init__(f"Row {row:,}, column {column!r}: {problem}. {advice}")


class DuplicateSamples(InputError):
    """A sample id stands in more than one row."""

    code = "duplicate-samples"

    def __init__(self, rows: Collection[int], in_dataset: bool) -> None:
        self.rows, self.in_dataset = sorted(rows), in_dataset
        where = "the dataset already holds" if in_dataset else "an earlier row of this source has"
        shown = ", ".join(f"{row:,}" for row in self.rows[:5])
        super().__init__(
            f"{len(self.rows):,} sample ids are not unique: {where} them (rows {shown}"
            f"{' …' if len(self.rows) > 5 else ''}; all in `.rows`). Give each row an id of "
            f"its own, or use `correct` to replace rows."
        )


class SourceEmpty(InputError):
    """A source has no rows."""

    code = "source-empty"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} has no rows. Expected at least one row below the header.")


class SchemaMismatch(InputError):
    """Columns do not fit the declared schema."""

    code = "schema-mismatch"


class ViewInvalid(InputError):
    """A view asks for what the schema does not offer."""

    code = "view-invalid"


class RecipeInvalid(InputError):
    """A recipe's fields do not fit together."""

    code = "recipe-invalid"


class NothingToForget(InputError):
    """A request names no samples."""

    code = "nothing-to-forget"

    def __init__(self) -> None:
        super().__init__("The request names no samples and no subjects. Name at least one.")


class SamplesUnknown(InputError):
    """A request names samples or subjects that the dataset never held."""

    code = "samples-unknown"

    def __init__(self, ids: Iterable[str], what: str = "sample ids") -> None:
        self.ids = sorted(ids)
        super().__init__(
            f"{len(self.ids):,} of the {what} are not in the dataset (they are in `.ids`). "
            f"Check them, or pass `missing='ignore'` if they may be gone already."
        )


class SamplesForgotten(InputError):
    """Ids that were forgotten stand in new rows."""

    code = "samples-forgotten"

    def __init__(self, rows: Collection[int]) -> None:
        self.rows = sorted(rows)
        super().__init__(
            f"{len(self.rows):,} rows carry ids that were forgotten (row numbers in `.rows`). "
            f"Leave them out, or pass `readmit=True` if they may come back."
        )


class UnknownName(ExpungeError, LookupError):
    """Nothing of that kind has that name."""

    code = "unknown-name"

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(
            f"No {kind} {name!r}. There are: {', '.join(map(repr, self.known)) or 'none'}."
        )


class NameTaken(ExpungeError):
    """A dataset or model of that name exists and is another one."""

    code = "name-taken"

    def __init__(self, kind: str, name: str, advice: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"There is a {kind} {name!r} already. {advice}")


class ModelWithdrawn(ExpungeError):
    """No clean constituent is left: the model cannot answer until it is rebuilt."""

    code = "model-withdrawn"

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"Model {model!r} is withdrawn: no constituent of it is clean. Rebuild it with "
            f"`receipt.wait()` or `home.recover()`; if all its samples were forgotten, "
            f"ingest others first."
        )


class StateNotCanonical(ExpungeError):
    """A learner's state holds something that has no canonical bytes."""

    code = "state-not-canonical"

    def __init__(self, attribute: str, found: str) -> None:
        self.attribute, self.found = attribute, found
        super().__init__(
            f"`{attribute}` is a {found}, which has no canonical bytes. A state may hold "
            f"numbers, strings, arrays, sparse matrices, trees and estimators made of them. "
            f"Leave that part out of the pipeline, or write a learner for it."
        )


class PlanStale(ExpungeError):
    """The rows that a plan names are not there any more."""

    code = "plan-stale"

    def __init__(self) -> None:
        super().__init__("Rows changed after this plan was made. Make a new plan.")


class DataCorrupt(ExpungeError):
    """Stored bytes are not what their digest promises."""

    code = "data-corrupt"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} does not match its digest. Restore it from a backup; a damaged "
            f"checkpoint is built again by `home.repair()` or `expunge recover`."
        )


class FormatUnsupported(ExpungeError):
    """A file or database was written in a format that this version does not know."""

    code = "format-unsupported"

    def __init__(self, what: str, found: object, known: object) -> None:
        super().__init__(f"{what} has format {found}; this version reads {known}. Upgrade Expunge.")


class HomeMismatch(ExpungeError):
    """A database and a folder of files do not belong together."""

    code = "home-mismatch"

    def __init__(self) -> None:
        super().__init__(
            "This database belongs to another folder of files. Open the home with the database "
            "and the folder that it was made with, or name an empty folder."
        )


class WorkerFailed(ExpungeError):
    """A worker process died or raised; what it had finished is kept."""

    code = "worker-failed"

    def __init__(self, what: str) -> None:
        super().__init__(f"A worker failed: {what}. Run the command again to resume.")
