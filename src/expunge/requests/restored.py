"""What a home did that was restored from a backup: counts, and the same in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Restored:
    """What a home did that was older than its journal or its published ledger. Counts only.

    Attributes:
        requests: Requests that were entered again.
        rows: Rows that they forgot again.
        unknown: Rows that they name and that are in no batch of the database.
        corrections: How many of the requests were corrections, whose new rows are not there.
        strangers: Requests about datasets that the database does not know; not entered.
        models: Models that the database does not know; their checkpoints were destroyed, because
            nobody else would ever find those among them that saw rows which are forgotten.
        lost: Requests that only the ledger knows: it does not say which rows they named.
        waiting: How many of the requests wait again, for an approval or for their moment.
        ended: How many of them had been cancelled, refused or undone, and are so again.
        decisions: Decisions about requests that the database knows, which were made again.
        holds: Legal holds that only the ledger knows.
        retired: Models that had been retired, and are so again.
    """

    requests: int
    rows: int
    unknown: int
    corrections: int
    strangers: int
    models: int
    lost: int
    waiting: int = 0
    ended: int = 0
    decisions: int = 0
    holds: int = 0
    retired: int = 0

    def __str__(self) -> str:
        said = [
            f"The database was restored from a backup. Requests since then that were entered "
            f"again: {self.requests:,}; rows that are forgotten again: {self.rows:,}."
        ]
        further = {
            "Rows named in them that came after the backup and are not there: {:,}. Their ids "
            "stay forgotten, unless they are ingested with `readmit=True`.": self.unknown,
            "Corrections among them: {:,}. The old rows are forgotten, the new ones were lost "
            "with the backup: give them again, with `readmit=True`.": self.corrections,
            "Requests about datasets that came after the backup: {:,}. If you ingest those "
            "again, leave out who asked to be forgotten.": self.strangers,
            "Models that came after the backup: {:,}. Their checkpoints were destroyed: train "
            "them again.": self.models,
            "Requests that stand in the ledger alone: {:,}. Their rows are NOT forgotten again: "
            "bring the journal back, or ask who sent them.": self.lost,
            "Requests among them that wait again, for an approval or for their moment: "
            "{:,}.": self.waiting,
            "Requests among them that were cancelled, refused or undone, and are so again: "
            "{:,}.": self.ended,
            "Decisions about other requests that were made again: {:,}.": self.decisions,
            "Models that were retired, and are so again: {:,}.": self.retired,
            "Legal holds that stand in the ledger alone: {:,}. They keep NOTHING until you place "
            "them again.": self.holds,
        }
        return " ".join(said + [text.format(count) for text, count in further.items() if count])
