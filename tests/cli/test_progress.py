"""Progress: bars on a terminal, whole lines elsewhere, nothing for what is quick."""

from __future__ import annotations

import io
import time

import pytest

from expunge.execution import progress
from expunge.execution.progress import Lines, Live, Work


def test_lines_are_plain_and_say_what_is_left() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every_s=0.0)
    lines.begin("building m", [Work(0, 2), Work(1, 2)])
    lines.advance(0, 0, 0)  # nothing trained yet: nothing to say
    assert stream.getvalue() == ""
    lines.advance(0, 1, 100)
    lines.advance(0, 1, 200)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("building m: 1/4 slices, 0 of 2 shards · ")
    assert second.startswith("building m: 2/4 slices, 1 of 2 shards · ")
    assert second.endswith("0:00 left")
    assert "\x1b" not in stream.getvalue()


def test_what_is_quick_shows_nothing() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.begin("building m", [Work(0, 1)])
    lines.advance(0, 1, 10)
    lines.end()
    assert stream.getvalue() == ""


def test_a_terminal_gets_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "_SHOW_AFTER_S", 0.0)
    live = Live()
    live.begin("building m", [Work(0, 2), Work(7, 2)])
    for index in (0, 1, 0):
        live.advance(index, 1, 50)
        time.sleep(0.15)
    live.end()
    said = capsys.readouterr().err
    assert "building m" in said
    assert "shard 7" in said
    assert "1 of 2 shards" in said


def test_the_stream_decides() -> None:
    assert isinstance(progress.default(io.StringIO()), Lines)
