"""The tool that kills does what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import expunge
from expunge.storage import disk
from expunge.storage.database import Database, sqlite_url
from expunge.testing import faults

SOURCES = Path(expunge.__file__).parent


def scenario(folder):
    def act():
        (folder / "sub").mkdir()
        for name in "abc":
            disk.write_file(folder / "sub" / name, name.encode() * 100)
        disk.remove(folder / "sub")
        database = Database(sqlite_url(folder / "base"))
        database.create()
        with database.reading():
            pass
        database.scrub()

    return act


FILE = ["write", "sync", "replace", "sync_folder"]


def test_points_are_counted_by_kind(tmp_path):
    kinds = [*FILE, *FILE, *FILE, "remove", "commit", "scrub"]
    assert faults.points(scenario(tmp_path)) == kinds


def test_count_is_the_number_of_points(tmp_path):
    assert faults.count(scenario(tmp_path)) == 15


def test_it_dies_before_the_change(tmp_path):
    assert faults.kill_at(scenario(tmp_path), 7)
    assert sorted(path.name for path in (tmp_path / "sub").iterdir())[1:] == [
        "a"
    ]  # and the unfinished b


def test_it_dies_before_the_commit(tmp_path):
    assert faults.kill_at(scenario(tmp_path), 14)
    Database(sqlite_url(tmp_path / "base")).create()  # nothing is in the way


def test_it_dies_in_the_midst_of_a_write(tmp_path):
    assert faults.kill_at(scenario(tmp_path), 1, torn=True)
    (part,) = (tmp_path / "sub").iterdir()
    assert part.read_bytes() == b"a" * 50


def test_it_dies_in_the_midst_of_a_removal(tmp_path):
    assert faults.kill_at(scenario(tmp_path), 13, torn=True)
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["b"]


def test_a_scenario_that_ends_before_is_not_killed(tmp_path):
    assert not faults.kill_at(scenario(tmp_path), 16)


def test_an_error_of_the_scenario_is_not_taken_for_a_kill(tmp_path, capfd):
    with pytest.raises(faults.ScenarioFailed):
        faults.kill_at(lambda: 1 / 0, 1)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_this_process_is_not_touched(tmp_path):
    before = disk.write, disk.replace, Database.scrub
    faults.points(scenario(tmp_path))
    assert (disk.write, disk.replace, Database.scrub) == before


# Whoever changes a disk by another way than storage.disk escapes the kills. These may, because…
ALLOWED = {
    "storage/disk.py": "it is the way",
    "storage/database.py": "makes the empty file of a database",
    "storage/locks.py": "lock files are empty",
    "storage/packs.py": "opening makes an empty pack, which is as good as none",
    "storage/journal.py": "makes an empty folder, and opens for disk.write",
    "ledger/keys.py": "makes an empty folder",
    "ledger/publish.py": "makes empty folders",
    "home/opening.py": "makes the empty folders of a home",
    "training/site.py": "makes the folder of a replay, which starts empty and is removed",
    "data/appending.py": "makes and removes empty folders",
    "data/ingest.py": "staging: invisible until disk.replace",
    "data/spill.py": "staging: invisible until disk.replace",
    "data/segments.py": "staging: invisible until disk.replace",
    "data/index.py": "staging: invisible until disk.replace",
    "data/subjects.py": "staging: invisible until disk.replace",
    "data/erase.py": "opens for disk.write",
    "training/export.py": "staging: invisible until disk.replace",
    "training/package.py": "staging: invisible until disk.replace",
    "execution/worker.py": "opens its standard output",
}
METHODS = {"write_bytes", "write_text", "unlink", "rename", "rmdir", "mkdir", "touch", "tofile"}
METHODS |= {"symlink_to", "hardlink_to", "new_file", "new_stream", "write_table", "rmtree"}
OS = {"write", "pwrite", "ftruncate", "truncate", "fsync", "fdatasync", "replace", "rename"}
OS |= {"remove", "unlink", "mkdir", "makedirs", "rmdir", "link", "symlink", "open", "fdopen"}


def changes(tree: ast.AST) -> list[int]:
    """Lines on which a disk may be changed."""
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_one(node)]


def _is_one(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="os" | "shutil" | "tempfile"), attr=name):
            return name in OS or call.func.value.id != "os"
        case ast.Attribute(value=ast.Name(id="disk" | "sources" | "expunge" | "homes")):
            return False
        case ast.Attribute(attr="open"):
            return any(_opens_to_write(argument) for argument in call.args)
        case ast.Attribute(attr=name):
            return name in METHODS
        case ast.Name(id="open"):
            return any(_opens_to_write(argument) for argument in call.args[1:])
    return False


def _opens_to_write(argument: ast.expr) -> bool:
    mode = argument.value if isinstance(argument, ast.Constant) else ""
    return isinstance(mode, str) and bool(set(mode) & set("wxa+")) and len(mode) <= 3


def test_all_other_code_changes_disks_through_storage_disk():
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        # Faces write what their user names; tests' tools work in temporary folders.
        if not name.startswith(("cli/", "testing/")) and name not in ALLOWED:
            found[name] = changes(ast.parse(path.read_text()))
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_search_for_other_ways_finds_some():
    text = "os.replace(a, b)\npath.write_bytes(b'')\npath.open('wb')\nopen(p, 'a')\nshutil.rmtree(p)\ndisk.write(d, b, 0)\npath.open('rb')\n"
    assert changes(ast.parse(text)) == [1, 2, 3, 4, 5]


def test_no_exception_is_kept_longer_than_needed():
    assert {name for name in ALLOWED if not (SOURCES / name).exists()} == set()
