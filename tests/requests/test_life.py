"""The life of a request after its acceptance: approval, moments, windows, holds, restrictions."""

from __future__ import annotations

import contextlib
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from expunge.core.errors import (
    ExpungeError,
    GateClosed,
    InputError,
    MethodUnavailable,
    ModelRetired,
    NameTaken,
    NothingToForget,
    RequestMoveRefused,
    SamplesUnknown,
    SecondPersonNeeded,
    UndoRefused,
    UnknownName,
)
from expunge.requests import gates, life, units
from expunge.requests.finding import Wanted
from expunge.requests.kinds import Kind
from expunge.requests.states import State
from expunge.requests.terms import Terms
from expunge.testing import state
from expunge.testing.fakes import Tiny, people
from expunge.training import versions
from expunge.training.recipe import Sharded

SOON = timedelta(hours=1)


def bytes_of(world, name="m"):
    model = world.home.model(name)
    return [chain.checkpoints for chain in state.read(model._row, model.version)]


def kinds(world, request):
    with world.home.site.database.reading() as transaction:
        from expunge.storage import facts

        return [fact.kind for fact in facts.read(transaction, request)]


def in_s(seconds):
    """A clock that is ahead of ours."""
    return lambda _: datetime.now(UTC).timestamp() + seconds


@pytest.fixture
def other(world):
    """A second model of the dataset, for another purpose."""
    view = world.home.dataset("people").view("y", purpose="offers")
    return world.home.train("other", view, Sharded(Tiny(), shards=2, slices=2))


# Approval


def test_what_waits_for_approval_changes_nothing_until_it_comes(world):
    before = bytes_of(world)
    receipt = world.home.forget(["s1"], approval=True, submitter="key-1")
    assert receipt.wait().state == "submitted"
    assert (receipt.accepted.samples, receipt.changes) == (1, ())
    assert (bytes_of(world), world.ground().tombstones) == (before, 0)

    world.home.approve(receipt.request, "key-2")
    assert receipt.state == "forgotten"
    assert world.ground().tombstones == 1
    assert receipt.wait().state == "done"
    assert kinds(world, receipt.request) == [
        "request.terms",
        "request.received",
        "request.approved",
        "request.forgotten",
    ]
    world.check_whole()


@pytest.mark.parametrize("approver", ["", "key-1"])
def test_a_second_person_is_another_person(world, approver):
    receipt = world.home.forget(["s1"], approval=True, submitter="key-1")
    with pytest.raises(SecondPersonNeeded):
        world.home.approve(receipt.request, approver)
    assert receipt.state == "submitted"
    assert world.ground().tombstones == 0


def test_what_needs_no_approval_cannot_be_approved(world):
    receipt = world.home.forget(["s1"])
    with pytest.raises(RequestMoveRefused, match="forgotten"):
        world.home.approve(receipt.request, "key-2")


def test_a_request_is_refused_for_a_reason_that_names_nobody(world):
    receipt = world.home.forget(["s1"], approval=True)
    with pytest.raises(InputError, match="nothing about a person"):
        world.home.refuse(receipt.request, "Ada Lovelace is not a customer")
    world.home.refuse(receipt.request, "identity-not-shown")
    refused = world.home.request(receipt.request)
    assert (refused.state, refused.error) == (State.REFUSED, "identity-not-shown")
    assert refused.done
    with pytest.raises(RequestMoveRefused):
        world.home.approve(receipt.request, "key-2")
    assert world.ground().tombstones == 0
    assert world.home.forget(["s1"]).wait().state == "done"


# Moments


def test_a_scheduled_request_takes_effect_at_its_moment(world):
    moment = datetime.now(UTC) + SOON
    receipt = world.home.forget(["s1", "s2"], effective=moment)
    assert (receipt.state, world.ground().tombstones) == ("scheduled", 0)
    assert life.take_effect(world.home.site, moment - timedelta(seconds=1)) == []
    assert life.take_effect(world.home.site, moment) == [receipt.request]
    assert world.ground().tombstones == 2
    assert receipt.wait().state == "done"
    assert world.home.request(receipt.request).samples == 2
    world.check_whole()


