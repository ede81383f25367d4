from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from expunge.core.errors import (
    InputError,
    MethodUnavailable,
    ModelWithdrawn,
    NothingToForget,
    SamplesForgotten,
    SamplesUnknown,
    UnknownName,
)
from expunge.execution.local import Inline
from expunge.requests import destroy
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded


def snapshot(world):
    """All but the refusals, which are recorded and change nothing."""
    home = world.home
    facts = [fact for fact in home.facts() if fact.kind != "request.refused"]
    return (world.model.version, home.dataset("people"), home.requests(), facts)


@pytest.mark.parametrize(
    ("samples", "subjects", "strangers"),
    [(["s1", "x9", "x8"], [], ["x8", "x9"]), (["s1"], ["p1", "nobody"], ["nobody"])],
)
def test_unknown_names_are_refused_and_nothing_is_forgotten(world, samples, subjects, strangers):
    before = snapshot(world)
    with pytest.raises(SamplesUnknown) as caught:
        world.home.forget(samples, subjects=subjects)
    assert caught.value.ids == strangers
    assert not any(stranger in str(caught.value) for stranger in strangers)
    assert snapshot(world) == before


def test_unknown_names_may_be_ignored(world):
    receipt = world.home.forget(["s1", "x9"], subjects=["nobody"], missing="ignore")
    assert (receipt.accepted.samples, receipt.accepted.already) == (1, 0)
    assert receipt.wait().state == "done"
    world.check_whole()


def test_a_request_that_finds_nothing_is_done_at_once(world):
    version, people_, *_ = snapshot(world)
    receipt = world.home.forget(["x9"], missing="ignore")
    assert receipt.state == "done"
    assert (receipt.accepted.samples, receipt.changes) == (0, ())
    assert snapshot(world)[:2] == (version, people_)
    assert [fact.kind for fact in receipt.facts] == ["request.received"]


def test_missing_takes_two_words(world):
    with pytest.raises(InputError, match="'raise' or 'ignore'"):
        world.home.forget(["s1"], missing="maybe")


def test_forgetting_twice_changes_nothing_the_second_time(world):
    world.home.forget(["s1"], subjects=["p3"]).wait()
    version, people_, *_ = snapshot(world)

    again = world.home.forget(["s1", "s12"], subjects=["p3"])

    assert (again.accepted.samples, again.accepted.already, again.changes) == (0, 5, ())
    assert again.wait().state == "done"
    assert snapshot(world)[:2] == (version, people_)
    assert world.ground().tombstones == 5


def test_what_is_forgotten_but_still_held_counts_as_forgotten(world):
    world.home.forget(["s1"])
    again = world.home.forget(["s1", "s2"])
    assert (again.accepted.samples, again.accepted.already) == (1, 1)
    again.wait()
    world.check_whole()


@pytest.mark.parametrize("samples", [[], (), iter([])])
def test_an_empty_request_is_refused(world, samples):
    before = snapshot(world)
    with pytest.raises(NothingToForget):
        world.home.forget(samples)
    assert snapshot(world) == before


def test_a_name_that_stands_twice_counts_once(world):
    assert world.home.forget(["s1", "s1"], subjects=["p0", "p0"]).accepted.samples == 4


def test_a_single_string_is_one_id(world):
    assert world.home.forget("s1").accepted.samples == 1
    assert world.home.forget(subjects="p3").accepted.samples == 4


def test_ids_may_come_from_a_stream(world):
    assert world.home.forget(f"s{n}" for n in range(3)).accepted.samples == 3


def test_a_slice_that_is_emptied_leaves_the_chain(world):
    names = world.plan(1).names
    receipt = world.home.forget(world.rows_of(1, 0))
    assert world.depths() == [2, 0, 2]
    receipt.wait()
    assert world.depths() == [2, 1, 2]
    assert not set(world.plan(1).names) & set(names)
    world.check_whole()


def test_the_last_slice_emptied_keeps_the_one_before(world):
    units, first = world.units(), world.plan(1).names[0]
    world.home.forget(world.rows_of(1, 1)).wait()
    assert world.plan(1).names == (first,)
    assert world.served()[1] == first.hex()
    built = [f.body["built"] for f in world.home.facts() if f.kind == "unit.rebuilt"][units:]
    assert sum(built) == 0
    world.check_whole()


def test_a_shard_that_is_emptied_leaves_the_ensemble(world, rows):
    world.home.forget(world.rows_of(2)).wait()
    assert world.served()[2] is None
    assert world.model.version.whole
    assert world.model.predict_proba(rows).sum(axis=1) == pytest.approx(1)
    world.check_whole()


def test_a_class_keeps_its_place_when_its_last_member_is_forgotten(world, rows):
    members = rows["id"][rows["y"] == "yes"]
    receipt = world.home.forget(members)
    assert receipt.wait().state == "done"
    assert world.model.task.classes == ("no", "yes")
    assert world.model.predict_proba(rows).shape == (60, 2)
    world.check_whole()


