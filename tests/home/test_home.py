from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa

import expunge
from expunge.core.errors import (
    DataCorrupt,
    DuplicateSamples,
    FormatUnsupported,
    HomeMismatch,
    InputError,
    ModelWithdrawn,
    NameTaken,
    RecipeInvalid,
    UnknownName,
    ViewInvalid,
)
from expunge.storage.database import METADATA
from expunge.testing import state
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded

RECIPE = Sharded(Tiny(), shards=2, slices=2)


@pytest.fixture
def model(home):
    home.ingest("people", people(60), id="id", subject="who")
    return home.train("m", home.dataset("people").view("y"), RECIPE)


def chains(home, name="m"):
    model = home.model(name)
    return state.read(model._row, model.version)


def units(home):
    return [fact.body for fact in home.facts() if fact.kind == "unit.rebuilt"]


def test_a_home_that_is_opened_again_is_the_same(tmp_path, opened):
    rows = people(60)
    with opened(tmp_path / "home") as home:
        home.ingest("people", rows, id="id", subject="who")
        home.train("m", home.dataset("people").view("y"), RECIPE)
        home.forget(["s1"])
        before, answer = chains_of_any(home), home.model("m").predict_proba(rows)
    again = opened(tmp_path / "home")
    assert (again.datasets(), again.models()) == (["people"], ["m"])
    assert chains_of_any(again) == before
    np.testing.assert_array_equal(again.model("m").predict_proba(rows), answer)
    assert [str(request.state) for request in again.requests()] == ["forgotten"]
    again.recover()
    assert [str(request.state) for request in again.requests()] == ["done"]


def chains_of_any(home):
    return home.model("m").version


def test_training_again_resumes_and_finds_nothing_to_do(home, model):
    before = (model.version, units(home))
    home.train("m", home.dataset("people").view("y"), RECIPE)
    assert (model.version, units(home)) == before


@pytest.mark.parametrize(
    "other",
    [Sharded(Tiny(), 3, 2), Sharded(Tiny(passes=3), 2, 2), Sharded(Tiny(), 2, 2, seed=1)],
)
def test_a_name_belongs_to_one_recipe(home, model, other):
    before = model.version
    with pytest.raises(NameTaken):
        home.train("m", home.dataset("people").view("y"), other)
    with pytest.raises(NameTaken):
        home.train("m", home.dataset("people").view("y", purpose="another"), RECIPE)
    assert model.version == before


@pytest.mark.parametrize("learner", [expunge.Convex("huber"), expunge.Ridge(features="ngrams")])
def test_what_a_learner_cannot_learn_is_refused_before_anything_is_recorded(home, learner):
    home.ingest("people", people(60), id="id", subject="who")
    with pytest.raises(RecipeInvalid):
        home.train("m", home.dataset("people").view("y"), learner)
    assert home.models() == []
    assert "model.created" not in {fact.kind for fact in home.facts()}


def test_appended_rows_are_new_last_slices(home, model):
    before = chains(home)
    home.ingest("people", people(30, first=60, seed=1), slices=2)
    home.train("m", home.dataset("people").view("y"), RECIPE)
    after = chains(home)
    for old, new in zip(before, after, strict=True):
        assert new.checkpoints[: len(old.checkpoints)] == old.checkpoints
        assert len(new.checkpoints) - len(old.checkpoints) <= 2
    assert sum(chain.checkpoints[-1].samples for chain in after) == 90
    assert home.verify("m").exact


def test_an_append_that_fails_changes_nothing(home, model):
    before = (home.dataset("people"), sorted(home.site.data.rglob("*")))
    with pytest.raises(DuplicateSamples):
        home.ingest("people", people(30, first=50))
    assert (home.dataset("people"), sorted(home.site.data.rglob("*"))) == before


def test_a_first_ingest_that_fails_leaves_no_dataset(home):
    with pytest.raises(DuplicateSamples):
        home.ingest("people", people(8) | {"id": np.array(["s1"] * 8)}, id="id")
    assert home.datasets() == []
    assert [path.name for path in home.site.data.iterdir()] == ["append.lock"]
    home.ingest("people", people(8), id="id")


def test_what_a_killed_append_left_is_removed_by_the_next(home, model):
    (folder,) = [path for path in home.site.data.iterdir() if path.is_dir()]
    moved, staged = folder / "000-000001", folder / "staging-1"
    orphans = [moved, staged, home.site.data / "0123" / "staging-0"]
    for orphan in orphans:
        orphan.mkdir(parents=True)
        (orphan / "file").write_text("rows")
    (moved / "pending").touch()
    home.ingest("people", people(30, first=60))
    assert not any((orphan / "file").exists() for orphan in orphans)
    assert not (home.site.data / "0123").exists()
    assert not (moved / "pending").exists()
    assert home.dataset("people").rows == 90


def test_rows_that_an_older_database_does_not_know_are_not_leftovers(home, model):
    (folder,) = [path for path in home.site.data.iterdir() if path.is_dir()]
    (folder / "000-000001").mkdir()
    (folder / "000-000001" / "file").write_text("rows")
    home.ingest("people", people(30, first=60))
    assert (folder / "000-000001" / "file").exists()
    assert (folder / "000-000002").exists()  # a number that was given is not given again
    assert home.dataset("people").rows == 90


