"""Which checkpoints of a pack descend from others, by a method that is no build.

A learner that forgets in its own way (:class:`expunge.learners.protocol.Forgetting`) makes
checkpoints that have names of their own. Beside the pack stands, for each, what its name is made of.
Nobody has to believe it: the name is computed again from it and from the plan of the rows that
remain, so a checkpoint is accepted for just these rows, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from expunge.core import names
from expunge.core.digest import Json
from expunge.training import notes
from expunge.training.plan import Plan, Slice

Links: TypeAlias = "Mapping[str, Link]"
"""The last link of each slice's place."""


@dataclass(frozen=True, slots=True)
class Link:
    """How one checkpoint came from another.

    Attributes:
        place: The slice's, as it stands in names.
        parent: Name of the checkpoint that it was made of.
        rows: How many rows left.
        root: RFC 6962 root over their leaves, sorted as bytes.
        remaining: Name that a build from the others has.
        figures: What the method knows of how well it went.
    """

    place: str
    parent: bytes
    method: str
    rows: int
    root: bytes
    remaining: bytes
    figures: Mapping[str, Json]

    @property
    def name(self) -> bytes:
        """Of the checkpoint."""
        return names.forgotten(self.parent, self.method, self.rows, self.root, self.remaining)

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        digests = {"parent": self.parent.hex(), "root": self.root.hex()}
        return {
            "place": self.place,
            **digests,
            "method": self.method,
            "rows": self.rows,
            "remaining": self.remaining.hex(),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Link:
        """Read what :meth:`to_json` wrote."""
        digests = {n: bytes.fromhex(value[n]) for n in ("parent", "root", "remaining")}
        return cls(**{**value, **digests})


def write(pack: Path, links: Iterable[Link]) -> None:
    """Write down the links of the pack at ``pack``, before its checkpoints are written."""
    value: list[Json] = [link.to_json() for link in links]
    if value or _place(pack).exists():
        notes.write(_place(pack), value)


def read(pack: Path) -> Links:
    """The links of the pack at ``pack``; none where no whole note is there."""
    return {one["place"]: Link.from_json(one) for one in notes.read(_place(pack)) or ()}


def rebased(slices: Sequence[Slice], links: Links) -> tuple[Slice, ...]:
    """The plan's slices, with the names that their checkpoints have after these links."""
    found: list[Slice] = []
    for part in slices:
        where, link = place(part), links.get(place(part))
        name = part.name
        if link is not None and link.remaining == part.name:
            name = link.name
        elif found:  # as planned, where no slice before has another name than is planned
            name = names.checkpoint(found[-1].name, where, part.samples, part.root)
        found.append(replace(part, name=name))
    return tuple(found)


def planned(pack: Path, plan: Plan) -> tuple[bytes, ...]:
    """Names of the checkpoints that the pack may hold for a plan, in its order."""
    links = read(pack)
    return tuple(part.name for part in rebased(plan.slices, links)) if links else plan.names


def place(part: Slice) -> str:
    """A slice's place, as it stands in names."""
    return names.place(*part.key, part.part)


def _place(pack: Path) -> Path:
    return pack.with_suffix(".past")