def test_approval_does_not_hasten_a_moment(world):
    moment = datetime.now(UTC) + SOON
    receipt = world.home.forget(["s1"], effective=moment, approval=True)
    assert life.take_effect(world.home.site, moment) == []  # it still waits for a person
    world.home.approve(receipt.request, "key-2")
    assert receipt.state == "scheduled"
    assert life.take_effect(world.home.site, moment) == [receipt.request]


def test_a_moment_that_is_past_is_now(world):
    assert world.home.forget(["s1"], effective=datetime(2020, 1, 1, tzinfo=UTC)).state == (
        "forgotten"
    )


def test_no_moment_lies_behind_the_deadline(world):
    late = datetime.now(UTC) + timedelta(days=200)
    with pytest.raises(InputError, match="behind the deadline"):
        world.home.forget(["s1"], regime="gdpr", effective=late)
    assert world.home.requests() == []


def test_a_cancelled_request_never_takes_effect(world):
    moment = datetime.now(UTC) + SOON
    receipt = world.home.forget(["s1"], effective=moment)
    world.home.cancel(receipt.request)
    assert life.take_effect(world.home.site, moment) == []
    assert receipt.state == "cancelled"
    with pytest.raises(RequestMoveRefused):
        world.home.cancel(receipt.request)
    assert kinds(world, receipt.request)[-1] == "request.cancelled"


def test_what_is_in_effect_cannot_be_cancelled_or_refused(world):
    receipt = world.home.forget(["s1"])
    for act in (world.home.cancel, lambda r: world.home.refuse(r, "no")):
        with pytest.raises(RequestMoveRefused):
            act(receipt.request)
    assert receipt.state == "forgotten"


def test_what_others_had_destroyed_meanwhile_is_done_at_once(world):
    moment = datetime.now(UTC) + SOON
    receipt = world.home.forget(["s1"], effective=moment)
    world.home.forget(["s1"]).wait()
    assert life.take_effect(world.home.site, moment) == [receipt.request]
    assert receipt.state == "done"


def test_what_others_forget_meanwhile_is_waited_for(world):
    moment = datetime.now(UTC) + SOON
    receipt = world.home.forget(["s1", "s2"], effective=moment)
    first = world.home.forget(["s1"])
    assert life.take_effect(world.home.site, moment) == [receipt.request]
    assert world.home.request(receipt.request).samples == 1
    assert receipt.wait().state == first.state == "done"
    assert len(world.erased()) == 2
    world.check_whole()


def test_a_deadline_is_extended_once_and_in_time(world):
    receipt = world.home.forget(["s1"], regime="ccpa", approval=True)
    before = world.home.request(receipt.request)
    assert before.confirm_by < before.deadline
    after = world.home.extend(receipt.request)
    assert (after.extended, after.deadline > before.deadline) == (True, True)
    with pytest.raises(InputError, match="possible once"):
        world.home.extend(receipt.request)
    world.home.approve(receipt.request, "key-2")
    receipt.wait()
    with pytest.raises(RequestMoveRefused):
        world.home.extend(receipt.request)


def test_a_deadline_that_is_over_is_not_extended(world):
    long_ago = datetime.now(UTC) - timedelta(days=300)
    receipt = world.home.forget(["s1"], regime="gdpr", received=long_ago, approval=True)
    with pytest.raises(InputError, match="over"):
        world.home.extend(receipt.request)
    without = world.home.forget(["s2"])
    with pytest.raises(InputError, match="no regime"):
        world.home.extend(without.request)


# Undo


def test_a_mistaken_bulk_request_is_undone_to_the_same_bytes(world):
    before, version = bytes_of(world), world.model.version.digest
    receipt = world.home.forget([f"s{n}" for n in range(0, 60, 2)], undo_s=3600)
    assert receipt.wait().state == "held"
    assert bytes_of(world) != before
    assert world.erased() == []

    undone = world.home.undo(receipt.request)
    assert (undone.state, receipt.state) == (State.UNDONE, State.UNDONE)
    assert world.home.dataset("people").rows == 60
    world.home.recover()
    assert (bytes_of(world), world.model.version.digest) == (before, version)
    assert kinds(world, receipt.request)[-2:] == ["request.held", "request.undone"]
    world.check_whole(["undone"])


