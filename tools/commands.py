"""Write docs/cli.md from the command line's own help.

``--check`` changes nothing and fails when the page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from expunge.cli import app

PAGE = Path(__file__).resolve().parent.parent / "docs/cli.md"

_HEAD = """# Commands

Written by `tools/commands.py` from the help texts: change those, not this page.

Every command takes `--home` (or the variable `EXPUNGE_HOME`; else `./expunge-home`) and `--json`, with which it prints one
JSON object on standard output and nothing else there: the answer, or `{"error": {"code", "message", "exit"}}`. Progress and
messages go to standard error: a live display on a terminal, a plain line every few seconds elsewhere.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a check says no: `verify` is not exact, `ledger fsck` or `demo` found something |
| 2 | bad input; nothing was changed |
| 3 | withdrawn or unavailable: no clean part is left to answer, a worker died, a library is not installed |
| 4 | a fault of ours; `EXPUNGE_TRACEBACK=1` shows all of it |
| 5 | inconclusive: `audit` could not tell, and says what it would take |
| 130 | interrupted; the message says what is kept |
"""
_COMMON = {"home", "files", "as_json"}


def page() -> str:
    """All of docs/cli.md."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
    return "\n".join([_HEAD, *(_section(name, one) for name, one in _flat("", commands))])


def _flat(before: str, commands: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Commands with their whole names; those of a group behind its word."""
    for name, command in commands.items():
        if hasattr(command, "commands"):
            yield from _flat(f"{before}{name} ", command.commands)
        else:
            yield before + name, command


def main() -> int:
    """Write the page, or check it; 1 where it is stale."""
    fresh = page()
    if "--check" in sys.argv[1:]:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh
        if stale:
            print("docs/cli.md is stale. Run: python tools/commands.py", file=sys.stderr)
        return int(stale)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


def _section(name: str, command: Any) -> str:  # noqa: ANN401 - Typer's own types
    usage = "expunge " + " ".join([name, *(_place(p) for p in command.params if _is_place(p))])
    example = command.epilog.removeprefix("Example: ")
    rows = [_row(p) for p in command.params if p.name not in _COMMON]
    return "\n".join(
        [
            f"## `{usage}`\n",
            f"{command.help}\n",
            f"```console\n$ {example}\n```\n",
            "| | |\n|---|---|",
            *rows,
            "",
        ]
    )


def _is_place(parameter: Any) -> bool:  # noqa: ANN401
    return bool(parameter.param_type_name == "argument")


def _place(parameter: Any) -> str:  # noqa: ANN401
    return str(parameter.metavar or parameter.name.upper())


def _row(parameter: Any) -> str:  # noqa: ANN401
    if _is_place(parameter):
        return f"| `{_place(parameter)}` | {parameter.help} |"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    value = f" `{parameter.metavar}`" if parameter.metavar else ""
    notes = [parameter.help]
    if parameter.required:
        notes.append("Required.")
    elif parameter.default not in (None, False, "", 0) and not parameter.secondary_opts:
        notes.append(f"Default: `{getattr(parameter.default, 'value', parameter.default)}`.")
    if parameter.multiple:
        notes.append("May be repeated.")
    return f"| {names}{value} | {' '.join(notes)} |".replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main())
