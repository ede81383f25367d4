"""A worker process: reads calls as JSON lines, writes progress and results as JSON lines."""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from threading import Thread
from time import sleep
from typing import IO, Any

from expunge.core.errors import ExpungeError
from expunge.execution.local import resolve


def main(preload: list[str]) -> None:
    """Serve until standard input ends."""
    # What a model prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    parent = os.getppid()
    Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    for module in preload:
        import_module(module)
    for line in sys.stdin:
        message = json.loads(line)
        if "ping" in message:
            _answer(answers, "ready", {})
        else:
            _serve(message, answers, parent)


def _serve(message: dict[str, Any], answers: IO[str], parent: int) -> None:
    def report(what: dict[str, Any]) -> None:
        if os.getppid() != parent:
            os._exit(1)
        _answer(answers, "progress", what)

    try:
        result = resolve(message["function"])(message["argument"], report)
    except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
        _answer(answers, "error", _describe(error))
    else:
        _answer(answers, "result", result)


def _describe(error: Exception) -> dict[str, Any]:
    """An error as JSON. What others' errors say may quote a cell: only kind and place are told."""
    if isinstance(error, ExpungeError):
        attributes = json.loads(json.dumps(vars(error), default=str))
        return {"type": type(error).__name__, "message": str(error), "attributes": attributes}
    if os.environ.get("EXPUNGE_TRACEBACK"):
        traceback.print_exc()
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    advice = "set EXPUNGE_TRACEBACK=1 to see all of it"
    name = type(error).__name__
    return {"type": "", "kind": name, "message": f"{name} in {place}; {advice}"}


def _answer(answers: IO[str], kind: str, body: dict[str, Any]) -> None:
    answers.write(json.dumps([kind, body]) + "\n")
    answers.flush()


def _end_with_parent(parent: int) -> None:
    """A killed parent cannot stop us, and nobody would wait for what we still wrote."""
    while os.getppid() == parent:
        sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
