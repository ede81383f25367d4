"""After destruction nothing under a home holds a forgotten row or a checkpoint that saw it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from expunge.ledger.lease import shared_clock
from expunge.requests import life
from expunge.storage import packs
from expunge.storage.database import METADATA
from expunge.testing.fakes import Tiny
from expunge.training import plan as plans
from expunge.training import versions
from expunge.training.recipe import Sharded

ROWS, MARKED = 90, 41
NOTE = "a note that nobody else wrote: ZEBRA-7731"
ID, SUBJECT, FRIEND = "id-OKAPI-20994", "Quagga Person <quagga@example.org>", "Friend Dodo"
DOUBLE = struct.unpack("<d", bytes.fromhex("ab89674523d1e13f"))[0]
SINGLE = struct.unpack("<f", bytes.fromhex("d7c3b13e"))[0]
WHOLE = 0x1122_3344_5566
TENSOR = np.array([0.1731, -0.2942, 0.3853, -0.4764], np.float32)
MARKERS = {
    "text": NOTE.encode(),
    "id": ID.encode(),
    "subject": SUBJECT.encode(),
    "further subject": FRIEND.encode(),
    "float64": struct.pack("<d", DOUBLE),
    "float32": struct.pack("<f", SINGLE),
    "int64": struct.pack("<q", WHOLE),
    "tensor": TENSOR.tobytes(),
    "rare category": b"PANGOLIN-KEEPER",
}


def table() -> pa.Table:
    rng = np.random.default_rng(3)
    tensors = rng.normal(size=(ROWS, 4)).astype(np.float32)
    columns = {
        "id": [f"s{n}" for n in range(ROWS)],
        "who": [f"p{n // 3}" for n in range(ROWS)],
        "friend": ["" for _ in range(ROWS)],
        "note": [f"note {n}" for n in range(ROWS)],
        "double": rng.normal(size=ROWS),
        "single": rng.normal(size=ROWS).astype(np.float32),
        "whole": rng.integers(0, 1 << 60, ROWS),
        "job": rng.choice(["cook", "nurse"], ROWS).tolist(),
        "y": rng.choice(["no", "yes"], ROWS).tolist(),
    }
    planted = {"id": ID, "who": SUBJECT, "friend": FRIEND, "note": NOTE, "double": DOUBLE}
    planted |= {"single": SINGLE, "whole": WHOLE, "job": "PANGOLIN-KEEPER"}
    for name, value in planted.items():
        columns[name][MARKED] = value
    tensors[MARKED] = TENSOR
    flat = pa.array(tensors.ravel())
    return pa.table(columns | {"tensor": pa.FixedSizeListArray.from_arrays(flat, 4)})


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def database_text(home) -> str:
    with home.site.database.reading() as transaction:
        rows = [
            str(list(row))
            for each in METADATA.sorted_tables
            for row in transaction.execute(sa.select(each))
        ]
    assert len(rows) > 10
    return "\n".join(rows)


def decoded(root: Path) -> list[object]:
    """Every cell of every Arrow file, as Python reads it."""
    cells = []
    for path in root.rglob("*.arrow"):
        with pa.memory_map(str(path)) as source:
            for column in pa.ipc.open_file(source).read_all().columns:
                cells += column.to_pylist()
    return cells


def windows(payload: bytes) -> list[bytes]:
    """Pieces of 64 bytes of a checkpoint's numbers: its head is text that others have too."""
    start = 8 + int.from_bytes(payload[:8], "little")
    pieces = [payload[at : at + 64] for at in range(start, len(payload) - 63, 64)]
    return [piece for piece in pieces if len(set(piece)) > 16]


def payloads(model) -> dict[str, bytes]:
    found = {}
    for path in sorted(model._row.folder.glob("*.pack")):
        with packs.reading(path) as pack:
            found |= {f"{path.name} {f.name.hex()}": pack.read(f) for f in pack.frames()}
    return found


def planned(home, model) -> set[str]:
    with home.site.database.reading() as transaction:
        ground = home.site.ground(transaction, 1)
    shards = versions.all_shards(model._row)
    made = [plans.make(model._row.recipe, ground, shard) for shard in shards]
    return {name.hex() for plan in made for name in plan.names}


def prepare(home):
    home.ingest(
        "people",
        table(),
        id="id",
        subject=["who", "friend"],
        text=["note"],
        nullable=["friend"],
    )
    people = home.dataset("people")
    model = home.train("m", people.view("y"), Sharded(Tiny(), shards=2, slices=3))
    home.train("plain", people.view("double"), Tiny())
    return model


def test_the_markers_are_there_before(home):
    prepare(home)
    held = b"".join(contents(home.site.root).values())
    there = {name for name, marker in MARKERS.items() if marker in held}
    assert there == MARKERS.keys() - {"rare category"}  # ingest hides those
    assert {ID, SUBJECT, NOTE, DOUBLE, WHOLE} <= {
        cell for cell in decoded(home.site.root) if not isinstance(cell, list)
    }


