"""Numbers for Prometheus: how things stand, read when it asks, and what happened since the start.

Labels are names of models, numbers of shards, states, kinds, codes and regimes: never an
identity, and never more of them than there are such names. What is read from the database is
the same on every server, so take the ``max`` over instances; what is counted in the process is
of this server alone, so take the ``sum``. ``docs/how-to/monitor.md`` says which is which.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from threading import Lock
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from expunge.core.errors import BrokerUnreachable
from expunge.service import gauges, snapshot
from expunge.service.following import Ended, Follower
from expunge.service.gauges import Local
from expunge.service.queue import Queue
from expunge.service.snapshot import Snapshot
from expunge.training.site import Site

_LOG: Final = logging.getLogger(__name__)
_FORGET_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REBUILD_S: Final = (0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0)
_RECOVER_S: Final = (1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
_ANSWER_S: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


class Telemetry:
    """All numbers of one server.

    Args:
        site: What is read when Prometheus asks.
        queue: That wakes workers, if this process has one.
        waiting: How many requests wait to be accepted, in this process.
    """

    def __init__(
        self, site: Site, queue: Queue | None = None, waiting: Callable[[], int] = lambda: 0
    ) -> None:
        self._site, self._queue, self._waiting = site, queue, waiting
        self._follower, self._found = Follower(), _Found()
        self._looking, self._retried = Lock(), 0
        disable_created_metrics()  # type: ignore[no-untyped-call]  # of the process: twice as many numbers that nobody asks for
        self.registry = CollectorRegistry()
        self._count_requests(self.registry)
        self._count_units(self.registry)
        self._checked(self.registry)
        Info("expunge", "What runs.", registry=self.registry).info({"version": version("expunge")})
        ProcessCollector(registry=self.registry)
        self.registry.register(self._found)

    def accepted(self, kind: str, samples: int, seconds: float) -> None:
        """Count a request that was accepted: its rows, and how long it took to forget them."""
        self._requests.labels(kind).inc()
        self._samples.inc(samples)
        self._forget.labels(kind).observe(seconds)

    def refused(self, code: str) -> None:
        """Count a request that was refused, by the code of the error."""
        self._refusals.labels(code).inc()

    def predicted(self, model: str, rows: int, code: str = "ok") -> None:
        """Count a call that asked a model, which exists: rows, and the code of the error if any."""
        self._predictions.labels(model, code).inc()
        self._rows.labels(model).inc(rows)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a call.

        Args:
            method: One that some route has; of others, ``other``.
            route: Its pattern, such as ``/requests/{id}``; never what was sent.
            status: Of the answer.
            seconds: From its beginning to the end of the answer.
        """
        self._answers.labels(method, route, str(status)).observe(seconds)

    def checked(self, *, ok: bool) -> None:
        """Note that the ledger was checked, and whether all was well."""
        self._ledger_ok.set(ok)
        self._ledger_checked.set(time.time())

    def look(self) -> None:
        """Read how things stand now, in one transaction; one caller at a time."""
        with self._looking:
            try:
                with self._site.database.reading() as transaction:
                    ended = self._follower.read(transaction)
                    found = snapshot.take(transaction)
            except SQLAlchemyError as error:
                _LOG.warning("Metrics could not be read: %s", type(error).__name__)
                self._found.now = tuple(gauges.of_process(self._local(database_up=False)))
                return
            for unit in ended:
                self._ended(unit)
            self._retries.inc(self._follower.retries - self._retried)
            self._retried = self._follower.retries
            local = self._local(database_up=True)
            self._found.now = (*self._of_database(found), *gauges.of_process(local))

    def _of_database(self, found: Snapshot) -> Iterator[Metric]:
        return gauges.of_database(found, self._follower.claimed)

    def _local(self, *, database_up: bool) -> Local:
        up = depth = None
        if self._queue is not None:
            up = self._queue.healthy()
            try:
                measured = self._queue.depth()
                depth = (measured.waiting, measured.consumers)
            except BrokerUnreachable:
                up = False
        return Local(database_up, up, depth, self._waiting())

    def _ended(self, unit: Ended) -> None:
        self._recover.labels(unit.model).observe(unit.recovered_s)
        self._asked.labels(unit.model).inc(unit.requests)
        if unit.seconds is not None:
            self._rebuild.labels(unit.model, str(unit.shard)).observe(unit.seconds)
            self._visited.labels(unit.model).inc(unit.samples)
        self._saved.labels(unit.model).inc(max(0, unit.requests - 1))

    def _count_requests(self, registry: CollectorRegistry) -> None:
        text = "Requests that this server accepted."
        self._requests = Counter("expunge_requests_accepted", text, ["kind"], registry=registry)
        text = "Requests that this server refused, by the code of the error."
        self._refusals = Counter("expunge_requests_refused", text, ["code"], registry=registry)
        text = "Rows that the accepted requests forget."
        self._samples = Counter("expunge_samples_forgotten", text, registry=registry)
        text = "Time to forget: until no response can come from a model that saw the samples."
        self._forget = Histogram(
            "expunge_forget_seconds", text, ["kind"], buckets=_FORGET_S, registry=registry
        )
        text = "Calls that asked a model, by what came of it: ok, or the code of the error."
        labels = ["model", "code"]
        self._predictions = Counter("expunge_predictions", text, labels, registry=registry)
        text = "Rows that were predicted."
        self._rows = Counter("expunge_predicted_rows", text, ["model"], registry=registry)
        text, labels = "Time to answer calls.", ["method", "route", "status"]
        self._answers = Histogram(
            "expunge_http_seconds", text, labels, buckets=_ANSWER_S, registry=registry
        )

    def _count_units(self, registry: CollectorRegistry) -> None:
        text, labels = "Time to rebuild a shard once.", ["model", "shard"]
        self._rebuild = Histogram(
            "expunge_rebuild_seconds", text, labels, buckets=_REBUILD_S, registry=registry
        )
        text = "Time to recover: from when a shard was wanted whole until it was."
        self._recover = Histogram(
            "expunge_recover_seconds", text, ["model"], buckets=_RECOVER_S, registry=registry
        )
        text = "Samples that rebuilding visited."
        self._visited = Counter("expunge_samples_visited", text, ["model"], registry=registry)
        text = "Rebuilds that requests asked for: shards that each of them touched."
        self._asked = Counter("expunge_rebuilds_asked", text, ["model"], registry=registry)
        text = "Rebuilds asked for and not made, as one served several requests; at least."
        self._saved = Counter("expunge_rebuilds_saved", text, ["model"], registry=registry)
        text = "How often units were claimed again, after a failure or a worker's death."
        self._retries = Counter("expunge_retries", text, registry=registry)

    def _checked(self, registry: CollectorRegistry) -> None:
        text = "Whether the last check of the ledger found all well; 1 before the first."
        self._ledger_ok = Gauge("expunge_ledger_check_ok", text, registry=registry)
        self._ledger_ok.set(1)
        text = "When this server checked the ledger last; 0 before the first time."
        name = "expunge_ledger_checked_timestamp_seconds"
        self._ledger_checked = Gauge(name, text, registry=registry)


class _Found(Collector):
    """What was found when somebody looked last."""

    def __init__(self) -> None:
        self.now: tuple[Metric, ...] = ()

    def collect(self) -> Iterator[Metric]:
        """As Prometheus' client asks for it."""
        return iter(self.now)


def render(telemetry: Telemetry) -> tuple[bytes, str]:
    """All numbers as Prometheus reads them, and their content type.

    Costs one reading transaction. Where the database does not answer, its numbers are left out,
    and ``expunge_database_up`` is 0.
    """
    telemetry.look()
    return generate_latest(telemetry.registry), CONTENT_TYPE_LATEST
