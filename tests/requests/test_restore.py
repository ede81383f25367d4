"""A home that was restored from a backup makes up for it before it serves."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from expunge.core.errors import (
    DataCorrupt,
    HomeMismatch,
    JournalUnwritten,
    ModelRetired,
    ModelWithdrawn,
    RequestUnknownHere,
    SamplesForgotten,
    UnknownName,
)
from expunge.data import barred
from expunge.execution.local import Inline
from expunge.home import Home
from expunge.ledger import offline, vault
from expunge.requests import comparing, shred, sql
from expunge.requests import restore as restoring
from expunge.requests.journaled import KINDS
from expunge.requests.restored import Restored
from expunge.storage import disk, journal, packs
from expunge.testing import state
from expunge.testing.fakes import Tiny, people
from expunge.training import plan as plans
from expunge.training.recipe import Sharded

ROWS = 400


@dataclass
class Place:
    """Where a home is, with what backs it up and restores it."""

    folder: Path
    open_: Callable[..., Home]
    url: str | None = None
    journal: Path | None = None
    saved: str = ""
    databases: list[str] = field(default_factory=list)

    def open(self, **options: Any) -> Home:
        if self.journal:
            options["journal"] = self.journal
        if self.url:
            return self.open_(self.url, files=self.folder, **options)
        return self.open_(self.folder, **options)

    def save(self, to: Path) -> None:
        """Back all up but the journal. The home is closed."""
        shutil.copytree(self.folder, to, ignore=shutil.ignore_patterns("journal"))
        if self.url:
            self.saved = self._copy(self.url.rpartition("/")[2])

    def restore(self, saved: Path, *, files: bool) -> None:
        """Bring the database back, or all but the journal."""
        if self.url:
            self._copy(self.saved, self.url.rpartition("/")[2])
        else:
            for old in self.folder.glob("expunge.sqlite*"):
                old.unlink()
            shutil.copy(saved / "expunge.sqlite", self.folder)
        for name in ("data", "models") if files else ():
            shutil.rmtree(self.folder / name)
            shutil.copytree(saved / name, self.folder / name)

    def twin(self, folder: Path) -> Place:
        """The same home again, with its journal."""
        shutil.copytree(self.folder, folder)
        if not self.url:
            return Place(folder, self.open_)
        server, _, name = self.url.rpartition("/")
        return Place(folder, self.open_, f"{server}/{self._copy(name)}")

    def _copy(self, source: str, target: str | None = None) -> str:
        if target is None:
            self.databases.append(target := f"expunge_{uuid4().hex}")
        self.sql(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
        self.sql(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')
        return target

    def sql(self, statement: str) -> None:
        assert self.url
        run(self.url, statement)


def run(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(f"{url.rpartition('/')[0]}/postgres", autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def sqlite(tmp_path, opened) -> Place:
    return Place(tmp_path / "home", opened)


@pytest.fixture
def copies(postgres_url):
    names: list[str] = []
    yield names
    for name in names:
        run(postgres_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def postgres(request, tmp_path) -> Place:
    ask = request.getfixturevalue
    # In this order: homes are closed before their databases are dropped.
    url, names = ask("postgres_url"), ask("copies")
    return Place(tmp_path / "home", ask("opened"), url, databases=names)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request) -> Place:
    place: Place = request.getfixturevalue(request.param)
    return place


def prepare(place: Place, rows: int = ROWS) -> None:
    """A home with two models, which has forgotten some rows already."""
    with place.open() as home:
        home.ingest("people", people(rows), id="id", subject="who")
        view = home.dataset("people").view("y")
        home.train("wide", view, Sharded(Tiny(), shards=5, slices=3))
        home.train("plain", home.dataset("people").view("x1"), Tiny())
        home.forget(["s0", "s1"]).wait()
        home.forget(["s2"])


def go_on(place: Place, count: int, *, rows: int = ROWS) -> list[Any]:
    """Requests after the backup: for samples and for people; some destroyed, some not yet."""
    order = np.random.default_rng(5).permutation(rows)
    with place.open() as home:
        for number, chosen in enumerate(order[:count].tolist()):
            if number % 10 == 3:
                home.forget(subjects=[f"p{chosen // 4}"])
            elif number % 10 == 7:
                home.forget([f"s{chosen}", "s1", "a stranger"], missing="ignore")
            else:
                home.forget([f"s{chosen}"])
            if number in (count // 3, 2 * count // 3):
                home.recover()
        return home.requests()


def forgotten(home: Home) -> set[str]:
    """Ids of the rows that are gone, erased or not."""
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, "people").id)
    batch = ground.batches[0, 0]
    return {str(int(o)) for o in ground.gone[0, 0]} if batch.rows else set()


def told(requests) -> list[tuple[Any, ...]]:
    return [(r.id, r.kind, r.samples, r.accepted) for r in requests]


def chains(home: Home) -> dict[str, Any]:
    found = {}
    for name in home.models():
        model = home.model(name)
        chains = [chain.to_json() for chain in state.read(model._row, model.version)]
        found[name] = (model.version.digest, model.version.whole, chains)
    return found


def check_clean(home: Home) -> None:
    """What is served is what a build of the rows that remain would make on its way."""
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, home.site.dataset(transaction, "people").id)
        models = home.site.all_models(transaction)
    for model in models:
        version = home.model(model.name).version
        assert version.clean_to == ground.tombstones
        for constituent in version.constituents:
            names = plans.make(model.recipe, ground, constituent.shard).names
            assert constituent.frame is None or constituent.frame.name in names


def kinds(home: Home, request: str) -> list[str]:
    return [fact.kind for fact in home.facts() if fact.request == request]


@pytest.mark.parametrize("files", [False, True], ids=["database", "database-and-files"])
def test_every_request_since_the_backup_is_forgotten_again(either, tmp_path, files, caplog):
    check_restored(either, tmp_path, files, caplog, count=60)


@pytest.mark.parametrize("files", [False, True], ids=["database", "database-and-files"])
def test_a_thousand_requests_since_the_backup(sqlite, tmp_path, files, caplog):
    check_restored(sqlite, tmp_path, files, caplog, count=1000, rows=4000)


def check_restored(place, tmp_path, files, caplog, *, count, rows=ROWS):
    prepare(place, rows)
    place.save(tmp_path / "saved")
    requests = go_on(place, count, rows=rows)
    with place.twin(tmp_path / "twin").open() as twin:
        gone = forgotten(twin)
        twin.recover()
        undisturbed, done = chains(twin), told(twin.requests())
    place.restore(tmp_path / "saved", files=files)

    with caplog.at_level(logging.WARNING):
        home = place.open()

    # Before the first prediction:
    assert forgotten(home) == gone
    check_clean(home)
    assert told(home.requests()) == told(requests) == done
    assert home.restored.requests == count
    assert 0 < home.restored.rows < 2 * count
    assert home.restored.unknown == home.restored.corrections == home.restored.strangers == 0
    check_told(home, count, caplog)
    with_rows = [request.id for request in requests if request.samples]
    assert kinds(home, with_rows[-1]) == ["request.received", *["request.forgotten"] * 2]

    home.recover()
    assert chains(home) == undisturbed
    assert {str(request.state) for request in home.requests()} == {"done"}
    assert len(home.model("wide").predict(people(rows))) == rows
    certificate = home.certificate(with_rows[-1])
    assert offline.verify(certificate.data, [home.ledger.vkey]).ok
    for name in home.models():
        assert home.verify(name).exact
    home.close()
    with place.open() as again:
        assert again.restored is None
        assert told(again.requests()) == done


def check_told(home, count, caplog):
    """What was done is returned, recorded and logged."""
    (fact,) = [fact.body for fact in home.facts() if fact.kind == "home.restored"]
    assert (fact["requests"], fact["rows"]) == (count, home.restored.rows)
    assert (fact["unknown"], 0 < fact["size_before"] < fact["size_after"]) == (0, True)
    told_of = [r.getMessage() for r in caplog.records if r.name == restoring.__name__]
    assert told_of == [str(home.restored)]
    assert f"entered again: {count:,};" in told_of[0]


def test_where_only_the_database_is_old_nothing_is_built_again(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.forget([f"s{number}" for number in range(0, 200, 7)]).wait()
        whole = chains(home)
    sqlite.restore(tmp_path / "saved", files=False)
    home = sqlite.open()
    assert home.model("wide").version.whole
    units = [fact for fact in home.facts() if fact.kind == "unit.rebuilt"]
    home.recover()
    assert chains(home) == whole
    assert [fact for fact in home.facts() if fact.kind == "unit.rebuilt"] == units


def test_a_model_that_is_not_sharded_is_withdrawn_until_it_is_rebuilt(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.recover()
        home.forget(["s9"])
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()
    with pytest.raises(ModelWithdrawn):
        home.model("plain").predict(people(3))
    home.recover()
    assert home.verify("plain").exact


class Ending(Inline):
    """Ends before the first piece of a training."""

    def run(self, function, arguments, report):
        raise InterruptedError


@pytest.mark.parametrize("files", [False, True])
def test_a_model_whose_first_training_had_not_ended_has_nothing_to_go_back_to(
    sqlite, tmp_path, files
):
    with sqlite.open(executor=Ending()) as home:
        home.ingest("people", people(60), id="id", subject="who")
        learning = home.dataset("people").view("y")
        with pytest.raises(InterruptedError):
            home.train("m", learning, Sharded(Tiny(), shards=2))
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.train("m", learning, Sharded(Tiny(), shards=2))
        request = home.forget(["s9"]).wait().request
    sqlite.restore(tmp_path / "saved", files=files)
    home = sqlite.open()
    assert (home.restored.rows, home.model("m").version) == (1, None)
    home.train("m", learning, Sharded(Tiny(), shards=2))
    home.recover()
    assert home.verify("m").exact
    assert home.requests()[0].id == request
    assert str(home.requests()[0].state) == "done"


def test_where_nothing_is_missing_nothing_happens(either, tmp_path):
    prepare(either)
    go_on(either, 12)
    with either.open() as home:
        before = (home.facts(), home.requests(), home.model("wide").version)
    log = either.folder / "journal" / "requests.log"
    journal = log.read_bytes()
    for _ in range(2):
        with either.open() as home:
            assert home.restored is None
            assert (home.facts(), home.requests(), home.model("wide").version) == before
    assert log.read_bytes() == journal


def newer_batch(place: Place, act: Callable[[Home], object]) -> None:
    """Rows that came after the backup, and what happened to some of them."""
    with place.open() as home:
        home.ingest("people", people(40, first=1000, seed=3))
        home.recover()
        act(home)


@pytest.mark.parametrize("by", ["samples", "subjects"])
def test_ids_of_rows_that_are_not_known_stay_forgotten(either, tmp_path, by):
    prepare(either)
    either.save(tmp_path / "saved")
    named = {"samples": ["s1000", "s1001"]} if by == "samples" else {"subjects": ["p250"]}
    count = 2 if by == "samples" else 4
    newer_batch(either, lambda home: home.forget(**named).wait())
    either.restore(tmp_path / "saved", files=True)

    home = either.open()
    assert (home.restored.requests, home.restored.rows) == (1, 0)
    assert home.restored.unknown == count
    assert f"came after the backup and are not there: {count}." in str(home.restored)
    assert home.requests()[-1].samples == 0
    again = people(40, first=1000, seed=3)
    with pytest.raises(SamplesForgotten) as caught:
        home.ingest("people", again)
    assert caught.value.rows == list(range(1, count + 1))
    home.close()

    home = either.open()
    assert home.restored is None
    others = {name: cells[count:] for name, cells in again.items()}
    home.ingest("people", others)
    back = {name: cells[:count] for name, cells in again.items()}
    with pytest.raises(SamplesForgotten):
        home.ingest("people", back)
    home.ingest("people", back, readmit=True)
    home.recover()
    assert home.dataset("people").rows == ROWS - 3 + 40
    assert home.verify("wide").exact
    assert home.forget(["s1000"]).wait().accepted.samples == 1


def test_rows_of_a_batch_that_the_database_lost_are_erased_where_they_lie(sqlite, tmp_path):
    """Only the database is old: the newer batch is on the disk, and belongs to nobody."""
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    newer_batch(sqlite, lambda home: home.forget(["s1003"], subjects=["p251"]))
    (newer,) = sqlite.folder.glob("data/*/000-000001")
    sqlite.restore(tmp_path / "saved", files=False)
    marks = [one.encode() for one in ("s1003", "s1004", "s1007", "p251")]
    held = b"".join(path.read_bytes() for path in newer.glob("*.arrow"))
    assert all(mark in held for mark in marks)

    home = sqlite.open()
    assert home.restored.unknown == 5
    held = b"".join(path.read_bytes() for path in newer.glob("*.arrow"))
    assert not any(mark in held for mark in marks)
    assert b"s1009" in held


def test_checkpoints_that_saw_rows_of_a_lost_batch_are_destroyed(sqlite, tmp_path):
    """Only the database is old: it does not know that the packs hold more than it names."""
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    newer_batch(sqlite, lambda home: home.forget(["s1003"]))
    with sqlite.open() as home:
        tainted = {name for frames in frames_of(home).values() for name in frames}
    sqlite.restore(tmp_path / "saved", files=False)
    home = sqlite.open()
    receipt = home.requests()[-1]
    assert (receipt.samples, str(receipt.state)) == (0, "forgotten")
    home.recover()
    assert {str(request.state) for request in home.requests()} == {"done"}
    assert home.verify("wide").exact
    assert home.verify("plain").exact
    for name, frames in frames_of(home).items():
        model = home.model(name)._row
        ground = ground_of(home)
        made = [plans.make(model.recipe, ground, shard) for shard in range(model.recipe.shards)]
        assert sorted(frames) == sorted(name for plan in made for name in plan.names)
        assert tainted - set(frames)
    destroyed = [f.body["requests"] for f in home.facts() if f.kind == "checkpoint.destroyed"]
    assert sum(receipt.id in requests for requests in destroyed) == 1
    home.close()
    before = sqlite.open().facts()
    sqlite.open().recover()
    assert sqlite.open().facts() == before


def test_a_model_that_the_database_lost_leaves_no_checkpoint(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.train("late", home.dataset("people").view("x2"), Sharded(Tiny(), shards=2))
        home.forget(["s9"])
    sqlite.restore(tmp_path / "saved", files=False)
    home = sqlite.open()
    assert home.restored.models == 1
    folders = {home.model(name)._row.folder for name in home.models()}
    assert {path.parent for path in sqlite.folder.glob("models/*/*.pack")} <= folders
    assert len(list((sqlite.folder / "models").iterdir())) == 2


def ground_of(home):
    with home.site.database.reading() as transaction:
        return home.site.ground(transaction, home.site.dataset(transaction, "people").id)


def frames_of(home):
    """Names of all checkpoints that rest, by model."""
    return {
        name: [
            frame.name
            for path in sorted(home.model(name)._row.folder.glob("*.pack"))
            for frame in frames_in(path)
        ]
        for name in home.models()
    }


def frames_in(path):
    with packs.reading(path) as pack:
        return pack.frames()


def test_of_a_correction_the_old_row_is_forgotten_and_the_new_one_is_told_missing(either, tmp_path):
    prepare(either)
    either.save(tmp_path / "saved")
    rows = {name: cells[8:10] for name, cells in people(ROWS).items()}
    with either.open() as home:
        receipt = home.correct(rows)
        home.forget(["s9"]).wait()
    either.restore(tmp_path / "saved", files=True)

    home = either.open()
    found = home.restored
    assert (found.requests, found.rows, found.unknown, found.corrections) == (2, 2, 1, 1)
    assert "Corrections among them: 1." in str(found)
    assert [request.kind for request in home.requests()[-2:]] == ["correct", "erase"]
    assert home.requests()[-2].id == receipt.request
    home.recover()
    assert home.dataset("people").rows == ROWS - 5
    with pytest.raises(SamplesForgotten):
        home.ingest("people", rows)
    home.ingest("people", rows, readmit=True)
    home.recover()
    assert home.verify("wide").exact


def test_requests_about_a_dataset_that_is_not_known_are_told_once(either, tmp_path):
    prepare(either)
    either.save(tmp_path / "saved")
    with either.open() as home:
        home.ingest("others", people(20, first=500), id="id", subject="who")
        home.forget(["s500"], dataset="others")
        home.forget(["s5"], dataset="people")
    others = [p for p in either.folder.glob("data/*/*/*.arrow") if b"s501" in p.read_bytes()]
    either.restore(tmp_path / "saved", files=False)

    home = either.open()
    assert (home.restored.requests, home.restored.strangers) == (1, 1)
    assert (home.restored.rows, home.restored.unknown) == (1, 1)
    assert "Requests about datasets that came after the backup: 1." in str(home.restored)
    held = others[0].read_bytes()
    assert b"s501" in held
    assert b"s500" not in held
    home.close()
    assert either.open().restored is None


def test_who_came_back_under_another_batch_while_the_journal_was_away(sqlite, tmp_path):
    """Somebody opened the restored home with another journal, and gave the rows again."""
    sqlite.journal = tmp_path / "journal"
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    newer_batch(sqlite, lambda home: home.forget(["s1000", "s1001"]).wait())
    sqlite.restore(tmp_path / "saved", files=True)
    sqlite.journal = tmp_path / "other"
    with sqlite.open() as home:
        home.ingest("people", people(30, first=990, seed=8))
        home.recover()
        assert home.forget(["s1001"]).wait().accepted.samples == 1

    sqlite.journal = tmp_path / "journal"
    home = sqlite.open()
    assert (home.restored.requests, home.restored.rows) == (1, 1)
    assert home.restored.unknown == 1
    check_clean(home)
    home.recover()
    assert home.dataset("people").rows == ROWS - 3 + 28
    assert home.forget(["s1000"]).accepted.already == 1
    assert home.verify("wide").exact


def test_a_home_without_a_journal_starts_one(sqlite, tmp_path):
    prepare(sqlite)
    requests = go_on(sqlite, 15)
    shutil.rmtree(sqlite.folder / "journal")
    with sqlite.open() as home:
        assert home.restored is None
        kept = {record.request: record for record in home.site.journal.read()}
    assert kept.keys() == {request.id for request in requests}
    for request in requests:
        assert len(kept[request.id].rows) == request.samples
        assert json.loads(kept[request.id].entry)["at"] == request.accepted

    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.forget(["s399"], missing="ignore")
    sqlite.restore(tmp_path / "saved", files=True)
    assert sqlite.open().restored.requests == 1


def test_a_journal_may_lie_elsewhere(sqlite, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_JOURNAL", str(tmp_path / "elsewhere" / "of-home"))
    prepare(sqlite)
    assert not (sqlite.folder / "journal").exists()
    assert (tmp_path / "elsewhere" / "of-home" / "requests.log").stat().st_size
    sqlite.save(tmp_path / "saved")
    go_on(sqlite, 3)
    shutil.rmtree(sqlite.folder)
    shutil.copytree(tmp_path / "saved", sqlite.folder)
    home = sqlite.open()
    assert home.restored.requests == 3
    home.close()

    sqlite.journal = tmp_path / "named"
    with sqlite.open() as home:
        assert len(list(home.site.journal.read())) == len(home.requests())
    assert (tmp_path / "named" / "requests.log").stat().st_size


def test_the_journal_of_another_home_is_refused(sqlite, tmp_path, opened):
    prepare(sqlite)
    other = tmp_path / "other"
    opened(other).close()
    with pytest.raises(HomeMismatch):
        opened(other, journal=sqlite.folder / "journal")
    opened(other).close()


def test_a_damaged_journal_keeps_the_home_closed(sqlite):
    prepare(sqlite)
    log = sqlite.folder / "journal" / "requests.log"
    content = bytearray(log.read_bytes())
    content[200] ^= 1
    log.write_bytes(content)
    with pytest.raises(DataCorrupt, match="journal"):
        sqlite.open()


def fill_up(patch, moment="write") -> None:
    """The journal's disk is full from now on, and no other."""

    def fail(*_):
        raise OSError(errno.ENOSPC, "disk full")

    patch.setattr(journal, "disk", SimpleNamespace(**(vars(disk) | {moment: fail})))


