"""Log lines that name nobody: JSON on standard error, of keys that were thought about.

Our own messages carry counts, codes and random ids. Those of others may quote what failed, a
cell or an id among it: of them, the first line as it stands in their code is kept, without what
they would fill in, and of an error its class.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

KEYS: Final = frozenset({"at", "call", "error", "event", "level", "left_out", "logger"})
"""All that a line may have. ``left_out`` counts what it might not."""

_LOG: Final = logging.getLogger(__name__)
_TRUSTED: Final = ("expunge", "uvicorn.error")
_QUIET: Final = ("uvicorn.access",)


def configure(*, as_json: bool = True, stream: TextIO | None = None) -> None:
    """Have all log lines of this process written so; to be called once, at its start.

    Args:
        as_json: Or as text, for people.
        stream: By default standard error.
    """
    drawn: Processor = structlog.processors.JSONRenderer(sort_keys=True)
    if not as_json:
        drawn = structlog.processors.KeyValueRenderer(key_order=["at", "level", "event"])
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        only_what_is_ours,
        only_known_keys,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, drawn],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in _QUIET:  # paths and addresses are nobody's business
        logging.getLogger(name).disabled = True


def tell_failures() -> None:
    """Have what nobody caught told by its class, in the log; to be called once, at the start.

    Python itself would write its text, which may quote what failed, and where.
    """
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_failed


def tell_loop_failures(loop: asyncio.AbstractEventLoop) -> None:
    """The same for an event loop, which would write the arguments of its callbacks as well."""
    loop.set_exception_handler(_loop_failed)


def calling(call: str) -> AbstractContextManager[None]:
    """Name a call, by its random id, in all lines that are written inside."""
    return structlog.contextvars.bound_contextvars(call=call)


def only_what_is_ours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep of others' messages what their code says, and of any error its class."""
    record: logging.LogRecord = event["_record"]
    if not _is_trusted(record.name):
        event["event"] = str(record.msg).partition("\n")[0]
    if record.exc_info and record.exc_info[0] is not None:
        event["error"] = record.exc_info[0].__name__
    # The formatter would write them as well, with their texts.
    record.exc_info = record.exc_text = record.stack_info = None
    event.pop("exc_info", None)
    return event


def only_known_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave out every key that is not in :data:`KEYS`, and say how many."""
    kept = {key: value for key, value in event.items() if key in KEYS or key.startswith("_")}
    if left_out := len(event) - len(kept):
        kept["left_out"] = left_out
    return kept


def _uncaught(
    kind: type[BaseException], _error: BaseException, _where: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _LOG.critical("Nobody caught %s.", kind.__name__)


def _unraisable(failed: sys.UnraisableHookArgs) -> None:
    _LOG.error("Something failed while it was cleared away: %s.", failed.exc_type.__name__)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    if not issubclass(failed.exc_type, SystemExit):
        _LOG.critical("A thread ended in %s.", failed.exc_type.__name__)


def _loop_failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    _LOG.error("The event loop was left with %s.", type(error).__name__ if error else "a warning")


def _is_trusted(logger: str) -> bool:
    return any(logger == name or logger.startswith(f"{name}.") for name in _TRUSTED)
