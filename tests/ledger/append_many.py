"""Record facts and sync, in a process of its own: ``append_many.py <url> <folder> <count>``."""

from __future__ import annotations

import sys
from pathlib import Path

from expunge.ledger.log import Ledger
from expunge.storage import facts
from expunge.storage.database import Database
from expunge.storage.facts import Fact


def main(url: str, folder: Path, count: int) -> None:
    database = Database(url)
    ledger = Ledger(database, folder, "expunge/test")
    for number in range(count):
        with database.transaction() as transaction:
            facts.record(transaction, Fact("salt.destroyed", {"count": number}))
        size = ledger.sync(wait=number % 10 == 9)
        sys.stdout.write(f"{size}\n")
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
