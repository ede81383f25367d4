"""What a correction makes of a row is meant wherever the row was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from expunge.core.errors import SamplesUnknown
from expunge.requests import life
from expunge.testing.fakes import Tiny
from expunge.training.recipe import Sharded


def some(rows, *numbers, **changed):
    chosen = {name: cells[list(numbers)].copy() for name, cells in rows.items()}
    return chosen | {name: np.array(value) for name, value in changed.items()}


def seen(world, name):
    version = world.home.model(name).version
    return sum(c.frame.samples for c in version.constituents if c.frame)


@pytest.fixture
def other(world):
    view = world.home.dataset("people").view("y", purpose="offers")
    return world.home.train("other", view, Sharded(Tiny(), shards=2, slices=2))


NARROWED = {
    "objection": {"kind": "object", "models": ["other"]},
    "purpose": {"kind": "object", "purpose": "offers"},
    "erasure": {"models": ["other"]},
    "restriction": {"kind": "restrict", "models": ["other"]},
}


@pytest.mark.parametrize("terms", NARROWED.values(), ids=NARROWED)
@pytest.mark.parametrize("waited", [False, True])
def test_who_is_not_learnt_by_a_model_is_not_after_a_correction(world, other, rows, terms, waited):
    asked = world.home.forget(["s8"], **terms)
    if waited:
        asked.wait()
    world.home.correct(some(rows, 8, x0=[9.5])).wait()
    assert (seen(world, "m"), seen(world, "other")) == (60, 59)
    world.home.correct(some(rows, 8, x0=[8.5])).wait()
    assert (seen(world, "m"), seen(world, "other")) == (60, 59)
    assert asked.wait().state == ("held" if terms.get("kind") == "restrict" else "done")
    world.check_whole(["done", "held"])


def test_nothing_waits_for_rows_of_a_request_that_is_done(world, other, rows):
    world.home.forget(["s8"], kind="object", models=["other"]).wait()
    world.home.correct(some(rows, 8, x0=[9.5])).wait()
    with world.home.site.database.reading() as transaction:
        from expunge.data import sql

        assert sql.holding(transaction) == []
    assert not life.tend(world.home.site)


def test_a_lifted_restriction_brings_the_corrected_row_back(world, other, rows):
    asked = world.home.forget(["s8", "s9"], kind="restrict", models=["other"]).wait()
    world.home.correct(some(rows, 8, x0=[9.5])).wait()
    world.home.lift(asked.request)
    world.home.recover()
    assert (seen(world, "m"), seen(world, "other")) == (60, 60)
    world.check_whole(["done", "undone"])


def test_an_undone_objection_is_undone_for_the_corrected_row(world, other, rows):
    first = world.home.forget(["s8"], kind="object", models=["other"], undo_s=3600)
    second = world.home.forget(["s8"], kind="object", models=["other"], undo_s=7200)
    world.home.correct(some(rows, 8, x0=[9.5]))
    world.home.recover()
    world.home.undo(first.request)
    world.home.recover()
    assert seen(world, "other") == 59  # the second one names it too
    world.home.undo(second.request)
    world.home.recover()
    assert (seen(world, "m"), seen(world, "other")) == (60, 60)
    world.check_whole(["done", "undone"])


@pytest.mark.parametrize("destroyed", [False, True])
def test_a_scheduled_request_means_the_row_as_it_stands_at_its_moment(world, rows, destroyed):
    moment = datetime.now(UTC) + timedelta(hours=1)
    asked = world.home.forget(subjects=["p0"], effective=moment)
    count = asked.accepted.samples
    corrected = world.home.correct(some(rows, 0, x0=[9.5]))
    if destroyed:
        corrected.wait()
    assert life.take_effect(world.home.site, moment) == [asked.request]
    assert world.home.dataset("people").rows == 60 - count
    assert asked.wait().state == "done"
    assert world.erased(1) == [0]
    world.check_whole()


def test_a_request_that_is_approved_means_the_corrected_row(world, rows):
    asked = world.home.forget(["s8"], approval=True, submitter="key-1")
    world.home.correct(some(rows, 8, x0=[9.5])).wait()
    world.home.correct(some(rows, 8, x0=[7.5])).wait()
    world.home.approve(asked.request, "key-2")
    assert world.home.request(asked.request).samples == 1
    assert asked.wait().state == "done"
    assert world.home.dataset("people").rows == 59
    world.check_whole()


def test_a_legal_hold_keeps_the_row_in_both_forms(world, rows):
    world.home.hold("case-17", ["s8"])
    corrected = world.home.correct(some(rows, 8, x0=[9.5]))
    assert corrected.wait().state == "held"
    assert seen(world, "m") == 60
    erased = world.home.forget(["s8"])
    assert erased.wait().state == "held"
    assert (world.erased(0), world.erased(1)) == ([], [])
    (hold,) = world.home.holds()
    assert hold.rows == 2
    world.home.release("case-17")
    assert (corrected.wait().state, erased.wait().state) == ("done", "done")
    assert (len(world.erased(0)), world.erased(1)) == (1, [0])
    world.check_whole()


def test_what_is_forgotten_cannot_be_corrected_while_it_may_be_undone(world, rows):
    asked = world.home.forget(["s8"], undo_s=3600)
    with pytest.raises(SamplesUnknown):
        world.home.correct(some(rows, 8, x0=[9.5]))
    world.home.undo(asked.request)
    world.home.correct(some(rows, 8, x0=[9.5])).wait()
    world.check_whole(["done", "undone"])
