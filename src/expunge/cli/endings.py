"""How commands end: exit codes, and one clear message without a traceback.

Texts carry no identities. What is not an error of ours is named by its kind and place alone,
because its text may quote a cell.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TextIO

import typer
from rich.console import Console
from typer.core import TyperGroup

from expunge.core import errors
from expunge.core.errors import ExpungeError, LibraryMissing

JSON: Final = "expunge.json"
"""Where a context's ``meta`` keeps whether the answer is to be JSON."""


class Exit(IntEnum):
    """Exit codes that scripts can use."""

    DONE = 0
    NO = 1  # a check says no
    INPUT = 2
    UNAVAILABLE = 3  # withdrawn, a worker died, damaged or missing parts
    FAULT = 4  # ours
    UNCLEAR = 5  # a check could not tell
    INTERRUPTED = 130


class Unavailable(ExpungeError):
    """Something that is needed is not there now."""

    code = "unavailable"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, and what is kept."""


_UNAVAILABLE: Final = (
    Unavailable,
    errors.ModelWithdrawn,
    errors.ModelRetired,
    errors.WorkerFailed,
    errors.DataCorrupt,
    errors.FormatUnsupported,
    errors.LibraryMissing,
    errors.PlanStale,
    errors.JournalUnwritten,
    errors.BrokerUnreachable,
    errors.ServerBusy,
    errors.ServerStopping,
    errors.OutcomeUnknown,
)
_UNREACHABLE: Final = "server-unreachable"  # its class would load httpx
_OWN_FAULT: Final = 500
_SERVICE: Final = (
    "fastapi",
    "httptools",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "starlette",
    "structlog",
    "uvicorn",
)
_EXTRAS: Final = {
    **dict.fromkeys(_SERVICE, "service"),
    "httpx": "client",
    "pika": "rabbitmq",
    "psycopg": "postgres",
    "scipy": "audit",
}
"""What brings a module that a command may lack."""

# What a message advises in Python, as a shell does it.
_AS_COMMANDS: Final = {
    " (they are in `.ids`)": "",
    " (rows {rows}; all in `.rows`)": "",
    "; all in `.rows`": "",
    " (row numbers in `.rows`)": "",
    "`missing='ignore'`": "`--missing ignore`",
    "`readmit=True`": "`--readmit`",
    "`receipt.wait()` or `home.recover()`": "`expunge recover`",
    "`home.recover()`": "`expunge recover`",
    "use `correct`": "use `expunge correct`",
    "`dataset=…`": "`--dataset`",
    "`categorical=[…]` at ingest": "`--categorical` at `expunge ingest`",
    "`values=[…]` at ingest": "`--value` at `expunge ingest`",
    "`categorical=[…]`": "`--categorical`",
    "`values=[…]`": "`--value`",
    "`nullable=[…]`": "`--nullable`",
    "`text=[…]`": "`--text`",
    "pass it as `id`": "name it with `--id`",
    "without `schema=`": "without `--schema`",
}

# The parser's own errors; Typer brings its parser along, under changing names.
_USAGE: Final[Any] = typer.BadParameter.__mro__[1]


class Group(TyperGroup):
    """Runs a command, and turns what it raises into a message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own
        """Note whether errors are to be JSON: also those of the options themselves."""
        ctx.meta[JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's own types
        """Run the command that ``ctx`` names."""
        try:
            with _notes():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            said = str(stop) or "Nothing is half done. Run the same command again."
            _end(ctx.meta, Exit.INTERRUPTED, "interrupted", f"Interrupted. {said}")
        except ExpungeError as error:
            _end(ctx.meta, _exit_of(error), error.code, in_shell(str(error)))
        except _USAGE as error:
            if not ctx.meta.get(JSON):
                raise
            _end(ctx.meta, Exit.INPUT, "usage", error.format_message())
        except (BrokenPipeError, typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if os.environ.get("EXPUNGE_TRACEBACK"):
                raise
            _end(ctx.meta, *_foreign(error))


@contextmanager
def keeps(what: str) -> Iterator[None]:
    """Say ``what`` is kept, should somebody press Ctrl-C inside."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(what) from None


def _exit_of(error: ExpungeError) -> Exit:
    is_servers = getattr(error, "status", 0) >= _OWN_FAULT or error.code == _UNREACHABLE
    return Exit.UNAVAILABLE if is_servers or isinstance(error, _UNAVAILABLE) else Exit.INPUT


def in_shell(message: str) -> str:
    """``message`` with its advice as options and commands."""
    for python, shell in _AS_COMMANDS.items():
        message = message.replace(python, shell)
    return message


def _foreign(error: Exception) -> tuple[Exit, str, str]:
    if isinstance(error, ModuleNotFoundError) and (extra := _extra_of(error)):
        missing = LibraryMissing("This command", extra)
        return _exit_of(missing), missing.code, str(missing)
    if isinstance(error, OSError):
        where = f" {str(error.filename)!r}" if error.filename else ""
        bad = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
        plain = f"{error.strerror}{where}." if error.strerror else str(error)
        return Exit.INPUT if bad else Exit.UNAVAILABLE, "file", plain
    if type(error).__module__.startswith("sqlalchemy"):
        what = f"The database does not answer ({type(error).__name__}). Check --home."
        return Exit.UNAVAILABLE, "database", what
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return (
        Exit.FAULT,
        "fault",
        f"A fault of ours: {type(error).__name__} at {place}. Its text is left out, because it may "
        f"quote a cell; EXPUNGE_TRACEBACK=1 shows all of it. Nothing is half done.",
    )


def _extra_of(missing: ModuleNotFoundError) -> str | None:
    return _EXTRAS.get((missing.name or "").partition(".")[0])


def _end(meta: Mapping[str, Any], code: Exit, kind: str, message: str) -> None:
    if meta.get(JSON):
        typer.echo(json.dumps({"error": {"code": kind, "message": message, "exit": int(code)}}))
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        word = "[yellow]stopped[/]" if code is Exit.INTERRUPTED else "[bold red]error[/]"
        console.print(f"{word}  ", end="")
        console.print(message, markup=False)
    raise typer.Exit(int(code))


@contextmanager
def _notes() -> Iterator[None]:
    """Our own warnings as notes on standard error; no others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = _note
        yield


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if category is UserWarning:  # frameworks warn with kinds of their own
        sys.stderr.write(f"note   {message}\n")
