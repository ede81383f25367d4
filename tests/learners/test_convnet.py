"""The small convolutional network among our own: what it is, learns, and predicts in step."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role, Task
from expunge.learners import from_json, state, to_json, torch_gradients
from expunge.learners.protocol import Samples, Step
from expunge.learners.seeding import one_thread
from expunge.learners.torch import Torch
from expunge.learners.torch_modules import convnet

LABEL = Column("y", Role.VALUE, Kind.CATEGORICAL, "int32", categories=(0, 1, 2))
VALUE = Column("y", Role.VALUE, Kind.NUMERIC, "float64")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


def task(shape, classes=True):
    image = Column("image", Role.FEATURE, Kind.TENSOR, "float32", shape=shape)
    return Task((image,), (LABEL if classes else VALUE,))


def samples(n, shape, classes=True, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, *shape)).astype(np.float32)
    targets = rng.integers(0, 3, n) if classes else rng.normal(size=(n, 1))
    return Samples(np.arange(n, dtype=np.uint64), inputs, targets, None)


def test_its_layers_and_size():
    module = convnet((28, 28), 10)
    kinds = [type(layer).__name__ for layer in module]
    block = ["Conv2d", "ReLU", "MaxPool2d"]
    assert kinds == ["Unflatten", *block, *block, "Flatten", "Linear"]
    # 16·9+16, 32·16·9+32, 10·32·49+10.
    assert sum(p.numel() for p in module.parameters()) == 160 + 4_640 + 15_690
    assert module(torch.zeros(2, 28, 28)).shape == (2, 10)
    assert convnet((3, 9, 6), 4, channels=(5,))(torch.zeros(2, 3, 9, 6)).shape == (2, 4)
    assert not torch_gradients.has_closed_form(module)


@settings(max_examples=25, deadline=None)
@given(
    flat=st.booleans(),
    classes=st.booleans(),
    states=st.integers(1, 3),
    n=st.sampled_from([0, 1, 5, 513]),
    channels=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    batch_norm=st.booleans(),
    kernel=st.sampled_from([1, 3]),
)
def test_all_states_together_predict_what_each_predicts(  # noqa: PLR0913
    flat, classes, states, n, channels, batch_norm, kernel
):
    shape = (4, 5) if flat else (2, 4, 5)
    of = task(shape, classes)
    options = {"channels": channels, "batch_norm": batch_norm, "kernel": kernel, "dropout": 0.2}
    learner = Torch("convnet", options, epochs=1, batch=4)
    trained = [
        learner.learn(of, None, samples(9, shape, classes), Step(s, 1.0)) for s in range(states)
    ]
    inputs = samples(n, shape, classes, seed=1).inputs
    together = learner.predictor(of, trained)(inputs)
    assert together.shape == (states, n, of.outputs)
    for place, one in enumerate(trained):
        module = learner._module(of, *state.parse(one)).eval()
        with torch.no_grad():
            alone = module(torch.from_numpy(inputs)).double()
        alone = alone.softmax(1) if classes else alone
        np.testing.assert_allclose(together[place], alone.numpy(), atol=1e-5)


def test_networks_over_rows_of_many_dimensions_still_predict_in_step():
    # Four dimensions and the row's own are five, as many as convolutions of several networks have.
    of = task((2, 2, 1, 3))
    learner = Torch("mlp", {"hidden": [4]}, epochs=1, batch=4)
    whole = samples(6, (2, 2, 1, 3))
    trained = [learner.learn(of, None, whole, Step(s, 1.0)) for s in range(2)]
    assert learner.predictor(of, trained)(whole.inputs).shape == (2, 6, 3)


def test_it_goes_on_from_its_bytes_and_says_what_it_is():
    learner = Torch(
        "convnet", {"channels": [3], "batch_norm": True, "dropout": 0.3}, epochs=2, batch=4
    )
    of, whole = task((1, 4, 4)), samples(11, (1, 4, 4))
    first = learner.learn(of, None, whole.first(6), Step(1, 1.0))
    torch.rand(3)
    second = learner.learn(of, bytes(bytearray(first)), whole, Step(2, 1.0))
    assert second == learner.learn(of, first, whole, Step(2, 1.0)) != first
    assert from_json(json.loads(json.dumps(to_json(learner)))) == learner
    # A blank network draws nothing, and has all its weights loaded.
    chance = torch.get_rng_state()
    learner.predictor(of, [second])
    assert torch.equal(torch.get_rng_state(), chance)


def test_it_learns():
    shape = (1, 6, 6)
    whole = samples(300, shape)
    inputs = whole.inputs.copy()
    inputs[np.arange(300), 0, whole.targets] += 2  # a bright line
    whole = dataclasses.replace(whole, inputs=inputs)
    learner = Torch("convnet", {"channels": [8]}, epochs=15, batch=32)
    predict = learner.predictor(
        task(shape), [learner.learn(task(shape), None, whole, Step(1, 1.0))]
    )
    assert (predict(inputs)[0].argmax(1) == whole.targets).mean() > 0.95


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((7,), {}, "expected images"),
        ((2, 2), {}, "too small for 2 halvings"),
        ((8, 8), {"channels": []}, "at least one convolution"),
        ((8, 8), {"kernel": 2}, "odd and positive"),
        ((8, 8), {"activation": "Softplus"}, "'GELU', 'ReLU'"),
        ((8, 8), {"hidden": [3]}, "hidden"),
    ],
)
def test_what_is_no_convnet_is_refused(shape, options, words):
    learner = Torch("convnet", options)
    with pytest.raises(RecipeInvalid, match=words):
        learner.learn(task(shape), None, samples(5, shape), Step(1, 1.0))


def test_blank_layers_keep_what_the_allocator_gave():
    chance = torch.get_rng_state()
    module = convnet((8, 8), 3, blank=True)
    assert torch.equal(torch.get_rng_state(), chance)
    assert isinstance(module[1], nn.Conv2d)