def test_a_request_is_undone_before_anything_was_rebuilt(world):
    before = bytes_of(world)
    receipt = world.home.forget(subjects=["p1", "p2"], undo_s=3600)
    world.home.undo(receipt.request)
    assert bytes_of(world) == before  # its checkpoints were still there: nothing to build
    assert world.model.version.whole
    world.home.recover()
    world.check_whole(["undone"])


def test_after_its_window_nothing_is_undone_and_rows_are_destroyed(world):
    receipt = world.home.forget(["s1"], undo_s=60)
    receipt.wait()
    site = world.home.site
    assert not life.tend(site, in_s(50))
    with pytest.raises(UndoRefused, match="over"):
        life.undo(site, receipt.request, in_s(61))
    assert life.tend(site, in_s(61))
    assert receipt.state == "done"
    assert len(world.erased()) == 1
    with pytest.raises(RequestMoveRefused, match="done"):
        world.home.undo(receipt.request)
    world.check_whole()


def test_without_a_window_nothing_is_undone(world):
    receipt = world.home.forget(["s1"])
    with pytest.raises(UndoRefused, match="without an undo window"):
        world.home.undo(receipt.request)


def test_a_correction_is_not_undone(world, rows):
    receipt = world.home.correct({name: cells[9:10] for name, cells in rows.items()})
    with pytest.raises(UndoRefused, match="correction"):
        world.home.undo(receipt.request)


def test_ids_that_came_in_again_are_not_brought_back_a_second_time(world, rows):
    receipt = world.home.forget(["s8", "s9"], undo_s=3600)
    again = {name: cells[8:9] for name, cells in rows.items()}
    world.home.ingest("people", again, readmit=True)
    tombstones = world.ground().tombstones
    with pytest.raises(UndoRefused, match="came in again"):
        world.home.undo(receipt.request)
    assert (receipt.state, world.ground().tombstones) == ("forgotten", tombstones)
    assert world.home.dataset("people").rows == 59


def test_what_another_request_names_too_stays_forgotten(world):
    receipt = world.home.forget(["s1", "s2", "s3"], undo_s=3600)
    shared = world.home.forget(["s2"])
    assert (shared.accepted.samples, shared.accepted.already) == (0, 1)
    world.home.undo(receipt.request)
    assert world.home.dataset("people").rows == 59
    assert shared.wait().state == "done"
    assert len(world.erased()) == 1
    world.check_whole(["undone", "done"])


def test_two_requests_in_one_batch_may_name_the_same_row(world):
    wanted = [(Wanted(("s1", "s2")), Terms(undo_s=3600)), (Wanted(("s2", "s3")), Terms())]
    first, second = world.home.forget_all(wanted)
    assert [r.accepted.samples for r in (first, second)] == [2, 1]
    assert second.wait().state == "done"
    assert (first.state, len(world.erased())) == ("held", 2)
    world.home.undo(first.request)
    assert world.home.dataset("people").rows == 58
    world.home.recover()
    world.check_whole(["undone", "done"])


# Scopes


def test_an_objection_leaves_the_row_to_others(world, other):
    before = bytes_of(world)
    receipt = world.home.forget(["s1"], kind="object", models=["other"])
    assert [change.model for change in receipt.changes] == ["other"]
    assert receipt.wait().state == "done"
    assert (bytes_of(world), world.erased()) == (before, [])
    with world.home.site.database.reading() as transaction:
        row = world.home.site.model(transaction, "other")
        own = world.home.site.ground_of(transaction, row)
    assert sum(len(gone) for gone in own.gone.values()) == 1
    assert world.home.verify("other").exact
    assert world.home.verify("m").exact


def test_an_objection_to_a_purpose_counts_for_models_to_come(world, other):
    receipt = world.home.forget(["s1"], kind="object", purpose="offers").wait()
    assert receipt.state == "done"
    view = world.home.dataset("people").view("y", purpose="offers")
    late = world.home.train("late", view, Sharded(Tiny(), shards=2, slices=1))
    assert sum(c.frame.samples for c in late.version.constituents) == 59
    assert kinds(world, receipt.request)[0] == "request.scoped"


