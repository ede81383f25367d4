"""Packs of two runtimes: what is served is never emptied, what is not is destroyed."""

from __future__ import annotations

import pytest

from expunge.training import runtime, versions


@pytest.fixture
def elsewhere(monkeypatch):
    """Makes this process another runtime, whose packs sort before or behind the first."""

    def move(first: str) -> None:
        monkeypatch.setattr(runtime, "name", lambda _: first * 64)

    return move


@pytest.mark.parametrize("other", ["0", "f"])
def test_forgetting_after_a_move_rebuilds_and_leaves_one_pack(world, rows, elsewhere, other):
    (before,) = {c.pack.split(".")[1] for c in world.model.version.constituents}
    elsewhere(other)
    world.home.forget(world.rows_of(1, 1)[:1]).wait()
    packs = [c.pack.split(".")[1] for c in world.model.version.constituents]
    assert packs == [before, other * 16, before]
    sizes = {path.name: path.stat().st_size for path in versions.pack_paths(world.model._row, 1)}
    assert sizes[f"00001.{before}.pack"] == 0
    assert world.depths() == [2, 2, 2]
    assert len(world.model.predict(rows)) == 60


@pytest.mark.parametrize("other", ["0", "f"])
def test_a_request_while_other_packs_are_emptied_keeps_what_is_served(
    world, rows, elsewhere, monkeypatch, other
):
    """The request comes just before the plan is read: both packs hold the clean checkpoint."""
    elsewhere(other)
    first, second = world.rows_of(1, 1)[:2]
    real, late = versions._sweep_pack, [second]

    def meddling(*arguments, **named):
        if late:
            world.home.forget([late.pop()])
        return real(*arguments, **named)

    monkeypatch.setattr(versions, "_sweep_pack", meddling)
    world.home.forget([first])
    world.home.recover()
    assert late == []
    assert len(world.model.predict(rows)) == 60  # from bytes that are still there
    assert world.served()[1] is not None
    world.home.recover()
    assert world.depths() == [2, 2, 2]
    assert {str(request.state) for request in world.home.requests()} == {"done"}
