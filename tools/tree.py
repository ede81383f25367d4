"""Draw the captioned tree of src/expunge into README.md and ARCHITECTURE.md.

A caption is the first line of a module's docstring. ``--check`` changes nothing and fails
when a drawing is stale.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# File → how many levels below src/expunge it shows.
DRAWINGS = {"README.md": 1, "ARCHITECTURE.md": 9}

_MARKED = re.compile(r"(<!-- tree -->\n).*?(<!-- /tree -->)", re.DOTALL)


def caption(module: Path) -> str:
    """First line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def lines(package: Path, levels: int, indent: str = "") -> list[str]:
    """One line per module and package below ``package``: name, then caption."""
    drawn = []
    for path in sorted(package.iterdir(), key=lambda p: (p.is_file(), p.name)):
        if path.is_dir() and (path / "__init__.py").exists():
            drawn.append(_line(indent + path.name + "/", caption(path / "__init__.py")))
            if levels > 1:
                drawn += lines(path, levels - 1, indent + "  ")
        elif path.suffix == ".py" and path.name != "__init__.py":
            drawn.append(_line(indent + path.name, caption(path)))
    return drawn


def draw(text: str, package: Path, levels: int) -> str:
    """``text`` with the tree between its markers redrawn."""
    top = _line(f"src/{package.name}/", caption(package / "__init__.py"))
    tree = "\n".join([top, *lines(package, levels, indent="  ")])
    if not _MARKED.search(text):
        raise ValueError("The markers <!-- tree --> and <!-- /tree --> are missing.")
    return _MARKED.sub(lambda marks: f"{marks[1]}```text\n{tree}\n```\n{marks[2]}", text)


def main() -> int:
    """Redraw, or check; 1 where a checked drawing is stale."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, levels in DRAWINGS.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        drawn = draw(text, ROOT / "src/expunge", levels)
        if drawn != text:
            stale.append(name)
            if not check:
                path.write_text(drawn, encoding="utf-8")
    if stale and check:
        print(f"The tree in {' and '.join(stale)} is stale. Run: make format", file=sys.stderr)
    return int(check and bool(stale))


def _line(name: str, words: str) -> str:
    return f"{name:<24} {words}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
