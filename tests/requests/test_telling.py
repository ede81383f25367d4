"""A journal that cannot be written: what stands is in effect, and each is told what is true."""

from __future__ import annotations

import time

import pytest

from expunge.core.errors import JournalUnwritten, NothingToForget, SamplesUnknown
from expunge.requests.finding import Wanted
from expunge.requests.terms import Terms
from expunge.storage.journal import Journal
from expunge.testing.fakes import people
from expunge.training import leases, serving


@pytest.fixture
def full(monkeypatch):
    """No record gets into a journal."""

    def fail(*_):
        raise OSError(28, "full")

    monkeypatch.setattr(Journal, "_append", fail)


def lease(world, seconds=0.3):
    """Another server answers from what is current now. Returns until when."""
    site = world.home.site
    with site.database.transaction() as transaction:
        until = serving.shared_clock(transaction) + seconds
        number = world.model.version.number
        row = leases.Row("k" * 32, world.model._row.id, number, until, seconds)
        leases.write(transaction, row.holder, [row])
    return until


def erased(world, **terms):
    return world.home.forget(["s1"], **terms).request


MOVES = {
    "forget": (lambda world: None, lambda world, _: world.home.forget(["s1"])),
    "correct": (
        lambda world: None,
        lambda world, _: world.home.correct({k: v[3:5] for k, v in people(60).items()}),
    ),
    "approve": (
        lambda world: erased(world, approval=True, submitter="one"),
        lambda world, request: world.home.approve(request, "two"),
    ),
    "undo": (
        lambda world: erased(world, undo_s=3600.0),
        lambda world, request: world.home.undo(request),
    ),
    "lift": (
        lambda world: erased(world, kind="restrict"),
        lambda world, request: world.home.lift(request),
    ),
}


@pytest.mark.parametrize("move", MOVES)
def test_nothing_older_is_served_once_it_is_said_that_it_stands(world, request, move):
    prepare, act = MOVES[move]
    made = prepare(world)
    request.getfixturevalue("full")
    before, until = world.model.version.number, lease(world)
    with pytest.raises(JournalUnwritten):
        act(world, made)
    assert world.model.version.number > before
    assert time.time() >= until


def test_of_a_batch_each_hears_of_itself(world, full):
    asked = [
        (Wanted(("s1",)), Terms()),
        (Wanted(("s1", "x9")), Terms()),
        (Wanted(("s3",)), Terms(models=("m",))),  # two records
        (Wanted(), Terms()),
    ]
    answers = world.home.forget_all(asked)
    kinds = [JournalUnwritten, SamplesUnknown, JournalUnwritten, NothingToForget]
    assert [type(one) for one in answers] == kinds
    told = [one.requests for one in answers if isinstance(one, JournalUnwritten)]
    assert sorted(told) == sorted([request.id] for request in world.home.requests())
    assert isinstance(answers[0].__cause__, OSError)


def test_a_batch_in_which_nothing_is_accepted_needs_no_journal(world, full):
    (answer,) = world.home.forget_all([(Wanted(("x9",)), Terms())])
    assert isinstance(answer, SamplesUnknown)
