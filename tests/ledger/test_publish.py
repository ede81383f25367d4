from __future__ import annotations

import os

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core import merkle
from expunge.core.errors import DataCorrupt, LeaseHeld, LedgerForked
from expunge.ledger import edge, files, publish, sequencer, sql, tiles
from expunge.ledger.edge import Edge
from expunge.ledger.files import Place
from expunge.ledger.fsck import fsck
from expunge.storage import disk
from expunge.storage.facts import FACTS


def written(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


# Where files stand


@given(st.integers(0, 2**40), st.integers(1, 256), st.none() | st.integers(0, 5))
def test_a_place_has_one_path_and_a_path_one_place(index, width, level):
    place = Place(level, index, width)
    assert files.place(place.path) == place


@pytest.mark.parametrize(
    "path",
    [
        "checkpoint",
        "tile/0/1",
        "tile/0/0001",
        "tile/0/x000/001",
        "tile/00/001",
        "tile/64/001",
        "tile/0/001.p/0",
        "tile/0/001.p/07",
        "tile/0/001.p/256",
        "tile/0/001.p/257",
        "tile/0/001.p",
        "tile/entries/x001",
        "tile/0/x001/x002/003/",
        "tile/0/00١",
        "tile/0/.001.17.part",
    ],
)
def test_other_paths_are_no_places(path):
    assert files.place(path) is None


@given(st.integers(0, 200_000))
def test_a_tree_has_the_files_that_its_size_says(size):
    # C2SP tlog-tiles: floor(s / 256^l) hashes at level l, the last tile partial unless full.
    found = list(files.places(size))
    assert len({place.path for place in found}) == len(found)
    for level in (None, 0, 1, 2, 3):
        held = sum(place.width for place in found if place.level == level)
        assert held == size // 256 ** (level or 0)
    assert all(place.width == place.width_at(size) for place in found)


def test_the_specification_s_example():
    # "a tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0
    # tile of width 112, one full level 1 tile, one partial level 1 tile of width 17, and one
    # partial level 2 tile of width 1."
    found = [(p.level, p.width) for p in files.places(70_000) if p.level is not None]
    assert found.count((0, 256)) == 273
    rest = [one for one in found if one != (0, 256)]
    assert rest == [(0, 112), (1, 256), (1, 17), (2, 1)]


HASHES = [merkle.leaf_hash(b"%d" % number) for number in range(66_000)]


def grown(sizes):
    """The tiles of a tree that was published at each of ``sizes``, and its last edge."""
    held, last = {}, Edge()
    for before, size in zip([0, *sizes], sizes, strict=False):
        start = before - before % 256
        rows = [_row(held, level, before) for level in range(1, 4) if before >> 8 * level]
        last = Edge(start, rows)
        for at in range(start, size, 256):
            held |= last.append(HASHES[at : min(size, at + 256)])
        held |= last.partial()
    return held, last


def _row(held, level, size):
    count = size >> 8 * level
    if not count % 256:
        return []
    data = held[tiles.tile_path(level, count // 256, count % 256)]
    return [data[at : at + 32] for at in range(0, len(data), 32)]


@given(st.lists(st.integers(1, 66_000), min_size=1, max_size=3, unique=True).map(sorted))
@settings(max_examples=15)
def test_a_tree_grown_in_steps_is_the_tree(sizes):
    held, last = grown(sizes)
    size = sizes[-1]
    assert last.size == size
    assert last.root() == merkle.root(HASHES[:size])
    whole, _ = grown([size])
    assert whole.items() <= held.items()
    assert whole.keys() == {p.path for p in files.places(size) if p.level is not None}
    read = tiles.reader(size, held.__getitem__)
    index = size // 3
    path = merkle.prove_inclusion(index, size, read)
    assert merkle.check_inclusion(HASHES[index], index, size, path, last.root())


def test_an_edge_takes_whole_bundles():
    with pytest.raises(ValueError, match="begins at a full bundle"):
        Edge(5)
    begun = Edge()
    begun.append(HASHES[:5])
    with pytest.raises(ValueError, match="a partial one is the last"):
        begun.append(HASHES[5:9])
    with pytest.raises(ValueError, match="appended whole"):
        Edge().append(HASHES[:257])
    assert edge.root([]) == merkle.root([])


# Publishing


@pytest.mark.parametrize("steps", [[1], [254], [255], [256, 1], [100, 155, 1], [300, 300], [1500]])
def test_published_files_are_the_tree(either, steps):
    ledger, size = either.ledger(), 1
    ledger.sync()
    for count in steps:
        either.record(count)
        size += count
        assert ledger.sync() == size
        assert fsck(either.files, ledger.vkey).problems == ()
    needed = {place.path for place in files.places(size)} | {"checkpoint"}
    assert needed <= written(either.files)
    assert ledger.fsck().is_clean


def test_partial_tiles_go_when_the_full_one_has_come(desk):
    ledger = desk.ledger()
    desk.record(99)
    ledger.sync()
    older = ledger.checkpoint
    desk.record(200)
    ledger.sync()
    left = written(desk.files)
    assert "tile/0/000" in left
    assert not any(path.startswith(("tile/0/000.p", "tile/entries/000.p")) for path in left)
    # Who still has the older checkpoint finds its proofs, and its entries.
    assert ledger.proofs([7], older)[0].checkpoint == older
    fetch = files.fetcher(desk.files)
    assert len(tiles.decode_bundle(fetch("tile/entries/000.p/100"))) == 100
    with pytest.raises(FileNotFoundError):
        fetch("tile/0/001.p/200")
    with pytest.raises(FileNotFoundError):
        fetch("nothing")


def test_a_checkpoint_comes_after_all_that_it_speaks_of(desk, monkeypatch):
    desk.record(700)
    ledger, seen = desk.ledger(), []
    replace, sync = disk.replace, disk.sync
    synced, needed = set(), {f"ledger/{place.path}" for place in files.places(701)}

    def watched_sync(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def watched_replace(source, target):
        assert source.stat().st_ino in synced, "renamed before it was on the disk"
        replace(source, target)
        path = target.relative_to(desk.folder).as_posix()
        assert path != "ledger/checkpoint" or needed <= set(seen)
        seen.append(path)

    monkeypatch.setattr(disk, "sync", watched_sync)
    monkeypatch.setattr(disk, "replace", watched_replace)
    ledger.sync()
    assert seen[-1] == "ledger/checkpoint"
    assert needed == {path for path in seen if "/tile/" in path}


def test_new_folders_outlast_a_crash(desk, monkeypatch):
    kept, sync_folder = set(), disk.sync_folder
    monkeypatch.setattr(disk, "sync_folder", lambda folder: (kept.add(folder), sync_folder(folder)))
    desk.ledger().sync()
    made = [path for path in desk.files.rglob("*") if path.is_dir()]
    assert {desk.folder, *(path.parent for path in made)} <= kept


def test_nothing_is_written_twice(desk, monkeypatch):
    ledger = desk.ledger()
    desk.record(600)
    ledger.sync()
    fresh, write_file = [], disk.write_file
    monkeypatch.setattr(
        disk, "write_file", lambda path, data: (fresh.append(path.name), write_file(path, data))
    )
    ledger.sync()
    assert fresh == []
    desk.record(2)
    ledger.sync()
    assert sorted(fresh) == ["91", "91", "checkpoint"]


def test_damage_at_the_edge_is_mended_by_the_next_to_come(desk):
    ledger = desk.ledger()
    desk.record(70_000 // 256)
    ledger.sync()
    above = desk.files / tiles.tile_path(1, 0, 1)
    above.write_bytes(bytes(32))
    desk.record(300)
    ledger.sync()
    assert ledger.fsck().is_clean
    (desk.files / "tile/1/000.p/2").unlink()
    desk.record(300)
    ledger.sync()
    assert ledger.fsck().is_clean


def test_a_repair_writes_all_files_again(desk):
    ledger = desk.ledger()
    desk.record(600)
    ledger.sync()
    (desk.files / "tile/1/000.p").mkdir(exist_ok=True)
    (desk.files / "tile/1/000.p/1").write_bytes(b"damage")
    (desk.files / "tile/entries/000").write_bytes(b"damage")
    (desk.files / "tile/0/001").unlink()
    assert {problem.file for problem in ledger.fsck().problems} == {
        "tile/entries/000",
        "tile/0/001",
        "tile/1/000.p/1",
    }
    ledger.repair()
    assert ledger.fsck().is_clean


def test_two_histories_are_never_published_over_each_other(desk, tmp_path):
    ledger = desk.ledger()
    desk.record(300)
    ledger.sync()
    before = ledger.checkpoint
    with desk.database.transaction() as transaction:
        other = sql.leaves(transaction, 290, 291)[0].replace(b"count", b"Count")
        transaction.execute(FACTS.update().where(FACTS.c.entry == 290).values(leaf=other))
    desk.record(1)
    with pytest.raises(LedgerForked, match="two histories"):
        ledger.sync()
    assert ledger.checkpoint == before


def test_entries_that_do_not_give_the_head_are_not_published(desk):
    ledger = desk.ledger()
    ledger.sync()
    before = ledger.checkpoint
    desk.record(300)
    with ledger._writer.turn() as turn, desk.database.transaction() as transaction:
        sequencer.sequence(transaction, turn.lease, ledger.keys.log())
        transaction.execute(FACTS.update().where(FACTS.c.entry == 280).values(leaf=b"{}"))
    with pytest.raises(DataCorrupt, match="An entry of the ledger"):
        ledger.sync()
    with desk.database.transaction() as transaction:
        transaction.execute(sa.delete(FACTS).where(FACTS.c.entry == 290))
    with pytest.raises(DataCorrupt, match="number of the ledger's entries"):
        ledger.sync()
    assert ledger.checkpoint == before


def test_who_lost_the_turn_does_not_replace_the_checkpoint(desk):
    ledger = desk.ledger()
    ledger.sync()
    desk.record(2)
    before, left = ledger.checkpoint, [2]

    def guard():
        left[0] -= 1
        if not left[0]:
            raise LeaseHeld("taken")

    with ledger._writer.turn() as turn, desk.database.transaction() as transaction:
        sequencer.sequence(transaction, turn.lease, ledger.keys.log())
    with pytest.raises(LeaseHeld):
        publish.publish(desk.database, desk.files, guard)
    assert ledger.checkpoint == before
    assert (desk.files / "tile/0/000.p/3").exists()
    ledger.sync()
    assert ledger.fsck().is_clean


def test_what_a_crash_left_behind_is_swept(desk):
    ledger = desk.ledger()
    desk.record(299)
    ledger.sync()
    right = written(desk.files)
    for path in (
        "tile/0/001.p/45",
        "tile/entries/001",
        "tile/entries/002.p/3",
        "tile/0/.001.17.part",
    ):
        (desk.files / path).parent.mkdir(exist_ok=True)
        (desk.files / path).write_bytes(b"of a tree that was never signed")
    desk.record(1)
    other = desk.ledger()
    assert other.sync() == 301
    assert written(desk.files) - right == {"tile/0/001.p/45", "tile/entries/001.p/45"}
    assert other.fsck().is_clean


def test_an_unfinished_checkpoint_is_swept_too(desk):
    ledger = desk.ledger()
    ledger.sync()
    (desk.files / ".checkpoint.17.part").write_bytes(b"half")
    desk.record()
    desk.ledger().sync()
    assert ledger.fsck().is_clean
