"""The runner of mutants, end to end on a tiny tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PATCH = """\
# breaks: {breaks}
# test: tests/test_tiny.py::{test}
--- a/src/tiny/__init__.py
+++ b/src/tiny/__init__.py
@@ -1,3 +1,3 @@
 def add(a, b):
-    return {old}
+    return {new}
 # end
"""
TESTS = """\
import tiny

def test_add():
    assert tiny.add(2, 3) == 5

def test_nothing():
    assert tiny

def test_wrong_already():
    assert tiny.add(1, 1) == 3

def test_inside():
    import tiny.other
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "src/tiny/__init__.py": "def add(a, b):\n    return a + b\n# end\n",
        "src/tiny/other.py": "",
        "tests/test_tiny.py": TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib']\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "mutants").mkdir()
    return tmp_path


def write(tree: Path, name: str, test: str, new: str, old: str = "a + b") -> None:
    patch = PATCH.format(breaks=f"the rule of {name}", test=test, old=old, new=new)
    (tree / f"mutants/{name}.patch").write_text(patch)


def run(tree: Path, *names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/mutants.py"), "--root", str(tree), *names]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_mutant_that_its_test_notices_is_killed(tree: Path) -> None:
    write(tree, "minus", "test_add", "a - b")
    write(tree, "times", "test_add", "a * b")
    done = run(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 mutants killed." in done.stdout
    assert "the rule of minus" in done.stdout
    assert (tree / "src/tiny/__init__.py").read_text().count("a + b") == 1


SHOWS_NOTHING = [
    ({"test": "test_add", "new": "b + a"}, "SURVIVED"),
    ({"test": "test_nothing", "new": "a - b"}, "SURVIVED"),
    ({"test": "test_add", "new": "a - b", "old": "a / b"}, "does not apply"),
    ({"test": "test_add", "new": "a +"}, "did not run"),
    ({"test": "test_no_such", "new": "a - b"}, "does not pass on the tree as it is"),
    ({"test": "test_wrong_already", "new": "a - b"}, "does not pass on the tree as it is"),
    ({"test": "test_inside", "new": "a - b\nimport nosuch"}, "did not"),
    ({"test": "test_add", "new": "undefined"}, "did not get to the rule"),
]


def test_whatever_shows_nothing_fails_the_run(tree: Path) -> None:
    write(tree, "good", "test_add", "a - b")
    for number, (case, _) in enumerate(SHOWS_NOTHING):
        write(tree, f"bad{number}", **case)
        if "\n" in case["new"]:
            patch = tree / f"mutants/bad{number}.patch"
            text = patch.read_text().replace("\nimport", "\n+import").replace("+1,3", "+1,4")
            patch.write_text(text)
    done = run(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 of 9 mutants killed." in done.stdout
    said = re.findall(r"^\w+ +(\w+)\n(?: .*\n){2} +because (.*)$", done.stdout, re.MULTILINE)
    told = dict(said)
    for number, (_, verdict) in enumerate(SHOWS_NOTHING):
        found = "SURVIVED" if told[f"bad{number}"] == "the test passes" else told[f"bad{number}"]
        assert verdict in found


def test_a_patch_without_its_header_is_refused(tree: Path) -> None:
    (tree / "mutants/x.patch").write_text("--- a/x\n")
    done = run(tree)
    assert done.returncode != 0
    assert "must begin with `# breaks: <rule>`" in done.stderr


def test_one_can_be_chosen_and_none_is_a_failure(tree: Path) -> None:
    assert run(tree).returncode == 1
    write(tree, "minus", "test_add", "a - b")
    write(tree, "same", "test_add", "b + a")
    assert "1 of 1 mutants killed." in run(tree, "minus").stdout
    assert "No mutants to try" in run(tree, "nothing-like-that").stderr


def test_our_own_patches_name_tests_that_exist() -> None:
    for patch in sorted((ROOT / "mutants").glob("*.patch")):
        first, second, *_ = patch.read_text().splitlines()
        assert first.startswith("# breaks: "), patch
        path, _, name = second.removeprefix("# test: ").partition("::")
        function = name.partition("[")[0].rpartition("::")[2]
        assert f"def {function}(" in (ROOT / path).read_text(), patch
