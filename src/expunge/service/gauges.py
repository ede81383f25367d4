"""How things stand, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from expunge.service.snapshot import REQUEST_STATES, UNIT_STATES, Snapshot

_ALONE: Final = {
    "units_due": "Units that a worker could claim now.",
    "last_claim_timestamp_seconds": "When a unit was claimed last; 0 where none ever was.",
    "ledger_pending": "Facts that are not in the ledger's tree yet.",
    "ledger_pending_seconds": "Age of the oldest fact that is not in the ledger's tree yet.",
    "ledger_entries": "Entries in the ledger's tree.",
    "ledger_written_timestamp_seconds": "When the ledger's tree was written last.",
    "outbox": "Units that the queue was not told of yet.",
    "leases": "Leases of servers on the versions that they answer from.",
    "journal_bytes": "Size of the journal of accepted requests.",
    "audits_owed": "Audits that wait or run.",
}


_VERDICTS: Final = {"passed": 1.0, "inconclusive": 0.0, "failed": -1.0}


@dataclass(frozen=True, slots=True)
class Local:
    """What this process sees of what is around it; None where it does not know.

    Attributes:
        queue: Messages that wait, and workers that wait for one.
        waiting: Requests that wait to be accepted.
    """

    database_up: bool
    queue_up: bool | None
    queue: tuple[int, int] | None
    waiting: int


def of_database(found: Snapshot, claimed: float) -> Iterator[GaugeMetricFamily]:
    """What was read from the database."""
    # Each state has a number from the beginning, so that rules never miss one.
    units, requests = map(str, UNIT_STATES), [str(state) for state in REQUEST_STATES]
    ages = {state: found.oldest_unit.get(state, 0.0) for state in units}
    yield _labelled("unit_oldest_seconds", "Age of the oldest unit.", "state", ages)
    counts = {state: float(found.requests.get(state, 0)) for state in requests}
    yield _labelled("requests", "Requests that are not at their end.", "state", counts)
    ages = {state: found.oldest_request.get(state, 0.0) for state in requests}
    text = "Time since the oldest request took effect, or was accepted."
    yield _labelled("request_oldest_seconds", text, "state", ages)
    text = "Time left until the nearest deadline; negative where one has passed."
    yield _labelled("deadline_seconds", text, "regime", found.deadlines)
    yield _units(found)
    yield from _audits(found)
    values = (
        found.due,
        claimed,
        found.pending,
        found.oldest_pending,
        found.entries,
        found.written,
        found.outbox,
        found.leases,
        found.journal,
        found.audits_owed,
    )
    for (name, text), value in zip(_ALONE.items(), values, strict=True):
        yield GaugeMetricFamily(f"expunge_{name}", text, value=value)


def of_process(local: Local) -> Iterator[GaugeMetricFamily]:
    """What this process sees."""
    alone = {
        "database_up": ("Whether the database answers.", local.database_up),
        "queue_up": ("Whether workers can be woken through the queue.", local.queue_up),
        "accept_queue": ("Requests that wait to be accepted.", local.waiting),
        "queue_messages": ("Messages that no worker was given.", local.queue and local.queue[0]),
        "queue_consumers": ("Workers that wait for one.", local.queue and local.queue[1]),
    }
    for name, (text, value) in alone.items():
        if value is not None:
            yield GaugeMetricFamily(f"expunge_{name}", text, value=float(value))


def _units(found: Snapshot) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "expunge_units", "Units that are not done.", labels=["model", "state"]
    )
    for model in sorted({model for model, _ in found.units}):
        for state in UNIT_STATES:
            family.add_metric([model, state], found.units.get((model, state), 0))
    return family


def _audits(found: Snapshot) -> Iterator[GaugeMetricFamily]:
    labels = ["model", "method"]
    text = "What the last audit found: 1 passed, 0 inconclusive, -1 failed."
    verdicts = GaugeMetricFamily("expunge_audit_verdict", text, labels=labels)
    text = "When that was."
    times = GaugeMetricFamily("expunge_audit_timestamp_seconds", text, labels=labels)
    for one in found.audits:
        verdicts.add_metric([one.model, one.method], _VERDICTS[one.verdict])
        at = datetime.fromisoformat(one.at).timestamp()
        times.add_metric([one.model, one.method], at)
    yield verdicts
    yield times


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"expunge_{name}", text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
