"""What is sent: terms, ids and bodies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from expunge.client.transport import Content
from expunge.core.errors import InputError

Json: TypeAlias = dict[str, Any]

_PART = 1 << 16
_IDS = 1_000


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms something is to be forgotten; what is None is the server's to choose.

    Attributes:
        dataset: May be left out where there is only one.
        kind: ``erase``, ``object``, ``restrict`` or ``expire``.
        models: Names of models to narrow it to.
        purpose: Narrows it to models of that purpose, present and future ones.
        method: How models are to forget.
        regime: Whose deadlines count: ``gdpr``, ``ccpa``, or such as ``30d+15d``.
        received: When it came in, with a zone.
        effective: When it is to take effect, with a zone; by default at once.
        undo_s: For so long it can be undone. Unit: seconds.
        missing: ``refuse`` or ``ignore`` ids that are not there.
    """

    dataset: str | None = None
    kind: str | None = None
    models: tuple[str, ...] | None = None
    purpose: str | None = None
    method: str | None = None
    regime: str | None = None
    received: datetime | None = None
    effective: datetime | None = None
    undo_s: float | None = None
    missing: str | None = None

    def to_json(self) -> Json:
        """The fields that say something, as a body has them."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: _plain(value) for name, value in said.items() if value is not None}


def named(samples: str | Iterable[str], subjects: str | Iterable[str]) -> Json:
    """Who is meant, as a body has it."""
    meant = {"sample_ids": _ids(samples), "subjects": _ids(subjects)}
    return {name: ids for name, ids in meant.items() if ids}


def at(*parts: str) -> str:
    """A path of these parts, whatever they hold."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def query(terms: Terms) -> dict[str, str | list[str]]:
    """Terms as a query has them."""
    return {
        name: value if isinstance(value, list) else str(value)
        for name, value in terms.to_json().items()
    }


def file(path: Path) -> Content:
    """The bytes of a file, read as they are sent."""

    def parts() -> Iterator[bytes]:
        with path.open("rb") as stream:
            while part := stream.read(_PART):
                yield part

    return parts


def lines(ids: Sequence[str]) -> Content:
    """Ids as CSV, one in each line."""

    def parts() -> Iterator[bytes]:
        for start in range(0, len(ids), _IDS):
            yield "".join(f'"{_quoted(one)}"\n' for one in ids[start : start + _IDS]).encode()

    return parts


def _ids(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _quoted(one: str) -> str:
    return one.replace('"', '""')


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InputError("A moment needs a zone, such as 2026-03-05T10:00:00+01:00.")
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
