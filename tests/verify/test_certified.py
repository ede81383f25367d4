"""What a certificate names is built again: from a home, or from a package alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from expunge.core.errors import InputError, UnknownName
from expunge.data import appending
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.storage import packs
from expunge.testing.fakes import Tiny, people
from expunge.training import export, package, runtime, sql, versions
from expunge.training.recipe import Sharded
from expunge.verify import certified
from expunge.verify.certified import Claim, Replayed, Stated

CERTIFICATE = sha256(b"a certificate").digest()
CLEAN = {"changed_rows": 0, "changed_roots": 0, "other_runtime": 0, "forgotten_since": 0}


@pytest.fixture
def trained(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    with monkeypatch.context() as patch:  # a ring on which each slice has people
        patch.setattr(appending.secrets, "token_bytes", lambda count: b"\x02" * count)
        home.ingest("people", people(60), id="id", subject="who")
    view = home.dataset("people").view("y")
    home.train("m", view, Sharded(Tiny(), shards=3, slices=2))
    home.train("n", view, Sharded(Tiny(), shards=2, slices=1, seed=4))
    return home


def rows(home: Home) -> list[sql.Model]:
    with home.site.database.reading() as transaction:
        return home.site.all_models(transaction)


def claims(home: Home) -> list[Claim]:
    """What a certificate that is issued now says."""
    found = []
    for model in rows(home):
        with home.site.database.reading() as transaction:
            version = sql.current(transaction, model.id)
        assert version is not None
        stated = tuple(
            Stated(one.shard, one.name, one.state, one.runtime)
            for one in export.served(model, version)
        )
        found.append(Claim(model.folder.name, version.digest, stated, version.clean_to))
    return found


Replays = Callable[..., tuple[Replayed, ...]]


@pytest.fixture(params=["home", "package"])
def replayed(request: pytest.FixtureRequest, trained: Home, tmp_path: Path) -> Replays:
    """Replays claims from the home, or from a package that is written now."""
    number = iter(range(99))

    def run(said: list[Claim], share: float = 1.0) -> tuple[Replayed, ...]:
        rest = (said, CERTIFICATE, Inline(), Silent(), share)
        if request.param == "home":
            return certified.from_home(trained.site, *rest)
        package.write(trained.site, "people", folder := tmp_path / f"out-{next(number)}")
        return certified.from_package(folder, *rest)

    return run


def same(found: Replayed, **expected: int) -> None:
    assert {name: getattr(found, name) for name in expected} == expected


def test_what_is_as_it_is_stated_passes(trained: Home, replayed: Replays) -> None:
    said = claims(trained)
    for claim, found in zip(said, replayed(said), strict=True):
        count = len(claim.constituents)
        every = dict.fromkeys(
            ("constituents", "same_names", "chosen", "rebuilt", "same_bytes"), count
        )
        same(found, **every, **CLEAN)
        assert (found.model, found.version, found.verdict) == (claim.model, claim.version, "passed")
    assert not trained.site.replays.exists()


def test_after_forgetting_a_new_certificate_passes(trained: Home, replayed: Replays) -> None:
    trained.forget(subjects=["p2", "p9"])
    trained.recover()
    assert [found.verdict for found in replayed(claims(trained))] == ["passed", "passed"]


def test_a_model_that_is_not_rebuilt_yet_passes_as_it_is_served(
    trained: Home, replayed: Replays
) -> None:
    trained.forget(["s1"])
    said = claims(trained)
    assert any(one.name is None for claim in said for one in claim.constituents)
    assert [found.verdict for found in replayed(said)] == ["passed", "passed"]


def test_other_bytes_than_stated_fail(trained: Home, replayed: Replays) -> None:
    first, second = claims(trained)
    lie = replace(first.constituents[1], state="00" * 32)
    forged = replace(first, constituents=(first.constituents[0], lie, first.constituents[2]))
    found, other = replayed([forged, second])
    same(found, same_names=3, rebuilt=3, same_bytes=2, other_runtime=0)
    assert (found.verdict, other.verdict) == ("failed", "passed")


def test_another_name_than_the_rows_give_fails(trained: Home, replayed: Replays) -> None:
    first, _ = claims(trained)
    lie = replace(first.constituents[1], name="00" * 32)
    forged = replace(first, constituents=(first.constituents[0], lie, first.constituents[2]))
    (found,) = replayed([forged])
    same(found, constituents=3, same_names=2, chosen=3, rebuilt=2, same_bytes=2, forgotten_since=0)
    assert found.verdict == "failed"


def test_what_was_forgotten_since_cannot_be_compared(trained: Home, replayed: Replays) -> None:
    said = claims(trained)
    trained.forget(["s1"])
    trained.recover()
    found, other = replayed(said)
    same(found, constituents=3, same_names=2, rebuilt=2, same_bytes=2, forgotten_since=1)
    same(other, constituents=2, same_names=1, rebuilt=1, same_bytes=1, forgotten_since=1)
    assert (found.verdict, other.verdict) == ("inconclusive", "inconclusive")


def test_forgetting_explains_only_what_it_touched(trained: Home, replayed: Replays) -> None:
    first, _ = claims(trained)
    trained.forget(["s1"])
    trained.recover()
    (whole,) = replayed([first])
    untouched = next(
        shard
        for shard, one in enumerate(first.constituents)
        if one.name in [stated.name for stated in claims(trained)[0].constituents]
    )
    told = list(first.constituents)
    told[untouched] = replace(told[untouched], name="00" * 32)
    (found,) = replayed([replace(first, constituents=tuple(told))])
    assert (whole.verdict, found.verdict) == ("inconclusive", "failed")


def test_rows_that_came_since_change_nothing(trained: Home, replayed: Replays) -> None:
    said = claims(trained)
    trained.ingest("people", {name: cells[60:] for name, cells in people(80).items()})
    trained.recover()
    assert [found.verdict for found in replayed(said)] == ["passed", "passed"]


def test_rows_that_came_since_into_a_lower_tier_change_nothing(home: Home, tmp_path: Path) -> None:
    table = people(60) | {"tier": [1] * 30 + [2] * 30}
    home.ingest("people", table, id="id", subject="who", tier="tier")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=2, slices=2))
    said = claims(home)
    more = {name: cells[60:] for name, cells in people(80).items()} | {"tier": [1] * 20}
    home.ingest("people", more)
    home.recover()
    assert claims(home)[0].constituents != said[0].constituents
    (found,) = certified.from_home(home.site, said, CERTIFICATE, Inline(), Silent())
    assert found.verdict == "passed"


def test_another_runtime_is_said_and_fails_nothing(
    trained: Home, replayed: Replays, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = claims(trained)
    other = dict(runtime.describe(("numpy",))) | {"instructions": {"ATEN_CPU_CAPABILITY": "x"}}
    monkeypatch.setattr(runtime, "describe", lambda *_, **__: other)
    # Where bytes are the same all the same, they are the same.
    assert [found.verdict for found in replayed([first, second])] == ["passed", "passed"]
    elsewhere = [replace(one, state="00" * 32) for one in first.constituents]
    (found,) = replayed([replace(first, constituents=tuple(elsewhere))])
    same(found, same_names=3, rebuilt=3, same_bytes=0, other_runtime=3)
    assert found.verdict == "inconclusive"


def test_a_row_that_was_exchanged_fails(trained: Home, replayed: Replays) -> None:
    said = claims(trained)
    with trained.site.database.reading() as transaction:
        ((_, batch),) = trained.site.ground(transaction, 1).batches.items()
    cell = batch.read(["x0"], 7, 8)["x0"].tobytes()
    path = batch.folder / batch.segments[0].file
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content.replace(cell, bytes(8)))
    found, _ = replayed(said)
    same(found, changed_rows=1, changed_roots=0)
    assert found.verdict == "failed"


def test_roots_of_the_log_are_believed_more_than_those_of_the_owner(
    trained: Home, replayed: Replays
) -> None:
    first, _ = claims(trained)
    (found,) = replayed([replace(first, roots={(0, 0): bytes(32)})])
    same(found, changed_roots=1, changed_rows=0, same_bytes=3)
    assert found.verdict == "failed"


def test_nobody_can_choose_the_share_that_is_built(trained: Home, replayed: Replays) -> None:
    first, _ = claims(trained)
    (found,) = replayed([first], share=0.5)
    same(found, constituents=3, same_names=3, chosen=2, rebuilt=2, same_bytes=2)
    assert found.verdict == "passed"
    same(replayed([first], share=0.01)[0], chosen=1, same_bytes=1)
    orders = {
        tuple(one.shard for one in certified.choose(first, bytes([number]) * 32, 1.0))
        for number in range(50)
    }
    assert len(orders) == 6  # every order of three
    again = certified.choose(first, CERTIFICATE, 0.5)
    assert again == certified.choose(first, CERTIFICATE, 1.0)[:2]
    # A constituent that serves nothing is not chosen: there is nothing to build.
    empty = replace(first, constituents=(Stated(0), *first.constituents[1:]))
    assert {one.shard for one in certified.choose(empty, CERTIFICATE, 1.0)} == {1, 2}
    for share in (0.0, -1.0, 1.5):
        with pytest.raises(InputError):
            replayed([first], share=share)


def test_a_model_that_nobody_knows_is_refused(trained: Home, replayed: Replays) -> None:
    first, _ = claims(trained)
    with pytest.raises(UnknownName):
        replayed([replace(first, model="../elsewhere")])


def test_what_is_served_is_not_what_is_compared(trained: Home, replayed: Replays) -> None:
    # A certificate of forged bytes: they rest in the pack, but nothing builds them.
    (path,) = versions.pack_paths(rows(trained)[0], 1)
    with packs.writing(path) as pack:
        *kept, last = pack.frames()
        payload = bytearray(pack.read(last))
        payload[-1] ^= 1
        pack.cut(kept)
        pack.append(kept[-1], last.name, last.samples, bytes(payload))
        pack.sync()
    versions.set_back_damaged(trained.site, rows(trained)[0])
    said = claims(trained)
    assert said[0].constituents[1].state == sha256(bytes(payload)).hexdigest()
    same(replayed(said)[0], same_names=3, same_bytes=2, other_runtime=0)
