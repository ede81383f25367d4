"""``check_exact`` passes what is canonical and fails what is not."""

from __future__ import annotations

import broken_learners
import numpy as np
import pytest
from broken_learners import BROKEN, Mean, Sound, WarmAndSticky

import expunge
from expunge.testing import (
    Append,
    Correct,
    Data,
    Forget,
    ForgetSome,
    FreshProcess,
    NotExact,
    Recover,
    check_exact,
)


def rows(count: int, first: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(first)
    x = generator.normal(size=(count, 2))
    names = range(first, first + count)
    return {
        "id": np.array([f"s{name}" for name in names]),
        "who": np.array([f"p{name // 3}" for name in names]),
        "a": x[:, 0],
        "b": x[:, 1],
        "y": x @ [1.0, -2.0] + 0.1 * generator.normal(size=count),
    }


def data(count: int = 120) -> Data:
    return Data(rows(count), "y", id="id", subject="who", values=["y"])


def test_a_sound_learner_passes(builder: FreshProcess) -> None:
    recipe = expunge.Sharded(Sound(), shards=2, slices=4)
    found = check_exact(recipe, data(), builder=builder)
    assert (found.frames, found.shards, found.forgotten, found.remaining) == (8, 2, 4, 116)
    assert found.changed == 2 * 1 + 2 * 2
    assert found.probed == 16


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_learner_fails(builder: FreshProcess, name: str) -> None:
    recipe = expunge.Sharded(BROKEN[name](), shards=2, slices=4)
    with pytest.raises(NotExact) as caught:
        check_exact(recipe, data(), builder=builder)
    assert caught.value.what == "bytes"
    assert caught.value.slice is not None


def test_a_learner_that_is_warm_and_keeps_something_fails(builder: FreshProcess) -> None:
    with pytest.raises(NotExact) as caught:
        check_exact(WarmAndSticky(), data(), builder=builder)
    assert caught.value.what == "bytes"


def test_sums_of_whole_numbers_pass(builder: FreshProcess) -> None:
    assert check_exact(Mean(), data(), builder=builder).changed > 0


def test_a_script_of_everything_passes(builder: FreshProcess) -> None:
    again = {name: column[:3] for name, column in rows(120).items()}
    better = {name: column[3:6].copy() for name, column in rows(120).items()}
    better["a"] += 1
    found = check_exact(
        expunge.Sharded(Sound(), shards=3, slices=2),
        data(),
        Forget(("s0", "s1", "s2")),
        Append(rows(20, first=1000), slices=2),
        Forget(subjects=("p30",)),
        Recover(),
        Append(again, readmit=True),
        Correct(better),
        ForgetSome(5),
        builder=builder,
    )
    assert found.forgotten == 3 + 3 + 3 + 5
    assert found.remaining == 120 + 20 + 3 + 3 - 14


def test_forgetting_everything_leaves_nothing(builder: FreshProcess) -> None:
    recipe = expunge.Sharded(Sound(), shards=2, slices=2)
    found = check_exact(recipe, data(9), ForgetSome(9), builder=builder)
    assert (found.frames, found.shards, found.remaining) == (0, 0, 0)


def test_a_batch_that_is_emptied_keeps_its_number(builder: FreshProcess) -> None:
    first, second = rows(30), rows(6, first=600)
    ids = tuple(first["id"].tolist())
    operations = Append(second), Append(rows(5, first=900)), Forget(ids)
    recipe = expunge.Sharded(Sound(), shards=2, slices=2)
    found = check_exact(recipe, data(30), *operations, builder=builder)
    assert found.remaining == 11


def test_it_needs_no_process_of_ours() -> None:
    assert check_exact(Sound(), data(20)).frames == 1


def test_an_engine_that_keeps_the_order_of_arrival_fails(
    builder: FreshProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.compute as pc

    from expunge.data import segments
    from expunge.data.layout import KEY

    def by_key_alone(table: object, id_column: str) -> object:
        return pc.sort_indices(table, [(KEY, "ascending")])

    monkeypatch.setattr(segments, "ring_order", by_key_alone)
    with pytest.raises(NotExact) as caught:
        check_exact(expunge.Sharded(Sound(), shards=2, slices=2), data(), builder=builder)
    assert caught.value.what == "names"


def test_a_learner_that_nobody_can_import_is_refused() -> None:
    class Local(Sound):
        pass

    with pytest.raises(expunge.core.errors.RecipeInvalid, match="top level of a module"):
        check_exact(Local(), data(9))


def test_module_and_class_name_a_learner_of_ones_own() -> None:
    from expunge import learners

    described = learners.to_json(Sound(rate=0.5))
    assert described["name"] == "broken_learners:Sound"
    assert learners.from_json(described) == broken_learners.Sound(rate=0.5)
