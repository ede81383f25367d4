"""What every feature map promises: one row, one answer, whatever stands beside it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
import types
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.digest import canonical_json
from expunge.core.errors import FormatUnsupported, RecipeInvalid, UnknownName
from expunge.core.types import Column, Kind, Role
from expunge.learners.features import FEATURES, columns, convolutions, fourier, of, to_json
from expunge.learners.features.columns import Columns
from expunge.learners.features.convolutions import Convolutions
from expunge.learners.features.fourier import Fourier
from expunge.learners.features.frozen import Frozen
from expunge.learners.features.ngrams import NGrams

AGE = Column("age", Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=100, nullable=True)
TIME = Column("time", Role.FEATURE, Kind.NUMERIC, "int64", low=1_700_000_000, high=1_700_000_100)
PET = Column("pet", Role.FEATURE, Kind.CATEGORICAL, "int32", categories=("cat", "dog", "fish"))
IMAGE = Column("image", Role.FEATURE, Kind.TENSOR, "uint8", shape=(13, 11))
COLOUR = Column("colour", Role.FEATURE, Kind.TENSOR, "uint8", shape=(9, 9, 3))
SIGNAL = Column("signal", Role.FEATURE, Kind.TENSOR, "float32", (12,), low=-1, high=1)
TEXT = Column("text", Role.FEATURE, Kind.TEXT, "str")
TITLE = Column("title", Role.FEATURE, Kind.TEXT, "str")
TABLE = (AGE, TIME, PET, SIGNAL)

CASES = {
    "columns": (Columns(), TABLE),
    "columns, few bits": (Columns(bits=3), (*TABLE, IMAGE)),
    "fourier": (Fourier(features=37), TABLE),
    "fourier, pixels": (Fourier(features=64, bits=12, seed=1), (IMAGE,)),
    "convolutions": (Convolutions(filters=10, size=6, pool=3), (IMAGE,)),
    "convolutions, colour": (Convolutions(filters=6, size=3, pool=2, stride=2), (COLOUR,)),
    "convolutions, flat": (Convolutions(filters=4, size=2, pool=1, shape=(3, 4)), (SIGNAL,)),
    "ngrams": (NGrams(features=97, words=(1, 2)), (TEXT, TITLE)),
    "ngrams, pieces": (NGrams(features=64, words=None, characters=(2, 4), bits=2), (TEXT,)),
    "frozen": (Frozen("math_of_one_row:embed", features=5, low=-3, high=3), (SIGNAL, AGE)),
}
GOLDEN = {
    "columns": (1, "61ac6bfd505acef4"),
    "columns, few bits": (1, "9f1022e478176675"),
    "fourier": (1, "77195a212bce1dad"),
    "fourier, pixels": (1, "2a37232a7dd8390d"),
    "convolutions": (1, "4e2b8ec95691a1bb"),
    "convolutions, colour": (1, "660712dae3a001ba"),
    "convolutions, flat": (1, "45dcb12cf990d8da"),
    "ngrams": (1, "7cdc1106e8e10347"),
    "ngrams, pieces": (1, "39cb7579c7181e63"),
    "frozen": (1, "917eafbcbbbbd34d"),
}


def embed(cells):
    signal = cells["signal"].astype(np.float64)
    assert signal.shape == (1, 12)
    return signal[:, :5] * 2 + cells["age"][:, None] / 100


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    module = types.ModuleType("math_of_one_row")
    module.embed = embed
    monkeypatch.setitem(sys.modules, "math_of_one_row", module)


def table(rows, seed):
    rng = np.random.default_rng(seed)
    age = rng.uniform(-5, 105, rows)
    age[rng.random(rows) < 0.3] = np.nan
    words = np.array(["a", "good", "Film", "not", "so", "Größe", "x1"], object)
    texts = [" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(2 * rows)]
    return {
        "age": age,
        "time": rng.integers(1_700_000_000, 1_700_000_101, rows),
        "pet": rng.integers(-1, 3, rows).astype(np.int32),
        "image": rng.integers(0, 256, (rows, 13, 11)).astype(np.uint8),
        "colour": rng.integers(0, 256, (rows, 9, 9, 3)).astype(np.uint8),
        "signal": rng.uniform(-1.1, 1.1, (rows, 12)).astype(np.float32),
        "text": np.array(texts[:rows], object),
        "title": np.array(texts[rows:], object),
    }


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=15)
@given(
    rows=st.integers(0, 40),
    seed=st.integers(0, 99),
    block=st.sampled_from([1, 900, 1 << 20]),
)
def test_every_row_is_mapped_by_itself_to_the_bit(name, rows, seed, block):
    features, declared = CASES[name]
    cells = table(rows, seed)
    with pytest.MonkeyPatch.context() as patch:
        for module in (columns, convolutions, fourier):
            patch.setattr(module, "_BLOCK_CELLS", block)
        together = features.integers(declared, cells)
    assert together.shape == (rows, features.width(declared))
    assert together.dtype == np.int16
    assert np.abs(together.astype(int)).max(initial=0) <= features.top(declared) <= 32767
    assert features.scale(declared) > 0
    order = np.random.default_rng(seed).permutation(rows)
    for index in (order, slice(0, rows, 3), slice(rows, None, -1), *([row] for row in order[:5])):
        some = {column: values[index] for column, values in cells.items()}
        np.testing.assert_array_equal(features.integers(declared, some), together[index])


@pytest.mark.parametrize("name", CASES)
def test_read_only_and_fortran_ordered_cells_are_the_same_cells(name):
    features, declared = CASES[name]
    cells = table(7, seed=1)
    other = {column: np.asfortranarray(values) for column, values in cells.items()}
    for values in other.values():
        values.flags.writeable = False
    np.testing.assert_array_equal(
        features.integers(declared, other), features.integers(declared, cells)
    )


@pytest.mark.parametrize("name", CASES)
def test_recipes_name_what_is_computed_and_bring_it_back(name):
    features, _ = CASES[name]
    value = json.loads(canonical_json(to_json(features)))
    assert value["map"] == name.split(",")[0]
    assert of(value) == of(features) == features
    assert hash(of(value)) == hash(features)
    with pytest.raises(FormatUnsupported):
        of({**value, "revision": 99})
    with pytest.raises(RecipeInvalid, match="do not fit"):
        of({**value, "colour": "red"})


@pytest.mark.parametrize("name", FEATURES)
def test_feature_map_is_frozen_and_numbered(name):
    kind = FEATURES[name]
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.revision >= 1
    assert "numpy" in kind.libraries
    assert any(to_json(case)["map"] == name for case, _ in CASES.values())
    if name in {"convolutions", "fourier", "ngrams"}:
        assert "References:" in (inspect.getmodule(kind).__doc__ or "")


@pytest.mark.parametrize("name", CASES)
def test_revision_is_raised_with_what_is_computed(name):
    """Whoever changes these bytes raises the map's ``revision``, and pins the new ones here."""
    features, declared = CASES[name]
    rows = np.arange(6)
    pixels = (rows[:, None] * 37 + np.arange(13 * 11 * 3) * 91) % 256
    ages = np.where(rows % 3 == 2, np.nan, rows * 21.0)
    texts = ["Not so good.", "", "good good GOOD film", "so", "a film, not a film", "Größe 3"]
    cells = {
        "age": ages,
        "time": 1_700_000_000 + rows * 17,
        "pet": (rows % 4 - 1).astype(np.int32),
        "image": pixels[:, : 13 * 11].reshape(6, 13, 11).astype(np.uint8),
        "colour": pixels[:, : 9 * 9 * 3].reshape(6, 9, 9, 3).astype(np.uint8),
        "signal": (pixels[:, :12] / 128 - 1).astype(np.float32),
        "text": np.array(texts, object),
        "title": np.array(texts[::-1], object),
    }
    integers = features.integers(declared, cells).astype("<i2")
    assert (features.revision, sha256(integers.tobytes()).hexdigest()[:16]) == GOLDEN[name]


