"""Audits that are owed come before destruction, are done once, and stand where people look."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import expunge
from expunge.core.errors import AuditNotDone, ModelRetired, ServerBusy, UnknownName, WorkerFailed
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.requests import life
from expunge.service import audit_views, audits, gauges, snapshot
from expunge.service.audits import Policy, State, Wanted
from expunge.service.inprocess import InProcessQueue
from expunge.service.worker import Worker, WorkerSettings
from expunge.storage.locks import alone
from expunge.testing.fakes import Tiny, people
from expunge.verify.settings import Settings

FEW = Settings(shadows=4, retrains=2)
NEVER = Policy()
WORK = (Inline(), Silent())


@pytest.fixture
def trained(tmp_path: Path) -> Any:
    with expunge.open(
        tmp_path / "home", executor=Inline(), progress=Silent(), background=False
    ) as home:
        home.ingest("people", people(60), id="id", subject="who")
        home.ingest(
            "strangers",
            people(40, first=500, seed=3),
            id="id",
            subject="who",
            schema=home.dataset("people").schema,
        )
        home.train("m", home.dataset("people").view("y"), Tiny())
        yield home


def rebuilt(home: Home, *samples: str) -> None:
    """Have samples forgotten, and the model whole again; nothing is destroyed yet."""
    home.forget(list(samples), dataset="people", undo_s=0)
    from expunge.methods.exact.rebuild import Rebuild

    with home.site.database.reading() as transaction:
        model = home.site.model(transaction, "m")
    Rebuild().run(home.site, model, *WORK)


def erased(home: Home) -> int:
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, "people").id)
    return sum(int(batch.erased(0, batch.rows).sum()) for batch in ground.batches.values())


def worker(home: Home, policy: Policy) -> Worker:
    return Worker(
        home.site, Inline(), InProcessQueue(), WorkerSettings(policy=policy, sweep_s=0.01)
    )


def test_what_was_asked_for_is_done_and_stands_in_the_ledger(trained: Home) -> None:
    rebuilt(trained, "s1", "s2", "s3", "s4")
    asked = audits.ask(trained.site, Wanted("m", "strangers", FEW))
    assert (asked.state, asked.report) == (State.OPEN, None)
    assert audits.tend(trained.site, NEVER, WORK)
    done = audits.find(trained.site, "m", asked.id)
    assert (done.state, done.error) == (State.DONE, None)
    assert done.report is not None
    assert done.report["settings"]["shadows"] == 4
    told = [fact.body for fact in trained.facts() if fact.kind == "audit.finished"]
    assert {one["method"] for one in told} <= {"membership", "gold-standard"}
    assert told
    names = {check["name"] for check in done.report["checks"] if check["value"] is not None}
    assert any("unseen" in name or "auc" in name for name in names)
    page = audit_views.page(trained.site, "m", asked.id)
    assert page.lower().startswith("<!doctype html>")


def test_nothing_is_destroyed_before_what_is_owed_is_done(trained: Home) -> None:
    rebuilt(trained, "s1", "s2")
    audits.ask(trained.site, Wanted("m", None, FEW))
    with alone(trained.site.root / "owed-audits.lock"):  # another worker is at it
        worker(trained, NEVER)._tend()
        assert erased(trained) == 0
    worker(trained, NEVER)._tend()
    assert [one.state for one in audits.listed(trained.site, "m")] == [State.DONE]
    assert erased(trained) == 2


def test_the_policy_has_a_model_audited_after_so_many_requests(trained: Home) -> None:
    policy = Policy(requests=2, unseen="strangers")
    for number, expected in ((1, 0), (2, 1), (3, 1), (4, 2)):
        rebuilt(trained, f"s{number}")
        audits._want_due(trained.site, policy)
        owed = audits.listed(trained.site, "m")
        assert len(owed) == expected, number
        assert all(one.by_policy and one.unseen == "strangers" for one in owed)


def test_the_policy_counts_days(trained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(days=7)
    audits._want_due(trained.site, policy)
    assert audits.listed(trained.site, "m") == []  # nothing was forgotten
    rebuilt(trained, "s1")
    audits._want_due(trained.site, policy)
    assert audits.listed(trained.site, "m") == []
    later = audits.datetime.now(audits.UTC) + timedelta(days=8)

    class Later(audits.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return later

    monkeypatch.setattr(audits, "datetime", Later)
    audits._want_due(trained.site, policy)
    audits._want_due(trained.site, policy)
    assert len(audits.listed(trained.site, "m")) == 1


def test_a_model_that_is_not_whole_is_not_due(trained: Home) -> None:
    trained.forget(["s1"], dataset="people")
    audits._want_due(trained.site, Policy(requests=1))
    assert audits.listed(trained.site, "m") == []


def test_what_somebody_died_over_is_done_by_the_next(
    trained: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuilt(trained, "s1", "s2")
    audits.ask(trained.site, Wanted("m", None, FEW))

    def die(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audits.auditing, "audit", die)
        with pytest.raises(KeyboardInterrupt):
            audits.tend(trained.site, NEVER, WORK)
    assert [one.state for one in audits.listed(trained.site, "m")] == [State.RUNNING]
    assert audits.tend(trained.site, NEVER, WORK)
    assert [one.state for one in audits.listed(trained.site, "m")] == [State.DONE]


def test_an_audit_that_cannot_be_made_says_why_and_holds_nothing_up(trained: Home) -> None:
    audits.ask(trained.site, Wanted("m", None, FEW))  # nothing was forgotten
    assert audits.tend(trained.site, NEVER, WORK)
    (one,) = audits.listed(trained.site, "m")
    assert (one.state, one.error, one.report) == (State.FAILED, "input-invalid", None)
    with pytest.raises(AuditNotDone, match="failed"):
        audit_views.page(trained.site, "m", one.id)


def test_a_worker_that_fails_at_an_audit_says_so(
    trained: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuilt(trained, "s1")
    audits.ask(trained.site, Wanted("m", None, FEW))

    def fail(*_: Any) -> Any:
        raise WorkerFailed("no memory")

    monkeypatch.setattr(audits.auditing, "audit", fail)
    audits.tend(trained.site, NEVER, WORK)
    assert [one.error for one in audits.listed(trained.site, "m")] == ["worker-failed"]


def test_unknown_models_datasets_and_audits_are_refused(trained: Home) -> None:
    for wanted in (Wanted("n"), Wanted("m", "nobody")):
        with pytest.raises(UnknownName):
            audits.ask(trained.site, wanted)
    with pytest.raises(UnknownName):
        audits.find(trained.site, "m", "0" * 36)
    trained.retire("m")
    with pytest.raises(ModelRetired):
        audits.ask(trained.site, Wanted("m"))
    assert audits.listed(trained.site, "m") == []


def test_no_more_are_taken_than_can_be_done(trained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "_MOST_OWED", 2)
    for _ in range(2):
        audits.ask(trained.site, Wanted("m", None, FEW))
    with pytest.raises(ServerBusy):
        audits.ask(trained.site, Wanted("m", None, FEW))
    assert audits.tend(trained.site, NEVER, WORK)
    audits.ask(trained.site, Wanted("m", None, FEW))


def test_prometheus_sees_the_last_verdicts_and_what_is_owed(trained: Home) -> None:
    rebuilt(trained, "s1", "s2", "s3")
    trained.verify("m")
    audits.ask(trained.site, Wanted("m", None, FEW))
    with trained.site.database.reading() as transaction:
        found = snapshot.take(transaction)
    families = {family.name: family for family in gauges.of_database(found, 0.0)}
    (sample,) = families["expunge_audit_verdict"].samples
    assert (sample.labels, sample.value) == ({"model": "m", "method": "replay"}, 1.0)
    assert families["expunge_audit_timestamp_seconds"].samples[0].value > 0
    assert families["expunge_audits_owed"].samples[0].value == 1


@given(requests=st.integers(0, 3), days=st.sampled_from([0.0, 1.0]))
def test_a_policy_that_asks_for_nothing_never_looks(requests: int, days: float) -> None:
    assert Policy(requests, days).ever == (requests > 0 or days > 0)


def test_destruction_goes_on_where_nothing_is_owed(trained: Home) -> None:
    rebuilt(trained, "s1")
    assert audits.tend(trained.site, NEVER, WORK)
    life.tend(trained.site)
    assert erased(trained) == 1