def test_a_database_that_forgot_an_erasure_trains_on_nothing(home, model, opened):
    database = home.site.root / "expunge.sqlite"
    home.close()
    before = database.read_bytes()
    with opened(database.parent) as again:
        again.forget(["s0"]).wait()
    database.write_bytes(before)
    for lost in ("journal", "ledger"):  # they would say what the database has forgotten
        shutil.rmtree(database.parent / lost)
    with (
        opened(database.parent) as restored,
        pytest.raises(DataCorrupt, match="does not know that rows were erased"),
    ):
        restored.train("other", restored.dataset("people").view("y"), Sharded(Tiny(), shards=2))


def test_a_database_and_a_folder_must_belong_together(home, model, opened, tmp_path):
    with pytest.raises(HomeMismatch):
        opened(f"sqlite:///{tmp_path}/other.sqlite", files=home.site.root)
    assert model.predict(people(5)).shape == (5,)


def test_a_damaged_checkpoint_is_built_again(home, model):
    before = model.predict(people(5))
    (pack, *_) = sorted(home.site.models.rglob("*.pack"))
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    home.repair()
    assert pack.read_bytes() == whole
    assert (model.predict(people(5)) == before).all()


def test_a_training_that_failed_does_not_keep_the_name(home, model):
    learning = home.dataset("people").view("y", where=[("x0", ">", 1e9)])
    broken = home.dataset("people").view("y", where=[("who", "<", 1)])
    with pytest.raises(ViewInvalid):
        home.train("n", broken, Sharded(Tiny(), shards=2))
    assert home.train("n", learning, Sharded(Tiny(), shards=2)).version.whole


def test_a_repeated_request_is_done_when_the_rows_are_destroyed(home, model):
    first, second = home.forget(["s0"]), home.forget(["s0"])
    assert (first.state, second.state) == ("forgotten", "forgotten")
    second.wait()
    assert (first.state, second.state) == ("done", "done")
    assert home.forget(["s0"]).state == "done"


def test_a_home_of_a_newer_format_is_refused_and_not_touched(tmp_path, opened):
    with opened(tmp_path / "home") as home, home.site.database.transaction() as transaction:
        transaction.execute(sa.update(METADATA.tables["format"]).values(number=999))
    before = (tmp_path / "home" / "expunge.sqlite").read_bytes()
    with pytest.raises(FormatUnsupported, match="999"):
        opened(tmp_path / "home")
    assert (tmp_path / "home" / "expunge.sqlite").read_bytes() == before


def test_a_server_needs_a_folder_for_files():
    with pytest.raises(InputError, match="files="):
        expunge.open("postgresql://127.0.0.1/none")


def test_processes_may_open_a_new_home_at_the_same_time(place, opened):
    arguments = ", ".join(f"{name}={str(value)!r}" for name, value in place.items())
    code = f"import sys, expunge; sys.stdin.read(); expunge.open({arguments}).close()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    several = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environment)
        for _ in range(4)
    ]
    for process in several:  # they have all started when the last one is told to go on
        process.stdin.close()
    assert [process.wait() for process in several] == [0] * 4
    assert opened(**place).models() == []


def test_names_that_are_not_there(home, model):
    for ask in (home.model, home.dataset, home.verify):
        with pytest.raises(UnknownName) as caught:
            ask("nobody")
        assert caught.value.name == "nobody"


def test_a_model_that_cannot_be_trained_does_not_stop_forgetting(home, model):
    rows = people(30, first=60)
    rows["y"][:] = "yes"
    rows["x0"][3] = np.nan
    home.ingest("others", rows, id="id", subject="who", nullable=["x0"])
    with pytest.raises(ViewInvalid):
        home.train("broken", home.dataset("others").view("x0"), Tiny())
    assert home.forget(["s1"], dataset="people").wait().state == "done"
    receipt = home.forget(["s61"], dataset="others")
    assert receipt.wait().state == "done"
    with pytest.raises(ViewInvalid):
        home.recover()
    home.forget(["s63"], dataset="others").wait()  # the row that was in the way
    assert home.verify("broken").exact


def test_a_background_thread_rebuilds(tmp_path, opened):
    home = opened(tmp_path / "home", background=True)
    home.ingest("people", people(60), id="id", subject="who")
    model = home.train("m", home.dataset("people").view("y"), RECIPE)
    receipt = home.forget(["s1"])
    home.close()  # waits for what goes on
    again = opened(tmp_path / "home")
    again.recover()
    assert [str(r.state) for r in again.requests()] == ["done"]
    assert receipt.accepted.samples == 1
    assert again.model(model.name).version.whole


def test_predictions_of_each_aggregate_and_task(home):
    rows = people(60)
    home.ingest("people", rows, id="id", subject="who")
    view = home.dataset("people").view
    vote = home.train("vote", view("y"), Sharded(Tiny(), shards=3, aggregate="vote"))
    assert set(np.unique(vote.predict_proba(rows).round(6))) <= {
        *np.round([sum(s) / 60 for s in subsets(vote)], 6)
    }
    value = home.train("value", view("x1"), Sharded(Tiny(), shards=3))
    assert value.predict(rows).shape == (60,)
    both = home.train("both", view(["x1", "x2"]), Sharded(Tiny(), shards=3))
    assert both.predict(rows).shape == (60, 2)
    with pytest.raises(InputError, match="regression"):
        value.predict_proba(rows)


def subsets(model):
    count = len([c for c in model.version.constituents if c.frame])
    return [[0], [60], *([[60 * k / count] for k in range(count + 1)])]


def test_a_model_without_a_clean_constituent_says_so(home, model):
    home.forget(people(60)["id"])
    with pytest.raises(ModelWithdrawn, match="withdrawn"):
        model.predict(people(3))