ELSEWHERE = """
import numpy as np
from hashlib import sha256
from expunge.core.types import Column, Kind, Role
from expunge.learners.features.convolutions import Convolutions
from expunge.learners.features.fourier import Fourier
image = (Column("image", Role.FEATURE, Kind.TENSOR, "uint8", shape=(28, 28)),)
cells = {"image": (np.arange(30 * 784) ** 2 % 251).astype(np.uint8).reshape(30, 28, 28)}
for features in (Convolutions(filters=32), Fourier(features=300)):
    print(sha256(features.integers(image, cells).tobytes()).hexdigest())
"""


def test_other_processors_and_thread_counts_compute_the_same():
    """OpenBLAS takes the code of the processor that it is told: without and with fused sums."""
    said = {
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            env={**os.environ, "OPENBLAS_CORETYPE": core, "OMP_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for core, threads in (("Prescott", "1"), ("Haswell", "1"), ("Haswell", "2"))
    }
    assert len(said) == 1


def test_a_map_of_ones_own_is_named_by_import_path():
    name = to_json(Own())["map"]
    assert name.endswith("test_contract:Own")
    assert of(name) == Own()


def test_what_workers_cannot_import_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Local(Columns):
        pass

    with pytest.raises(RecipeInvalid, match="top level"):
        to_json(Local())
    for name in ("no.such:Map", "polynomial"):
        with pytest.raises(UnknownName, match="feature map"):
            of(name)


@dataclasses.dataclass(frozen=True)
class Own(Columns):
    pass
