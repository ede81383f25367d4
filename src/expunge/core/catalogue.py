"""Name → thing, imported only when asked for; plug-ins add to it by entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from expunge.core.errors import UnknownName

T = TypeVar("T")


class Catalogue(Mapping[str, T], Generic[T]):
    """Our own entries, and those that installed plug-ins add to the same group."""

    def __init__(self, kind: str, group: str, ours: Mapping[str, str]) -> None:
        self._kind = kind
        self._entries = {e.name: e for e in entry_points(group=group)}
        self._entries |= {name: EntryPoint(name, where, group) for name, where in ours.items()}

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise UnknownName(self._kind, name, self._entries)
        return cast("T", self._entries[name].load())

    def name_of(self, thing: T) -> str:
        """The name of ``thing``, importing nothing: what is not imported cannot be it."""
        for name, entry in self._entries.items():
            if entry.module in sys.modules and entry.load() is thing:
                return name
        raise UnknownName(self._kind, getattr(thing, "__qualname__", repr(thing)), self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
