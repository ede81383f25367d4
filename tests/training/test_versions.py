"""Versions: what is published, and what is still to be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.data import appending
from expunge.home import Home, Model
from expunge.storage import packs
from expunge.testing.fakes import Tiny, people
from expunge.training import sql, versions
from expunge.training.recipe import Sharded


@pytest.fixture
def model(home: Home, monkeypatch: pytest.MonkeyPatch) -> Model:
    # With a random ring, a shard might have rows in one slice only.
    monkeypatch.setattr(appending.secrets, "token_bytes", lambda count: bytes([2]) * count)
    home.ingest("people", people(60), id="id", subject="who")
    return home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=3, slices=2))


def row(home: Home) -> sql.Model:
    with home.site.database.reading() as transaction:
        return home.site.model(transaction, "m")


def publish(home: Home, shards: list[int]) -> sql.Version:
    model = row(home)
    with home.site.database.transaction() as transaction:
        ground = home.site.locked_ground(transaction, model.dataset)
        return versions.publish(transaction, model, ground, shards)


def unfinished(home: Home) -> list[int]:
    model = row(home)
    with home.site.database.reading() as transaction:
        version = sql.current(transaction, model.id)
        return versions.unfinished(model, version, home.site.ground(transaction, model.dataset))


def pack(home: Home, shard: int) -> Path:
    (path,) = versions.pack_paths(row(home), shard)
    return path


def test_a_trained_model_is_whole(home: Home, model: Model) -> None:
    version = model.version
    assert (version.number, version.whole, version.clean_to, version.batches) == (1, True, 0, 1)
    assert [c.shard for c in version.constituents] == [0, 1, 2]
    assert unfinished(home) == []


def test_publishing_what_is_published_makes_no_version(home: Home, model: Model) -> None:
    before = model.version
    assert publish(home, [0, 1, 2]) == before
    assert model.version == before


def test_forgetting_leaves_the_touched_shard_unfinished(home: Home, model: Model) -> None:
    before = model.version
    receipt = home.forget(["s0"])
    after = model.version
    changed = [
        b.shard for b, a in zip(before.constituents, after.constituents, strict=True) if a != b
    ]
    assert (after.number, after.clean_to, after.whole) == (2, 1, False)
    assert unfinished(home) == changed
    assert len(changed) == 1
    receipt.wait()
    assert unfinished(home) == []
    assert model.version.clean_to == 1


def test_an_appended_batch_leaves_every_shard_unfinished(home: Home, model: Model) -> None:
    more = people(70)
    home.ingest("people", {name: column[60:] for name, column in more.items()})
    assert unfinished(home) == [0, 1, 2]
    before = model.version
    home.recover()
    after = model.version
    assert (unfinished(home), after.batches) == ([], 2)
    depths = [
        (b.depth, a.depth) for b, a in zip(before.constituents, after.constituents, strict=True)
    ]
    assert all(0 <= a - b <= 1 for b, a in depths)
    assert sum(a - b for b, a in depths) >= 1


def test_a_checkpoint_that_is_not_what_it_was_is_not_published(home: Home, model: Model) -> None:
    whole = pack(home, 1).read_bytes()
    path = pack(home, 1)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    version = publish(home, [1])
    assert (version.constituents[1].depth, version.constituents[1].whole) == (1, False)
    assert unfinished(home) == [1]
    home.recover()
    assert path.read_bytes() == whole
    assert model.version.whole


def test_a_pack_that_is_lost_is_built_again(home: Home, model: Model) -> None:
    whole = pack(home, 0).read_bytes()
    pack(home, 0).unlink()
    assert publish(home, [0]).constituents[0].pack is None
    home.recover()
    assert pack(home, 0).read_bytes() == whole


def test_sweeping_leaves_what_the_plan_names(home: Home, model: Model) -> None:
    assert [versions.sweep(home.site, row(home), shard) for shard in range(3)] == [0, 0, 0]


def test_sweeping_empties_packs_of_other_runtimes(home: Home, model: Model) -> None:
    path = pack(home, 0)
    other = path.with_name(f"{0:05d}.{'0' * 16}.pack")
    other.write_bytes(path.read_bytes())
    assert versions.sweep(home.site, row(home), 0) == 2
    frames = 0
    for each in (path, other):
        with packs.reading(each) as found:
            frames += len(found.frames())
    assert frames == 2


def test_the_digest_of_a_version_is_over_what_it_serves(home: Home, model: Model) -> None:
    first = model.version.digest
    home.forget(["s0"])
    second = model.version.digest
    home.recover()
    assert len({first, second, model.version.digest}) == 3
    assert model.version.digest == sql.version_digest(row(home), model.version.constituents)
