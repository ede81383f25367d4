"""Help teaches, costs nothing, and docs/cli.md says the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from expunge.cli import app

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {
    "certificate": ("save", "show"),
    "holds": ("list", "place", "release"),
    "keys": ("create", "list", "revoke"),
    "ledger": ("export", "fsck", "opening", "proof", "rotate", "show", "shred", "witness"),
    "requests": (
        *("approve", "cancel", "extend", "lift", "list", "refuse", "retry", "show", "undo"),
    ),
}


def commands() -> list[str]:
    """All commands by their whole names, those of groups too."""
    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inside = getattr(command, "commands", None)
        found += [f"{name} {one}" for one in inside] if inside else [name]
    return sorted(found)


COMMANDS = commands()


def test_all_commands_are_there() -> None:
    wanted = {"ingest", "train", "predict", "forget", "status", "verify", "recover", "correct"}
    grouped = {f"{group} {one}" for group, names in GROUPS.items() for one in names}
    wanted |= {
        "audit",
        "demo",
        "export",
        "package",
        "forecast",
        "gate",
        "retire",
        "serve",
        "worker",
    }
    assert set(COMMANDS) == wanted | grouped


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_and_shows_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"]).stdout
    assert f"Example: expunge {name}" in shown
    assert "--json" in shown


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "sklearn", "pandas", "scipy", "xgboost", "lightgbm", "pyarrow", "sqlalchemy")
    heavy += ("fastapi", "pydantic", "httpx", "pika")
    code = (
        "import sys\nfrom expunge.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"print(sorted(set(sys.modules) & set({heavy!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd="/"
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("expunge")


def test_the_page_of_commands_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/commands.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
