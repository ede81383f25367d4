"""Rows are taken out of checkpoints by subtraction, where a note says what is in them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import expunge
from expunge.core.types import Task
from expunge.data import appending
from expunge.data.erase import erase
from expunge.home import Home
from expunge.learners.protocol import Learner
from expunge.storage import disk, packs
from expunge.testing.fakes import Tiny, people
from expunge.training import moving, sql
from expunge.training import plan as plans
from expunge.training import unit as units
from expunge.training.recipe import Sharded
from expunge.training.unit import Unit


@pytest.fixture
def whole(home: Home, monkeypatch: pytest.MonkeyPatch) -> Unit:
    """What built the one constituent of a model of three slices."""
    with monkeypatch.context() as patch:  # a ring on which each of them has people
        patch.setattr(appending.secrets, "token_bytes", lambda count: b"\x02" * count)
        home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(expunge.Ridge(), slices=3))
    return planned(home)


def row(home: Home) -> sql.Model:
    with home.site.database.reading() as transaction:
        return home.site.model(transaction, "m")


def planned(home: Home) -> Unit:
    """The unit that makes the model what it should be now."""
    model = row(home)
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, model.dataset)
    folders = {key: batch.folder for key, batch in ground.batches.items()}
    plan = plans.make(model.recipe, ground, 0)
    return Unit(model.folder, folders, ground.dataset.schema, model.recipe, plan)


def ids_of(unit: Unit, place: int) -> list[str]:
    part = unit.plan.slices[place]
    batch = unit.source.open(part.key)
    return [str(one) for one in batch.read(["id"], part.start, part.stop)["id"]]


def run(unit: Unit) -> dict[str, Any]:
    return units.run(unit.to_json(), lambda _: None)


def content(folder: Path) -> bytes:
    (path,) = folder.glob("*.pack")
    return path.read_bytes()


def fresh(unit: Unit, folder: Path) -> bytes:
    """The pack of the same plan, built from the rows."""
    built = run(replace(unit, folder=folder))
    assert built["samples"] == sum(np.cumsum([part.samples for part in unit.plan.slices]))
    return content(folder)


@pytest.mark.parametrize(("place", "visits"), [(0, 3), (1, 2), (2, 1)])
def test_only_the_rows_that_went_are_visited(
    home: Home, whole: Unit, tmp_path: Path, place: int, visits: int
) -> None:
    assert len(whole.plan.slices) == 3
    home.forget(ids_of(whole, place)[:1])
    after = planned(home)
    assert run(after)["samples"] == visits  # one row, in each slice from its own on
    assert content(whole.folder) == fresh(after, tmp_path)


def test_a_slice_that_went_as_a_whole_is_taken_out(home: Home, whole: Unit, tmp_path: Path) -> None:
    home.forget(ids_of(whole, 0))
    after = planned(home)
    assert [part.part for part in after.plan.slices] == [1, 2]
    assert run(after)["built"] == 2
    assert content(whole.folder) == fresh(after, tmp_path)


def test_rows_that_come_back_are_added(home: Home, whole: Unit, tmp_path: Path) -> None:
    before = content(whole.folder)
    home.forget(ids_of(whole, 1)[:2])
    run(planned(home))
    assert content(whole.folder) != before
    assert run(whole)["samples"] == 4  # two rows, in two slices
    assert content(whole.folder) == before == fresh(whole, tmp_path)


def test_what_is_appended_is_built_upon_what_was_moved(
    home: Home, whole: Unit, tmp_path: Path
) -> None:
    home.ingest("people", people(20, first=60))
    home.forget(ids_of(whole, 2)[:1])
    after = planned(home)
    assert len(after.plan.slices) == 4
    assert run(after)["samples"] == 1 + after.plan.samples
    assert content(whole.folder) == fresh(after, tmp_path)


def test_where_most_rows_went_it_is_built_from_the_others(
    home: Home, whole: Unit, tmp_path: Path
) -> None:
    home.forget([one for place in range(3) for one in ids_of(whole, place)][:-3])
    after = planned(home)
    assert run(after)["samples"] == 3
    assert content(whole.folder) == fresh(after, tmp_path)


@pytest.mark.parametrize("harm", ["gone", "torn", "of another plan", "damaged checkpoint"])
def test_without_a_note_that_fits_it_is_built_from_the_rows(
    home: Home, whole: Unit, tmp_path: Path, harm: str
) -> None:
    (note,) = whole.folder.glob("*.rows")
    (path,) = whole.folder.glob("*.pack")
    home.forget(ids_of(whole, 0)[:1])
    after = planned(home)
    if harm == "gone":
        note.unlink()
    elif harm == "torn":
        note.write_bytes(note.read_bytes()[:-1])
    elif harm == "of another plan":
        moving.note(path, after.plan.slices)
    else:
        stored = bytearray(path.read_bytes())
        with packs.reading(path) as pack:
            assert pack is not None
            stored[pack.frames()[0].end - 1] ^= 1
        path.write_bytes(stored)
    built = run(after)
    assert built["samples"] == sum(np.cumsum([part.samples for part in after.plan.slices]))
    assert content(whole.folder) == fresh(after, tmp_path)


def test_rows_that_were_erased_are_not_subtracted(home: Home, whole: Unit, tmp_path: Path) -> None:
    home.forget(ids_of(whole, 0)[:1])
    after = planned(home)
    part = after.plan.slices[0]
    erase(whole.source.open(part.key), part.drop)
    expected = fresh(after, tmp_path)
    assert run(after)["samples"] == sum(np.cumsum([one.samples for one in after.plan.slices]))
    assert content(whole.folder) == expected


def test_stopped_at_any_change_of_the_disk_it_goes_on_to_the_same_bytes(
    home: Home, whole: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.forget(ids_of(whole, 0)[:1])
    after = planned(home)
    expected = fresh(after, tmp_path)
    before = {path: path.read_bytes() for path in whole.folder.iterdir()}
    for moment in itertools.count(1):
        for path, stored in before.items():
            path.write_bytes(stored)
        with monkeypatch.context() as patch:
            stopped = _stopping(patch, moment)
            try:
                run(after)
            except InterruptedError:
                assert stopped
        run(after)
        assert content(whole.folder) == expected
        if not stopped:
            break
    assert moment > 6


def _stopping(patch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Ends with an error before the ``moment``-th change of the disk; says which that was."""
    made, stopped = itertools.count(1), list[str]()

    def guarded(name: str, real: Any) -> Any:
        def call(*args: Any) -> Any:
            if next(made) == moment:
                stopped.append(name)
                raise InterruptedError
            return real(*args)

        return call

    for name in ("write", "truncate", "sync", "write_file"):
        patch.setattr(disk, name, guarded(name, getattr(disk, name)))
    return stopped