@pytest.mark.parametrize("first", ["correct", "object"])
def test_objections_count_for_a_corrected_row_that_is_given_again(either, tmp_path, first):
    prepare(either)
    either.save(tmp_path / "saved")
    rows = {name: cells[9:10] for name, cells in people(ROWS).items()}
    acts = {
        "object": lambda home: home.forget(["s9"], kind="object", models=["plain"]),
        "correct": lambda home: home.correct(rows),
    }
    with either.open() as home:
        for act in sorted(acts, key=lambda act: act != first):
            acts[act](home)
        home.recover()
    either.restore(tmp_path / "saved", files=True)

    home = either.open()
    home.ingest("people", rows | {"id": rows["id"].copy()}, readmit=True)
    home.recover()
    seen = {
        name: sum(c.frame.samples for c in home.model(name).version.constituents)
        for name in ("wide", "plain")
    }
    assert seen == {"wide": ROWS - 3, "plain": ROWS - 4}
    # Of an id that was erased besides, whoever comes is somebody new.
    home.forget(["s9"]).wait()
    home.ingest("people", rows, readmit=True)
    home.recover()
    assert sum(c.frame.samples for c in home.model("plain").version.constituents) == ROWS - 3


@pytest.mark.parametrize("what", ["forget", "correct"])
@pytest.mark.parametrize("moment", ["write", "sync"])
def test_a_request_that_did_not_get_into_the_journal_stands_and_says_so(
    sqlite, monkeypatch, what, moment
):
    prepare(sqlite)
    rows = {name: cells[8:10] for name, cells in people(ROWS).items()}
    with sqlite.open() as home:
        with monkeypatch.context() as patch:
            fill_up(patch, moment)
            with pytest.raises(JournalUnwritten, match="1 requests stand") as caught:
                home.forget(["s9"]) if what == "forget" else home.correct(rows)
        assert isinstance(caught.value.__cause__, OSError)
        (late,) = caught.value.requests
        assert home.requests()[-1].id == late
        assert home.forget(["s9"]).accepted.samples == (what == "correct")
        check_clean(home)
    with sqlite.open() as home:
        found = [record.request for record in home.site.journal.read()]
        assert sorted(found) == sorted(request.id for request in home.requests())


