"""What may be recorded is what the page on the ledger says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from expunge.ledger import statement
from expunge.requests import journaled
from expunge.storage.facts import FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "ledger.md"


def listed() -> list[str]:
    """Kinds of entries in the page's table, in its order."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return [kind for row in rows for kind in re.findall(r"`([a-z]+\.[a-z]+)`", row.split("|")[1])]


def test_the_page_lists_every_kind_of_entry_once() -> None:
    assert sorted(listed()) == sorted(FIELDS)


@pytest.mark.parametrize("kind", [*journaled.KINDS, *statement.EVENTS])
def test_kinds_that_others_look_for_can_be_recorded(kind: str) -> None:
    assert kind in FIELDS


@pytest.mark.parametrize(("kind", "field"), statement.EVENTS.items())
def test_events_tell_what_their_entries_hold(kind: str, field: str | None) -> None:
    assert FIELDS[kind] >= ({field} if field else set())
