"""Rules of the house that no linter knows: imports, chance, pickles, pages and pins."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src/expunge"
MODULES = sorted(SOURCE.rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# testing/ makes up rows, and learners that break this rule so that check_exact notices.
SEEDING = {
    SOURCE / "core/rng.py",
    SOURCE / "learners/seeding.py",
    *(SOURCE / "testing").rglob("*.py"),
}

# The words of DESIGN.md 2.
WORDS = [
    "sample",
    "subject",
    "dataset",
    "view",
    "key",
    "segment",
    "shard",
    "slice",
    "recipe",
    "checkpoint",
    "name",
    "runtime",
    "constituent",
    "model",
    "version",
    "request",
    "tombstone",
    "unit",
    "method",
    "guarantee",
    "outcome",
    "evidence",
    "certificate",
    "ledger",
    "home",
]

UNPICKLERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "skops"}
LOADERS = {"torch.load", "torch.save", "pandas.read_pickle", "numpy.lib.format.read_array"}
GENERATORS = ("numpy.random.", "random.", "torch.manual_seed", "torch.seed", "torch.Generator")
GENERATORS += ("torch.random.", "torch.cuda.manual_seed", "torch.cuda.seed", "torch.cuda.random.")


def by_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


class Origins(ast.NodeVisitor):
    """What each name in a module stands for, as far as imports tell."""

    def __init__(self, tree: ast.Module) -> None:
        self.known: dict[str, str] = {}
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.known[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.known[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def dotted(self, node: ast.expr) -> str:
        """``np.random.rand`` → ``numpy.random.rand``; empty where it is not a plain path."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id, "")
        if isinstance(node, ast.Attribute) and (head := self.dotted(node.value)):
            return f"{head}.{node.attr}"
        return ""


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unpickles(source: str) -> list[str]:
    """The places in ``source`` that may unpickle."""
    tree = ast.parse(source)
    origins = Origins(tree)
    found = [name for name in imports(tree) if name.partition(".")[0] in UNPICKLERS]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = origins.dotted(node.func)
        allowed = {k.arg: k.value for k in node.keywords}.get("allow_pickle", ast.Constant(False))
        if name in LOADERS or (isinstance(node.func, ast.Attribute) and "pickle" in node.func.attr):
            found.append(ast.unparse(node.func))
        elif not (isinstance(allowed, ast.Constant) and allowed.value is False):
            found.append(f"{ast.unparse(node.func)} with allow_pickle")
    return found


def draws(source: str) -> list[str]:
    """The places in ``source`` that make, seed or use a generator of chance."""
    tree = ast.parse(source)
    origins = Origins(tree)
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [
        ast.unparse(call)
        for call in calls
        if origins.dotted(call).startswith(GENERATORS)
        or (isinstance(call, ast.Attribute) and call.attr in {"manual_seed", "manual_seed_all"})
    ]


@pytest.mark.parametrize("module", MODULES, ids=by_path)
def test_a_module_begins_with_a_caption(module: Path) -> None:
    first = (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]
    assert first, "the first line of its docstring stands in the tree of README.md"
    assert first.endswith((".", "!", "?"))
    assert len(first) <= 100


@pytest.mark.parametrize("module", MODULES, ids=by_path)
def test_nothing_is_unpickled(module: Path) -> None:
    assert unpickles(module.read_text()) == []


@pytest.mark.parametrize("module", sorted({*MODULES} - SEEDING), ids=by_path)
def test_chance_comes_from_the_two_modules_that_may(module: Path) -> None:
    assert draws(module.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch as t\nt.load('x')",
        "from torch import load\nload('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=flag)",
        "frame.to_pickle('x')",
    ],
)
def test_the_check_for_pickles_bites(source: str) -> None:
    assert unpickles(source)


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.random.default_rng(0)",
        "from numpy.random import default_rng\ndefault_rng(0)",
        "from numpy import random as r\nr.seed(1)",
        "import random\nrandom.shuffle(x)",
        "from random import Random\nRandom(1)",
        "import torch\ntorch.manual_seed(0)",
        "generator.manual_seed(0)",
    ],
)
def test_the_check_for_chance_bites(source: str) -> None:
    assert draws(source)


def test_the_checks_let_plain_code_pass() -> None:
    source = "import numpy as np\nnp.load('x', allow_pickle=False)\nnp.sum(x)\nself.random.x()"
    assert unpickles(source) == []
    assert draws(source) == []


@pytest.mark.parametrize("module", sorted((SOURCE / "core").glob("*.py")), ids=by_path)
def test_core_needs_the_standard_library_only(module: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"expunge"}
    if module.name == "rng.py":
        allowed.add("numpy")
    found = set(imports(ast.parse(module.read_text())))
    assert {name.partition(".")[0] for name in found} <= allowed
    assert all(name.startswith("expunge.core") for name in found if name.startswith("expunge"))


def test_importing_expunge_imports_no_framework() -> None:
    heavy = ("torch", "sklearn", "pandas", "scipy", "xgboost", "lightgbm", "fastapi")
    code = f"import sys, expunge; print(sorted(set(sys.modules) & set({heavy!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd="/"
    )
    assert done.stdout.strip() == "[]"


def test_the_glossary_explains_each_word_once() -> None:
    text = (ROOT / "docs/glossary.md").read_text()
    explained = re.findall(r"^- \*\*([^*]+)\*\*: \S", text, re.MULTILINE)
    assert set(WORDS) <= set(explained)
    assert len(explained) == len(set(explained))


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in local if link and not (page.parent / link).exists()] == []


def test_each_decision_is_listed() -> None:
    folder = ROOT / "docs/adr"
    listed = (folder / "README.md").read_text()
    decisions = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name for name in decisions if f"({name})" not in listed] == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.]*", pin) for pin in pins)
    pinned = {_plain(pin.partition("==")[0]) for pin in pins}
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {_plain(re.split(r"[\[<>=; ]", line)[0]) for line in wanted} - {"expunge"}
    assert names <= pinned
    assert "torch==2.13.0" in pins


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