def test_a_home_that_goes_on_appends_it_too(sqlite, monkeypatch):
    prepare(sqlite)
    home = sqlite.open()
    with monkeypatch.context() as patch:
        fill_up(patch)
        with pytest.raises(JournalUnwritten) as caught:
            home.forget(["s9"])
    home.recover()
    assert caught.value.requests[0] in {record.request for record in home.site.journal.read()}


def test_who_asks_again_after_that_is_in_the_journal_with_all_rows(sqlite, tmp_path, monkeypatch):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        with monkeypatch.context() as patch:
            fill_up(patch)
            with pytest.raises(JournalUnwritten):
                home.forget(["s9"])
        assert home.forget(["s9"]).accepted.already == 1
    sqlite.restore(tmp_path / "saved", files=True)
    assert (sqlite.open().restored.rows, sqlite.open().forget(["s9"]).accepted.samples) == (1, 0)


def test_the_mark_makes_opening_quick_and_never_wrong(either, tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "FRAMES", 5)
    prepare(either)
    go_on(either, 7)
    either.open().close()
    either.save(tmp_path / "saved")
    requests = go_on(either, 17)
    home = either.open()
    with home.site.database.reading() as transaction:
        mark, behind = sql.mark(transaction), sql.unjournaled(transaction)
    assert (list(home.site.journal.frames(mark)), behind) == ([], [])
    home.close()
    assert either.open().restored is None

    either.restore(tmp_path / "saved", files=False)
    home = either.open()
    assert home.restored.requests == 17
    assert told(home.requests()) == told(requests)
    home.close()
    assert either.open().restored is None


