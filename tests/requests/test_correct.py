from __future__ import annotations

import warnings

import numpy as np
import pytest

from expunge.core.errors import ColumnUnknown, SamplesUnknown, SchemaMismatch
from expunge.training import versions


def some(rows, *numbers, **changed):
    chosen = {name: cells[list(numbers)].copy() for name, cells in rows.items()}
    return chosen | {name: np.array(value) for name, value in changed.items()}


def values(world, number, column):
    batch = world.batch(number)
    cells = batch.read(["id", column], 0, batch.rows)
    return dict(zip(cells["id"].tolist(), cells[column].tolist(), strict=True))


def untouched(world):
    ground = world.ground()
    return len(ground.batches), ground.tombstones, world.served(), world.home.requests()


def test_a_correction_replaces_a_row_and_destroys_the_old_one(world, rows):
    receipt = world.home.correct(some(rows, 8, x0=[9.5]))
    assert (receipt.accepted.samples, receipt.accepted.already) == (1, 0)
    receipt.wait()
    assert values(world, 1, "x0") == {"s8": 9.5}
    assert len(world.erased(0)) == 1
    assert "s8" not in values(world, 0, "x0")
    assert world.home.dataset("people").rows == 60
    assert sum(c.frame.samples for c in world.model.version.constituents) == 60
    world.check_whole()


def test_a_correction_of_a_single_row_does_not_warn(world, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        world.home.correct(some(rows, 8))


def test_a_row_may_move_to_another_person_and_is_learnt_there(world, rows):
    for number in range(4):
        world.home.correct(some(rows, number, who=[f"p{number + 8}"])).wait()
    assert sum(c.frame.samples for c in world.model.version.constituents) == 60
    world.check_whole()
    assert world.home.forget(subjects=["p0"], missing="ignore").accepted.samples == 0
    assert world.home.forget(subjects=["p9"]).accepted.samples == 5


def test_a_row_may_be_corrected_again_and_then_forgotten(world, rows):
    world.home.correct(some(rows, 8, x0=[1.5]))
    world.home.correct(some(rows, 8, x0=[2.5])).wait()
    assert values(world, 2, "x0") == {"s8": 2.5}
    receipt = world.home.forget(["s8"])
    assert (receipt.accepted.samples, receipt.accepted.already) == (1, 2)
    receipt.wait()
    assert world.home.dataset("people").rows == 59
    world.check_whole()


@pytest.mark.parametrize("gone", [False, True])
def test_all_or_nothing_when_an_id_is_not_there(world, rows, gone):
    if gone:
        world.home.forget(["s9"]).wait()
    before = untouched(world)
    ids = ["s8", "s9" if gone else "x9"]
    with pytest.raises(SamplesUnknown) as caught:
        world.home.correct(some(rows, 8, 9, id=ids))
    assert caught.value.ids == ids[1:]
    assert untouched(world) == before
    assert world.home.dataset("people").rows == 60 - gone


def test_all_or_nothing_when_a_column_is_wrong(world, rows):
    before = untouched(world)
    with pytest.raises((ColumnUnknown, SchemaMismatch)):
        world.home.correct({"id": np.array(["s8"]), "age": np.array([3])})
    assert untouched(world) == before


def test_all_or_nothing_when_it_fails_at_the_end(world, rows, monkeypatch):
    before, real = untouched(world), versions.withdraw

    def fail(*arguments):
        real(*arguments)
        raise OSError("disk full")

    monkeypatch.setattr(versions, "withdraw", fail)
    with pytest.raises(OSError, match="disk full"):
        world.home.correct(some(rows, 8, x0=[7.5]))
    monkeypatch.undo()
    assert untouched(world) == before

    world.home.correct(some(rows, 20, 21, x0=[3.5, 4.5])).wait()
    assert values(world, 1, "x0") == {"s20": 3.5, "s21": 4.5}
    world.check_whole()


def test_a_value_whose_last_holder_was_corrected_away_is_told(world, rows):
    members = np.flatnonzero(rows["y"] == "yes")
    receipt = world.home.correct(some(rows, *members, y=["no"] * len(members)))
    assert receipt.lost == {"y": 1}
