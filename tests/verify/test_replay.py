"""A replay is as good as what it finds: a forged checkpoint, a version that is not the plan's."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.data import appending
from expunge.home import Home
from expunge.storage import packs
from expunge.testing.fakes import Tiny, people
from expunge.training import sql, versions
from expunge.training.recipe import Sharded


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


def test_a_model_that_is_its_plan_is_exact(home: Home, model: sql.Model) -> None:
    found = home.verify("m")
    assert found.exact
    assert (found.constituents, found.frames, found.same_runtime) == (3, 6, 3)


def test_other_bytes_under_the_right_name_are_not_exact(home: Home, model: sql.Model) -> None:
    (path,) = versions.pack_paths(model, 1)
    forge(path)
    with home.site.database.transaction() as transaction:
        ground = home.site.locked_ground(transaction, model.dataset)
        versions.publish(transaction, model, ground, [1])
    found = home.verify("m")
    assert (found.same_names, found.same_bytes, found.frames) == (3, 2, 5)
    assert not found.exact


def test_a_version_that_is_not_rebuilt_yet_is_not_exact(home: Home, model: sql.Model) -> None:
    home.forget(["s1"])
    found = home.verify("m")
    assert (found.same_names, found.same_bytes) == (2, 2)
    assert not found.exact
    home.recover()
    assert home.verify("m").exact
