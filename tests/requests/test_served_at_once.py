"""From the moment a request is accepted: what is served, what is kept, what is found again."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.data import appending
from expunge.execution.local import Inline
from expunge.requests import destroy, forget
from expunge.storage import packs
from expunge.testing.fakes import Tiny, people
from expunge.training import plan as plans
from expunge.training import versions
from expunge.training.recipe import Sharded


def test_who_has_predicted_before_is_served_the_new_version(world, rows, opened):
    other = opened(world.home.site.root).model("m")
    before = world.model.answer(rows).version
    assert other.answer(rows).version == before
    world.home.forget(["s1"])
    now = world.model.version.digest
    assert now != before
    assert (world.model.answer(rows).version, other.answer(rows).version) == (now, now)
    world.home.recover()
    whole = world.model.version.digest
    assert (world.model.answer(rows).version, other.answer(rows).version) == (whole, whole)
    assert len({before, now, whole}) == 3


def test_a_plan_made_before_a_request_is_not_published_by_it(world):
    """With rows that are not trained yet, forgetting computes names: of the rows that remain."""
    world.home.ingest("people", people(40, first=100, seed=5))
    tainted = {name.hex() for shard in range(3) for name in world.plan(shard).names}
    world.home.forget(world.rows_of(0, 0) + world.rows_of(1, 1))
    planned = {name.hex() for shard in range(3) for name in world.plan(shard).names}
    served = set(world.served()) - {None}
    assert tainted - planned
    assert served <= planned


def test_rows_are_not_destroyed_while_a_model_is_behind(world):
    dataset = world.ground().dataset.id
    receipt = world.home.forget(["s1"])
    assert destroy.destroy(world.home.site, dataset) == 0
    assert (world.erased(), str(receipt.state)) == ([], "forgotten")
    world.home.recover()
    assert (len(world.erased()), str(receipt.state)) == (1, "done")


def test_checkpoints_of_another_runtime_are_destroyed_too(world):
    folder = world.model._row.folder
    for path in sorted(folder.glob("*.pack")):
        (folder / f"{path.name[:5]}.{'0' * 16}.pack").write_bytes(path.read_bytes())
    tainted = set(world.plan(1).names)
    world.home.forget(world.rows_of(1, 0)[:1]).wait()
    assert tainted.isdisjoint(world.plan(1).names)
    held = {path.name: path.read_bytes() for path in folder.glob("00001.*.pack")}
    assert [name for name, stored in held.items() if any(n in stored for n in tainted)] == []


@pytest.mark.parametrize("where", [(versions, "withdraw"), (appending, "register")])
def test_a_correction_is_one_change_whatever_fails(world, rows, monkeypatch, where):
    real, before = getattr(*where), (world.model.version, world.home.dataset("people"))

    def fail(*arguments):
        real(*arguments)
        raise OSError("disk full")

    monkeypatch.setattr(*where, fail)
    with pytest.raises(OSError, match="disk full"):
        world.home.correct({name: cells[8:9] for name, cells in rows.items()})
    monkeypatch.undo()
    assert (world.model.version, world.home.dataset("people")) == before
    assert world.home.requests() == []


def test_a_row_that_came_back_is_learnt_again(world, rows):
    first = world.ids()[0]  # whatever batch it comes back in has a row at that place
    number = int(first[1:])
    world.home.forget([first]).wait()
    back = {name: cells[number : number + 1] for name, cells in rows.items()}
    more = people(20, first=100)
    both = {name: np.concatenate([back[name], more[name]]) for name in rows}
    world.home.ingest("people", both, readmit=True)
    world.home.recover()
    ground = world.ground()
    found = [plans.make(world.model._row.recipe, ground, shard).samples for shard in range(3)]
    assert sum(found) == 59 + 21
    assert sum(c.frame.samples for c in world.model.version.constituents) == 59 + 21
    world.home.forget([first])
    assert world.home.dataset("people").rows == 59 + 20


def test_a_request_that_was_rolled_back_is_not_mistaken_for_another(world, monkeypatch, opened):
    """Another process's tombstone has the number that the one rolled back here would have had."""
    other, real = opened(world.home.site.root), forget.enter

    def fail(*arguments):
        real(*arguments)
        raise OSError("disk full")

    monkeypatch.setattr(forget, "enter", fail)
    with pytest.raises(OSError, match="disk full"):
        world.home.forget(["s1"])
    monkeypatch.undo()
    other.forget(["s30"])
    (gone,) = world.ground().gone.values()
    assert [world.ids()[ordinal] for ordinal in gone] == ["s30"]


class Ending(Inline):
    """Ends after the first piece of a training."""

    def run(self, function, arguments, report):
        for done in super().run(function, arguments, report):
            yield done
            raise InterruptedError


def test_what_an_unfinished_training_left_is_destroyed(tmp_path, opened, rows):
    home = opened(tmp_path / "home", executor=Ending())
    home.ingest("people", rows, id="id", subject="who")
    with pytest.raises(InterruptedError):
        home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=1, slices=1))
    model = home.model("m")._row
    (path,) = model.folder.glob("*.pack")
    assert path.stat().st_size > 0
    home.forget(["s1"])
    assert destroy.destroy(home.site, model.dataset) == 1
    with packs.reading(path) as pack:
        assert pack.frames() == []
