"""Models that may not see the same rows of one dataset: each is the build from those it may see."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core import names
from expunge.core.errors import InputError
from expunge.data import appending, leaves
from expunge.data import sql as data_sql
from expunge.data.batch import Batch
from expunge.data.datasets import Ground, Key
from expunge.data.ingest import Arrival, stage
from expunge.data.layout import SALT
from expunge.data.options import Ingest
from expunge.data.places import Places
from expunge.data.ring import Ring
from expunge.data.sql import Place
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.ledger import absence as checker
from expunge.methods.exact.rebuild import Rebuild
from expunge.testing import state
from expunge.testing.builder import FreshProcess
from expunge.testing.builder import Rebuild as Fresh
from expunge.testing.exact import _export
from expunge.testing.fakes import Tiny, people
from expunge.training import absence, ensemble, export, package, scopes, versions
from expunge.training import plan as plans
from expunge.training.recipe import Recipe, Sharded
from expunge.training.sql import Model
from expunge.verify import certified
from expunge.verify.certified import Claim, Stated
from expunge.verify.replay import replay

KEY = (0, 0)
Stone: TypeAlias = tuple[str, Key, int]
"""A scope, and the row that is gone in it."""


# Names, of many small worlds.


def remaining(ground: Ground, folder: Path) -> Ground:
    """A ground of nothing but the rows that are not gone in this one, staged anew."""
    batches = {}
    for key, batch in ground.batches.items():
        table = batch.export(~ground.is_gone(key, np.arange(batch.rows)))
        if len(table):
            options = Ingest(schema=batch.schema, salts=SALT, coded=True, slices=batch.parts)
            arrival = Arrival(Ring(ground.dataset.secret), key[1])
            (staged,) = stage(table, folder / str(key[1]), arrival, options).batches
            batches[key] = Batch(staged.folder)
    return Ground(ground.dataset, batches, {}, 0)


def all_names(recipe: Recipe, ground: Ground) -> list[tuple[bytes, ...]]:
    return [plans.make(recipe, ground, shard).names for shard in range(recipe.shards)]


ROWS = {(0, 0): 14, (0, 1): 5}
EVERY = [(key, ordinal) for key, rows in ROWS.items() for ordinal in range(rows)]
SCOPES = ("", "model:m1", "model:m2", "model:m3", "purpose:ads", "purpose:news")
stones = st.tuples(st.sampled_from(SCOPES), st.sampled_from(EVERY))


@settings(max_examples=20, deadline=None)
@given(buried=st.lists(stones, max_size=12), shards=st.integers(1, 3), slices=st.integers(1, 3))
def test_names_are_those_of_a_build_from_the_rows_that_a_model_may_see(
    shared_land: Any,
    tmp_path_factory: pytest.TempPathFactory,
    buried: Sequence[tuple[str, tuple[Key, int]]],
    shards: int,
    slices: int,
) -> None:
    if not shared_land.batches:
        shared_land.add([f"n{i}" for i in range(ROWS[0, 0])])
        shared_land.add([f"m{i}" for i in range(ROWS[0, 1])], parts=2)
    ground: Ground = shared_land.ground
    for scope, (key, ordinal) in buried:
        ground = ground.without([Place(*key, ordinal, 0)], scope)
    for model, purpose in (("m1", "ads"), ("m2", "news"), ("m3", "")):
        recipe = shared_land.recipe(shards, slices, purpose=purpose)
        own = ground.under(scopes.counting_for(model, recipe))
        mine = {"", f"model:{model}", f"purpose:{purpose}"}
        for scope, (key, ordinal) in buried:
            assert (scope not in mine) or own.is_gone(key, np.array([ordinal]))[0]
        fresh = remaining(own, tmp_path_factory.mktemp("fresh"))
        assert all_names(recipe, own) == all_names(recipe, fresh)


def test_known_answer(land: Any) -> None:
    # Four rows in one slice. Ads may not use the second in ring order, model m not the fourth.
    land.add(["a", "b", "c", "d"])
    recipe = land.recipe(slices=1, purpose="ads")
    ground = land.ground.without([Place(*KEY, 1, 0)], "purpose:ads")
    ground = ground.without([Place(*KEY, 3, 0)], "model:m")

    def name(*ordinals: int) -> bytes:
        rows = land.batches[KEY].leaves(0, 4)[list(ordinals)]
        first = names.constituent(recipe.digest, plans.ring_digest(ground), 0)
        return names.checkpoint(first, names.place(0, 0, 0), len(ordinals), leaves.root(rows))

    def named(model: str, recipe: Recipe) -> bytes:
        own = ground.under(scopes.counting_for(model, recipe))
        return plans.make(recipe, own, 0).names[0]

    assert named("m", recipe) == name(0, 2)
    assert named("n", recipe) == name(0, 2, 3)
    recipe = land.recipe(slices=1)  # without a purpose; it is part of the first name
    assert named("m", recipe) == name(0, 1, 2)
    assert named("n", recipe) == name(0, 1, 2, 3)


# Bytes, of one home with three models.


@dataclass(frozen=True)
class World:
    """A home with one dataset, and models for ads, for news and for nothing said."""

    home: Home

    def model(self, name: str) -> Model:
        with self.home.site.database.reading() as transaction:
            return self.home.site.model(transaction, name)

    def ground(self, name: str | None = None) -> Ground:
        """Of the dataset, or a model's own."""
        with self.home.site.database.reading() as transaction:
            whole = self.home.site.ground(transaction, 1)
            return self.home.site.ground_of(transaction, self.model(name)) if name else whole

    def object(self, scope: str, ordinals: Sequence[int], *, fails: bool = False) -> str:
        """Accept a request of this scope, as requests do: tombstones, and clean versions."""
        site, request = self.home.site, secrets.token_hex(16)
        with site.database.transaction() as transaction:
            ground = site.locked_ground(transaction, 1)
            batch = ground.batches[KEY]
            tokens = batch.tokens(0, batch.rows).tolist()
            places = [Place(*KEY, ordinal, tokens[ordinal]) for ordinal in ordinals]
            places = ground.remaining(places, scope)
            data_sql.bury(transaction, ground.dataset, [(Places.of(places), request, scope)])
            after = ground.without(places, scope)
            for model in site.models_of(transaction, 1):
                leave = ground.under(model.scopes).remaining(places)
                if scope in ("", *model.scopes):
                    versions.withdraw(transaction, model, after, leave)
            if fails:
                raise InputError("A request that fails.")
        return request

    def lift(self, request: str) -> None:
        """Let the rows of a request come back."""
        site = self.home.site
        with site.database.transaction() as transaction:
            ground = site.locked_ground(transaction, 1)
            stones = data_sql.lift(transaction, ground.dataset, request)
            after = site.ground(transaction, 1)
            for model in site.models_of(transaction, 1):
                back = after.under(model.scopes).remaining(stone.place for stone in stones)
                shards = versions.touched(model, back, after)
                versions.publish(transaction, model, after, shards)

    def rebuild(self) -> None:
        """Make all models whole, and destroy checkpoints that no plan names."""
        with self.home.site.database.reading() as transaction:
            models = self.home.site.all_models(transaction)
        for model in models:
            Rebuild().run(self.home.site, model, Inline(), Silent())
            for shard in versions.all_shards(model):
                versions.sweep(self.home.site, model, shard)

    def chains(self, name: str) -> list[state.Chain]:
        return state.read(self.model(name), self.home.model(name).version)

    def served(self, name: str) -> set[bytes]:
        version = self.home.model(name).version
        return {c.frame.name for c in version.constituents if c.frame}

    def check_clean(self) -> None:
        """What is served of each model is named by its own plan."""
        for name in MODELS:
            model, ground = self.model(name), self.ground(name)
            assert self.served(name) <= {n for of in all_names(model.recipe, ground) for n in of}


