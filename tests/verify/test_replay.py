"""A replay is as good as what it finds: a forged checkpoint, a version that is not the plan's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from expunge.data import appending
from expunge.data.batch import Batch
from expunge.data.ingest import Arrival, stage
from expunge.data.options import Ingest
from expunge.data.ring import Ring
from expunge.home import Home
from expunge.storage import packs
from expunge.storage.locks import alone
from expunge.testing.fakes import Tiny, people
from expunge.training import sql, versions
from expunge.training.recipe import Sharded

Opened: TypeAlias = Callable[..., Home]


@pytest.fixture
def model(home: Home, monkeypatch: pytest.MonkeyPatch) -> sql.Model:
    with monkeypatch.context() as patch:  # a ring on which each slice has people
        patch.setattr(appending.secrets, "token_bytes", lambda count: b"\x02" * count)
        home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=3, slices=2))
    with home.site.database.reading() as transaction:
        return home.site.model(transaction, "m")


def forge(path: Path) -> None:
    """Put other weights under the last name of a pack, with a checksum that is right."""
    with packs.writing(path) as pack:
        *kept, last = pack.frames()
        payload = bytearray(pack.read(last))
        payload[-1] ^= 1
        pack.cut(kept)
        pack.append(kept[-1], last.name, last.samples, bytes(payload))
        pack.sync()


def flip(path: Path, place: int) -> None:
    """Change one bit of a file, in place."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    with path.open("r+b") as file:
        file.write(content)


def test_a_model_that_is_its_plan_is_exact(home: Home, model: sql.Model) -> None:
    found = home.verify("m")
    assert found.exact
    assert (found.constituents, found.frames, found.same_runtime) == (3, 6, 3)
    assert (found.checkpoints, found.same_bytes) == (6, 3)
    assert (found.changed_rows, found.changed_roots) == (0, 0)


def test_other_bytes_under_the_right_name_are_not_exact(home: Home, model: sql.Model) -> None:
    (path,) = versions.pack_paths(model, 1)
    forge(path)
    with home.site.database.transaction() as transaction:
        ground = home.site.locked_ground(transaction, model.dataset)
        versions.publish(transaction, model, ground, [1])
    found = home.verify("m")
    assert (found.same_names, found.same_bytes, found.frames) == (3, 2, 5)
    assert not found.exact


@pytest.mark.parametrize(("frame", "frames", "same_bytes"), [(None, 4, 3), (0, 5, 3), (1, 5, 2)])
def test_one_bit_of_a_pack_is_not_exact(
    home: Home, model: sql.Model, frame: int | None, frames: int, same_bytes: int
) -> None:
    (path,) = versions.pack_paths(model, 1)
    with packs.reading(path) as pack:
        place = 0 if frame is None else pack.frames()[frame].end - 1
    flip(path, place)
    found = home.verify("m")
    assert (found.frames, found.checkpoints, found.same_bytes) == (frames, 6, same_bytes)
    assert not found.exact


def test_a_pack_that_is_missing_is_not_exact(home: Home, model: sql.Model) -> None:
    (path,) = versions.pack_paths(model, 1)
    path.unlink()
    found = home.verify("m")
    assert (found.frames, found.same_names, found.same_bytes) == (4, 3, 2)
    assert not found.exact


def test_a_cell_that_changed_before_training_is_not_exact(home: Home, model: sql.Model) -> None:
    with home.site.database.reading() as transaction:
        ((_, batch),) = home.site.ground(transaction, model.dataset).batches.items()
    cell = batch.read(["x0"], 7, 8)["x0"].tobytes()
    path = batch.folder / batch.segments[0].file
    flip(path, path.read_bytes().index(cell))
    home.train("n", home.dataset("people").view("y"), Sharded(Tiny(), shards=3, slices=2))
    found = home.verify("n")
    assert (found.same_names, found.same_bytes, found.frames) == (3, 3, 6)
    assert found.changed_rows == 1
    assert not found.exact

    home.forget(batch.read(["id"], 7, 8)["id"].tolist())
    home.recover()
    assert home.verify("n").exact


def exchange(batch: Batch, rows: dict[str, object], ring: Ring) -> None:
    """Put other rows into a batch's only file, in ring order, with commitments that are right."""
    (segment,) = batch.segments
    arrival = batch.folder.parent / "other"
    (staged,) = stage(rows, arrival, Arrival(ring), Ingest(schema=batch.schema)).batches
    (other,) = staged.folder.glob("*.arrow")
    other.rename(batch.folder / segment.file)
    meta = json.loads((batch.folder / "meta.json").read_bytes())
    first = json.loads((staged.folder / "meta.json").read_bytes())["segments"][0]["first"]
    meta["segments"][0]["first"] = first
    (batch.folder / "meta.json").write_text(json.dumps(meta))
    shutil.rmtree(arrival)


def test_rows_that_were_exchanged_before_training_are_not_those_that_came(
    home: Home, opened: Opened, tmp_path: Path
) -> None:
    home.ingest("people", people(60), id="id", subject="who")
    with home.site.database.reading() as transaction:
        dataset = home.site.dataset(transaction, "people")
        ((_, batch),) = home.site.grounds.load(transaction, dataset).batches.items()
    exchange(batch, people(60, seed=1), Ring(dataset.secret))
    home.close()

    again = opened(tmp_path / "home")
    view = again.dataset("people").view("y")
    again.train("m", view, Sharded(Tiny(), shards=3, slices=2))
    found = again.verify("m")
    # All is as it should be, but for what was committed to before anything was learnt.
    assert (found.same_names, found.same_bytes, found.changed_rows) == (3, 3, 0)
    assert found.changed_roots == 1
    assert not found.exact


def test_a_batch_is_what_came_after_rows_of_it_were_forgotten(home: Home, model: sql.Model) -> None:
    home.forget(["s1", "s30"])
    assert home.verify("m").changed_roots == 0
    home.recover()
    assert home.verify("m").exact


def test_destroying_removes_what_a_killed_replay_left(home: Home, model: sql.Model) -> None:
    left = home.site.replays / "00001.pack"
    left.parent.mkdir()
    left.write_bytes(b"tainted")
    home.forget(["s1"])
    with alone(home.site.root / "replay.lock"):  # a replay that goes on
        home.recover()
        assert left.exists()
    home.forget(["s2"])
    home.recover()
    assert not left.parent.exists()


def test_a_replay_starts_empty_and_leaves_nothing(home: Home, model: sql.Model) -> None:
    home.site.replays.mkdir()
    for path in versions.pack_paths(model, 1):  # a forged one would be built upon, or compared
        (home.site.replays / path.name).write_bytes(path.read_bytes())
        forge(home.site.replays / path.name)
    assert home.verify("m").exact
    assert not home.site.replays.exists()


def test_a_version_that_is_not_rebuilt_yet_is_not_exact(home: Home, model: sql.Model) -> None:
    home.forget(["s1"])
    found = home.verify("m")
    assert (found.same_names, found.same_bytes) == (2, 2)
    assert not found.exact
    home.recover()
    assert home.verify("m").exact
