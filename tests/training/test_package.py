"""A package holds what remains, and can be built from without a home."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.errors import DataCorrupt, FormatUnsupported, InputError
from expunge.data import appending, copying
from expunge.home import Home
from expunge.testing.fakes import Tiny, people
from expunge.training import basis, package, sql
from expunge.training import plan as plans
from expunge.training.basis import Basis
from expunge.training.recipe import Sharded


def table(start: int, stop: int) -> dict[str, Any]:
    """Rows whose ids and subjects are long enough not to be found by chance."""
    cells = {name: cells[start:] for name, cells in people(stop).items()}
    return cells | {
        "id": [f"sample-{n:06d}" for n in range(start, stop)],
        "who": [f"person-{n // 4:06d}" for n in range(start, stop)],
    }


@pytest.fixture
def trained(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two batches, two models, some rows forgotten and erased, some only forgotten."""
    with monkeypatch.context() as patch:
        patch.setattr(appending.secrets, "token_bytes", lambda count: b"\x02" * count)
        home.ingest("people", table(0, 60), id="id", subject="who")
    home.ingest("people", table(60, 80), slices=2)
    view = home.dataset("people")
    home.train("m", view.view("y"), Sharded(Tiny(), shards=3, slices=2))
    home.train("n", view.view("y", where=[("x0", "<", 0.5)]), Sharded(Tiny(), slices=3, seed=7))
    home.forget(subjects=["person-000000", "person-000007"])
    home.recover()
    home.forget(["sample-000033", "sample-000070"])
    return home


def models(home: Home) -> list[sql.Model]:
    with home.site.database.reading() as transaction:
        return home.site.all_models(transaction)


def here(home: Home) -> Basis:
    with home.site.database.reading() as transaction:
        return basis.in_home(home.site, transaction, 1)


def test_plans_of_a_package_are_those_of_the_home(trained: Home, tmp_path: Path) -> None:
    package.write(trained.site, "people", tmp_path / "out")
    found, ours = package.read(tmp_path / "out"), here(trained)
    assert found.recipes == {model.folder.name: model.recipe for model in models(trained)}
    assert (found.roots, found.forgotten) == (ours.roots, ours.forgotten)
    for recipe in found.recipes.values():
        for shard in range(recipe.shards):
            mine = plans.make(recipe, found.ground, shard).names
            assert mine == plans.make(recipe, ours.ground, shard).names
    assert (found.changed_rows(), found.changed_roots()) == (0, 0)
    assert (tmp_path / "out").stat().st_mode & 0o77 == 0


def test_nothing_of_a_forgotten_row_is_in_a_package(trained: Home, tmp_path: Path) -> None:
    package.write(trained.site, "people", tmp_path / "out")
    ground, needles, stays = here(trained).ground, [], []
    for key, batch in ground.batches.items():
        gone = ground.gone[key]
        remain = np.delete(np.arange(batch.rows), gone)
        stays.append(batch.leaves(remain[0], remain[0] + 1)[0, 16:].tobytes())
        needles += [batch.keys(0, batch.rows)[o].tobytes() for o in gone]
        needles += [batch.tokens(0, batch.rows)[o].tobytes() for o in gone]
        needles += [batch.commitments(0, batch.rows)[o].tobytes() for o in gone]
        needles += [salt for salt in batch.export(gone)["expunge:salt"].to_pylist() if any(salt)]
    cells = table(0, 80)
    rows = [*range(4), *range(28, 32), 33, 70]
    assert len(rows) == sum(map(len, ground.gone.values()))
    needles += [cells[f"x{i}"][row].tobytes() for row in rows for i in range(3)]
    needles += [cells["id"][row].encode() for row in rows]
    needles += [cells["who"][row].encode() for row in (0, 28)]
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    everything = b"".join(path.read_bytes() for path in files)
    assert all(needle in everything for needle in stays)
    # The person of row 33 has other rows, and so has that of 70: their keys are there.
    others = {batch.keys(o, o + 1).tobytes() for key, o, batch in remaining(here(trained))}
    assert [n for n in needles if n in everything and n not in others] == []


