"""Checkpoints that a method made have names of their own, and are accepted for just their rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import names
from expunge.data import appending
from expunge.home import Home
from expunge.storage import packs
from expunge.testing.fakes import Nudged, Tiny, people
from expunge.training import lineage, sql, versions
from expunge.training import plan as plans
from expunge.training import unit as units
from expunge.training.lineage import Link
from expunge.training.recipe import Sharded
from expunge.training.unit import Unit

DIGESTS = st.binary(min_size=32, max_size=32)


@pytest.fixture
def whole(home: Home, monkeypatch: pytest.MonkeyPatch) -> Unit:
    """What built the one constituent of a model of three slices."""
    return trained(home, monkeypatch, Nudged())


def trained(home: Home, monkeypatch: pytest.MonkeyPatch, learner: Any) -> Unit:
    with monkeypatch.context() as patch:  # a ring on which each of them has people
        patch.setattr(appending.secrets, "token_bytes", lambda count: b"\x02" * count)
        home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(learner, slices=3))
    return planned(home)


def row(home: Home) -> sql.Model:
    with home.site.database.reading() as transaction:
        return home.site.model(transaction, "m")


def planned(home: Home) -> Unit:
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


def pack_of(unit: Unit) -> Path:
    (path,) = unit.folder.glob("*.pack")
    return path


def frames(unit: Unit) -> list[bytes]:
    with packs.reading(pack_of(unit)) as pack:
        assert pack is not None
        return [frame.name for frame in pack.frames()]


def run(unit: Unit) -> dict[str, Any]:
    return units.run(unit.to_json(), lambda _: None)


@given(DIGESTS, DIGESTS, DIGESTS, st.integers(1, 2**40), st.text(max_size=20))
def test_a_name_covers_all_that_it_is_made_of(
    parent: bytes, root: bytes, remaining: bytes, rows: int, method: str
) -> None:
    link = Link("slice:0:0:0", parent, method, rows, root, remaining, {"a": 1})
    others = [
        replace(link, parent=bytes(32)),
        replace(link, root=bytes(32)),
        replace(link, remaining=bytes(32)),
        replace(link, rows=rows + 1),
        replace(link, method=method + "x"),
    ]
    same = [replace(link, figures={}), replace(link, place="slice:0:1:0"), link]
    assert {one.name for one in same} == {link.name}
    changed = [one for one in others if one != link]
    assert link.name not in {one.name for one in changed}
    assert Link.from_json(link.to_json()) == link


def test_the_name_by_hand() -> None:
    parent, root, remaining = b"p" * 32, b"r" * 32, b"m" * 32
    found = names.forgotten(parent, "influence", 3, root, remaining)
    assert found == names.digest(
        "forgotten", parent, b"influence", (3).to_bytes(8, "little"), root, remaining
    )


def test_a_method_makes_every_checkpoint_from_the_first_touched_one(
    home: Home, whole: Unit
) -> None:
    before = frames(whole)
    home.forget(ids_of(whole, 1)[:2])
    unit = planned(home)
    result = run(unit)
    after = frames(unit)
    assert after[0] == before[0]
    links = [Link.from_json(one) for one in result["forgot"]]
    assert [link.name for link in links] == after[1:]
    assert [link.parent for link in links] == before[1:]
    assert [link.remaining for link in links] == list(unit.plan.names[1:])
    assert [link.rows for link in links] == [2, 2]
    assert result["name"] == after[2].hex()
    assert not set(after[1:]) & set(unit.plan.names)


def test_doing_it_again_changes_nothing(home: Home, whole: Unit) -> None:
    home.forget(ids_of(whole, 0)[:1])
    unit = planned(home)
    first, content = run(unit), pack_of(unit).read_bytes()
    again = run(unit)
    assert pack_of(unit).read_bytes() == content
    assert (again["built"], again["samples"], again["forgot"]) == (0, 0, first["forgot"])


def test_a_second_request_goes_on_from_what_the_first_left(home: Home, whole: Unit) -> None:
    home.forget(ids_of(whole, 2)[:1])
    run(planned(home))
    middle = frames(whole)
    home.forget(ids_of(whole, 2)[1:2])
    unit = planned(home)
    (link,) = map(Link.from_json, run(unit)["forgot"])
    assert (link.parent, link.rows) == (middle[2], 1)
    assert frames(unit) == [*middle[:2], link.name]


def test_rows_that_come_are_learnt_on_top(home: Home, whole: Unit) -> None:
    home.forget(ids_of(whole, 0)[:1])
    run(planned(home))
    corrected = frames(whole)
    home.ingest("people", people(8, first=100, seed=3))
    unit = planned(home)
    result = run(unit)
    assert result["built"] == 1
    after, last = frames(unit), unit.plan.slices[-1]
    assert after[:3] == corrected
    assert after[3] == names.checkpoint(corrected[2], lineage.place(last), last.samples, last.root)
    assert versions.best(row(home), unit.plan).whole


def test_what_a_method_cannot_do_is_built(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(home, monkeypatch, Nudged(fails=True))
    home.forget(ids_of(whole, 1)[:1])
    unit = planned(home)
    result = run(unit)
    assert result["forgot"] == []
    assert frames(unit) == list(unit.plan.names)
    home.recover()
    assert home.verify("m").exact


def test_a_learner_without_a_method_leaves_no_lineage(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(home, monkeypatch, Tiny())
    home.forget(ids_of(whole, 0)[:1])
    assert run(planned(home))["forgot"] == []
    assert not list(whole.folder.glob("*.past"))


@pytest.mark.parametrize("harm", ["torn", "gone", "other rows", "other method"])
def test_a_checkpoint_whose_lineage_does_not_fit_is_not_served(
    home: Home, whole: Unit, harm: str
) -> None:
    home.forget(ids_of(whole, 0)[:1])
    unit = planned(home)
    run(unit)
    assert versions.best(row(home), unit.plan).whole
    pack = pack_of(unit)
    past = pack.with_suffix(".past")
    if harm == "torn":
        past.write_bytes(past.read_bytes()[:-1])
    elif harm == "gone":
        past.unlink()
    else:
        change = {"rows": 2} if harm == "other rows" else {"method": "rebuild"}
        lineage.write(pack, [replace(link, **change) for link in lineage.read(pack).values()])
    assert versions.best(row(home), unit.plan).frame is None
    run(unit)  # built from the rows
    assert frames(unit) == list(unit.plan.names)


def test_a_later_request_withdraws_what_a_method_made(home: Home, whole: Unit) -> None:
    home.forget(ids_of(whole, 0)[:1])
    home.recover()
    made = versions.best(row(home), planned(home).plan)
    assert made.whole
    home.forget(ids_of(whole, 2)[:1])
    served = home.model("m").version.constituents[0]
    assert served.depth == 2
    assert served.frame is not None
    assert served.frame.name in frames(whole)[:2]
    assert versions.best(row(home), planned(home).plan).depth == 2
    home.forget(ids_of(whole, 0)[1:2])
    assert home.model("m").version.constituents[0].frame is None