def test_a_receipt_says_when_a_declared_class_lost_its_last_member(world, rows):
    members = list(rows["id"][rows["y"] == "yes"])
    assert world.home.forget(members[:-1]).lost == {}
    assert world.home.forget(members[-1:]).lost == {"y": 1}
    world.home.recover()
    assert world.home.forget(rows["id"][rows["y"] == "no"][:1]).lost == {}


def test_when_all_is_forgotten_the_model_is_withdrawn_until_rows_come(world, rows):
    receipt = world.home.forget(rows["id"])
    for _ in range(2):
        with pytest.raises(ModelWithdrawn):
            world.model.predict(rows)
        receipt.wait()
    assert world.home.dataset("people").rows == 0
    assert world.erased() == list(range(60))
    world.check_whole()

    world.home.ingest("people", people(40, first=100))
    world.home.recover()
    assert len(world.model.predict(rows)) == 60
    world.check_whole()


def test_a_model_that_is_not_sharded_is_withdrawn_until_it_is_rebuilt(world, rows):
    plain = world.home.train("plain", world.home.dataset("people").view("y"), Tiny())
    receipt = world.home.forget(["s1"])
    with pytest.raises(ModelWithdrawn):
        plain.predict(rows)
    receipt.wait()
    assert len(plain.predict(rows)) == 60
    world.check_whole()


def test_a_subject_is_forgotten_in_all_batches(world):
    more = people(12, first=60, seed=1)
    more["who"][:3] = "p2"
    world.home.ingest("people", more)
    world.home.train("m", world.home.dataset("people").view("y"), Sharded(Tiny(), 3, 2))
    receipt = world.home.forget(subjects=["p2"])
    assert receipt.accepted.samples == 4 + 3
    receipt.wait()
    assert (len(world.erased(0)), len(world.erased(1))) == (4, 3)
    world.check_whole()


def test_a_row_about_several_people_goes_with_any_of_them(home, rows):
    rows["also"] = np.where(np.arange(60) % 10 == 5, "ann", "")
    home.ingest("people", rows, id="id", subject=["who", "also"], nullable=["also"])
    model = home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), 3, 2))
    receipt = home.forget(subjects=["ann"])
    assert receipt.accepted.samples == 6
    receipt.wait()
    assert home.forget(subjects=["p1"]).accepted.samples == 3  # s5 went with ann
    home.recover()
    assert home.dataset("people").rows == 60 - 6 - 3
    assert home.verify(model.name).exact


class Meddling(Inline):
    """Calls somebody in the midst of a training."""

    def __init__(self):
        self.calls = []

    def run(self, function, arguments, report):
        for done in super().run(function, arguments, report):
            if self.calls:
                self.calls.pop()()
            yield done


def test_a_request_during_the_first_training(tmp_path, opened, rows):
    executor = Meddling()
    home = opened(tmp_path / "home", executor=executor)
    home.ingest("people", rows, id="id", subject="who")
    receipts = []

    def forget():
        receipts.append(home.forget(subjects=["p1"]))
        with pytest.raises(UnknownName, match="published version"):
            home.model("m").predict(rows)

    executor.calls.append(forget)
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), 3, 2))

    (receipt,) = receipts
    assert (receipt.changes[0].before, receipt.changes[0].after) == (None, None)
    assert receipt.state == "forgotten"
    assert home.model("m").version.whole
    assert home.model("m").version.clean_to == 4
    assert receipt.wait().state == "done"
    assert home.verify("m").exact


def test_a_request_during_a_rebuild_is_built_too(tmp_path, opened, rows):
    executor = Meddling()
    home = opened(tmp_path / "home", executor=executor)
    home.ingest("people", rows, id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), 3, 2))
    later = []
    executor.calls.append(lambda: later.append(home.forget(["s9", "s30", "s50"])))
    first = home.forget(["s1"]).wait()
    assert (first.state, later[0].state) == ("done", "done")
    assert home.verify("m").exact


def test_waiting_goes_on_when_a_request_comes_before_destruction(world, monkeypatch):
    real, others = destroy.destroy, ["s40"]

    def late(site, dataset):
        if others:
            world.home.forget([others.pop()])
        return real(site, dataset)

    monkeypatch.setattr(destroy, "destroy", late)
    assert world.home.forget(["s1"]).wait().state == "done"


def test_a_dataset_without_models_forgets_too(home, rows):
    home.ingest("people", rows, id="id", subject="who")
    receipt = home.forget(["s1"])
    assert receipt.changes == ()
    assert receipt.wait().state == "done"
    assert home.dataset("people").rows == 59


