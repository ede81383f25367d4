"""Numbers for Prometheus: what they say of a home, and that they name nobody."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from expunge.core.errors import BrokerUnreachable
from expunge.execution.local import Inline
from expunge.home import Home
from expunge.requests import claims, forget
from expunge.requests.claims import Retry
from expunge.requests.forget import Wanted
from expunge.requests.terms import Terms
from expunge.requests.unit_tables import LINKS, OUTBOX, UNITS
from expunge.service.checking import Checking
from expunge.service.inprocess import InProcessQueue
from expunge.service.queue import Depth
from expunge.service.telemetry import Telemetry, render
from expunge.service.worker import Worker
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded
from expunge.training.serving import Serving

from .conftest import wait_for  # noqa: TID252 - tests are no package

LABELS = {"kind", "code", "model", "shard", "state", "regime", "method", "route", "status", "le"}
IDENTITIES = [f"s{n}" for n in range(60)] + [f"p{n}" for n in range(15)]


@pytest.fixture
def home(place, opened) -> Home:
    """A home with a model of one shard for many requests, and one of three."""
    home = opened(**place)
    home.ingest("people", people(60), id="id", subject="who")
    view = home.dataset("people").view("y")
    home.train("one", view, Sharded(Tiny(), shards=1, slices=2))
    home.train("three", view, Sharded(Tiny(), shards=3, slices=2))
    return home


class Numbers(dict):
    """What was rendered: values by name and labels."""

    def __init__(self, telemetry: Telemetry) -> None:
        text, self.content_type = render(telemetry)
        super().__init__(
            ((sample.name, *sorted(sample.labels.values())), sample.value)
            for family in parse(text.decode())
            for sample in family.samples
        )
        self.text = text.decode()

    def of(self, name: str, *labels: str) -> float:
        return self[(f"expunge_{name}", *sorted(labels))]


def work(home: Home, units: int) -> None:
    worker = Worker(home.site, Inline(), InProcessQueue())
    for _ in range(units):
        assert worker.step()


def test_units_and_requests_are_counted_until_they_are_done(home):
    telemetry = Telemetry(home.site)
    before = Numbers(telemetry)
    assert before.of("units_due") == before.of("requests", "forgotten") == 0
    for sample in ("s1", "s17", "s33", "s49"):
        home.forget([sample])
    numbers = Numbers(telemetry)
    assert numbers.of("requests", "forgotten") == 4
    assert numbers.of("units", "one", "open") == 1
    assert 1 <= numbers.of("units", "three", "open") <= 3
    assert numbers.of("units", "one", "aside") == numbers.of("units", "one", "running") == 0
    assert numbers.of("unit_oldest_seconds", "open") > 0
    assert numbers.of("request_oldest_seconds", "forgotten") > 0
    assert numbers.of("request_oldest_seconds", "held") == 0
    assert numbers.of("outbox") == numbers.of("units_due")
    assert numbers.of("last_claim_timestamp_seconds") == 0
    open_units = int(numbers.of("units_due"))
    claims.claim(home.site.database, "w", 60.0)
    numbers = Numbers(telemetry)
    assert numbers.of("units_due") == open_units - 1
    assert numbers.of("units", "one", "running") + numbers.of("units", "three", "running") == 1
    assert numbers.of("last_claim_timestamp_seconds") > 0
    home.recover()
    numbers = Numbers(telemetry)
    assert numbers.of("units_due") == numbers.of("requests", "forgotten") == 0
    assert numbers.of("unit_oldest_seconds", "open") == 0


def test_rebuilds_are_measured_by_shard_whoever_makes_them(home):
    """Five requests touch the one shard of a model: one rebuild, and four saved."""
    telemetry, late = Telemetry(home.site), Telemetry(home.site)
    render(telemetry)
    for sample in ("s1", "s13", "s26", "s39", "s52"):
        home.forget([sample])
    units = int(Numbers(telemetry).of("units_due"))
    work(home, units)
    numbers = Numbers(telemetry)
    assert numbers.of("rebuild_seconds_count", "one", "0") == 1
    assert numbers.of("rebuild_seconds_sum", "one", "0") > 0
    assert numbers.of("rebuilds_asked_total", "one") == 5
    assert numbers.of("rebuilds_saved_total", "one") == 4
    assert numbers.of("rebuilds_asked_total", "three") == 5
    assert numbers.of("rebuilds_saved_total", "three") == 5 - (units - 1)
    assert numbers.of("recover_seconds_count", "one") == 1
    assert numbers.of("samples_visited_total", "one") > 0
    again = Numbers(telemetry)
    assert again.of("rebuild_seconds_count", "one", "0") == 1  # once, however often one looks
    assert ("expunge_rebuild_seconds_count", "0", "one") not in Numbers(late)


def test_a_unit_that_begins_anew_is_counted_and_one_aside_is_seen(home):
    telemetry = Telemetry(home.site)
    render(telemetry)
    home.forget(["s1"])
    for _ in range(3):
        claim = claims.claim(home.site.database, "w", 60.0, unit=1)
        claims.fail(home.site.database, claim, "disk-full", Retry(3, 0.0, 0.0))
        render(telemetry)
    numbers = Numbers(telemetry)
    assert numbers.of("retries_total") == 2
    assert numbers.of("units", "aside", "one") + numbers.of("units", "aside", "three") == 1
    assert Numbers(Telemetry(home.site)).of("retries_total") == 0


def test_the_nearest_deadline_of_each_regime(home):
    telemetry = Telemetry(home.site)
    assert "expunge_deadline_seconds{" not in Numbers(telemetry).text
    for sample, regime in (("s1", "gdpr"), ("s2", "gdpr"), ("s3", "ccpa"), ("s4", None)):
        forget.accept(home.site, "people", Wanted((sample,)), Terms(regime=regime))
    numbers = Numbers(telemetry)
    day = 86_400
    assert 27 * day < numbers.of("deadline_seconds", "gdpr") <= 32 * day
    assert 43 * day < numbers.of("deadline_seconds", "ccpa") <= 47 * day
    home.recover()
    assert "expunge_deadline_seconds{" not in Numbers(telemetry).text


def test_the_ledger_and_the_journal(home):
    telemetry = Telemetry(home.site)
    before = Numbers(telemetry)
    assert before.of("ledger_pending") > 0
    assert before.of("ledger_pending_seconds") > 0
    assert before.of("ledger_entries") == before.of("ledger_checked_timestamp_seconds") == 0
    home.forget(["s1"])
    home.recover()
    home.ledger.sync()
    Checking(home.ledger, telemetry).check()
    numbers = Numbers(telemetry)
    assert numbers.of("ledger_pending") == numbers.of("ledger_pending_seconds") == 0
    assert numbers.of("ledger_entries") == home.ledger.size
    assert numbers.of("ledger_written_timestamp_seconds") > 0
    assert numbers.of("ledger_check_ok") == 1
    assert numbers.of("ledger_checked_timestamp_seconds") > 0


def test_a_ledger_that_was_changed_is_told(home, caplog):
    telemetry = Telemetry(home.site)
    checking = Checking(home.ledger, telemetry)
    home.ledger.sync()
    (tile,) = (home.site.root / "ledger").glob("tile/0/*.p/*")
    tile.write_bytes(bytes(len(tile.read_bytes())))
    checking.check()
    assert Numbers(telemetry).of("ledger_check_ok") == 0
    assert "problems" in caplog.text
    home.ledger.repair()
    checking.check()
    assert Numbers(telemetry).of("ledger_check_ok") == 1


def test_checking_goes_on_by_itself(home):
    telemetry = Telemetry(home.site)
    checking = Checking(home.ledger, telemetry, every_s=0.01)
    checking.start()
    wait_for(lambda: Numbers(telemetry).of("ledger_checked_timestamp_seconds") > 0)
    checking.close()
    assert Numbers(telemetry).of("ledger_check_ok") == 1


def test_what_the_process_counts(home):
    telemetry = Telemetry(home.site, waiting=lambda: 7)
    telemetry.accepted("erase", 3, 0.004)
    telemetry.accepted("object", 2, 0.9)
    telemetry.refused("samples-unknown")
    telemetry.predicted("one", 30)
    telemetry.predicted("one", 0, "model-withdrawn")
    telemetry.answered("GET", "/requests/{id}", 200, 0.002)
    numbers = Numbers(telemetry)
    assert numbers.of("requests_accepted_total", "erase") == 1
    assert numbers.of("samples_forgotten_total") == 5
    assert numbers.of("forget_seconds_bucket", "erase", "0.005") == 1
    assert numbers.of("forget_seconds_bucket", "object", "0.5") == 0
    assert numbers.of("requests_refused_total", "samples-unknown") == 1
    assert numbers.of("predictions_total", "ok", "one") == 1
    assert numbers.of("predictions_total", "model-withdrawn", "one") == 1
    assert numbers.of("predicted_rows_total", "one") == 30
    assert numbers.of("http_seconds_count", "GET", "/requests/{id}", "200") == 1
    assert numbers.of("accept_queue") == 7
    assert numbers.content_type.startswith("text/plain; version=")


class Unreachable(InProcessQueue):
    """A queue whose broker is gone."""

    def depth(self) -> Depth:
        raise BrokerUnreachable("Nobody answers.")

    def healthy(self) -> bool:
        return False


def test_the_queue_and_the_leases_are_seen(home):
    queue = InProcessQueue()
    queue.publish([1, 2])
    serving = Serving(home.site, seconds=3600.0, poll_s=3600.0)
    serving.answer("one", people(3))
    serving.poll()
    numbers = Numbers(Telemetry(home.site, queue))
    serving.close()
    assert (numbers.of("queue_up"), numbers.of("queue_messages")) == (1, 2)
    assert numbers.of("queue_consumers") == 0
    assert numbers.of("leases") == 1
    numbers = Numbers(Telemetry(home.site, Unreachable()))
    assert numbers.of("queue_up") == 0
    assert ("expunge_queue_messages",) not in numbers
    assert ("expunge_queue_up",) not in Numbers(Telemetry(home.site))


def test_without_a_database_the_rest_is_still_told(tmp_path, opened, caplog):
    home = opened(tmp_path / "home")
    telemetry = Telemetry(home.site)
    telemetry.accepted("erase", 1, 0.001)
    assert Numbers(telemetry).of("database_up") == 1
    with home.site.database.transaction() as transaction:
        for table in (LINKS, OUTBOX, UNITS):
            table.drop(transaction)
    numbers = Numbers(telemetry)
    assert numbers.of("database_up") == 0
    assert numbers.of("requests_accepted_total", "erase") == 1
    assert ("expunge_units_due",) not in numbers
    assert [r.getMessage() for r in caplog.records] == [
        "Metrics could not be read: OperationalError"
    ]


def test_no_label_names_anybody_and_there_are_not_many(home):
    """However many requests and rebuilds there were."""
    telemetry = Telemetry(home.site, InProcessQueue())
    render(telemetry)
    for sample in range(0, 60, 6):
        receipt = home.forget([f"s{sample}"])
        telemetry.accepted("erase", receipt.accepted.samples, receipt.seconds)
        home.recover()
    numbers = Numbers(telemetry)
    found = {
        (label, value)
        for family in parse(numbers.text)
        for sample in family.samples
        if sample.name.startswith("expunge_")
        for label, value in sample.labels.items()
    }
    assert {label for label, _ in found} <= LABELS | {"version"}
    values = {value for _, value in found}
    assert not values & set(IDENTITIES)
    assert not any(re.fullmatch(r"[0-9a-f]{8,}.*", value) for value in values)
    mine = [name for name in numbers if name[0].startswith("expunge_")]
    assert len(mine) < 150