def test_an_erasure_for_some_models_keeps_the_row(world, other):
    assert world.home.forget(["s1"], models=["other"]).wait().state == "done"
    assert world.erased() == []
    assert world.home.forget(["s1"]).wait().state == "done"
    assert len(world.erased()) == 1
    assert world.home.verify("other").exact


def test_an_objection_is_undone_like_anything_else(world, other):
    before = bytes_of(world, "other")
    receipt = world.home.forget(["s1"], kind="object", models=["other"], undo_s=3600).wait()
    assert receipt.state == "held"
    world.home.undo(receipt.request)
    world.home.recover()
    assert bytes_of(world, "other") == before


def test_who_is_objected_to_must_be_there(world):
    with pytest.raises(UnknownName):
        world.home.forget(["s1"], kind="object", models=["nobody"])
    with pytest.raises(InputError, match="say which"):
        world.home.forget(["s1"], kind="object")
    assert world.home.requests() == []


# Restrictions


def test_a_restriction_lasts_until_it_is_lifted(world):
    before = bytes_of(world)
    receipt = world.home.forget(["s1"], kind="restrict")
    assert receipt.wait().state == "held"
    assert not life.tend(world.home.site, in_s(10**8))
    assert world.erased() == []
    world.home.lift(receipt.request)
    world.home.recover()
    assert bytes_of(world) == before
    with pytest.raises(RequestMoveRefused):
        world.home.lift(receipt.request)
    world.check_whole(["undone"])


def test_only_a_restriction_is_lifted(world):
    receipt = world.home.forget(["s1"], undo_s=60)
    with pytest.raises(UndoRefused, match="erase"):
        world.home.lift(receipt.request)


def test_a_restricted_row_may_be_erased(world):
    restricted = world.home.forget(["s1"], kind="restrict").wait()
    erased = world.home.forget(["s1"])
    assert erased.wait().state == "done"
    assert len(world.erased()) == 1
    assert restricted.state == "done"  # nothing is left to restrict
    world.check_whole()


def test_lifting_does_not_bring_back_what_is_erased(world):
    restricted = world.home.forget(["s1", "s2"], kind="restrict").wait()
    world.home.forget(["s1"]).wait()
    assert restricted.state == "held"
    world.home.lift(restricted.request)
    assert world.home.dataset("people").rows == 59
    world.home.recover()
    world.check_whole(["undone", "done"])


# Holds


def test_a_held_row_is_forgotten_and_destroyed_only_after_its_release(world):
    hold = world.home.hold("case-17", ["s1"])
    receipt = world.home.forget(["s1", "s2"])
    assert receipt.wait().state == "held"
    assert len(world.erased()) == 1  # the other one did not have to wait
    assert not life.tend(world.home.site)
    assert world.home.verify("m").exact
    assert [h.name for h in world.home.holds()] == ["case-17"]

    world.home.release(hold.id)
    assert receipt.wait().state == "done"
    assert len(world.erased()) == 2
    told = ["request.held", "request.released"]
    assert [kind for kind in kinds(world, receipt.request) if kind in told] == told
    assert world.home.holds() == []
    world.check_whole()


def test_a_hold_comes_in_time_while_rows_wait(world):
    receipt = world.home.forget(["s1"], undo_s=60).wait()
    world.home.hold("case-17", ["s1"])
    life.tend(world.home.site, in_s(61))
    assert (receipt.state, world.erased()) == ("held", [])
    world.home.release("case-17")
    life.tend(world.home.site, in_s(61))
    assert receipt.state == "done"


def test_each_of_two_holds_keeps_a_row(world):
    world.home.hold("case-17", ["s1"])
    world.home.hold("case-18", subjects=["p0"], samples=["s1"])
    receipt = world.home.forget(["s1"])
    world.home.release("case-17")
    assert receipt.wait().state == "held"
    world.home.release("case-18")
    assert receipt.wait().state == "done"


