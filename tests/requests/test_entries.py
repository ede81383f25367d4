"""What the ledger says about requests."""

from __future__ import annotations

import hashlib
import json
import os
import uuid

import numpy as np
import pytest

from expunge.core import merkle
from expunge.core.errors import (
    InputError,
    MethodUnavailable,
    NothingToForget,
    SamplesUnknown,
    SchemaMismatch,
    UnknownName,
)
from expunge.data import places as places_
from expunge.ledger import vault
from expunge.requests import destroy, entries
from expunge.storage import facts
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded


def bodies(home, kind):
    return [fact.body for fact in home.facts() if fact.kind == kind]


def openings(world, request, named):
    with world.home.site.database.reading() as transaction:
        return [vault.opening(transaction, request, *one) for one in named]


@pytest.mark.parametrize(
    ("samples", "subjects", "named"),
    [
        (["s1"], [], [("sample", "s1")]),
        ([], ["p3"], [("subject", "p3")]),
        (["s1", "s2", "s1"], ["p3"], [("sample", "s1"), ("sample", "s2"), ("subject", "p3")]),
        (["s1", "gone", "s4"], ["nobody"], [("sample", "gone"), ("subject", "nobody")]),
    ],
)
def test_a_request_commits_to_all_that_it_names(world, samples, subjects, named):
    world.home.forget(["s4"])
    receipt = world.home.forget(samples, subjects=subjects, missing="ignore")
    said = receipt.facts[0].body["identifiers"]
    assert said["count"] == len(set(samples)) + len(set(subjects))
    for one, opening in zip(named, openings(world, receipt.request, named), strict=True):
        assert opening.check(*one, said)


def test_the_same_request_made_twice_commits_to_something_else(world):
    first, second = world.home.forget(["s1"]), world.home.forget(["s1"])
    roots = {receipt.facts[0].body["identifiers"]["root"] for receipt in (first, second)}
    assert len(roots) == 2


def test_what_is_received_is_told_in_counts_and_digests(world):
    world.home.forget(["s4"])
    received = world.home.forget(["s4", "s5"], subjects=["p3"]).facts[0]
    assert received.kind == "request.received"
    assert received.body | {"identifiers": None, "rows": None} == {
        "dataset": world.ground().dataset.folder.name,
        "kind": "erase",
        "samples": 5,
        "already": 1,
        "identifiers": None,
        "rows": None,
    }
    (request,) = [r for r in world.home.requests() if r.id == received.request]
    assert received.at == request.accepted


@pytest.mark.parametrize("chosen", [["s7"], [f"s{n}" for n in range(0, 60, 7)]])
def test_the_rows_are_committed_to_by_their_leaves(world, chosen):
    batch, ids = world.batch(), world.ids()
    ordinals = [ids.index(one) for one in chosen]
    leaves = sorted(batch.leaves(o, o + 1).tobytes() for o in ordinals)
    rows = world.home.forget(chosen).facts[0].body["rows"]
    assert rows == merkle.root([hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]).hex()


def test_rows_far_apart_and_in_several_batches_are_committed_to_alike(world, monkeypatch):
    world.home.ingest("people", people(50, first=100, seed=4))
    places = forgotten_places(world, ["s1", "s30", "s59", "s100", "s149"])
    whole = entries.rows_root(world.ground(), places)
    for window in (1, 2, 7):
        monkeypatch.setattr(places_, "_WINDOW", window)
        assert entries.rows_root(world.ground(), places[::-1]) == whole
    assert entries.rows_root(world.ground(), []) is None


def forgotten_places(world, ids):
    from expunge.requests import forget

    return list(forget.find(world.ground(), forget.Wanted(tuple(ids))).places)


def test_a_request_that_names_no_row_that_is_there_has_no_rows(world):
    receipt = world.home.forget(["nobody"], missing="ignore")
    assert receipt.facts[0].body["rows"] is None


def test_what_is_forgotten_names_models_by_folder_and_what_changed(world):
    before = world.model.version
    receipt = world.home.forget([world.rows_of(1, 1)[0]])
    (received, told) = receipt.facts
    after = receipt.changes[0].after
    name = [
        c.frame.name.hex() if c.frame else None for v in (before, after) for c in v.constituents
    ]
    assert told.body == {
        "model": world.model._row.folder.name,
        "before": before.digest,
        "version": after.digest,
        "changed": 1,
        "names": [[1, name[1], name[4]]],
    }
    assert received.request == told.request == receipt.request


def test_a_model_in_its_first_training_is_told_of_without_versions(home, monkeypatch):
    home.ingest("people", people(60), id="id", subject="who")
    told = []

    def during(*_):
        told.append(home.forget(["s1"]).facts[1].body)
        raise InterruptedError

    monkeypatch.setattr(home._executor, "run", during)
    with pytest.raises(InterruptedError):
        home.train("m", home.dataset("people").view("y"), Tiny())
    assert told[0]["before"] is told[0]["version"] is None
    assert (told[0]["changed"], told[0]["names"]) == (0, [])


def test_more_than_a_hundred_changes_are_counted_and_not_listed(home):
    home.ingest("people", people(300), id="id")
    view = home.dataset("people").view("y")
    home.train("m", view, Sharded(Tiny(), shards=120))
    served = [c.frame for c in home.model("m").version.constituents]
    body = home.forget(people(300)["id"]).facts[1].body
    assert body["changed"] == sum(frame is not None for frame in served) > 100
    assert body["names"] is None