def test_two_datasets_must_be_told_apart(world):
    world.home.ingest("others", people(20, seed=3), id="id", subject="who")
    with pytest.raises(InputError, match="dataset="):
        world.home.forget(["s1"])
    with pytest.raises(UnknownName):
        world.home.forget(["s1"], dataset="nobody")
    world.home.forget(["s1"], dataset="others").wait()
    assert world.home.dataset("people").rows == 60
    assert world.home.dataset("others").rows == 19
    assert [r.samples for r in world.home.requests("others")] == [1]
    assert world.home.requests("people") == []


def test_a_row_outside_a_views_filter_rebuilds_nothing(world, rows):
    view = world.home.dataset("people").view("y", where=[("x0", ">", 0.0)])
    some = world.home.train("some", view, Sharded(Tiny(), shards=3, slices=2))
    before, units = some.version, [f.body for f in world.home.facts() if f.kind == "unit.rebuilt"]
    outside = rows["id"][rows["x0"] < 0][0]

    receipt = world.home.forget([outside])
    receipt.wait()

    assert (some.version.number, some.version.digest) == (before.number, before.digest)
    assert some.version.clean_to == 1
    built = [f.body for f in world.home.facts() if f.kind == "unit.rebuilt"][len(units) :]
    assert len(built) == 1
    assert some._row.folder.name not in {unit["model"] for unit in built}
    world.check_whole()


def test_many_requests_for_a_shard_are_one_rebuild(world):
    chosen = world.rows_of(1)[::3]
    assert len(chosen) > 3
    before = world.units()
    receipts = [world.home.forget([one]) for one in chosen]
    receipts[0].wait()
    assert world.units() == before + 1
    assert {receipt.state for receipt in receipts} == {"done"}
    world.check_whole()


def test_a_stream_of_requests_ends_where_one_request_does(world, tmp_path, opened):
    order = np.random.default_rng(7).permutation(60)[:12]
    for place, number in enumerate(order):
        receipt = world.home.forget([f"s{number}"])
        if place % 3 == 0:
            receipt.wait()
    world.home.recover()
    assert world.home.dataset("people").rows == 48
    world.check_whole()


def test_a_forgotten_id_comes_back_only_when_it_is_readmitted(world, rows):
    world.home.forget(["s8"]).wait()
    back = {name: cells[8:9] for name, cells in rows.items()}
    more = people(20, first=100)
    both = {name: np.concatenate([back[name], more[name]]) for name in rows}
    with pytest.raises(SamplesForgotten):
        world.home.ingest("people", both)
    assert world.home.dataset("people").batches == 1

    world.home.ingest("people", both, readmit=True)
    world.home.recover()
    assert world.home.dataset("people").rows == 59 + 21
    receipt = world.home.forget(["s8"])
    assert (receipt.accepted.samples, receipt.accepted.already) == (1, 1)
    receipt.wait()
    assert len(world.erased(1)) == 1
    world.check_whole()


def test_rows_that_were_appended_are_trained_though_a_request_came_first(world):
    world.home.ingest("people", people(40, first=100, seed=5))
    world.home.forget(["s1"]).wait()
    assert sum(c.frame.samples for c in world.model.version.constituents) == 99
    world.check_whole()


@pytest.mark.parametrize("name", ["rebuild", "sisa", "retrain"])
def test_the_method_has_three_names(world, name):
    assert world.home.forget(["s1"], method=name).wait().state == "done"


def test_an_unknown_method_is_refused_and_nothing_is_forgotten(world):
    before = snapshot(world)
    with pytest.raises(MethodUnavailable, match="rebuild"):
        world.home.forget(["s1"], method="hypnosis")
    assert snapshot(world) == before


def test_the_database_holds_no_identity(world):
    world.home.forget(["s17"], subjects=["p3"]).wait()
    with sqlite3.connect(world.home.site.root / "expunge.sqlite") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    dump += "\n".join(fact.leaf.decode() for fact in world.home.facts())  # the dump has them in hex
    assert "'s17'" not in dump
    assert '"s17"' not in dump
    assert "p3'" not in dump
    assert '"p3"' not in dump


def test_a_request_is_told_by_facts_in_order(world):
    receipt = world.home.forget(["s1"]).wait()
    assert [fact.kind for fact in receipt.facts] == ["request.received", "request.forgotten"]
    kinds = [fact.kind for fact in world.home.facts()]
    assert kinds[-1] == "checkpoint.destroyed"
    assert world.home.facts()[-1].body["requests"] == [receipt.request]


def test_a_checkpoint_that_was_damaged_is_not_served_and_is_rebuilt(world, rows):
    constituent = world.model.version.constituents[0]
    path = world.model._row.folder / constituent.pack
    stored = bytearray(path.read_bytes())
    stored[-1] ^= 1
    path.write_bytes(stored)
    (last,) = world.rows_of(0, 1)[-1:]
    world.home.forget([last]).wait()
    assert len(world.model.predict(rows)) == 60
    world.check_whole()