def test_a_home_forgets_by_subtraction_and_destroys_what_it_subtracted(home: Home) -> None:
    home.ingest("people", people(60), id="id", subject="who")
    model = home.train("m", home.dataset("people").view("y"), expunge.Ridge())
    home.forget(["s1", "s30"]).wait()
    home.forget(["s2"]).wait()
    rebuilt = [fact.body["samples"] for fact in home.facts() if fact.kind == "unit.rebuilt"]
    assert rebuilt == [60, 2, 1]
    assert home.verify("m").exact
    assert model.predict(people(5)).shape == (5,)


def test_rows_that_the_view_leaves_out_are_not_subtracted(home: Home, tmp_path: Path) -> None:
    rows = people(60)
    home.ingest("people", rows, id="id", subject="who")
    home.train("m", home.dataset("people").view("y", where=[("x0", ">", 0.0)]), expunge.Ridge())
    learnt = [str(one) for one in rows["id"][rows["x0"] > 0]]
    home.forget([learnt[0], *(str(one) for one in rows["id"][rows["x0"] <= 0][:3])])
    after = planned(home)
    assert run(after)["samples"] == 1
    assert content(after.folder) == fresh(after, tmp_path)


@pytest.mark.parametrize(
    ("recipe", "goes_on"), [(expunge.Convex(), True), (Tiny(), False)], ids=["warm", "not warm"]
)
def test_only_what_does_not_depend_on_it_goes_on_from_what_saw_the_rows(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: Learner, goes_on: bool
) -> None:
    home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), recipe)
    (path,) = row(home).folder.glob("*.pack")
    with packs.reading(path) as pack:
        assert pack is not None
        old = pack.read(pack.frames()[0])
    home.forget(["s3"])
    parents: list[bytes | None] = []
    real = type(recipe).learn

    def learn(self: Learner, task: Task, parent: bytes | None, *rest: Any) -> bytes:
        parents.append(parent)
        return real(self, task, parent, *rest)

    monkeypatch.setattr(type(recipe), "learn", learn)
    after = planned(home)
    run(after)
    assert parents == [old if goes_on else None]
    assert content(after.folder) == fresh(after, tmp_path)