def test_a_correction_is_told_with_its_batch(world, rows):
    receipt = world.home.correct({name: cells[8:10] for name, cells in rows.items()})
    folder = world.ground().dataset.folder.name
    assert [fact.kind for fact in receipt.facts] == [
        "request.received",
        "request.forgotten",
        "request.corrected",
    ]
    assert receipt.facts[0].body["kind"] == "correct"
    assert receipt.facts[0].body["identifiers"]["count"] == 2
    assert receipt.facts[2].body == {"dataset": folder, "batch": 1, "rows": 2}
    said = receipt.facts[0].body["identifiers"]
    (opening,) = openings(world, receipt.request, [("sample", "s9")])
    assert opening.check("sample", "s9", said)


REFUSED = {
    "unknown": (lambda h, _: h.forget(["s1", "x-stranger"]), SamplesUnknown, "erase"),
    "nothing": (lambda h, _: h.forget([]), NothingToForget, "erase"),
    "unknown subject": (lambda h, _: h.forget(subjects=["x-stranger"]), SamplesUnknown, "erase"),
    "method": (lambda h, _: h.forget(["s1"], method="hypnosis"), MethodUnavailable, "erase"),
    "unknown row": (
        lambda h, rows: h.correct({n: c[8:9] for n, c in rows.items()} | {"id": ["x-stranger"]}),
        SamplesUnknown,
        "correct",
    ),
    "forgotten row": (
        lambda h, rows: h.correct({n: c[50:51] for n, c in rows.items()}),
        SamplesUnknown,
        "correct",
    ),
    "columns": (lambda h, _: h.correct({"id": np.array(["s1"])}), SchemaMismatch, "correct"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_recorded_by_its_code_alone(world, rows, case):
    act, error, kind = REFUSED[case]
    world.home.forget(["s50"]).wait()
    before, version = world.home.facts(), world.model.version
    with pytest.raises(InputError) as caught:
        act(world.home, rows)
    assert isinstance(caught.value, error) or case == "columns"
    (fact,) = world.home.facts()[len(before) :]
    assert (fact.kind, fact.body) == (
        "request.refused",
        {"kind": kind, "reason": caught.value.code},
    )
    assert uuid.UUID(fact.request)
    assert len(world.home.requests()) == 1
    assert (world.model.version, world.ground().tombstones) == (version, 1)
    assert list(world.home.site.journal.read())[1:] == []


def test_what_is_no_request_at_all_is_not_recorded(world):
    before = world.home.facts()
    for wrong in ({"missing": "maybe"}, {"dataset": "nobody"}, {"kind": "erode"}):
        with pytest.raises((InputError, UnknownName)):
            world.home.forget(["s1"], **wrong)
    assert world.home.facts() == before


def test_a_refusal_that_cannot_be_recorded_is_not_silent(world, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(facts, "record_all", fail)
    with pytest.raises(OSError, match="disk full"):
        world.home.forget([])


def test_what_is_destroyed_names_its_requests_and_those_that_end_with_them(world):
    first = world.home.forget(["s1"])
    again = world.home.forget(["s1"])  # names no row that is not forgotten already
    first.wait()
    folder = world.ground().dataset.folder.name
    (body,) = bodies(world.home, "checkpoint.destroyed")
    assert body["requests"] == sorted([first.request, again.request])
    assert (body["dataset"], body["rows"]) == (folder, 1)
    assert body["frames"].keys() == {world.model._row.folder.name}
    assert again.state == "done"


def test_however_many_requests_end_together_each_entry_is_small_enough():
    rows = {str(uuid.UUID(bytes=os.urandom(16))): n % 3 for n in range(5_200)}
    frames = {f"{n:013x}-{'a' * 16}": 10**6 for n in range(1_700)}
    made = list(destroy._entries(rows, frames))
    for body in made:
        fact = facts.Fact("checkpoint.destroyed", {"dataset": "f" * 32, **body})
        assert len(facts.leaf(fact, "2026-01-01T00:00:00.000000Z")) <= facts.ENTRY_BYTES
    assert sorted(one for body in made for one in body["requests"]) == sorted(rows)
    assert sum(body["rows"] for body in made) == sum(rows.values())
    told = [pair for body in made for pair in body["frames"].items()]
    assert sorted(told) == sorted(frames.items())


def test_many_requests_end_together(world, monkeypatch):
    monkeypatch.setattr(destroy, "_REQUESTS", 3)
    receipts = [world.home.forget([f"s{n}"]) for n in range(10)]
    world.home.recover()
    made = bodies(world.home, "checkpoint.destroyed")
    assert [len(body["requests"]) for body in made] == [3, 3, 3, 1]
    assert sorted(r.request for r in receipts) == [r for body in made for r in body["requests"]]
    assert [body["rows"] for body in made] == [3, 3, 3, 1]
    assert [len(body["frames"]) for body in made] == [1, 0, 0, 0]


def test_each_entry_is_canonical_and_says_when(world):
    world.home.forget(["s1"]).wait()
    for fact in world.home.facts():
        said = json.loads(fact.leaf)
        assert json.dumps(said, sort_keys=True, separators=(",", ":")).encode() == fact.leaf
        assert fact.at.endswith("Z")
