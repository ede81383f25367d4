"""Commands that make models forget, and make them whole again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from expunge.cli import asking, recovery
from expunge.cli.asking import Named, Terms
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
from expunge.cli.remote import Server
from expunge.core.errors import SamplesUnknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expunge.home import Home, Receipt

_PLACES_SHOWN: Final = 5


def forget(
    samples: asking.Samples = None,
    subject: asking.Subject = None,
    file: asking.File = None,
    subject_file: asking.SubjectFile = None,
    column: asking.Column = None,
    every: Annotated[
        int,
        typer.Option("--every", min=0, help="Accept after each so many ids; 0: all in one."),
    ] = 0,
    missing: asking.AboutMissing = asking.Missing.RAISE,
    kind: asking.OfKind = asking.Kind.ERASE,
    model: asking.OfModel = None,
    purpose: asking.ForPurpose = None,
    method: asking.Method = "declared",
    regime: asking.Regime = None,
    received: asking.Received = None,
    effective: asking.Effective = None,
    undo: asking.Undo = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until models are whole again.")
    ] = True,
    dataset: OfDataset = None,
    server: Server = None,
    home: Place = DEFAULT_HOME,
    files: Files = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Make every model of a dataset forget samples, or all samples of people.

    First, in milliseconds and in one transaction: no answer comes from a model that saw them
    any more. Then their shards are rebuilt without them, and their rows and all checkpoints
    that saw them are destroyed; --no-wait leaves that to `expunge recover`, or to the server. A
    request is all or nothing: one unknown id, and nothing is forgotten. Shells keep a history:
    use --file where ids are personal. With --every, a stream of ids is accepted as it comes.
    """
    named = Named(samples or (), subject or (), file, subject_file, column)
    terms = asking.terms(kind, model, purpose, method, regime, received, effective, undo, missing)
    if server:
        from expunge.cli import remote_forgetting

        remote_forgetting.run(server, named, terms, every, dataset, wait, as_json)
        return
    with opened(home, files, workers=workers) as there:
        of = only_dataset(there, dataset)
        receipts: list[Receipt] = []
        with keeps("Requests that were accepted stand; finish them with `expunge recover`."):
            receipts.extend(_accept(there, of, *wanted, terms) for wanted in named.chunks(every))
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


def _accept(
    home: Home, dataset: str, samples: list[str], subjects: list[str], terms: Terms
) -> Receipt:
    try:
        return home.forget(
            samples,
            subjects=subjects,
            dataset=dataset,
            missing=terms.missing.value,
            method=terms.method,
            kind=terms.kind.value,
            models=terms.models,
            purpose=terms.purpose,
            regime=terms.regime,
            received=terms.received,
            effective=terms.effective,
            undo_s=terms.undo_s or 0.0,
        )
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
