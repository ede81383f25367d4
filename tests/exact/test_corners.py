"""Corners that a drawn grid may miss, with a learner that costs nothing; and tampered homes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import Case, Everything, Grow, OfPeople, OfShard, OfSlice, Return, Revise, Table

import expunge
from expunge.testing import (
    Append,
    Correct,
    Forget,
    ForgetFromEach,
    FreshProcess,
    NotExact,
    Recover,
    Scene,
    check_exact,
)
from expunge.testing import state as states
from expunge.testing.fakes import Tiny
from expunge.testing.state import Chain, Checkpoint

TABLE = Table(numbers=False, duplicates=True, people=True, tiers=1)
TIERS = Table(numbers=False, duplicates=False, people=True, tiers=2)

CORNERS = {
    "one row, forgotten": (TABLE, 1, [OfSlice(0, 0, "all")]),
    "one row, gone and back": (TABLE, 1, [Everything(), Recover(), Return(TABLE, 1, 1)]),
    "everything, then new rows": (TABLE, 40, [Everything(), Grow(TABLE, 20, 2, 1)]),
    "everything in many batches": (
        TABLE,
        40,
        [Grow(TABLE, 9, 1, 1), Grow(TABLE, 9, 3, 2), Everything(), Recover(), Grow(TABLE, 5, 1, 3)],
    ),
    "back and forgotten again": (
        TABLE,
        40,
        [OfPeople(2, 1, True), Return(TABLE, 3, 1), Recover(), OfShard(0), Return(TABLE, 9, 2)],
    ),
    "corrected twice, then forgotten": (
        TABLE,
        40,
        [Revise(TABLE, 4, 1), Revise(TABLE, 4, 1), Recover(), Revise(TABLE, 4, 1), Everything()],
    ),
    "every shard, one by one": (TABLE, 60, [OfShard(n) for n in range(3)]),
    "every slice, from the last": (TABLE, 60, [ForgetFromEach(1.0) for _ in range(6)]),
    "a stream without waiting": (TABLE, 60, [OfPeople(1, n, True) for n in range(8)]),
    "a lower tier after a higher": (
        TIERS,
        40,
        [Grow(TIERS, 12, 2, 1), OfSlice(0, 3, "first"), Revise(TIERS, 3, 2), OfSlice(1, 0, "last")],
    ),
}


@pytest.mark.parametrize("filtered", [False, True], ids=["all rows", "filtered"])
@pytest.mark.parametrize("name", CORNERS)
def test_corners(builder: FreshProcess, name: str, *, filtered: bool) -> None:
    table, rows, operations = CORNERS[name]
    case = Case(table, rows, 3, 3, 2, True, filtered, tuple(operations))
    recipe = expunge.Sharded(Tiny(), shards=case.shards, slices=case.slices)
    check_exact(recipe, case.data, *case.operations, builder=builder, probes=4)


def plain(table: Table = TABLE, rows: int = 30) -> Case:
    return Case(table, rows, 3, 2, 2, False, False, ())


def test_ready_made_operations_say_what_happened(builder: FreshProcess) -> None:
    better = TABLE.rows([4, 5], 9)
    found = check_exact(
        expunge.Sharded(Tiny(), shards=2, slices=2),
        plain().data,
        Append(TABLE.rows([100, 101], 1)),
        Correct(better),
        Forget(("s100",), subjects=("p0",)),
        builder=builder,
    )
    assert found.forgotten == 2 + 1 + 3
    assert found.remaining == 30 + 2 - 1 - 3


def pack(scene: Scene) -> Path:
    return sorted(scene.model.folder.glob("*.pack"))[0]


def leave_bytes(scene: Scene) -> None:
    with pack(scene).open("ab") as file:
        file.write(b"x")


def leave_a_pack(scene: Scene) -> None:
    path = pack(scene)
    path.with_name(f"00000.{'0' * 16}.pack").write_bytes(path.read_bytes())


@pytest.mark.parametrize("tamper", [leave_bytes, leave_a_pack])
def test_what_is_left_in_packs_fails(builder: FreshProcess, tamper) -> None:
    recipe = expunge.Sharded(Tiny(), shards=2, slices=2)
    with pytest.raises(NotExact) as caught:
        check_exact(recipe, plain().data, tamper, builder=builder)
    assert caught.value.what == "frames"


ONE = Checkpoint("aa", 3, 5, "11")


@pytest.mark.parametrize(
    ("mine", "other", "what", "index"),
    [
        ((ONE,), (ONE, ONE), "frames", 1),
        ((ONE, ONE), (ONE,), "frames", 1),
        ((ONE,), (Checkpoint("bb", 3, 5, "11"),), "names", 0),
        ((ONE,), (Checkpoint("aa", 4, 5, "11"),), "samples", 0),
        ((ONE,), (Checkpoint("aa", 3, 5, "12"),), "bytes", 0),
    ],
)
def test_the_first_difference_is_named(mine, other, what: str, index: int) -> None:
    same = Chain(0, ("r",), (ONE,), 0)
    with pytest.raises(NotExact, match=f"Shard 1, slice {index}") as caught:
        states.compare([same, Chain(1, ("r",), mine, 0)], [same, Chain(1, ("r",), other, 0)])
    assert (caught.value.shard, caught.value.slice, caught.value.what) == (1, index, what)


def test_another_runtime_is_no_proof_of_anything() -> None:
    with pytest.raises(NotExact, match="runtime r") as caught:
        states.compare([Chain(0, ("r",), (ONE,), 0)], [Chain(0, ("q",), (ONE,), 0)])
    assert caught.value.what == "runtime"
