"""The page about requests says what the code says: its states and moves, and its regimes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from expunge.requests import deadlines
from expunge.requests.kinds import Kind
from expunge.requests.states import FINAL, MOVES, State

PAGE = (Path(__file__).parents[2] / "docs/requests.md").read_text(encoding="utf-8")


def table(title: str) -> list[list[str]]:
    """Cells of the first table below a title."""
    below = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_its_states_and_moves_are_those_of_the_table() -> None:
    rows = table("States")
    said = {State(words(state)[0]): {State(to) for to in words(nexts)} for state, _, nexts in rows}
    assert said == MOVES
    assert {State(words(state)[0]) for state, _, _ in rows[-len(FINAL) :]} == FINAL


def test_all_kinds_are_on_it() -> None:
    assert {Kind(words(row[0])[0]) for row in table("Kinds and scopes")} == set(Kind)


@pytest.mark.parametrize("name", [name for row in table("Deadlines") for name in words(row[0])])
def test_its_regimes_are_known(name: str) -> None:
    assert deadlines.named(name).name == name


def test_no_regime_is_left_out() -> None:
    assert deadlines.REGIMES.keys() <= {
        name for row in table("Deadlines") for name in words(row[0])
    }
