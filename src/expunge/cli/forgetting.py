"""Commands that make models forget, and make them whole again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from expunge.cli import ids, recovery
from expunge.cli.common import (
    DEFAULT_HOME,
    AsJson,
    Files,
    OfDataset,
    Place,
    Workers,
    finish,
    only_dataset,
    opened,
)
from expunge.cli.endings import keeps
from expunge.core.errors import NothingToForget, SamplesUnknown

if TYPE_CHECKING:
    from expunge.home import Home, Receipt

_PLACES_SHOWN: Final = 5


class Missing(StrEnum):
    """What to do about ids that the dataset never held."""

    RAISE = "raise"
    IGNORE = "ignore"


def forget(
    samples: Annotated[
        list[str] | None, typer.Argument(metavar="[IDS]...", help="Sample ids.")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option("--subject", metavar="ID", help="A person: all samples about them."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", metavar="FILE", help="Sample ids, one per line; '-' is standard input."
        ),
    ] = None,
    subject_file: Annotated[
        str | None, typer.Option("--subject-file", metavar="FILE", help="Subjects, likewise.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option("--column", metavar="COL", help="The files are CSV; ids are in this column."),
    ] = None,
    every: Annotated[
        int,
        typer.Option("--every", min=0, help="Accept after each so many ids; 0: all in one."),
    ] = 0,
    missing: Annotated[
        Missing, typer.Option("--missing", help="About ids that the dataset never held.")
    ] = Missing.RAISE,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until models are whole again.")
    ] = True,
    dataset: OfDataset = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Make every model of a dataset forget samples, or all samples of people.

    First, in milliseconds and in one transaction: no answer comes from a model that saw them
    any more. Then their shards are rebuilt without them, and their rows and all checkpoints
    that saw them are destroyed; --no-wait leaves that to `expunge recover`. A request is all or
    nothing: one unknown id, and nothing is forgotten. Shells keep a history: use --file
    where ids are personal. With --every, a stream of ids is accepted as it comes.
    """
    with opened(home, files, workers=workers) as there:
        of = only_dataset(there, dataset)
        named = samples or []
        streamed = ids.read(file, column) if file else iter(())
        subjects = [*(subject or ()), *(ids.read(subject_file, column) if subject_file else ())]
        receipts: list[Receipt] = []
        with keeps("Requests that were accepted stand; finish them with `expunge recover`."):
            receipts.extend(
                _accept(there, of, *wanted, missing.value)
                for wanted in _requests(named, streamed, subjects, every)
            )
        done = recovery.after_all(there, receipts, wait)
    finish(as_json, done.body, *done.shown("Forgot"))


def recover(
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Finish what is open: make every model whole, then destroy what was forgotten.

    Needed after `--no-wait`, Ctrl-C, a crash or a power cut; `expunge status` says when. It goes
    on from the checkpoints that are there, and running it twice does no harm. Checkpoints that
    are damaged or lost on the disk are found, and built again.
    """
    with opened(home, files, workers=workers) as there:
        done = recovery.run(there, there.repair)
    finish(as_json, done, recovery.told(done))


def _requests(
    named: Sequence[str], streamed: Iterator[str], subjects: Sequence[str], every: int
) -> Iterator[tuple[list[str], list[str]]]:
    """Samples and subjects of each request: one of all, or one for each chunk of a stream."""
    chunks = ids.chunks(streamed, every)
    first = next(chunks, [])
    if not (first or named or subjects):
        raise NothingToForget
    yield [*named, *first], list(subjects)
    for chunk in chunks:
        yield chunk, []


def _accept(
    home: Home, dataset: str, samples: list[str], subjects: list[str], missing: str
) -> Receipt:
    try:
        return home.forget(samples, subjects=subjects, dataset=dataset, missing=missing)
    except SamplesUnknown as error:
        unknown = set(error.ids)
        for given, what in ((samples, "sample ids"), (subjects, "subjects")):
            if unknown <= set(given):
                error.args = (_where_unknown(given, unknown, what, dataset),)
        raise


def _where_unknown(given: Sequence[str], unknown: set[str], what: str, dataset: str) -> str:
    # Their places, because an identity may not stand in an error's text.
    places = [place for place, one in enumerate(given, 1) if one in unknown]
    shown = ", ".join(f"{place:,}" for place in places[:_PLACES_SHOWN])
    more = " …" if len(places) > _PLACES_SHOWN else ""
    return (
        f"{len(unknown):,} of the {len(set(given)):,} {what} are not in dataset {dataset!r}: number "
        f"{shown}{more} of those given. Nothing was forgotten. Check them, or pass "
        f"`--missing ignore` if they may be gone already."
    )
