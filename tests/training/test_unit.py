"""A unit: what it keeps, what it cuts off, what it will not go on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.errors import PlanStale
from expunge.data import appending
from expunge.data.erase import erase
from expunge.home import Home
from expunge.storage import packs
from expunge.testing.fakes import Tiny, people
from expunge.training import plan as plans
from expunge.training import runtime, sql
from expunge.training import unit as units
from expunge.training.plan import Plan
from expunge.training.recipe import Sharded
from expunge.training.unit import Unit


@pytest.fixture
def whole(home: Home, monkeypatch: pytest.MonkeyPatch) -> Unit:
    """What built the one constituent of a model of three slices."""
    with monkeypatch.context() as patch:  # a ring on which each of them has people
        patch.setattr(appending.secrets, "token_bytes", lambda count: b"\x02" * count)
        home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=1, slices=3))
    found = planned(home)
    assert len(found.plan.slices) == 3
    return found


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


def run(unit: Unit, stop_at: int = -1) -> dict[str, Any]:
    """Run a unit in this process; ends with an error at a report of ours."""
    reports: list[object] = []

    def report(body: object) -> None:
        reports.append(body)
        if len(reports) == stop_at:
            raise InterruptedError

    return units.run(unit.to_json(), report)


def frames(folder: Path) -> list[tuple[bytes, bytes]]:
    """Names and checksums in the only pack of a folder, which ends behind the last of them."""
    (path,) = folder.glob("*.pack")
    with packs.reading(path) as pack:
        assert pack is not None
        found = pack.frames()
        assert path.stat().st_size == (found[-1].end if found else 0)
        assert all(pack.holds(frame) for frame in found)
        return [(frame.name, frame.checksum) for frame in found]


def test_what_the_plan_does_not_name_is_cut_off_at_once(home: Home, whole: Unit) -> None:
    home.forget(ids_of(whole, 2))
    after = planned(home)
    assert after.plan.names == whole.plan.names[:2]
    assert run(after)["destroyed"] == 1
    assert [name for name, _ in frames(whole.folder)] == list(after.plan.names)


def test_a_unit_tells_the_name_of_its_last_checkpoint(
    home: Home, whole: Unit, tmp_path: Path
) -> None:
    assert run(whole)["name"] == whole.plan.names[-1].hex()
    assert run(replace(whole, folder=tmp_path, plan=Plan(0, ())))["name"] is None
    (rebuilt,) = [fact for fact in home.facts() if fact.kind == "unit.rebuilt"]
    assert rebuilt.body["name"] == whole.plan.names[-1].hex()


def test_stopped_anywhere_a_pack_holds_only_what_the_plan_names(home: Home, whole: Unit) -> None:
    home.forget(ids_of(whole, 0)[:1])
    after = planned(home)
    for built in (1, 2):
        with pytest.raises(InterruptedError):
            run(after, stop_at=2)
        assert [name for name, _ in frames(whole.folder)] == list(after.plan.names[:built])


def test_going_on_gives_the_bytes_of_building_at_once(whole: Unit, tmp_path: Path) -> None:
    once, twice = (replace(whole, folder=tmp_path / name) for name in ("once", "twice"))
    run(once)
    with pytest.raises(InterruptedError):
        run(twice, stop_at=2)
    assert run(twice)["built"] == 2
    assert frames(twice.folder) == frames(once.folder) == frames(whole.folder)


def test_what_happens_at_a_slice_depends_on_no_later_one(whole: Unit, tmp_path: Path) -> None:
    shorter = replace(whole, folder=tmp_path, plan=Plan(0, whole.plan.slices[:2]))
    run(shorter)
    assert frames(tmp_path) == frames(whole.folder)[:2]


def test_a_damaged_checkpoint_is_not_gone_on_from(home: Home, whole: Unit) -> None:
    before = frames(whole.folder)
    (path,) = whole.folder.glob("*.pack")
    with packs.reading(path) as pack:
        assert pack is not None
        second = pack.frames()[1]
    stored = bytearray(path.read_bytes())
    stored[second.end - 1] ^= 1
    path.write_bytes(stored[: second.end])
    assert run(whole)["built"] == 2
    assert frames(whole.folder) == before


def test_a_checkpoint_of_another_runtime_is_not_gone_on_from(
    whole: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ours,) = whole.folder.glob("*.pack")
    before = ours.read_bytes()
    ours.write_bytes(before[: len(before) // 2])
    half = ours.read_bytes()
    other = dict(runtime.describe(("numpy",))) | {"instructions": {"ATEN_CPU_CAPABILITY": "x"}}
    monkeypatch.setattr(runtime, "describe", lambda *_, **__: other)
    assert run(whole)["built"] == 3
    assert ours.read_bytes() == half
    assert len(list(whole.folder.glob("*.pack"))) == 2


def test_a_plan_whose_rows_were_erased_builds_nothing(whole: Unit, tmp_path: Path) -> None:
    fresh = replace(whole, folder=tmp_path)
    part = whole.plan.slices[1]
    erase(whole.source.open(part.key), np.array([part.start], np.int64))
    with pytest.raises(PlanStale):
        run(fresh)
    assert frames(tmp_path) == []
