"""What commands share that ask for something to be forgotten: who is meant, on what terms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Annotated, Final

import typer

from expunge.cli import ids
from expunge.core.errors import InputError, NothingToForget

Samples = Annotated[list[str] | None, typer.Argument(metavar="[IDS]...", help="Sample ids.")]
Subject = Annotated[
    list[str] | None,
    typer.Option("--subject", metavar="ID", help="A person: all samples about them."),
]
File = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="Sample ids, one per line; '-' is standard input."),
]
SubjectFile = Annotated[
    str | None, typer.Option("--subject-file", metavar="FILE", help="Subjects, likewise.")
]
Column = Annotated[
    str | None,
    typer.Option("--column", metavar="COL", help="The files are CSV; ids are in this column."),
]


class Missing(StrEnum):
    """What to do about ids that the dataset never held."""

    RAISE = "raise"
    IGNORE = "ignore"


class Kind(StrEnum):
    """What is asked for; as ``requests.kinds``, which would load the database's library."""

    ERASE = "erase"
    OBJECT = "object"
    RESTRICT = "restrict"
    EXPIRE = "expire"


AboutMissing = Annotated[
    Missing, typer.Option("--missing", help="About ids that the dataset never held.")
]
OfKind = Annotated[
    Kind,
    typer.Option("--kind", help="erase and expire destroy rows; object and restrict keep them."),
]
OfModel = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Only this model is to forget; the rows stay."),
]
ForPurpose = Annotated[
    str | None,
    typer.Option("--purpose", metavar="TEXT", help="Only models of that purpose, future ones too."),
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        help="How models forget: rebuild, certified, influence; or each as it was declared.",
    ),
]
Regime = Annotated[
    str | None,
    typer.Option("--regime", metavar="NAME", help="Whose deadline counts: gdpr, ccpa, 30d+15d …"),
]
Received = Annotated[
    str | None,
    typer.Option("--received", metavar="TIME", help="When it came in, if before now."),
]
Effective = Annotated[
    str | None,
    typer.Option("--effective", metavar="TIME", help="When it takes effect; else at once."),
]
Undo = Annotated[
    str | None,
    typer.Option("--undo", metavar="SPAN", help="It can be undone for so long: 24h, 7d …"),
]

_SPAN: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms, as options say it."""

    kind: Kind = Kind.ERASE
    models: tuple[str, ...] | None = None
    purpose: str | None = None
    method: str = "declared"
    regime: str | None = None
    received: datetime | None = None
    effective: datetime | None = None
    undo_s: float | None = None
    missing: Missing = Missing.RAISE


@dataclass(frozen=True, slots=True)
class Named:
    """Who is meant, as options say it."""

    samples: Sequence[str]
    subjects: Sequence[str]
    file: str | None
    subject_file: str | None
    column: str | None

    def chunks(self, every: int = 0) -> Iterator[tuple[list[str], list[str]]]:
        """Samples and subjects of each request: one of all, or one for each chunk of a stream.

        Raises:
            NothingToForget: Nobody is named.
        """
        streamed = ids.read(self.file, self.column) if self.file else iter(())
        from_file = ids.read(self.subject_file, self.column) if self.subject_file else iter(())
        subjects = [*self.subjects, *from_file]
        chunks = ids.chunks(streamed, every)
        first = next(chunks, [])
        if not (first or self.samples or subjects):
            raise NothingToForget
        rest = ((chunk, list[str]()) for chunk in chunks)
        yield from chain([([*self.samples, *first], subjects)], rest)


def terms(
    kind: Kind,
    models: Sequence[str] | None,
    purpose: str | None,
    method: str,
    regime: str | None,
    received: str | None,
    effective: str | None,
    undo: str | None,
    missing: Missing,
) -> Terms:
    """Terms, from options."""
    return Terms(
        kind=kind,
        models=tuple(models) if models else None,
        purpose=purpose,
        method=method,
        regime=regime,
        received=moment(received, "--received"),
        effective=moment(effective, "--effective"),
        undo_s=span_s(undo),
        missing=missing,
    )


def moment(text: str | None, option: str) -> datetime | None:
    """A time as people write it; one without a zone is this machine's.

    Raises:
        InputError: It is none.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise InputError(
            f"{option} needs a time such as '2026-11-20' or '2026-11-20T09:30+01:00'."
        ) from None


def span_s(text: str | None) -> float | None:
    """A length of time in seconds.

    >>> span_s("24h"), span_s("1.5d"), span_s(None)
    (86400.0, 129600.0, None)

    Raises:
        InputError: It is none.
    """
    if text is None:
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise InputError("--undo needs a length of time such as 90s, 30m, 24h or 7d.")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]]).total_seconds()