MODELS: Mapping[str, Sharded] = {
    "ads": Sharded(Tiny(), shards=3, slices=2),
    "news": Sharded(Tiny(), shards=2, slices=3, seed=1),
    "other": Sharded(Tiny(), seed=2),
}


@pytest.fixture
def world(home: Home, monkeypatch: pytest.MonkeyPatch) -> World:
    with monkeypatch.context() as patch:  # a ring on which each slice has people
        patch.setattr(appending.secrets, "token_bytes", lambda count: b"\x02" * count)
        home.ingest("people", people(60), id="id", subject="who")
    for name, recipe in MODELS.items():
        purpose = "" if name == "other" else name
        home.train(name, home.dataset("people").view("y", purpose=purpose), recipe)
    return World(home)


@pytest.fixture(scope="module")
def builder() -> Iterator[FreshProcess]:
    with FreshProcess() as process:
        yield process


def built_afresh(world: World, name: str, builder: FreshProcess, folder: Path) -> list[state.Chain]:
    """The full state of a home that only ever had the rows that a model may see."""
    model, ground = world.model(name), world.ground(name)
    place = folder / secrets.token_hex(8)
    place.mkdir()
    fresh = Fresh(
        folder=place / "home",
        secret=ground.dataset.secret,
        schema=ground.dataset.schema,
        batches=_export(ground, place, 0),
        view=model.recipe.view,
        recipe=MODELS[name],
        workers=1,
    )
    return builder.build(fresh)