def test_nothing_is_held_that_is_gone(world):
    world.home.forget(["s1"]).wait()
    with pytest.raises(SamplesUnknown):
        world.home.hold("case-17", ["s1"])
    with pytest.raises(NothingToForget):
        world.home.hold("case-17")
    with pytest.raises(UnknownName):
        world.home.release("case-17")
    assert world.home.holds() == []


# Batches


def test_of_a_batch_the_bad_are_refused_alone(world):
    asked = [
        (Wanted(("s1",)), Terms()),
        (Wanted(("s1", "x9")), Terms()),
        (Wanted(), Terms()),
        (Wanted(("s2",)), Terms(method="influence")),
        (Wanted(("s2",)), Terms(models=("nobody",))),
        (Wanted(("s3",)), Terms(kind=Kind.EXPIRE)),
    ]
    numbers = world.model.version.number
    answers = world.home.forget_all(asked)
    errors = [type(one) for one in answers if isinstance(one, ExpungeError)]
    assert errors == [SamplesUnknown, NothingToForget, MethodUnavailable, UnknownName]
    assert world.model.version.number == numbers + 1
    good = [one for one in answers if not isinstance(one, ExpungeError)]
    assert [receipt.accepted.samples for receipt in good] == [1, 1]
    world.home.recover()
    assert [receipt.state for receipt in good] == ["done", "done"]
    refused = [f.body for f in world.home.facts() if f.kind == "request.refused"]
    assert [body["reason"] for body in refused] == [
        "samples-unknown",
        "nothing-to-forget",
        "method-unavailable",
        "unknown-name",
    ]
    world.check_whole()


def test_an_empty_batch_is_nothing(world):
    before = world.home.facts()
    assert world.home.forget_all([]) == []
    assert world.home.facts() == before


def test_a_batch_is_one_version_and_each_request_waits_for_its_own_shards(world):
    names, number = [f"s{n}" for n in range(0, 60, 7)], world.model.version.number
    receipts = world.home.forget_all([(Wanted((one,)), Terms()) for one in names])
    assert world.model.version.number == number + 1
    for name, receipt in zip(names, receipts, strict=True):
        assert shards(world, receipt.request) == [n for n in range(3) if name in world.rows_of(n)]
    world.home.recover()
    assert [receipt.state for receipt in receipts] == ["done"] * len(names)
    world.check_whole()


def shards(world, request):
    with world.home.site.database.reading() as transaction:
        return [unit.shard for unit in units.of_request(transaction, request)]


def test_a_request_waits_for_its_own_units_alone(world):
    first = world.home.forget([world.rows_of(0, 1)[0]])
    world.home.forget([world.rows_of(1, 1)[0]])
    assert shards(world, first.request) == [0]
    finish(world, 0)
    assert life.tend(world.home.site)
    assert first.state == "done"
    assert len(world.erased()) == 1
    assert world.home.requests()[1].state == "forgotten"
    world.home.recover()
    world.check_whole()


def finish(world, shard):
    """Have one shard rebuilt, as a worker would."""
    from expunge.execution.local import Inline
    from expunge.execution.progress import Silent
    from expunge.methods import METHODS

    METHODS["rebuild"]().build(world.home.site, world.model._row, shard, Inline(), Silent())


def test_appended_rows_that_wait_do_not_hold_up_a_destruction(world):
    receipt = world.home.forget([world.rows_of(0, 1)[0]])
    finish(world, 0)
    world.home.ingest("people", people(20, first=100, seed=5))
    assert life.tend(world.home.site)
    assert receipt.state == "done"
    world.home.recover()
    world.check_whole()


# Retiring


def test_a_retired_model_never_answers_again(world, other, rows):
    receipt = world.home.forget(["s1"])
    assert world.home.retire("m", "regulator") == ["m"]
    with pytest.raises(ModelRetired):
        world.model.predict(rows)
    assert list(world.model._row.folder.glob("*.pack")) == []
    assert receipt.wait().state == "done"
    assert len(other.predict(rows)) == 60
    with pytest.raises(ModelRetired):
        world.home.train("m", world.home.dataset("people").view("y"), Sharded(Tiny(), 3, 2))
    assert world.home.retire("m") == []
    told = [f.body for f in world.home.facts() if f.kind == "model.retired"]
    assert told == [{"model": world.model._row.folder.name, "reason": "regulator"}]