def test_a_home_that_stays_open_moves_the_mark_too(sqlite, monkeypatch):
    monkeypatch.setattr(comparing, "FRAMES", 5)
    prepare(sqlite)
    home = sqlite.open()
    for number in range(7):
        home.forget([f"s{number + 20}"])
    home.recover()
    with home.site.database.reading() as transaction:
        assert list(home.site.journal.frames(sql.mark(transaction))) == []


@pytest.mark.parametrize("kept", ["lost", "older"])
def test_a_mark_of_another_journal_is_not_believed(sqlite, tmp_path, monkeypatch, kept):
    monkeypatch.setattr(comparing, "FRAMES", 5)
    prepare(sqlite)
    sqlite.open().close()
    shutil.copytree(sqlite.folder / "journal", tmp_path / "journal")
    go_on(sqlite, 9)
    sqlite.open().close()
    shutil.rmtree(sqlite.folder / "journal")
    if kept == "older":
        shutil.copytree(tmp_path / "journal", sqlite.folder / "journal")
    home = sqlite.open()
    known = [record.request for record in home.site.journal.read()]
    assert sorted(known) == sorted(request.id for request in home.requests())
    home.close()
    sqlite.save(tmp_path / "saved")
    go_on(sqlite, 11)
    sqlite.restore(tmp_path / "saved", files=True)
    assert sqlite.open().restored.requests == 11


