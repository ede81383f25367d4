"""What fails on the way leaves nothing behind, on disk or in memory."""

from __future__ import annotations

import pytest

from expunge.storage import facts
from expunge.training import versions


def failing(real):
    def fail(*arguments, **named):
        real(*arguments, **named)
        raise OSError("disk full")

    return fail


@pytest.mark.parametrize("where", [(versions, "withdraw"), (facts, "record")])
def test_a_request_that_fails_is_not_there(world, monkeypatch, where):
    before = (world.model.version, world.home.requests(), world.home.facts())
    monkeypatch.setattr(*where, failing(getattr(*where)))
    with pytest.raises(OSError, match="disk full"):
        world.home.forget(["s1"])
    monkeypatch.undo()
    assert (world.model.version, world.home.requests(), world.home.facts()) == before
    assert world.ground().tombstones == 0
    world.home.recover()
    assert world.erased() == []
    assert world.home.forget(["s1"]).wait().accepted.samples == 1
    world.check_whole()


def test_a_request_that_failed_here_does_not_hide_one_of_another_process(
    world, monkeypatch, opened
):
    other = opened(world.home.site.root)
    monkeypatch.setattr(versions, "withdraw", failing(versions.withdraw))
    with pytest.raises(OSError, match="disk full"):
        world.home.forget(["s1"])
    monkeypatch.undo()

    other.forget(["s30"])  # its tombstone has the number that the failed one would have had
    receipt = world.home.forget(["s50"])
    ground = world.ground()
    assert [len(gone) for gone in ground.gone.values()] == [2]
    receipt.wait()
    assert world.home.dataset("people").rows == 58
    world.check_whole()
