"""Progress: bars on a terminal, whole lines elsewhere, nothing for what is quick."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from expunge.execution import progress
from expunge.execution.progress import Lines, Live, Work


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes."""
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: 1000.0))


@pytest.mark.usefixtures("at_once")
def test_lines_are_plain_and_say_what_is_left() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every_s=0.0)
    track = lines.begin("building m", [Work(0, 2), Work(1, 2)])
    track.advance(0, 0, 0)  # nothing trained yet: nothing to say
    assert stream.getvalue() == ""
    track.advance(0, 1, 100)
    track.advance(0, 1, 200)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("building m: 1/4 slices, 0 of 2 shards · ")
    assert second.startswith("building m: 2/4 slices, 1 of 2 shards · ")
    assert second.endswith("0:00 left")
    assert "\x1b" not in stream.getvalue()


@pytest.mark.usefixtures("at_once")
def test_what_is_quick_shows_nothing() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    track = lines.begin("building m", [Work(0, 1)])
    track.advance(0, 1, 10)
    track.end()
    reading = lines.reading("reading into people")
    reading.rows(10)
    reading.end()
    assert stream.getvalue() == ""


def test_reading_is_counted_in_rows() -> None:
    stream = io.StringIO()
    reading = Lines(stream, every_s=0.0).reading("reading into people")
    reading.rows(1200)
    assert stream.getvalue().startswith("reading into people: 1,200 rows · ")


def test_a_terminal_gets_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "_SHOW_AFTER_S", 0.0)
    live = Live()
    track = live.begin("building m", [Work(0, 2), Work(7, 2)])
    reading = live.reading("reading into people")  # at the same time, in one display
    for index in (0, 1, 0):
        track.advance(index, 1, 50)
        reading.rows(1200)
        assert live._bars is not None
        live._bars.refresh()
    track.end()
    reading.end()
    said = capsys.readouterr().err
    assert "building m" in said
    assert "shard 7" in said
    assert "1 of 2 shards" in said
    assert "1,200 rows" in said


def test_the_stream_decides() -> None:
    assert isinstance(progress.default(io.StringIO()), Lines)
