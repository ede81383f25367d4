"""The full state of a model: names and bytes of every checkpoint of every constituent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

from expunge.core.digest import Json
from expunge.storage import packs
from expunge.training import versions
from expunge.training.sql import Model, Version


class NotExact(AssertionError):
    """A model is not the one that never saw the forgotten samples.

    Attributes:
        shard: Where it differs first.
        slice: Which slice of the shard's chain, counted from 0; None where it is not one slice.
        what: ``names``, ``bytes``, ``frames``, ``samples``, ``runtime`` or ``version``.
    """

    def __init__(self, message: str, *, shard: int, slice: int | None, what: str) -> None:  # noqa: A002 - its name
        self.shard, self.slice, self.what = shard, slice, what
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One frame of a pack.

    Attributes:
        name: Hexadecimal.
        samples: How many it has seen.
        size: Of its bytes.
        digest: SHA-256 of its bytes, hexadecimal.
    """

    name: str
    samples: int
    size: int
    digest: str

    def to_json(self) -> list[Json]:
        """As plain JSON."""
        return [self.name, self.samples, self.size, self.digest]


@dataclass(frozen=True, slots=True)
class Chain:
    """All checkpoints that rest for one shard.

    Attributes:
        runtimes: Packs that hold any; more than one is a leftover.
        stray: Bytes in packs that belong to no frame.
    """

    shard: int
    runtimes: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    stray: int

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "shard": self.shard,
            "runtimes": list(self.runtimes),
            "checkpoints": [one.to_json() for one in self.checkpoints],
            "stray": self.stray,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Chain:
        """Read what :meth:`to_json` wrote."""
        checkpoints = tuple(Checkpoint(*one) for one in value["checkpoints"])
        return cls(value["shard"], tuple(value["runtimes"]), checkpoints, value["stray"])


def read(model: Model, version: Version | None) -> list[Chain]:
    """What rests in the packs of ``model``, all bytes verified.

    Raises:
        NotExact: The served version is not the end of each chain.
        DataCorrupt: A frame is not what its checksum says.
    """
    chains = [_chain(model, shard) for shard in versions.all_shards(model)]
    served = version.constituents if version else ()
    for chain, constituent in zip_longest(chains, served):
        end = chain.checkpoints[-1].name if chain.checkpoints else None
        name = constituent.frame.name.hex() if constituent and constituent.frame else None
        if end != name or not constituent or not constituent.whole:
            message = f"Shard {chain.shard}: what is served is not the end of what was built."
            raise NotExact(message, shard=chain.shard, slice=None, what="version")
    return chains


def compare(found: Sequence[Chain], fresh: Sequence[Chain]) -> None:
    """Compare what rests here with a fresh build, frame by frame.

    Raises:
        NotExact: They differ; says where first.
    """
    for mine, other in zip(found, fresh, strict=True):
        shard = mine.shard
        if mine.stray or other.stray or len(mine.runtimes) > 1:
            message = f"Shard {shard}: its packs hold {mine.stray} bytes more than its frames, in {len(mine.runtimes)} packs."
            raise NotExact(message, shard=shard, slice=None, what="frames")
        if mine.runtimes and other.runtimes and mine.runtimes != other.runtimes:
            message = (
                f"Shard {shard}: built in runtime {mine.runtimes[0]}, the fresh one in "
                f"{other.runtimes[0]}. Bytes are only promised within one; set the same variables."
            )
            raise NotExact(message, shard=shard, slice=None, what="runtime")
        for index, pair in enumerate(zip_longest(mine.checkpoints, other.checkpoints)):
            _compare(shard, index, *pair)


def _compare(shard: int, index: int, mine: Checkpoint | None, other: Checkpoint | None) -> None:
    if mine == other:
        return
    if mine is None or other is None:
        what = "frames"
        problem = "is missing" if mine is None else "is there, and a fresh build has none"
    elif mine.name != other.name:
        what, problem = "names", "has another name than in a fresh build"
    elif mine.samples != other.samples:
        what, problem = "samples", f"saw {mine.samples} samples, in a fresh build {other.samples}"
    else:
        what = "bytes"
        problem = "has the name of a fresh build but other bytes: the learner is not canonical"
    message = f"Shard {shard}, slice {index}: the checkpoint {problem}."
    raise NotExact(message, shard=shard, slice=index, what=what)


def _chain(model: Model, shard: int) -> Chain:
    runtimes, checkpoints, stray = [], [], 0
    for path in versions.pack_paths(model, shard):
        found, beyond = _read(path)
        stray += beyond
        if found:
            runtimes.append(path.name.split(".")[1])
            checkpoints += found
    return Chain(shard, tuple(runtimes), tuple(checkpoints), stray)


def _read(path: Path) -> tuple[list[Checkpoint], int]:
    with packs.reading(path) as pack:
        assert pack is not None
        frames = pack.frames()
        checkpoints = []
        for frame in frames:
            payload = pack.read(frame)
            digest = sha256(payload).hexdigest()
            checkpoints.append(Checkpoint(frame.name.hex(), frame.samples, len(payload), digest))
    return checkpoints, path.stat().st_size - (frames[-1].end if frames else 0)