def test_several_that_open_a_restored_home_do_it_once(either, tmp_path):
    from threading import Barrier, Thread

    prepare(either)
    either.save(tmp_path / "saved")
    go_on(either, 20)
    either.restore(tmp_path / "saved", files=True)
    homes, barrier = [], Barrier(3)

    def open_one() -> None:
        barrier.wait()
        homes.append(either.open())

    threads = [Thread(target=open_one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [home.restored.requests for home in homes if home.restored] == [20]
    assert len([f for f in homes[0].facts() if f.kind == "home.restored"]) == 1
    assert len(homes[0].requests()) == 22


def test_a_backup_that_lacks_no_request_is_told_too(sqlite, tmp_path):
    """Batches that the ledger knows are not there: their numbers come again."""
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    newer_batch(sqlite, lambda _: None)
    sqlite.restore(tmp_path / "saved", files=True)
    with sqlite.open() as home:
        assert home.restored == Restored(0, 0, 0, 0, 0, 0, 0)
        assert [f.body["requests"] for f in home.facts() if f.kind == "home.restored"] == [0]
    assert sqlite.open().restored is None


def test_a_request_that_neither_database_nor_journal_knows_is_told(sqlite, tmp_path, caplog):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    shutil.copytree(sqlite.folder / "journal", tmp_path / "journal")
    with sqlite.open() as home:
        home.forget(["s9"])
        home.forget(["s10"])
    sqlite.restore(tmp_path / "saved", files=True)
    shutil.rmtree(sqlite.folder / "journal")
    shutil.copytree(tmp_path / "journal", sqlite.folder / "journal")
    with sqlite.open() as home:
        assert home.restored == Restored(0, 0, 0, 0, 0, 0, 2)
    assert "Requests that stand in the ledger alone: 2. Their rows are NOT forgotten" in caplog.text
    assert sqlite.open().restored is None


def test_a_crash_between_ledger_and_journal_is_made_up_for(sqlite, tmp_path, monkeypatch):
    prepare(sqlite)
    with sqlite.open() as home:
        request = home.requests()[0].id
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        shred.shred(home.site, request)
    sqlite.restore(tmp_path / "saved", files=False)

    def die(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "restore", die)
        with pytest.raises(KeyboardInterrupt):
            sqlite.open()
    home = sqlite.open()
    assert home.restored == Restored(0, 0, 0, 0, 0, 0, 0)
    (fact,) = [f.body for f in home.facts() if f.kind == "home.restored"]
    assert 0 < fact["size_before"] < fact["size_after"]
    with home.site.database.reading() as transaction, pytest.raises(UnknownName):
        vault.opening(transaction, request, "sample", "s0")


def test_what_the_ledger_knows_already_is_not_said_again(sqlite, tmp_path):
    """The ledger was recovered first: its entries are facts of the database again."""
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        request = home.forget(["s9"]).request
        said = [fact for fact in home.facts() if fact.request == request]
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()  # recovers the published log, and then restores
    assert kinds(home, request) == [fact.kind for fact in said]
    assert home.restored.requests == 1


def test_entries_of_requests_are_the_same_bytes_as_before(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        received = home.forget(["s9"]).facts[0]
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()
    (again,) = [f for f in home.facts() if f.request == received.request][:1]
    assert again.leaf == received.leaf


def test_keys_that_were_destroyed_do_not_come_back_with_a_backup(sqlite, tmp_path):
    prepare(sqlite)
    with sqlite.open() as home:
        request = home.requests()[0].id
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        assert shred.shred(home.site, request) == 2
        home.forget(["s9"])
        said = [f for f in home.facts() if f.kind == "salt.destroyed"]
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()
    assert [f.leaf for f in home.facts() if f.kind == "salt.destroyed"] == [f.leaf for f in said]
    assert home.restored
    with home.site.database.reading() as transaction, pytest.raises(UnknownName):
        vault.opening(transaction, request, "sample", "s0")


def test_a_statement_has_counts_and_no_names():
    done = Restored(1000, 1200, 3, 2, 1, 2, 7)
    assert str(done) == (
        "The database was restored from a backup. Requests since then that were entered again: "
        "1,000; rows that are forgotten again: 1,200. Rows named in them that came after the "
        "backup and are not there: 3. Their ids stay forgotten, unless they are ingested with "
        "`readmit=True`. Corrections among them: 2. The old rows are forgotten, the new ones were "
        "lost with the backup: give them again, with `readmit=True`. Requests about datasets that "
        "came after the backup: 1. If you ingest those again, leave out who asked to be "
        "forgotten. Models that came after the backup: 2. Their checkpoints were destroyed: train "
        "them again. Requests that stand in the ledger alone: 7. Their rows are NOT forgotten "
        "again: bring the journal back, or ask who sent them."
    )
    assert "not there" not in str(Restored(1, 1, 0, 0, 0, 0, 0))


def test_barred_ids_are_told_by_keyed_hashes(home):
    home.ingest("people", people(4), id="id")
    key = home.site.journal.subkey("x")
    tokens = np.array([1, 2**64 - 1, 3], np.uint64)
    from expunge.storage.journal import digests

    with home.site.database.transaction() as transaction:
        assert not barred.load(transaction, 1).holds(tokens).any()
        for _ in range(2):
            barred.add(transaction, 1, key, digests(key, [2**64 - 1, 7]))
        barred.add(transaction, 1, bytes(32), digests(bytes(32), [3]))
        held = barred.load(transaction, 1)
    assert held.holds(tokens).tolist() == [False, True, True]
    assert not barred.Barred().holds(tokens).any()


def certified(home, request) -> tuple[dict[str, Any], list[str]]:
    """What a certificate says, once a stranger has checked it; and the limits that it states."""
    certificate = home.certificate(request)
    report = offline.verify(certificate.data, [home.ledger.vkey])
    assert report.ok, report.text
    assert report.statement is not None
    said = report.statement["predicate"]
    return said, [limit["id"] for limit in said["limitations"]]


@pytest.mark.parametrize("files", [False, True], ids=["database", "database-and-files"])
@pytest.mark.parametrize("ended", ["forgotten", "done"])
@pytest.mark.parametrize("published", [True, False], ids=["published", "unpublished"])
def test_of_rows_that_were_lost_a_certificate_says_what_is_not_known(
    sqlite, tmp_path, files, ended, published
):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    ledger = tmp_path / "ledger"
    shutil.copytree(sqlite.folder / "ledger", ledger)

    def act(home):
        receipt = home.forget(["s1000", "s1001"])
        if ended == "done":
            receipt.wait()

    newer_batch(sqlite, act)
    sqlite.restore(tmp_path / "saved", files=files)
    if not published:  # the disk of the ledger was lost too
        shutil.rmtree(sqlite.folder / "ledger")
        shutil.copytree(ledger, sqlite.folder / "ledger")
    home = sqlite.open()
    request = home.requests()[-1].id
    home.recover()
    said, limits = certified(home, request)
    assert (said["request"]["samples"], said["absence"]) == (2, {"shown": 0, "of": 4})
    assert {"restored", "absence-none"} <= {*limits}
    assert "home.restored" in [entry["kind"] for entry in said["entries"]]
    assert said["evidence"]["level"] == 2


def test_of_rows_that_a_restored_home_still_has_everything_is_shown(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        request = home.forget(["s9"]).wait().request
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()
    home.recover()
    said, limits = certified(home, request)
    assert said["absence"] == {"shown": 2, "of": 2}
    assert "restored" in limits
    assert "absence-none" not in limits
    _, limits = certified(home, home.forget(["s11"]).wait().request)
    assert "restored" not in limits


@pytest.mark.parametrize("published", [True, False], ids=["published", "unpublished"])
def test_who_looks_for_a_request_about_a_lost_dataset_is_told_why(sqlite, tmp_path, published):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.ingest("others", people(20, first=500), id="id", subject="who")
        request = home.forget(["s500"], dataset="others").request
    sqlite.restore(tmp_path / "saved", files=True)
    if not published:
        shutil.rmtree(sqlite.folder / "ledger")
        shutil.copytree(tmp_path / "saved" / "ledger", sqlite.folder / "ledger")
    home = sqlite.open()
    for look in (home.certificate, home.shred):
        with pytest.raises(RequestUnknownHere, match="dataset that is not here") as caught:
            look(request)
        assert caught.value.request == request
    assert "request.received" in kinds(home, request)
    assert kinds(home, request).count("request.received") == 1
    home.ledger.sync(wait=True)
    assert home.ledger.fsck().problems == ()
    home.close()
    assert sqlite.open().restored is None


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("requests", [0, 1])
def test_a_model_that_the_database_lost_is_retired(sqlite, tmp_path, files, requests):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.train("late", home.dataset("people").view("x2"), Sharded(Tiny(), shards=2))
        late = home.model("late")._row.folder.name
        for number in range(requests):
            home.forget([f"s{number + 9}"])
    sqlite.restore(tmp_path / "saved", files=files)
    (sqlite.folder / "models" / "ada.lovelace@example.org").mkdir()
    home = sqlite.open()
    assert home.restored.models == 2
    assert len(list((sqlite.folder / "models").iterdir())) == 2
    retired = [fact.body for fact in home.facts() if fact.kind == "model.retired"]
    assert retired == [{"model": late, "reason": "unknown to the restored database"}]
    home.recover()
    for request in home.requests()[2:]:
        certified(home, request.id)
    home.close()
    before = sqlite.open().facts()
    assert sqlite.open().facts() == before


def test_files_that_a_backup_put_back_are_read_anew_in_the_same_process(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    shutil.copytree(sqlite.folder / "journal", tmp_path / "journal")
    with sqlite.open() as home:
        home.forget(["s9"]).wait()  # its row is erased in the files that are open now
    sqlite.restore(tmp_path / "saved", files=True)
    shutil.rmtree(sqlite.folder / "journal")
    shutil.copytree(tmp_path / "journal", sqlite.folder / "journal")
    home = sqlite.open()
    assert home.restored.lost == 1
    home.train("new", home.dataset("people").view("x2"), Sharded(Tiny(), shards=2))
    assert home.model("new").version.whole
    assert home.verify("new").exact


SOON = timedelta(hours=2)
ASKED: dict[str, tuple[dict[str, Any], list[Callable[[Home, str], object]]]] = {
    "submitted": ({"approval": True, "submitter": "k1"}, []),
    "scheduled": ({"effective": SOON}, []),
    "approved": (
        {"approval": True, "submitter": "k1"},
        [lambda home, request: home.approve(request, "k2")],
    ),
    "approved for later": (
        {"approval": True, "submitter": "k1", "effective": SOON},
        [lambda home, request: home.approve(request, "k2")],
    ),
    "cancelled": ({"approval": True}, [lambda home, request: home.cancel(request)]),
    "scheduled and cancelled": ({"effective": SOON}, [lambda home, one: home.cancel(one)]),
    "refused": ({"approval": True}, [lambda home, request: home.refuse(request, "no-proof")]),
    "in its undo window": ({"undo_s": 3600.0}, []),
    "undone": ({"undo_s": 3600.0}, [lambda home, request: home.undo(request)]),
    "restricted": ({"kind": "restrict"}, []),
    "lifted": ({"kind": "restrict"}, [lambda home, request: home.lift(request)]),
    "with a regime": (
        {"regime": "gdpr", "received": -SOON, "undo_s": 60.0},
        [lambda home, request: home.extend(request)],
    ),
    "of one model": ({"models": ["wide"], "kind": "object"}, []),
    "erased from one model": ({"models": ["plain"]}, []),
    "of a purpose": ({"purpose": "scoring", "kind": "object"}, []),
    "expired": ({"kind": "expire"}, []),
}


def terms_of(name: str) -> dict[str, Any]:
    def at(value: object) -> object:
        return datetime.now(UTC) + value if isinstance(value, timedelta) else value

    return {word: at(value) for word, value in ASKED[name][0].items()}


def stands(home: Home) -> list[Any]:
    """All requests, but for what only this database can know: who sent and approved them."""
    left = {"submitter": "", "approver": "", "done": None}
    return [replace(request, **left) for request in home.requests()]


def without_moments(requests: list[Any]) -> list[Any]:
    """Times of what happened again are later; the rest is the same."""
    return [replace(one, effective=None, undo_until=None) for one in requests]


@pytest.mark.parametrize("files", [False, True], ids=["database", "database-and-files"])
@pytest.mark.parametrize("saved", ["before", "between"])
@pytest.mark.parametrize("name", ASKED)
def test_what_was_decided_stays_decided(sqlite, tmp_path, name, saved, files):
    check_decided(sqlite, tmp_path, name, saved, files)


@pytest.mark.postgres
@pytest.mark.parametrize("name", ["undone", "approved", "of a purpose"])
def test_what_was_decided_stays_decided_on_postgres(postgres, tmp_path, name):
    check_decided(postgres, tmp_path, name, "before", True)


def prepare_purposes(place: Place) -> None:
    prepare(place)
    with place.open() as home:
        home.recover()
        view = home.dataset("people").view("x2", purpose="scoring")
        home.train("scores", view, Sharded(Tiny(), shards=2))


def check_decided(place, tmp_path, name, saved, files):
    prepare_purposes(place)
    if saved == "before":
        place.save(tmp_path / "saved")
    with place.open() as home:
        request = home.forget(["s9", "s1"], subjects=["p5"], **terms_of(name)).request
    if saved == "between":
        place.save(tmp_path / "saved")
    with place.open() as home:
        for decide in ASKED[name][1]:
            decide(home, request)
        kept = stands(home)
    with place.twin(tmp_path / "twin").open() as twin:
        twin.recover()
        undisturbed, after, gone = chains(twin), stands(twin), forgotten(twin)
    place.restore(tmp_path / "saved", files=files)

    home = place.open()
    assert without_moments(stands(home)) == without_moments(kept)
    assert "approved" in name or stands(home)[-1] == kept[-1]
    check_clean_in_scope(home)
    home.recover()
    assert without_moments(stands(home)) == without_moments(after)
    assert chains(home) == undisturbed
    assert forgotten(home) == gone
    check_again(place, home, request)


def check_again(place, home, request):
    """It is exact, said once, and done once."""
    for model in home.models():
        assert home.verify(model).exact
    home.ledger.sync(wait=True)
    assert home.ledger.fsck().problems == ()
    said = [fact.kind for fact in home.facts() if fact.request == request]
    assert len([kind for kind in said if kind in KINDS]) == len({*said} & {*KINDS})
    after = stands(home)
    home.close()
    with place.open() as again:
        assert again.restored is None
        assert stands(again) == after


def check_clean_in_scope(home: Home) -> None:
    """What is served is on the way of a build without the rows that are gone for its model."""
    with home.site.database.reading() as transaction:
        models = home.site.all_models(transaction)
        grounds = {one.id: home.site.ground_of(transaction, one) for one in models}
    for model in models:
        for constituent in home.model(model.name).version.constituents:
            names = plans.make(model.recipe, grounds[model.id], constituent.shard).names
            assert constituent.frame is None or constituent.frame.name in names


def test_a_purpose_that_no_model_here_has_counts_for_those_to_come(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")

    def learn(home):
        view = home.dataset("people").view("x2", purpose="scoring")
        return home.train("scores", view, Sharded(Tiny(), shards=2))

    with sqlite.open() as home:
        learn(home)
        home.forget(["s9"], kind="object", purpose="scoring").wait()
        samples = sum(c.frame.samples for c in home.model("scores").version.constituents)
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()
    assert [str(request.kind) for request in home.requests()[2:]] == ["object"]
    learn(home)
    assert sum(c.frame.samples for c in home.model("scores").version.constituents) == samples
    assert home.verify("scores").exact


def test_the_journal_hears_later_of_what_was_decided_while_it_was_full(sqlite, tmp_path):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home, pytest.MonkeyPatch.context() as patch:
        undone = home.forget(["s9"], undo_s=3600.0).request
        fill_up(patch)
        with pytest.raises(JournalUnwritten):
            home.undo(undone)
        with pytest.raises(JournalUnwritten) as caught:
            home.forget(["s11"], kind="object", models=["wide"], undo_s=3600.0)
    with sqlite.open() as home:  # appends both
        assert home.restored is None
        kept = stands(home)
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()
    assert without_moments(stands(home)) == without_moments(kept)
    (objected,) = [one for one in home.requests() if one.id == caught.value.requests[0]]
    assert (str(objected.kind), len(objected.scopes)) == ("object", 1)


@pytest.mark.parametrize("frames", [3, 1000])
def test_a_decision_behind_the_mark_is_replayed(sqlite, tmp_path, monkeypatch, frames):
    monkeypatch.setattr(comparing, "FRAMES", frames)
    prepare(sqlite)
    with sqlite.open() as home:
        request = home.forget(["s9"], undo_s=3600.0).request
        home.forget(["s10"])
    sqlite.open().close()  # the mark is behind it
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        home.undo(request)
    sqlite.restore(tmp_path / "saved", files=True)
    home = sqlite.open()
    assert (home.restored.requests, home.restored.decisions) == (0, 1)
    assert str(home.request(request).state) == "undone"
    home.close()
    assert sqlite.open().restored is None


def test_what_only_the_ledger_knows_of_decisions_is_decided_too(sqlite, tmp_path):
    prepare(sqlite)
    with sqlite.open() as home:
        request = home.forget(["s9"], approval=True).request
    sqlite.save(tmp_path / "saved")
    shutil.copytree(sqlite.folder / "journal", tmp_path / "journal")
    with sqlite.open() as home:
        home.cancel(request)
        hold = home.hold("case 7", ["s20"])
    sqlite.restore(tmp_path / "saved", files=True)
    shutil.rmtree(sqlite.folder / "journal")
    shutil.copytree(tmp_path / "journal", sqlite.folder / "journal")
    home = sqlite.open()
    assert str(home.request(request).state) == "cancelled"
    assert (home.restored.decisions, home.restored.holds, hold.rows) == (1, 1, 1)
    assert "Legal holds that stand in the ledger alone: 1." in str(home.restored)


def test_an_undo_that_cannot_be_made_again_is_told(sqlite, tmp_path, caplog):
    """Somebody opened the restored home without its journal, and gave the row again."""
    sqlite.journal = tmp_path / "journal"
    prepare(sqlite)
    with sqlite.open() as home:
        request = home.forget(["s9"], undo_s=3600.0).request
    sqlite.save(tmp_path / "saved")
    shutil.copytree(tmp_path / "journal", tmp_path / "other")
    with sqlite.open() as home:
        home.undo(request)
    shutil.rmtree(sqlite.folder / "ledger")
    shutil.copytree(tmp_path / "saved" / "ledger", sqlite.folder / "ledger")
    sqlite.restore(tmp_path / "saved", files=True)
    sqlite.journal = tmp_path / "other"
    with sqlite.open() as home:
        row = {name: cells[9:10] for name, cells in people(ROWS).items()}
        home.ingest("people", row, readmit=True)
    sqlite.journal = tmp_path / "journal"
    home = sqlite.open()
    assert str(home.request(request).state) in ("forgotten", "held")
    assert "cannot be undone again" in caplog.text
    check_clean_in_scope(home)


@pytest.mark.parametrize("files", [False, True])
def test_a_model_that_was_retired_stays_retired(sqlite, tmp_path, files):
    prepare(sqlite)
    sqlite.save(tmp_path / "saved")
    with sqlite.open() as home:
        folder = home.model("plain")._row.folder
        home.retire("plain")
    sqlite.restore(tmp_path / "saved", files=files)
    home = sqlite.open()
    assert (home.restored.retired, home.restored.models) == (1, 0)
    with pytest.raises(ModelRetired):
        home.model("plain").predict(people(3))
    assert list(folder.glob("*.pack")) == []
    home.recover()
    assert len([f for f in home.facts() if f.kind == "model.retired"]) == 1
    home.close()
    assert sqlite.open().restored is None
