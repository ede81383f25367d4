"""Parts that need no server: the dispatcher, rates, and the cache of keys."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from expunge.api.rates import Rate
from expunge.core.errors import ServerBusy, ServerStopping
from expunge.service.callers import Callers
from expunge.service.dispatcher import Dispatcher
from expunge.service.keys import Key, Scope
from expunge.service.settings import Settings


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 0.3)), max_size=60),
)
def test_no_key_gets_more_than_its_rate(count, calls):
    now = 0.0
    rate = Rate(f"{count}/second", lambda: now)
    let_through = {"a": [], "b": []}
    for key, pause in calls:
        now += pause
        wait_s = rate.wait_s(key)
        if wait_s == 0:
            let_through[key].append(now)
            continue
        assert 0 < wait_s <= 1
    for moments in let_through.values():
        for start in moments:
            # A burst of `count`, and one more for each interval that passed in a second.
            assert sum(start <= one < start + 0.999 for one in moments) <= 2 * count


@given(
    now=st.floats(0, 1e9),
    count=st.integers(1, 1000),
    period=st.sampled_from(["second", "minute", "hour", "day"]),
)
def test_a_burst_is_as_long_as_the_rate_says_whatever_the_clock_shows(now, count, period):
    rate = Rate(f"{count}/{period}", lambda: now)
    for _ in range(count):
        assert rate.is_over("a") == rate.wait_s("a") == 0
    assert rate.is_over("a") > 0
    assert rate.wait_s("a") > 0


def test_a_rate_lets_a_burst_through_and_then_one_at_a_time():
    now = 0.0
    rate = Rate("3/second", lambda: now)
    assert [rate.wait_s("a") for _ in range(3)] == [0, 0, 0]
    wait_s = rate.wait_s("a")
    assert wait_s == pytest.approx(1 / 3)
    assert rate.is_over("a") == pytest.approx(1 / 3)
    now = wait_s + 1e-9
    assert rate.is_over("a") == 0
    assert rate.wait_s("a") == 0


def test_rates_do_not_remember_everybody_for_ever():
    rate = Rate("1/second")
    for number in range(250_000):
        rate.wait_s(str(number))
    assert len(rate._full_at) <= 100_001


def test_what_waits_is_served_together():
    groups, first, go = [], threading.Event(), threading.Event()

    def serve(group):
        groups.append(list(group))
        first.set()
        go.wait(120)
        return [one * 2 for one in group]

    async def main():
        futures = [dispatcher.submit(0)]
        await asyncio.to_thread(first.wait, 120)
        futures += [dispatcher.submit(one) for one in range(1, 8)]
        assert dispatcher.waiting == 7
        with pytest.raises(ServerBusy):
            dispatcher.submit(9)
        go.set()
        return await asyncio.gather(*futures)

    dispatcher = Dispatcher(serve, 5, 7)
    assert asyncio.run(main()) == [one * 2 for one in range(8)]
    assert groups == [[0], [1, 2, 3, 4, 5], [6, 7]]
    assert dispatcher.close(120)


def test_an_error_goes_to_whoever_asked_and_a_failing_group_to_all_of_it():
    def serve(group):
        if "all" in group:
            raise ZeroDivisionError
        return [ValueError("one") if one == "bad" else one for one in group]

    async def main():
        answers = await asyncio.gather(
            *(dispatcher.submit(one) for one in ("a", "bad", "b")), return_exceptions=True
        )
        with pytest.raises(ZeroDivisionError):
            await dispatcher.submit("all")
        return [answers[0], type(answers[1]), answers[2], await dispatcher.submit("c")]

    dispatcher = Dispatcher(serve, 5, 100)
    assert asyncio.run(main()) == ["a", ValueError, "b", "c"]
    dispatcher.close()


def test_closing_answers_what_waits_and_takes_nothing_more():
    def serve(group):
        time.sleep(0.05)
        return list(group)

    async def main():
        futures = [dispatcher.submit(one) for one in range(20)]
        assert await asyncio.to_thread(dispatcher.close, 120)
        with pytest.raises(ServerStopping):
            dispatcher.submit(0)
        return await asyncio.gather(*futures)

    dispatcher = Dispatcher(serve, 3, 100)
    assert asyncio.run(main()) == list(range(20))
    assert dispatcher.close()


def test_who_has_gone_does_not_disturb_the_others():
    async def main():
        gone, stays = dispatcher.submit(1), dispatcher.submit(2)
        gone.cancel()
        return await stays

    dispatcher = Dispatcher(lambda group: list(group), 5, 100)
    assert asyncio.run(main()) == 2
    dispatcher.close()


def test_a_token_is_looked_up_once_for_all_who_wait():
    asked = []
    key = Key("1" * 16, "k", frozenset({Scope.READ}), "2026", None, None, b"")

    async def find(token):
        asked.append(token)
        await asyncio.sleep(0.02)
        return key if token == "right" else None

    async def main():
        now = 0.0
        callers = Callers(find, 1.5, lambda: now)
        found = await asyncio.gather(*(callers.find("right") for _ in range(10)))
        assert found == [key] * 10
        assert callers.known("right") is key
        assert await callers.find("wrong") is None
        assert await callers.find("wrong") is None
        assert asked == ["right", "wrong"]
        now = 1.5
        assert callers.known("right") is None
        await callers.find("right")
        assert asked == ["right", "wrong", "right"]

    asyncio.run(main())


def test_a_lookup_that_fails_is_not_remembered():
    fails = [False, True]

    async def find(_):
        if fails.pop():
            raise ConnectionResetError

    async def main():
        callers = Callers(find, 1.5)
        with pytest.raises(ConnectionResetError):
            await callers.find("x")
        assert await callers.find("x") is None

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong",
    [{"port": 70_000}, {"rate": "fast"}, {"key_cache_s": 3}, {"batch": 0}, {"reserve_s": 1.0}],
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)
