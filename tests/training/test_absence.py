"""Honest proofs of absence always pass, and of a row that is there none can be made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import names
from expunge.core.errors import PlanStale
from expunge.core.types import Filter
from expunge.data.erase import erase
from expunge.data.sql import Place
from expunge.home import Home
from expunge.ledger import absence as checker
from expunge.storage.packs import Frame
from expunge.testing.fakes import Tiny, people
from expunge.training import absence, sql
from expunge.training import plan as plans
from expunge.training.recipe import Recipe, Sharded
from expunge.training.sql import Constituent, Model, Version

NAMES = [f"n{i}" for i in range(40)]


def model_of(recipe: Recipe) -> Model:
    return Model(1, "m", 1, Path("models/17-abc"), recipe, "mean")


def served_of(model: Model, ground: Any, depth: int = 1 << 30) -> Version:
    """A version that serves of each plan the checkpoint at this depth, or the last one."""
    found = []
    for shard in range(model.recipe.shards):
        made = plans.make(model.recipe, ground, shard).slices[:depth]
        frame = Frame(made[-1].name, sum(s.samples for s in made), 8, 1, b"") if made else None
        found.append(Constituent(shard, "p" if made else None, frame, len(made), whole=True))
    digest = sql.version_digest(model, tuple(found))
    return Version(1, 1, 0, len(ground.batches), digest, True, tuple(found), "")


def served_names(version: Version) -> list[str | None]:
    return [c.frame.name.hex() if c.frame else None for c in version.constituents]


def leaves_of(ground: Any) -> dict[tuple[tuple[int, int], int], bytes]:
    return {
        (key, ordinal): ground.leaf(Place(*key, ordinal, 0))
        for key, batch in ground.batches.items()
        for ordinal in range(batch.rows)
    }


def check_all(land: Any, recipe: Recipe, depth: int = 1 << 30) -> int:
    """Of every row: a proof passes exactly where the served names leave the row out."""
    ground, model = land.ground, model_of(recipe)
    version = served_of(model, ground, depth)
    inside = learnt(ground, recipe, depth)
    rows = leaves_of(ground)
    found = absence.prove_all(model, version, ground, list(rows.values()))
    for (where, leaf), document in zip(rows.items(), found, strict=True):
        document = json.loads(json.dumps(document))
        problems = checker.check(document, leaf, served_names(version))
        assert bool(problems) == (where in inside), (where, problems)
    return len(inside)


def learnt(ground: Any, recipe: Recipe, depth: int) -> set[tuple[tuple[int, int], int]]:
    found = set()
    for shard in range(recipe.shards):
        for part in plans.make(recipe, ground, shard).slices[:depth]:
            keep = plans.kept(
                ground.batches[part.key], part.start, part.stop, part.drop, recipe.view.filters
            )
            found |= {(part.key, int(o)) for o in np.flatnonzero(keep) + part.start}
    return found


@given(
    gone=st.sets(st.integers(0, 39)),
    later=st.sets(st.integers(0, 8)),
    shards=st.sampled_from([1, 2, 5, 30]),
    slices=st.sampled_from([1, 3, 6]),
    depth=st.sampled_from([0, 1, 2, 99]),
)
def test_a_proof_passes_exactly_where_a_row_is_absent(
    shared_land: Any, gone: set[int], later: set[int], shards: int, slices: int, depth: int
) -> None:
    land = shared_land
    if not land.batches:
        land.add(NAMES)
        land.add([f"m{i}" for i in range(9)], parts=2)
    land.gone = {}
    land.forget((0, 0), *gone)
    land.forget((0, 1), *later)
    check_all(land, land.recipe(shards=shards, slices=slices), depth)


def test_rows_of_one_person_stand_next_to_each_other(land: Any) -> None:
    land.add(NAMES[:20], who=[f"p{i % 3}" for i in range(20)])
    land.add(["m1", "m2"], who=["p0", "p1"])
    for gone in ([], [0], [3, 4], list(range(20))):
        land.gone = {}
        land.forget((0, 0), *gone)
        assert check_all(land, land.recipe(shards=2, slices=2)) == 22 - len(gone)


def test_tiers_and_filters(tiered: Any) -> None:
    tiered.add(NAMES, tier=["low", "high"] * 20)
    tiered.add(["m1", "m2"], tier=["high", "low"])
    tiered.forget((1, 0), 0, 5)
    recipe = tiered.recipe(shards=2, slices=2, filters=(Filter("x", "<", 20.0),))
    assert check_all(tiered, recipe) == 22 - sum(
        bool(tiered.batches[1, 0].read(["x"], o, o + 1)["x"][0] < 20) for o in (0, 5)
    )


def test_a_row_that_the_filter_never_let_in_is_said_to_be_one(land: Any) -> None:
    land.add(NAMES)
    batch = land.batches[0, 0]
    x = batch.read(["x"], 0, 40)["x"]
    model = model_of(land.recipe(filters=(Filter("x", "<", 20.0),)))
    version = served_of(model, land.ground)

    def filtered(ordinal: int) -> Any:
        leaf = land.ground.leaf(Place(0, 0, ordinal, 0))
        return absence.prove(model, version, land.ground, leaf)["filtered"]

    inside, outside = int((x < 20).argmax()), int((x >= 20).argmax())
    assert (filtered(inside), filtered(outside)) == (False, True)
    land.forget((0, 0), outside)
    erase(batch, np.array([outside]))
    assert filtered(outside) is None
    model = model_of(land.recipe())  # without a filter, nothing is kept out
    version = served_of(model, land.ground)
    assert filtered(outside) is False


def test_a_version_that_is_not_made_from_these_rows_is_not_proved_about(land: Any) -> None:
    land.add(NAMES)
    model, before = model_of(land.recipe(slices=3)), land.ground
    version = served_of(model, before)
    land.forget((0, 0), 0)
    with pytest.raises(PlanStale):
        absence.prove(model, version, land.ground, before.leaf(Place(0, 0, 0, 0)))


def test_what_is_served_may_be_older_than_rows_of_a_lower_tier(tiered: Any) -> None:
    tiered.add(NAMES, tier=["low", "high"] * 20)
    tiered.forget((1, 0), 3)
    model = model_of(tiered.recipe())
    version = served_of(model, tiered.ground)
    gone = tiered.ground.leaf(Place(1, 0, 3, 0))
    tiered.add(["m1", "m2"], tier=["low", "low"])
    document = absence.prove(model, version, tiered.ground, gone)
    assert checker.check(document, gone, served_names(version)) == []


def test_of_a_forgotten_and_erased_row_every_model_gives_a_proof(home: Home) -> None:
    home.ingest("people", people(60), id="id", subject="who")
    home.ingest("people", {name: cells[60:] for name, cells in people(80).items()})
    for name, shards in (("m", 3), ("n", 1)):
        home.train(name, home.dataset("people").view("y"), Sharded(Tiny(), shards, slices=2))
    home.forget(subjects=["p3"])
    home.recover()
    with home.site.database.reading() as transaction:
        for name in ("m", "n"):
            model = home.site.model(transaction, name)
            ground = home.site.ground(transaction, model.dataset)
            version = sql.current(transaction, model.id)
            assert version is not None
            rows = leaves_of(ground)
            documents = absence.prove_all(model, version, ground, list(rows.values()))
            for (key, ordinal), document in zip(rows, documents, strict=True):
                leaf = rows[key, ordinal]
                problems = checker.check(document, leaf, served_names(version))
                is_gone = ordinal in ground.gone.get(key, ())
                assert bool(problems) != is_gone
            assert sum(map(len, ground.gone.values())) == 4


def test_a_document_of_many_slices_has_some_tens_of_kilobytes(land: Any) -> None:
    land.add([f"n{i}" for i in range(4000)])
    model = model_of(land.recipe(shards=2, slices=50))
    version = served_of(model, land.ground)
    document = absence.prove(model, version, land.ground, names.leaf(1 << 63, 5, b"c" * 32))
    assert len(document["slices"]) == 50
    assert 20_000 < len(json.dumps(document)) < 60_000
