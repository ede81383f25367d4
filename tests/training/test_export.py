"""What is exported is what is served, all of it or nothing, and it is recorded first."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from expunge.core.errors import DataCorrupt, InputError
from expunge.home import Home
from expunge.storage import disk, packs
from expunge.testing.fakes import Tiny, people
from expunge.training import ensemble, export, sql, versions
from expunge.training.recipe import Recipe, Sharded


@pytest.fixture
def model(home: Home) -> sql.Model:
    home.ingest("people", people(60), id="id", subject="who")
    view = home.dataset("people").view("y")
    home.train("m", view, Sharded(Tiny(rate=1.0), shards=3, slices=2, seed=2**60))
    with home.site.database.reading() as transaction:
        return home.site.model(transaction, "m")


def served(home: Home, model: sql.Model) -> sql.Version:
    with home.site.database.reading() as transaction:
        version = sql.current(transaction, model.id)
    assert version is not None
    return version


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def exports(home: Home) -> list[dict[str, object]]:
    return [dict(fact.body) for fact in home.facts() if fact.kind == "model.exported"]


def test_the_files_are_those_that_were_announced(
    home: Home, model: sql.Model, tmp_path: Path
) -> None:
    version, folder = served(home, model), tmp_path / "out"
    announced = export.files(model, version)
    assert export.export(home.site, model, version, folder) == announced == digests(folder)
    for constituent in version.constituents:
        state = (folder / f"shard-{constituent.shard:05d}.state").read_bytes()
        assert state == ensemble.state(model, constituent)
    assert exports(home) == [{"model": model.folder.name, "version": version.digest, "files": 4}]
    assert folder.stat().st_mode & 0o77 == 0


def test_the_description_says_what_the_files_are(
    home: Home, model: sql.Model, tmp_path: Path
) -> None:
    version = served(home, model)
    export.export(home.site, model, version, tmp_path / "out")
    told = json.loads((tmp_path / "out/version.json").read_bytes())
    assert told["version"] == version.digest
    assert told["model"] == model.folder.name
    # To the last digit: 1.0 is not 1, and a seed may have 64 bits.
    assert Recipe.from_json(told["recipe"]).digest == model.recipe.digest
    for told_one, constituent in zip(told["constituents"], version.constituents, strict=True):
        assert constituent.frame is not None
        state = (tmp_path / f"out/shard-{constituent.shard:05d}.state").read_bytes()
        assert told_one == {
            "shard": constituent.shard,
            "name": constituent.frame.name.hex(),
            "samples": constituent.frame.samples,
            "state": sha256(state).hexdigest(),
            "runtime": next(iter(export.runtimes(model, version))),
        }
    (description,) = export.runtimes(model, version).values()
    assert description["threads"] == 1


def test_a_shard_without_a_model_has_no_file(home: Home, tmp_path: Path) -> None:
    home.ingest("few", people(3), id="id", values=["y"])
    home.train("f", home.dataset("few").view("y"), Sharded(Tiny(), shards=9))
    with home.site.database.reading() as transaction:
        model = home.site.model(transaction, "f")
    version = served(home, model)
    found = export.export(home.site, model, version, tmp_path / "out")
    standing = [one for one in export.served(model, version) if one.name]
    assert len(found) == 1 + len(standing) <= 4
    assert sum(one == export.Served(one.shard) for one in export.served(model, version)) >= 6


def test_only_what_is_served_is_exported(home: Home, model: sql.Model, tmp_path: Path) -> None:
    before = served(home, model)
    home.forget(["s1"])
    with pytest.raises(InputError, match="Another version"):
        export.export(home.site, model, before, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
    assert exports(home) == []
    export.export(home.site, model, served(home, model), tmp_path / "out")


def test_a_folder_of_somebody_else_is_left_alone(
    home: Home, model: sql.Model, tmp_path: Path
) -> None:
    version = served(home, model)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    for taken in (tmp_path / "mine", tmp_path / "mine/file"):
        with pytest.raises(InputError, match="empty or a new one"):
            export.export(home.site, model, version, taken)
    assert (tmp_path / "mine/file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert export.export(home.site, model, version, tmp_path / "empty")


def test_it_is_recorded_before_the_first_byte_leaves(
    home: Home, model: sql.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(disk, "write_file", full)
    with pytest.raises(OSError, match="No space"):
        export.export(home.site, model, served(home, model), tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
    assert len(exports(home)) == 1


def test_a_damaged_checkpoint_is_not_exported(home: Home, model: sql.Model, tmp_path: Path) -> None:
    (path,) = versions.pack_paths(model, 1)
    with packs.reading(path) as pack:
        assert pack is not None
        place = pack.frames()[-1].end - 1
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataCorrupt):
        export.export(home.site, model, served(home, model), tmp_path / "out")
    assert exports(home) == []
