"""Export a version: files that hold all that is served, for somebody else to keep.

``shard-00003.state`` is the canonical bytes of a constituent's checkpoint; ``version.json`` says
by which recipe they were made, what they are called, and where they were built. A copy is out of
reach from then on: it is recorded before the first byte leaves, and certificates list it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from expunge.core.digest import Json, canonical_json
from expunge.core.errors import DataCorrupt, InputError
from expunge.data import sql as data_sql
from expunge.storage import disk, facts
from expunge.storage.facts import Fact
from expunge.training import ensemble, sql
from expunge.training.site import Site
from expunge.training.sql import Constituent, Model, Version

DESCRIPTION: Final = "version.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Served:
    """A constituent as it is served; without a model yet, only its shard.

    Attributes:
        name: Of its checkpoint, hexadecimal.
        samples: How many it has seen.
        state: SHA-256 of the checkpoint's bytes, hexadecimal.
        runtime: Name of the runtime that built it, hexadecimal.
    """

    shard: int
    name: str | None = None
    samples: int = 0
    state: str | None = None
    runtime: str | None = None

    def to_json(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "shard": self.shard,
            "name": self.name,
            "samples": self.samples,
            "state": self.state,
            "runtime": self.runtime,
        }


def served(model: Model, version: Version) -> tuple[Served, ...]:
    """What stands for each shard, its bytes read and digested.

    Raises:
        DataCorrupt: A checkpoint is not what the version says.
    """
    return tuple(_served(model, constituent) for constituent in version.constituents)


def runtimes(model: Model, version: Version) -> dict[str, Mapping[str, Any]]:
    """Names and descriptions of the runtimes that built what is served."""
    packs = {c.pack for c in version.constituents if c.pack}
    return dict(_runtime(model, pack) for pack in sorted(packs))


def files(model: Model, version: Version) -> dict[str, str]:
    """Names and SHA-256 (hexadecimal) of what an export holds. Reads all, writes nothing.

    Raises:
        DataCorrupt: A checkpoint is not what the version says.
    """
    return _digests(model, version, served(model, version))


def export(site: Site, model: Model, version: Version, folder: str | Path) -> dict[str, str]:
    """Write what is served into ``folder``, all of it or nothing. Returns what :func:`files` does.

    Raises:
        InputError: The folder is not empty, or another version is served by now.
        DataCorrupt: A checkpoint is not what the version says.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            "A model is exported into a folder of its own. Name an empty or a new one."
        )
    found = served(model, version)
    digests = _digests(model, version, found)
    _record(site, model, version, len(digests))
    beside = target.with_name(f".{target.name}.part")
    disk.remove(beside)  # of one that was killed
    try:
        beside.mkdir(mode=0o700, parents=True)
        for constituent in version.constituents:
            if constituent.frame:
                state = ensemble.state(model, constituent)
                disk.write_file(beside / _file(constituent.shard), state)
        disk.write_file(beside / DESCRIPTION, _description(model, version, found))
        disk.replace(beside, target)
    except BaseException:
        disk.remove(beside)
        raise
    return digests


def _digests(model: Model, version: Version, found: tuple[Served, ...]) -> dict[str, str]:
    states = {_file(one.shard): one.state for one in found if one.state}
    return states | {DESCRIPTION: sha256(_description(model, version, found)).hexdigest()}


def _record(site: Site, model: Model, version: Version, count: int) -> None:
    with site.database.transaction() as transaction:
        data_sql.lock(transaction, model.dataset)  # nothing is forgotten in between
        current = sql.current(transaction, model.id)
        if current is None or current.digest != version.digest:
            raise InputError("Another version is served by now. Export that one.")
        body = {"model": model.folder.name, "version": version.digest, "files": count}
        facts.record(transaction, Fact("model.exported", body))


def _served(model: Model, constituent: Constituent) -> Served:
    if constituent.frame is None or constituent.pack is None:
        return Served(constituent.shard)
    state = sha256(ensemble.state(model, constituent)).hexdigest()
    name, _ = _runtime(model, constituent.pack)
    frame = constituent.frame
    return Served(constituent.shard, frame.name.hex(), frame.samples, state, name)


def _runtime(model: Model, pack: str) -> tuple[str, Mapping[str, Any]]:
    """Name and description of the runtime whose name a pack's name begins with."""
    for path in model.folder.glob(f"{pack.split('.')[1]}*.json"):
        return path.stem, json.loads(path.read_bytes())
    raise DataCorrupt(f"The description of the runtime of pack {pack}")


def _file(shard: int) -> str:
    return f"shard-{shard:05d}.state"


def _description(model: Model, version: Version, found: tuple[Served, ...]) -> bytes:
    # Not RFC 8785: the recipe's digest tells 1 from 1.0, and seeds may have 64 bits.
    return canonical_json(
        {
            "v": FORMAT,
            "model": model.folder.name,
            "version": version.digest,
            "recipe": model.recipe.to_json(),
            "aggregate": model.aggregate,
            "constituents": [one.to_json() for one in found],
        }
    )
