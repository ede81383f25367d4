"""The demonstration tells what it measured, and notices when something is left."""

from __future__ import annotations

import json

import pytest
from sklearn.naive_bayes import GaussianNB

from expunge.cli import demo_data, demo_search
from expunge.learners.sklearn import Sklearn


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_data, "_learner", lambda epochs: (Sklearn(GaussianNB()), False))


SMALL = ("--shards", "3", "--slices", "2", "--people", "2")


@pytest.mark.parametrize("data", ["patients", "digits"])
def test_it_proves_what_it_says(answer, data):
    told = answer("demo", "--data", data, *SMALL)
    assert told["proved"]
    assert told["exact"]
    assert told["needles_found"] == 0
    assert told["needles_found_before"] == told["needles"] > 0
    assert told["names_changed"] == told["destroyed_checkpoints"] == told["rebuilt_checkpoints"]
    assert told["forgotten"] == 2
    assert told["accuracy"] > 0.7


def test_piped_it_is_plain_text(call):
    told = call("demo", *SMALL)
    assert told.exit_code == 0, told.output
    assert "Same bytes as never having seen them: yes" in told.stdout
    assert not [c for c in told.stdout if ord(c) < 32 and c != "\n"]
    assert max(map(len, told.stdout.splitlines())) <= 100


def test_the_home_can_be_kept_and_looked_at(folder, call, answer):
    told = call("demo", *SMALL, "--keep", "kept")
    assert "Look around: expunge status --home kept" in told.stdout
    assert len(answer("status", "--home", "kept")["models"]) == 2
    assert "not empty" in call("demo", "--keep", "kept").stderr


def test_what_is_left_is_a_no(call, monkeypatch):
    kept = demo_search.search

    def finds(folder, needles):
        (folder / "leak").write_bytes(b"".join(needles))
        return kept(folder, needles)

    monkeypatch.setattr(demo_search, "search", finds)
    told = call("demo", *SMALL, "--json")
    assert told.exit_code == 1
    assert not json.loads(told.stdout)["proved"]
