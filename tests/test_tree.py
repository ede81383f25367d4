"""The drawn tree: captions from docstrings, between the markers, and nothing else."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TREE = runpy.run_path(str(Path(__file__).resolve().parent.parent / "tools/tree.py"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in {
        "p/__init__.py": '"""The whole."""',
        "p/b.py": '"""Module b, in short.\n\nAnd at length."""',
        "p/a/__init__.py": '"""Folder a."""',
        "p/a/inner.py": '"""Deep inside."""',
        "p/a/notes.txt": "",
        "p/empty/readme.txt": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "p"


def drawn(package: Path, levels: int) -> list[tuple[str, str]]:
    text = TREE["draw"]("before\n<!-- tree -->\nold\n<!-- /tree -->\nafter\n", package, levels)
    before, fence, *lines, end, mark, after = text.splitlines()[0:1] + text.splitlines()[2:]
    assert (before, fence, end, mark, after) == (
        "before",
        "```text",
        "```",
        "<!-- /tree -->",
        "after",
    )
    return [(name, words.strip()) for name, _, words in (li.strip().partition(" ") for li in lines)]


def test_packages_come_before_modules_each_with_its_caption(package: Path) -> None:
    assert drawn(package, levels=9) == [
        ("src/p/", "The whole"),
        ("a/", "Folder a"),
        ("inner.py", "Deep inside"),
        ("b.py", "Module b, in short"),
    ]


def test_a_shallow_drawing_stops_at_packages(package: Path) -> None:
    assert [name for name, _ in drawn(package, levels=1)] == ["src/p/", "a/", "b.py"]


def test_drawing_twice_changes_nothing(package: Path) -> None:
    once = TREE["draw"]("<!-- tree -->\n<!-- /tree -->", package, 9)
    assert TREE["draw"](once, package, 9) == once


def test_missing_markers_are_told(package: Path) -> None:
    with pytest.raises(ValueError, match="markers"):
        TREE["draw"]("no markers", package, 9)
