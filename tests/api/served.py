"""A server in a process of its own; prints the port once it answers."""

from __future__ import annotations

import sys

from expunge.api.server import run
from expunge.service.settings import Settings


def say(word: str) -> None:
    """To whoever started us."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(Settings(), lambda port: say(str(port)))
    say("ended")