@pytest.mark.parametrize("by", ["id", "subject", "further subject"])
def test_no_marker_is_there_after(by, place, opened):
    home = opened(**place)
    prepare(home)
    named = {"id": {"samples": [ID]}, "subject": {"subjects": [SUBJECT]}}
    home.forget(**named.get(by, {"subjects": [FRIEND]})).wait()
    check_gone(home)
    home.close()
    check_gone(opened(**place))


def check_gone(home):
    root = home.site.root
    for name, held in contents(root).items():
        assert [what for what, marker in MARKERS.items() if marker in held] == [], name
    assert not {ID, SUBJECT, FRIEND, NOTE, DOUBLE, SINGLE, WHOLE} & {
        cell for cell in decoded(root) if not isinstance(cell, list)
    }
    assert TENSOR.tolist() not in [cell for cell in decoded(root) if isinstance(cell, list)]
    text = database_text(home)
    assert not [marker for marker in (ID, SUBJECT, FRIEND, NOTE, "PANGOLIN") if marker in text]


def test_no_destroyed_frame_is_there_after(place, opened):
    home = opened(**place)
    models = [prepare(home), home.model("plain")]
    before = [payloads(model) for model in models]
    home.forget([ID]).wait()

    destroyed = [
        payload
        for model, each in zip(models, before, strict=True)
        for name, payload in each.items()
        if name.split()[1] not in planned(home, model)
    ]
    assert len(destroyed) >= 2
    pieces = [piece for payload in destroyed for piece in windows(payload)]
    assert len(pieces) >= 2
    held = contents(home.site.root)
    assert [name for name, stored in held.items() if any(p in stored for p in pieces)] == []
    assert sum(map(len, before)) > len(destroyed), "something was kept"


def test_the_write_ahead_log_is_empty_after(home):
    prepare(home)
    home.forget([ID]).wait()
    assert (home.site.root / "expunge.sqlite-wal").stat().st_size == 0


def test_what_an_ingest_left_behind_is_destroyed_too(home):
    """Rows that came again, in an append that was killed, are no row of the database."""
    prepare(home)
    (folder,) = [path for path in (home.site.root / "data").iterdir() if path.is_dir()]
    for name in ("staging-1", "000-000001"):
        (folder / name).mkdir()
        (folder / name / "run").write_bytes(MARKERS["text"])
    (folder / "000-000001" / "pending").touch()
    (home.site.root / "data" / "abandoned" / "staging-0").mkdir(parents=True)
    (home.site.root / "data" / "abandoned" / "staging-0" / "run").write_bytes(MARKERS["id"])
    home.forget([ID]).wait()
    check_gone(home)


def test_an_append_that_goes_on_is_left_alone(home):
    prepare(home)
    (folder,) = [path for path in (home.site.root / "data").iterdir() if path.is_dir()]
    from expunge.storage.locks import alone

    with alone(home.site.root / "data" / "append.lock"):
        (folder / "staging-1").mkdir()
        home.forget([ID]).wait()
        assert (folder / "staging-1").exists()


def test_rows_are_held_until_the_models_are_whole(home):
    prepare(home)
    receipt = home.forget([ID])
    assert receipt.state == "forgotten"
    assert MARKERS["text"] in b"".join(contents(home.site.root).values())
    assert receipt.wait().state == "done"


def test_a_held_row_is_there_until_its_release_and_gone_after(place, opened):
    home = opened(**place)
    models = [prepare(home), home.model("plain")]
    before = [payloads(model) for model in models]
    home.hold("case-17", subjects=[FRIEND])
    receipt = home.forget([ID]).wait()
    assert receipt.state == "held"
    assert MARKERS["text"] in b"".join(contents(home.site.root).values())
    # No model has it: what learnt from the row is gone already.
    for model, each in zip(models, before, strict=True):
        left = {name.split()[1] for name in payloads(model)}
        assert left == planned_of(home, model)
        assert left != {name.split()[1] for name in each}
    assert home.verify(models[0].name).exact

    home.release("case-17")
    assert receipt.wait().state == "done"
    check_gone(home)


def planned_of(home, model):
    with home.site.database.reading() as transaction:
        ground = home.site.ground_of(transaction, model._row)
    shards = versions.all_shards(model._row)
    made = [plans.make(model._row.recipe, ground, shard) for shard in shards]
    return {name.hex() for plan in made for name in plan.names}


def test_an_undo_window_keeps_rows_and_after_it_they_are_gone(home):
    prepare(home)
    receipt = home.forget([ID], undo_s=3600.0).wait()
    assert receipt.state == "held"
    life.tend(home.site, lambda transaction: shared_clock(transaction) + 3600.0)
    assert receipt.state == "done"
    check_gone(home)