def test_what_was_interrupted_while_retiring_is_finished(world, rows, monkeypatch):
    from expunge.requests import retire

    with monkeypatch.context() as patch:
        patch.setattr(retire, "destroy_retired", lambda site: None)
        world.home.retire("m")
    assert list(world.model._row.folder.glob("*.pack"))
    with pytest.raises(ModelRetired):
        world.model.predict(rows)
    world.home.recover()
    assert list(world.model._row.folder.glob("*.pack")) == []


def test_a_build_that_ends_after_retiring_publishes_nothing(world, rows):
    world.home.forget([world.rows_of(0, 1)[0]])
    world.home.retire("m")
    with pytest.raises(ModelRetired):
        finish(world, 0)
    with pytest.raises(ModelRetired):
        world.model.predict(rows)
    world.home.recover()
    assert list(world.model._row.folder.glob("*.pack")) == []


# Gates


def held_out(world):
    """Rows that the model does not learn from, declared as its own."""
    world.home.ingest(
        "others",
        people(40, first=1000, seed=8),
        id="id",
        subject="who",
        schema=world.home.dataset("people").schema,
    )


def test_what_is_worse_than_the_floor_is_not_published(world, rows):
    held_out(world)
    world.home.gate("m", 1.01, "others")
    receipt = world.home.forget([world.rows_of(0, 1)[0]], dataset="people")
    depths = world.depths()
    with pytest.raises(GateClosed) as caught:
        receipt.wait()
    assert caught.value.score <= 1
    assert (receipt.state, world.depths()) == ("forgotten", depths)
    assert world.erased() == []
    # Nothing publishes it by another way, and nothing keeps others from being forgotten.
    world.home.forget([world.rows_of(0, 0)[0]], dataset="people")
    assert world.depths()[0] == 0
    assert len(world.model.predict(rows)) == 60

    world.home.gate("m", None)
    assert receipt.wait().state == "done"
    world.check_whole()


def test_what_a_gate_refused_is_not_built_again_and_again(world, monkeypatch):
    from expunge.methods.exact import rebuild

    built, real = [], rebuild._execute

    def count(units, *others):
        built.append([unit.plan.shard for unit in units])
        return real(units, *others)

    monkeypatch.setattr(rebuild, "_execute", count)
    held_out(world)
    world.home.gate("m", 1.01, "others")
    receipt = world.home.forget([world.rows_of(0, 1)[0]], dataset="people")
    for act in (receipt.wait, receipt.wait, world.home.recover):
        with pytest.raises(GateClosed):
            act()
    assert built == [[0]]
    assert aside(world) == [(0, "gate-closed")]

    world.home.forget([world.rows_of(1, 1)[0]], dataset="people")  # another model: tried again
    with pytest.raises(GateClosed):
        world.home.recover()
    assert built == [[0], [0, 1]]
    world.home.gate("m", 1.02, "others")
    assert aside(world) == []
    with pytest.raises(GateClosed):
        world.home.recover()
    assert aside(world) == [(0, "gate-closed"), (1, "gate-closed")]
    world.home.gate("m", None)
    assert receipt.wait().state == "done"
    assert (built, aside(world)) == ([[0], [0, 1], [0, 1], [0, 1]], [])
    world.check_whole()


def aside(world):
    with world.home.site.database.reading() as transaction:
        waiting = units.all_unfinished(transaction)
    return sorted((unit.shard, unit.error) for unit in waiting if unit.state == "aside")


def test_a_request_that_came_meanwhile_is_not_set_aside(world, monkeypatch):
    held_out(world)
    world.home.gate("m", 1.01, "others")
    world.home.forget([world.rows_of(0, 1)[0]], dataset="people")
    real, later = gates.admit, world.rows_of(0, 1)[1]

    def meanwhile(*arguments):
        world.home.forget([later], dataset="people")
        real(*arguments)

    monkeypatch.setattr(gates, "admit", meanwhile)
    with pytest.raises(GateClosed):
        world.home.recover()
    assert aside(world) == []


