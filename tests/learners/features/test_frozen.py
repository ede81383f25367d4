"""A frozen function sees one row at a time."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role
from expunge.learners.features.frozen import Frozen

X = Column("x", Role.FEATURE, Kind.TENSOR, "float32", shape=(3,))
Y = Column("y", Role.FEATURE, Kind.TEXT, "str")
SEEN = []


@pytest.fixture
def network(monkeypatch):
    module = types.ModuleType("a_frozen_network")
    module.embed = embed
    module.weights = 3
    monkeypatch.setitem(sys.modules, "a_frozen_network", module)
    SEEN.clear()
    return "a_frozen_network:embed"


def embed(cells):
    SEEN.append({name: values.shape for name, values in cells.items()})
    assert cells["x"].ctypes.data % 64 == 0
    return cells["x"] * 2


def test_known_answer(network):
    cells = {
        "x": np.array([[-9, 0, 9], [0.5, np.nan, -0.5]], np.float32),
        "y": np.array(["a", "b"], object),
        "z": np.zeros(2),
    }
    frozen = Frozen(network, features=3, low=-1, high=1)
    # -9 · 2 is clipped to -1, which is 0; 0 is 127.5, rounded to even.
    assert frozen.integers((X, Y), cells).tolist() == [[0, 128, 255], [255, 0, 0]]
    assert SEEN == [{"x": (1, 3), "y": (1,)}] * 2
    assert frozen.scale((X,)) == pytest.approx(2 / 255)


def test_no_row_is_no_call(network):
    frozen = Frozen(network, features=3, low=-1, high=1)
    assert frozen.integers((X,), {"x": np.empty((0, 3))}).shape == (0, 3)
    assert not SEEN


def test_a_network_of_pytorch_says_the_same_in_every_batch(monkeypatch):
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        layer = torch.nn.Linear(64, 7).eval()

    def of_layer(cells):
        with torch.no_grad():
            return layer(torch.from_numpy(cells["x"])).numpy()

    module = types.ModuleType("a_torch_network")
    module.embed = of_layer
    monkeypatch.setitem(sys.modules, "a_torch_network", module)
    rows = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    frozen = Frozen("a_torch_network:embed", features=7, low=-2, high=2, bits=15)
    together = frozen.integers((X,), {"x": rows})
    for begin in range(50):
        alone = frozen.integers((X,), {"x": rows[begin:][:1]})
        np.testing.assert_array_equal(alone[0], together[begin])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("no_such_module:embed", "cannot be imported"),
        ("a_frozen_network:nothing", "cannot be imported"),
        ("a_frozen_network:weights", "no function"),
    ],
)
def test_what_cannot_be_called_is_refused(network, function, words):
    with pytest.raises(RecipeInvalid, match=words):
        Frozen(function, features=3, low=-1, high=1).integers((X,), {"x": np.ones((1, 3))})


def test_an_answer_in_another_width_is_refused(network):
    with pytest.raises(RecipeInvalid, match="`features` says 4"):
        Frozen(network, features=4, low=-1, high=1).integers((X,), {"x": np.ones((1, 3))})


@pytest.mark.parametrize(
    "fields",
    [{"features": 0}, {"bits": 0}, {"low": 1}, {"low": float("nan")}, {"function": "no_colon"}],
)
def test_fields_that_make_no_sense_are_refused(fields):
    with pytest.raises(RecipeInvalid, match=next(iter(fields))):
        Frozen(**{"function": "a:b", "features": 3, "low": -1, "high": 1, **fields})


def test_no_columns_are_refused():
    with pytest.raises(RecipeInvalid, match="no feature columns"):
        Frozen("a:b", features=3, low=-1, high=1).width(())
