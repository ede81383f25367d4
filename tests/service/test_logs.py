"""Log lines: JSON, of known keys, and nobody's name in them."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from expunge.service import logs

NAME = "ann@example.org"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    before, level, disabled = root.handlers[:], root.level, access.disabled
    stream = io.StringIO()
    root.handlers.clear()  # pytest's own; they are put back
    logs.configure(stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    access.disabled = disabled


def lines(written: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_is_json_with_the_call_that_it_belongs_to(written):
    with logs.calling("c-1"):
        logging.getLogger("expunge.requests").warning("%d requests wait", 3)
    logging.getLogger("expunge.requests").info("None waits")
    first, second = lines(written)
    assert first.pop("at") <= second.pop("at")
    assert first == {
        "call": "c-1",
        "event": "3 requests wait",
        "level": "warning",
        "logger": "expunge.requests",
    }
    assert second == {"event": "None waits", "level": "info", "logger": "expunge.requests"}


def test_an_error_is_told_by_its_class_alone(written):
    for logger in ("expunge.home", "asyncio"):
        try:
            raise ValueError(NAME)
        except ValueError:
            logging.getLogger(logger).exception("It failed")
    assert [line["error"] for line in lines(written)] == ["ValueError", "ValueError"]
    assert NAME not in written.getvalue()


def test_of_what_others_say_only_what_their_code_says_is_kept(written):
    logging.getLogger("sqlalchemy.pool").error("Cannot reset %s", NAME)
    logging.getLogger("asyncio").error("Never retrieved\nfuture: %s" % NAME)  # noqa: UP031
    logging.getLogger("another.library").warning("Connection to %(host)s lost", {"host": NAME})
    told = [line["event"] for line in lines(written)]
    assert told == ["Cannot reset %s", "Never retrieved", "Connection to %(host)s lost"]


def test_keys_that_nobody_thought_about_are_left_out(written):
    with structlog.contextvars.bound_contextvars(subject=NAME, sample_id=NAME):
        logging.getLogger("expunge.api").info("Accepted", extra={"who": NAME})
    (line,) = lines(written)
    assert line["left_out"] == 2
    assert set(line) <= logs.KEYS
    assert NAME not in written.getvalue()


def test_calls_are_not_logged_with_their_addresses_and_queries(written):
    logging.getLogger("uvicorn.access").info(
        '%s - "%s"', "10.0.0.1", f"GET /requests?subject={NAME}"
    )
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s", "http://127.0.0.1:8080")
    assert [line["event"] for line in lines(written)] == [
        "Uvicorn running on http://127.0.0.1:8080"
    ]


def test_as_text_for_people():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = io.StringIO()
    try:
        logs.configure(as_json=False, stream=stream)
        logging.getLogger("expunge.api").info("Accepted %d", 3)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert "event='Accepted 3'" in stream.getvalue()


def fail(_: object = None) -> None:
    raise ValueError(NAME)


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in (
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back
    logs.tell_failures()


def test_what_nobody_catches_is_told_by_its_class(written, telling):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    told = [line["event"] for line in lines(written)]
    assert told == ["A thread ended in ValueError.", "Nobody caught ValueError."]
    assert NAME not in written.getvalue()


def test_what_fails_while_it_is_cleared_away_is_told_by_its_class(written, telling):
    class Left:
        def __del__(self) -> None:
            fail()

    Left()
    gc.collect()
    (line,) = lines(written)
    assert line["event"] == "Something failed while it was cleared away: ValueError."


def test_what_fails_in_an_event_loop_is_told_by_its_class(written):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        logs.tell_loop_failures(loop)
        loop.call_soon(fail, NAME)  # asyncio would write the argument, too
        task = loop.create_task(asyncio.to_thread(fail))
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())
    events = [line["event"] for line in lines(written)]
    assert events == ["The event loop was left with ValueError."] * 2
    assert NAME not in written.getvalue()
