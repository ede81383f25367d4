"""What a forecast counts is what a request then costs; and it changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import expunge
from expunge.core.errors import InputError, NothingToForget, SamplesUnknown, UnknownName
from expunge.home import Home
from expunge.ledger.lease import shared_clock
from expunge.requests import units
from expunge.requests.forecast import Forecast, Server, forecast
from expunge.requests.forget import Wanted, accept
from expunge.requests.terms import Terms
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded

from .conftest import World  # noqa: TID252 - tests are no package


def told(world: World, *samples: str, subjects: tuple[str, ...] = (), **more: Any) -> Forecast:
    return forecast(world.home.site, "people", Wanted(samples, subjects), **more)


def counted(found: Forecast) -> dict[str, tuple[int, int, int]]:
    return {one.model: (len(one.shards), one.slices, one.samples) for one in found.models}


def done(home: Home, after: int) -> dict[str, tuple[int, int, int]]:
    """What was rebuilt behind a fact: by model, how many shards, checkpoints and visits."""
    names = {home.model(name)._row.folder.name: name for name in home.models()}
    sums: dict[str, tuple[int, int, int]] = {}
    for fact in home.facts():
        if fact.kind == "unit.rebuilt" and fact.number > after:
            before = sums.get(names[fact.body["model"]], (0, 0, 0))
            now = (1, fact.body["built"], fact.body["samples"])
            sums[names[fact.body["model"]]] = tuple(map(sum, zip(before, now, strict=True)))  # type: ignore[assignment]
    return sums


def last(home: Home) -> int:
    return max(fact.number for fact in home.facts())


def everything(home: Home) -> list[Any]:
    """All rows of all tables, but for what a clock or a lease alone moves."""
    with home.site.database.reading() as transaction:
        tables = sa.inspect(transaction).get_table_names()
        return [
            sorted(map(repr, transaction.execute(sa.text(f"SELECT * FROM {table}"))))
            for table in sorted(tables)
        ]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    people_=st.sets(st.integers(0, 14), min_size=1, max_size=4),
    rows=st.sets(st.integers(0, 59), max_size=4),
)
def test_a_forecast_counts_what_the_request_then_costs(
    world: World, people_: set[int], rows: set[int]
) -> None:
    named = (tuple(f"s{row}" for row in rows), tuple(f"p{one}" for one in people_))
    found = forecast(world.home.site, "people", Wanted(*named))
    before = last(world.home)

    receipt = world.home.forget(named[0], subjects=named[1])
    assert (found.samples, found.already) == (receipt.accepted.samples, receipt.accepted.already)
    world.home.recover()
    assert counted(found) == done(world.home, before)


def test_with_filters_several_models_and_rows_that_came_later(world: World) -> None:
    home = world.home
    view = home.dataset("people").view("y", where=[("x0", ">", 0.0)])
    home.train("some", view, Sharded(Tiny(), shards=2, slices=3))
    home.ingest("people", people(12, seed=3, first=60), id="id", subject="who", slices=2)
    home.recover()
    for named in (("s1", "s61"), ("s2",), tuple(f"s{row}" for row in range(10, 30))):
        found, before = told(world, *named), last(home)
        home.forget(named)
        home.recover()
        assert counted(found) == done(home, before)


def test_rows_that_are_not_trained_yet_are_counted_by_name(world: World) -> None:
    world.home.ingest("people", people(12, seed=3, first=60), id="id", subject="who")
    found = told(world, "s61")
    (one,) = found.models
    assert len(one.shards) == 1
    assert one.samples > 0
    assert not one.withdrawn


def test_a_narrowed_request_touches_what_it_names(world: World) -> None:
    home = world.home
    home.train("other", home.dataset("people").view("y"), Sharded(Tiny(), shards=2))
    found = told(world, "s1", asked=Terms(models=("other",)))
    assert [one.model for one in found.models] == ["other"]
    assert found.samples == 1
    before = last(home)
    accept(home.site, "people", Wanted(("s1",)), Terms(models=("other",)))
    home.recover()
    assert counted(found) == done(home, before)
    assert told(world, "s1", asked=Terms(models=("other",))).already == 1
    assert [one.model for one in told(world, "s1").models] == ["m"]


def test_it_changes_nothing(world: World) -> None:
    before = everything(world.home)
    told(world, "s1", "s2", subjects=("p5",))
    with pytest.raises(SamplesUnknown):
        told(world, "nobody")
    assert everything(world.home) == before


def test_what_waits_is_joined_and_the_rest_is_ahead(world: World) -> None:
    here, there = world.rows_of(0), world.rows_of(1)
    world.home.forget([here[0], there[0]])
    found = told(world, here[1])
    with world.home.site.database.reading() as transaction:
        waiting = {unit.shard: unit.id for unit in units.all_unfinished(transaction)}
    assert found.joins == (waiting[0],)
    assert found.ahead == 1
    assert found.batch_starts_at is None

    before = last(world.home)
    world.home.forget([here[1]])
    world.home.recover()
    (model,) = found.models
    rebuilt = [
        fact.body["samples"]
        for fact in world.home.facts()
        if fact.kind == "unit.rebuilt" and fact.number > before and fact.body["shard"] == 0
    ]
    assert rebuilt == [model.samples]


def test_who_forgets_again_waits_for_what_the_first_wait_for(world: World) -> None:
    world.home.forget(["s1"])
    found = told(world, "s1")
    assert (found.samples, found.already) == (0, 1)
    assert len(found.joins) == 1
    world.home.recover()
    assert told(world, "s1").models == ()


def test_a_batch_that_begins_later_is_named(world: World) -> None:
    with world.home.site.database.reading() as transaction:
        later = shared_clock(transaction) + 3_600
    found = told(world, "s1", server=Server(not_before=later))
    assert found.batch_starts_at == datetime.fromtimestamp(later, UTC)
    assert found.rebuilt_at is not None
    assert found.rebuilt_at >= found.batch_starts_at


def test_seconds_are_measured_ones(world: World) -> None:
    found = told(world, "s1")
    (model,) = found.models
    rates = [
        fact.body["seconds"] / fact.body["samples"]
        for fact in world.home.facts()
        if fact.kind == "unit.rebuilt"
    ]
    assert model.seconds == pytest.approx(sorted(rates)[1] * model.samples)
    assert found.seconds == model.seconds
    assert found.done_at == found.rebuilt_at
    assert found.rebuilt_at is not None
    assert found.rebuilt_at - found.effective_at == timedelta(seconds=model.seconds or 0)


def test_a_model_that_subtracts_visits_only_rows_that_go(home: Home) -> None:
    home.ingest("people", people(60), id="id", subject="who", values=["y"])
    recipe = Sharded(expunge.Ridge(), shards=2, slices=3)
    home.train("sums", home.dataset("people").view("y"), recipe)
    home.forget(["s30"]).wait()
    after = last(home)
    seconds = [f.body["seconds"] for f in home.facts() if f.kind == "unit.rebuilt"]
    found = forecast(home.site, "people", Wanted(("s1",), ()))
    home.forget(["s1"]).wait()
    assert counted(found) == done(home, after)
    assert found.models[0].samples <= 3
    assert found.seconds == pytest.approx(sorted(seconds)[1])


def test_nothing_is_told_of_time_where_nothing_was_measured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expunge.requests.paces.measured", lambda transaction: {})
    found = told(world, "s1")
    assert (found.seconds, found.rebuilt_at, found.done_at) == (None, None, None)
    assert counted(found) != {}
    assert not found.is_late


def test_moments_and_deadlines_are_told(world: World) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    received = datetime.now(UTC) - timedelta(days=44)
    asked = Terms(regime="30d+15d", received=received, undo_s=86_400.0)
    found = told(world, "s1", asked=asked)
    assert found.deadline is not None
    assert found.deadline < found.effective_at
    assert found.is_late
    assert found.done_at == found.effective_at + timedelta(days=1)

    found = told(world, "s1", asked=Terms(effective=later, regime="ccpa"))
    assert found.effective_at == later
    assert found.rebuilt_at is not None
    assert found.rebuilt_at > later
    assert found.confirm_by is not None
    assert not found.is_late


def test_a_model_that_could_not_answer_is_told(home: Home) -> None:
    home.ingest("people", people(20), id="id", subject="who", values=["y"])
    home.train("one", home.dataset("people").view("y"), Sharded(Tiny()))
    found = forecast(home.site, "people", Wanted(("s1",)))
    assert [one.withdrawn for one in found.models] == [True]
    home.forget(["s1"])
    version = home.model("one").version
    assert version is not None
    assert all(c.frame is None for c in version.constituents)


def test_a_model_in_its_first_training_costs_nothing_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.ingest("people", people(20), id="id", subject="who", values=["y"])
    assert forecast(home.site, "people", Wanted(("s1",))).models == ()


def test_what_cannot_be_asked_is_refused(world: World) -> None:
    with pytest.raises(NothingToForget):
        told(world)
    with pytest.raises(SamplesUnknown):
        told(world, "nobody")
    with pytest.raises(UnknownName):
        told(world, "s1", asked=Terms(models=("nobody",)))
    with pytest.raises(UnknownName):
        told(world, "s1", asked=Terms(regime="hgb"))
    with pytest.raises(InputError):
        told(world, "s1", asked=Terms(method="influence"))
