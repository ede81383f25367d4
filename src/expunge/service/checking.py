"""Check the ledger from time to time, and tell whoever watches."""

from __future__ import annotations

import logging
from typing import Final

from expunge.core.errors import ExpungeError
from expunge.home.background import Background
from expunge.ledger.log import Ledger
from expunge.service.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
_FAILED: Final = "The ledger could not be checked; it is tried again later."


class Checking:
    """Checks all of a ledger's files, in a thread of its own, when it begins and then again.

    Args:
        ledger: To check. Costs reading it once.
        telemetry: Is told what was found.
        every_s: How often.
    """

    def __init__(self, ledger: Ledger, telemetry: Telemetry, every_s: float = 86_400.0) -> None:
        self._ledger, self._telemetry = ledger, telemetry
        self._background = Background(self.check, _FAILED, every_s)

    def start(self) -> None:
        """Begin."""
        self._background.wake()

    def close(self) -> None:
        """Begin no other check, and wait for what goes on."""
        self._background.stop()
        self._background.join()

    def check(self) -> None:
        """Check now."""
        try:
            if not self._ledger.sync():
                return  # nothing was recorded yet
            problems = len(self._ledger.fsck().problems)
        except ExpungeError as error:
            _LOG.error("The ledger cannot be read: %s", error)
            problems = 1
        if problems:
            _LOG.error("The ledger has %d problems: `expunge ledger fsck` names them.", problems)
        self._telemetry.checked(ok=not problems)