def remaining(found: Basis) -> list[tuple[Any, int, Any]]:
    return [
        (key, ordinal, batch)
        for key, batch in found.ground.batches.items()
        for ordinal in range(batch.rows)
        if ordinal not in found.ground.gone.get(key, ())
    ]


def test_what_is_forgotten_while_it_is_written_is_left_out(
    trained: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, copied = copying.copy_without, []

    def forgetting(*arguments: Any) -> None:
        copy(*arguments)
        copied.append(arguments[1])
        if len(copied) == 1:
            trained.forget(["sample-000040"])

    monkeypatch.setattr(package, "copy_without", forgetting)
    package.write(trained.site, "people", tmp_path / "out")
    assert len(copied) == 3
    found = package.read(tmp_path / "out")
    assert [len(gone) for gone in found.ground.gone.values()] == [10, 1]
    assert found.changed_roots() == 0
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*.arrow"))
    assert people(60)["x0"][40].tobytes() not in everything


def test_it_is_written_whole_or_not_at_all(
    trained: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    with pytest.raises(InputError):
        package.write(trained.site, "people", tmp_path / "taken")
    monkeypatch.setattr(package, "_describe", full)
    with pytest.raises(OSError, match="No space"):
        package.write(trained.site, "people", tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_what_is_no_package_is_refused(trained: Home, tmp_path: Path) -> None:
    with pytest.raises(FormatUnsupported):
        package.read(tmp_path)
    package.write(trained.site, "people", tmp_path / "out")
    path = tmp_path / "out/models" / f"{models(trained)[0].folder.name}.json"
    value = json.loads(path.read_bytes())
    value["recipe"]["seed"] = 9
    path.write_text(json.dumps(value))
    with pytest.raises(DataCorrupt):
        package.read(tmp_path / "out")
    whole = tmp_path / "out/dataset.json"
    whole.write_text(whole.read_text().replace('"v":2', '"v":3'))
    with pytest.raises(FormatUnsupported):
        package.read(tmp_path / "out")


def test_a_changed_row_of_a_package_is_found(trained: Home, tmp_path: Path) -> None:
    package.write(trained.site, "people", tmp_path / "out")
    found = package.read(tmp_path / "out")
    _, ordinal, batch = remaining(found)[5]
    cell = batch.read(["x1"], ordinal, ordinal + 1)["x1"].tobytes()
    path = batch.folder / batch.segments[0].file
    path.write_bytes(path.read_bytes().replace(cell, np.float64(0.25).tobytes()))
    again = package.read(tmp_path / "out")
    assert (again.changed_rows(), again.changed_roots()) == (1, 0)
    token = batch.tokens(ordinal, ordinal + 1).tobytes()
    path.write_bytes(path.read_bytes().replace(token, bytes(8)))
    again = package.read(tmp_path / "out")
    assert (again.changed_rows(), again.changed_roots()) == (1, 1)


def test_shards_that_lost_rows_are_known_with_keys_and_without(
    trained: Home, tmp_path: Path
) -> None:
    package.write(trained.site, "people", tmp_path / "out")
    found, ours = package.read(tmp_path / "out"), here(trained)
    for shards in (1, 3, 10, 200):
        for number in (None, 0, 4, 8, 9, 10, 99):
            exact = touched(ours, number, shards)
            assert exact == {
                ours.ground.batches[one.tier, one.batch].key(one.ordinal) * shards >> 64
                for one in ours.forgotten
                if number is None or one.number > number
            }
            assert exact <= touched(found, number, shards)
    assert touched(found, 99, 200) == set()
    assert len(touched(found, 9, 200)) < 40


def touched(found: Basis, number: int | None, shards: int) -> set[int]:
    """What was touched of a model, were it of so many shards."""
    name, recipe = next(iter(found.recipes.items()))
    of = replace(found, recipes={name: replace(recipe, shards=shards)})
    return of.touched_since(number, name)