@pytest.mark.parametrize("seed", range(4))
def test_every_model_is_the_build_that_never_saw_what_it_may_not(
    world: World, builder: FreshProcess, tmp_path: Path, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    where = ["", "purpose:ads", "purpose:news", *world.model("other").scopes]
    asked = []
    for _ in range(4):
        ordinals = chance.permutation(60)[: chance.integers(1, 6)].tolist()
        asked.append(world.object(str(chance.choice(where)), ordinals))
        world.check_clean()
        if chance.random() < 0.4:
            world.rebuild()
    world.lift(asked[int(chance.integers(0, 4))])
    world.check_clean()
    world.rebuild()
    for name in MODELS:
        state.compare(world.chains(name), built_afresh(world, name, builder, tmp_path))


@pytest.mark.parametrize("is_rebuilt", [True, False])
def test_one_models_objection_leaves_the_others_as_they_are_and_can_be_lifted(
    world: World, is_rebuilt: bool
) -> None:
    before = {name: world.chains(name) for name in MODELS}
    versions_before = {name: world.home.model(name).version for name in MODELS}
    request = world.object("purpose:ads", [3, 17])
    world.check_clean()
    assert world.home.model("ads").version.digest != versions_before["ads"].digest
    if is_rebuilt:
        world.rebuild()
        assert world.chains("ads") != before["ads"]
    for name in ("news", "other"):
        assert world.home.model(name).version == versions_before[name]
        assert world.chains(name) == before[name]
    world.lift(request)
    world.check_clean()
    world.rebuild()
    assert {name: world.chains(name) for name in MODELS} == before
    assert world.home.model("ads").version.digest == versions_before["ads"].digest


def test_who_has_the_same_home_open_sees_rows_go_and_come_back(
    place: dict[str, Any], opened: Any
) -> None:
    home = opened(**place)
    home.ingest("people", people(60), id="id", subject="who")
    view = home.dataset("people").view("y", purpose="ads")
    home.train("ads", view, Sharded(Tiny(), shards=3, slices=2))
    here, there = World(home), World(opened(**place))
    model = here.model("ads")
    before = [all_names(model.recipe, one.ground("ads")) for one in (here, there)]
    first, second = here.object("purpose:ads", [3]), there.object("purpose:ads", [17, 40])
    for one in (here, there):
        assert one.ground("ads").gone[KEY].tolist() == [3, 17, 40]
    there.lift(first)
    for one in (here, there):
        assert one.ground("ads").gone[KEY].tolist() == [17, 40]
    here.lift(second)
    assert [all_names(model.recipe, one.ground("ads")) for one in (here, there)] == before
    assert here.home.model("ads").version == there.home.model("ads").version


def test_a_model_that_is_made_later_keeps_to_its_purpose(world: World) -> None:
    world.object("purpose:ads", [3, 17])
    view = world.home.dataset("people").view("y", purpose="ads")
    world.home.train("more ads", view, Sharded(Tiny(), shards=3, slices=2))
    world.rebuild()
    assert world.chains("more ads") == world.chains("ads")
    assert sum(c.checkpoints[-1].samples for c in world.chains("more ads")) == 58


def test_a_row_that_was_gone_for_a_model_costs_it_nothing_when_it_goes_for_all(
    world: World,
) -> None:
    world.object("purpose:ads", [3, 17])
    world.rebuild()
    before = world.home.model("ads").version
    world.object("", [3, 17])
    after = world.home.model("ads").version
    assert (after.number, after.whole, after.digest) == (before.number, True, before.digest)
    assert not world.home.model("news").version.whole


def test_an_objection_that_fails_changes_nothing(world: World) -> None:
    before = {name: world.home.model(name).version for name in MODELS}
    with suppress(InputError):
        world.object("purpose:ads", [3], fails=True)
    assert {name: world.home.model(name).version for name in MODELS} == before
    assert world.ground().scoped == {}
    world.object("purpose:ads", [17])
    assert world.ground("ads").gone[KEY].tolist() == [17]


def test_a_damaged_checkpoint_is_set_back_to_what_the_model_may_see(world: World) -> None:
    world.object("purpose:ads", [3, 17])
    world.rebuild()
    (path,) = world.model("ads").folder.glob("00001.*.pack")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    versions.set_back_damaged(world.home.site, world.model("ads"))
    world.check_clean()
    assert not world.home.model("ads").version.whole


# What others can check.


def claim(world: World, name: str) -> Claim:
    model, version = world.model(name), world.home.model(name).version
    stated = tuple(
        Stated(one.shard, one.name, one.state, one.runtime) for one in export.served(model, version)
    )
    return Claim(model.folder.name, version.digest, stated, version.clean_to)


CERTIFICATE = b"\x01" * 32


def verdicts(world: World, said: Sequence[Claim], folder: Path) -> list[str]:
    """What a replay in the home says; it must be what one from a package does."""
    package.write(world.home.site, "people", folder)
    here = certified.from_home(world.home.site, said, CERTIFICATE, Inline(), Silent())
    there = certified.from_package(folder, said, CERTIFICATE, Inline(), Silent())
    assert here == there
    return [found.verdict for found in there]


def test_an_auditor_replays_every_model_from_one_package(world: World, tmp_path: Path) -> None:
    world.object("purpose:ads", [3, 17])
    world.object(world.model("news").scopes[0], [17, 40])
    world.object("", [8])
    world.rebuild()
    said = [claim(world, name) for name in MODELS]
    assert verdicts(world, said, tmp_path / "out") == ["passed"] * 3
    for name in MODELS:
        assert replay(world.home.site, world.model(name), Inline(), Silent()).exact
    packed = package.read(tmp_path / "out").ground
    assert packed.gone[KEY].tolist() == [8]
    assert np.flatnonzero(packed.batches[KEY].erased(0, 60)).tolist() == [8]


def test_a_package_names_no_scope_without_a_model(world: World, tmp_path: Path) -> None:
    world.object("purpose:of somebody", [3])
    world.lift(world.object("purpose:of somebody", [4]))
    world.object("purpose:ads", [5])
    package.write(world.home.site, "people", tmp_path / "out")
    assert b"somebody" not in (tmp_path / "out/dataset.json").read_bytes()
    assert set(package.read(tmp_path / "out").ground.scoped) == {"purpose:ads"}


def test_a_package_that_says_less_is_found_out(world: World, tmp_path: Path) -> None:
    world.object("purpose:ads", [3, 17])
    world.rebuild()
    package.write(world.home.site, "people", tmp_path / "out")
    whole = tmp_path / "out/dataset.json"
    whole.write_text(whole.read_text().replace("purpose:ads", "purpose:adz"))
    said = [claim(world, name) for name in MODELS]
    found = certified.from_package(tmp_path / "out", said, CERTIFICATE, Inline(), Silent())
    assert [one.verdict for one in found] == ["failed", "passed", "passed"]


def test_rows_that_came_back_explain_other_names(world: World, tmp_path: Path) -> None:
    request = world.object("purpose:ads", [3, 17])
    world.rebuild()
    said = [claim(world, name) for name in MODELS]
    world.lift(request)
    world.rebuild()
    assert verdicts(world, said, tmp_path / "out") == ["inconclusive", "passed", "passed"]
    again = [claim(world, name) for name in MODELS]
    assert verdicts(world, again, tmp_path / "again") == ["passed"] * 3


def test_another_models_objection_explains_nothing(world: World, tmp_path: Path) -> None:
    said = claim(world, "news")
    lie = replace(said.constituents[0], name="00" * 32)
    world.object("purpose:ads", list(range(60)))
    forged = replace(said, constituents=(lie, *said.constituents[1:]))
    assert verdicts(world, [forged], tmp_path / "out") == ["failed"]


def test_a_package_is_copied_again_where_a_row_came_back_meanwhile(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, copied = world.object("", [3]), []
    plain = package.copy_without

    def copy_without(*arguments: Any) -> None:
        plain(*arguments)
        copied.append(len(arguments[2]))
        if len(copied) == 1:
            world.lift(request)

    monkeypatch.setattr(package, "copy_without", copy_without)
    package.write(world.home.site, "people", tmp_path / "out")
    assert copied == [1, 0]
    found = package.read(tmp_path / "out")
    assert (found.changed_rows(), found.changed_roots()) == (0, 0)


def test_a_row_is_shown_absent_from_the_models_that_may_not_see_it(world: World) -> None:
    world.object("purpose:ads", [3])
    world.rebuild()
    ground = world.ground()
    leaf = ground.leaf(Place(*KEY, 3, 0))
    for name, is_absent in (("ads", True), ("news", False), ("other", False)):
        model, version = world.model(name), world.home.model(name).version
        document = absence.prove(model, version, ground, leaf)
        names = ensemble.names(version.constituents)
        assert (checker.check(document, leaf, names) == []) is is_absent