def test_a_model_that_is_good_enough_passes(world):
    held_out(world)
    world.home.gate("m", 0.0, "others")
    assert world.home.forget(["s1"], dataset="people").wait().state == "done"
    world.check_whole()


def test_a_gate_needs_rows_of_others_that_are_declared_alike(world):
    with pytest.raises(InputError, match="does not learn from"):
        world.home.gate("m", 0.5, "people")
    with pytest.raises(InputError, match="Say `dataset"):
        world.home.gate("m", 0.5)
    world.home.ingest(
        "strange", people(40, seed=3) | {"y": ["a", "b"] * 20}, id="id", subject="who"
    )
    with pytest.raises(InputError, match="not declared alike"):
        world.home.gate("m", 0.5, "strange")


def test_scores_are_those_of_the_books():
    from expunge.core.types import Column, Role, Task
    from expunge.core.types import Kind as Cell

    truth = {"y": np.array([1.0, 2.0, 3.0])}
    column = Column("y", Role.FEATURE, Cell.NUMERIC, "float64")
    values = np.array([[1.0], [2.0], [4.0]])
    # r² = 1 - (0 + 0 + 1) / (1 + 0 + 1) = 0.5
    assert gates.score(Task((), (column,)), values, truth) == pytest.approx(0.5)


def test_an_undo_that_was_rolled_back_is_not_mistaken_for_another(world, monkeypatch, opened):
    """Another process's undo has the numbers that the one rolled back here would have had."""
    first, second = (world.home.forget([one], undo_s=3600) for one in ("s1", "s30"))
    other, real = opened(world.home.site.root), versions.put_back

    def fail(*arguments):
        real(*arguments)
        raise OSError("disk full")

    monkeypatch.setattr(versions, "put_back", fail)
    with pytest.raises(OSError, match="disk full"):
        world.home.undo(first.request)
    monkeypatch.undo()
    assert first.state == "forgotten"
    other.undo(second.request)
    (gone,) = world.ground().gone.values()
    assert [world.ids()[ordinal] for ordinal in gone] == ["s1"]


def test_an_id_that_a_request_has_is_refused_alone(world):
    first, free = (str(uuid.UUID(int=number)) for number in (1, 2))
    (kept,) = world.home.forget_all([(Wanted(("s1",)), Terms(id=first))])
    asked = [("s2", first), ("s3", free), ("s4", free), ("s5", "")]
    answers = world.home.forget_all([(Wanted((one,)), Terms(id=id_)) for one, id_ in asked])
    assert [type(one) for one in answers[::2]] == [NameTaken, NameTaken]
    assert [one.accepted.samples for one in answers[1::2]] == [1, 1]
    assert answers[1].request == free
    assert "request.refused" not in kinds(world, first) + kinds(world, free)
    world.home.recover()
    assert [one.state for one in (kept, *answers[1::2])] == ["done"] * 3
    assert world.home.dataset("people").rows == 57


def test_what_an_undo_serves_is_not_cut_by_a_build_that_was_planned_before(world, monkeypatch):
    from expunge.core.errors import ClaimLost
    from expunge.execution.local import Inline
    from expunge.execution.progress import Silent
    from expunge.methods.exact import rebuild
    from expunge.requests import claims

    before, site, real = bytes_of(world), world.home.site, rebuild._execute
    asked = world.home.forget([world.rows_of(0, 0)[0]], undo_s=3600)
    claim = claims.claim(site.database, "worker", 60.0)

    def meanwhile(*arguments):
        world.home.undo(asked.request)
        return real(*arguments)

    with monkeypatch.context() as patch, contextlib.suppress(ClaimLost):
        patch.setattr(rebuild, "_execute", meanwhile)
        rebuild.Rebuild().build(site, world.model._row, 0, Inline(), Silent(), claim)
    assert len(world.model.predict(people(60))) == 60
    world.home.recover()
    assert bytes_of(world) == before
    world.check_whole(["undone"])
