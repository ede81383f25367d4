"""The torch learner is a canonical function of its ordered samples."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from expunge.core.errors import FormatUnsupported, RecipeInvalid, StateNotCanonical
from expunge.core.types import Column, Kind, Role, Task
from expunge.learners import from_json, state, to_json, torch_gradients
from expunge.learners.protocol import Samples, Step
from expunge.learners.seeding import one_thread, seeded
from expunge.learners.torch import Torch
from expunge.learners.torch_loop import Batches, bounds, orders
from expunge.learners.torch_modules import mlp
from expunge.learners.torch_steps import FusedSGD

FEATURES = tuple(Column(f"x{i}", Role.FEATURE, Kind.NUMERIC, "float32") for i in range(3))
LABEL = Column("y", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("no", "yes"))
VALUES = tuple(Column(f"y{i}", Role.VALUE, Kind.NUMERIC, "float64") for i in range(2))
CLASSES = Task(FEATURES, (LABEL,))
REGRESSION = Task(FEATURES, VALUES)
IMAGES = Task(
    (Column("image", Role.FEATURE, Kind.TENSOR, "uint8", shape=(1, 4, 4)),),
    (dataclasses.replace(LABEL, categories=(0, 1, 2)),),
)

LEARNERS = {
    "plain": Torch("mlp", {"hidden": [4]}, epochs=3, batch=4),
    "linear": Torch("linear", optimiser_options={"lr": 0.1}, epochs=3, batch=4),
    "adam": Torch("mlp", {"hidden": [4]}, "Adam", {"lr": 0.01}, epochs=3, batch=4),
    "all": Torch(
        "mlp", {"hidden": [4, 3], "dropout": 0.5, "batch_norm": True}, "AdamW", epochs=3, batch=4
    ),
    "dropout": Torch("mlp", {"hidden": [8], "dropout": 0.3}, epochs=2.5, batch=3),
}

NETWORKS = '''
import random
import numpy as np
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs[0], outputs)
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.rand(outputs), requires_grad=False)

    def forward(self, x):
        return self.layer(x) + self.frozen


class Branches(nn.Module):
    """Control flow on data; some parameters get their first gradient late."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.one, self.two = nn.Linear(inputs[0], outputs), nn.Linear(inputs[0], outputs)

    def forward(self, x):
        return self.one(x) if x.sum() > 0 else self.two(x)


class Scalar(nn.Module):
    """Gradients that are expanded, and parameters that are not row by row."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1000, outputs).t())
        self.layer = nn.Linear(inputs[0], outputs)

    def forward(self, x):
        return self.layer(x) * 0 + self.shift.sum()


class Draws(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs[0], outputs)
        self.fixed = torch.rand(1) + random.random() + np.random.rand()

    def forward(self, x):
        noise = random.random() * np.random.rand() if self.training else 1.0
        return self.layer(x) * noise + self.fixed


class Tied(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.one = nn.Linear(inputs[0], outputs)
        self.two = nn.Linear(inputs[0], outputs, bias=False)
        self.two.weight = self.one.weight
        self.register_buffer("middle", torch.tensor(0.5, dtype=torch.bfloat16))

    def forward(self, x):
        return self.one(x) + self.two(x)


class Hidden(nn.Module):
    def __init__(self, inputs, outputs, kept):
        super().__init__()
        self.layer = nn.Linear(inputs[0], outputs)
        self.register_buffer("count", torch.zeros(1), persistent=False)
        self.kept = kept

    def forward(self, x):
        if self.training and not self.kept:
            self.count += 1
        return self.layer(x)


class Extra(nn.Linear):
    def get_extra_state(self):
        return {1, 2}

    def set_extra_state(self, state):
        pass


class Half(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs[0], outputs, dtype=torch.bfloat16)

    def forward(self, x):
        return self.layer(x.bfloat16()).float()


def convolution(inputs, outputs, channels):
    return nn.Sequential(
        nn.Conv2d(inputs[0], channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Flatten(), nn.Linear(channels * inputs[1] * inputs[2], outputs),
    )


def extra(inputs, outputs):
    return Extra(inputs[0], outputs)


def lazy(inputs, outputs):
    return nn.LazyLinear(outputs)


def flat(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs[0], 1), nn.Flatten(0))


def nothing(inputs, outputs):
    return None


def odd(inputs, outputs):
    module = nn.Linear(inputs[0], outputs)
    module.register_buffer("odd", torch.zeros(1, dtype=torch.complex64))
    return module


class Sign(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    entry = self.state[p]
                    entry["count"] = entry.get("count", 0) + 1
                    entry["best"] = [float("inf"), None, (1, True)]
                    p -= group["lr"] / entry["count"] * p.grad.sign()


class Opaque(Sign):
    def step(self, closure=None):
        super().step(closure)
        self.state[self.param_groups[0]["params"][0]]["secret"] = object()
'''


@pytest.fixture(scope="module", autouse=True)
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    (folder / "expunge_test_networks.py").write_text(NETWORKS)
    sys.path.insert(0, str(folder))
    with one_thread():
        yield folder
    sys.path.remove(str(folder))


def network(name, options=None, **others):
    return Torch(
        f"expunge_test_networks:{name}", options or {}, **{"epochs": 2, "batch": 4, **others}
    )


def samples(n, task=CLASSES, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 3)).astype(np.float32)
    targets = rng.integers(0, 2, n) if task.classes else rng.normal(size=(n, 2))
    tokens = rng.permutation(10 * n)[:n].astype(np.uint64)
    return Samples(tokens, inputs, targets, rng.uniform(0, 2, n) if weighted else None)


def chain(learner, task, whole, steps, parent=None):
    """States after each of the slices, given as where they end and their step."""
    states = []
    for end, step in steps:
        parent = bytes(bytearray(parent)) if parent else None  # in other memory
        parent = learner.learn(task, parent, whole.first(end), step)
        states.append(parent)
    return states


# Canonical ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
@settings(max_examples=15, deadline=None)
@given(
    ends=st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True).map(sorted),
    seed=st.integers(0, 2**63),
    weighted=st.booleans(),
    classes=st.booleans(),
)
def test_same_bytes_whatever_went_on_in_the_process(name, ends, seed, weighted, classes):
    learner, task = LEARNERS[name], CLASSES if classes else REGRESSION
    whole = samples(ends[-1], task, seed % 97, weighted)
    steps = [(end, Step(seed + end, 2 / (len(ends) + 1))) for end in ends]
    once = chain(learner, task, whole, steps)
    torch.rand(7)
    for stop in range(1, len(ends)):
        with torch.no_grad():
            again = chain(learner, task, whole, steps[stop:], once[stop - 1])
        assert again == once[stop:]
    assert chain(learner, task, whole.first(ends[-1]), steps) == once
    assert from_json(json.loads(json.dumps(to_json(learner)))) == learner


SCRIPT = """
import sys, json
from hashlib import sha256
import numpy as np
sys.path.insert(0, sys.argv[1])
from expunge.core.types import *
from expunge.learners import from_json
from expunge.learners.protocol import Samples, Step
from expunge.learners.seeding import one_thread, seeded
rng = np.random.default_rng(5)
x = rng.normal(size=(19, 3)).astype(np.float32)
y = rng.integers(0, 2, 19)
whole = Samples(np.arange(19, dtype=np.uint64), x, y, None)
task = Task(
    tuple(Column(f"x{i}", Role.FEATURE, Kind.NUMERIC, "float32") for i in range(3)),
    (Column("y", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("no", "yes")),),
)
out = []
with one_thread():
    for spec in json.loads(sys.argv[2]):
        learner, parent = from_json(spec), None
        for end in (9, 10, 19):
            parent = learner.learn(task, parent, whole.first(end), Step(end, 0.5))
            out.append(sha256(parent).hexdigest())
print(json.dumps(out))
"""


def test_another_process_with_another_hash_seed_gives_the_same_bytes(networks):
    learners = [
        *LEARNERS.values(),
        network("Draws"),
        network("Tied", optimiser="LBFGS", optimiser_options={"lr": 0.1, "max_iter": 3}),
    ]
    specs = json.dumps([to_json(learner) for learner in learners])
    outputs = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(networks), specs],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(json.loads(done.stdout))
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0])) == 3 * len(learners)


@given(n=st.integers(1, 30), epochs=st.floats(0, 4), seed=st.integers(0, 99), gone=st.integers(0))
def test_taking_a_sample_out_moves_no_other(n, epochs, seed, gone):
    tokens = np.random.default_rng(seed).permutation(1000)[:n].astype(np.uint64)
    left = np.delete(np.arange(n), gone % n)
    for before, after in zip(orders(tokens, seed, 2), orders(tokens[left], seed, 2), strict=True):
        assert [i for i in before if i != gone % n] == left[after].tolist()
    visits = sum(len(order) for order in orders(tokens, seed, epochs))
    assert abs(visits - epochs * n) <= 0.5


@given(n=st.integers(1, 30), part=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_a_part_of_an_epoch_is_the_leading_part_of_its_order(n, part, seed):
    tokens = np.random.default_rng(seed).permutation(1000)[:n].astype(np.uint64)
    whole = [order.tolist() for order in orders(tokens, seed, 2)]
    first, *second = [order.tolist() for order in orders(tokens, seed, 1 + part)]
    count = math.floor(part * n + 0.5)
    assert first == whole[0]
    assert second == ([whole[1][:count]] if count else [])


@given(count=st.integers(0, 300), batch=st.integers(1, 20))
def test_batches_cover_everything_and_only_a_lone_sample_is_alone(count, batch):
    cut = bounds(count, batch)
    assert [i for begin, end in cut for i in range(begin, end)] == list(range(count))
    assert all(end - begin <= batch + 1 for begin, end in cut)
    if batch > 1 and count > 1:
        assert all(end - begin > 1 for begin, end in cut)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_part_of_the_recipe_and_the_step_changes_the_bytes(name):
    learner, whole = LEARNERS[name], samples(9)
    first = learner.learn(CLASSES, None, whole, Step(1, 1.0))
    others = [
        learner.learn(CLASSES, None, whole, Step(2, 1.0)),
        learner.learn(CLASSES, None, whole, Step(1, 0.5)),
        learner.learn(CLASSES, first, whole, Step(1, 1.0)),
        learner.learn(CLASSES, None, whole.first(8), Step(1, 1.0)),
        dataclasses.replace(learner, batch=9).learn(CLASSES, None, whole, Step(1, 1.0)),
    ]
    assert len({first, *others}) == 6


@pytest.mark.parametrize("name", ["plain", "adam", "all"])
def test_generators_and_modes_of_the_process_are_left_alone(name):
    before, legacy = torch.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002
    parent = LEARNERS[name].learn(CLASSES, None, samples(9), Step(1, 1.0))
    LEARNERS[name].predictor(CLASSES, [parent])(samples(9).inputs)
    assert torch.equal(torch.get_rng_state(), before)
    assert str(np.random.get_state(legacy=False)) == str(legacy)  # noqa: NPY002
    assert torch.is_grad_enabled()


# The state ---------------------------------------------------------------------------------


def test_the_state_holds_parameters_buffers_and_the_optimiser():
    learner, whole = LEARNERS["all"], samples(9)
    meta, arrays = state.parse(learner.learn(CLASSES, None, whole, Step(7, 1.0)))
    assert (meta["format"], meta["seed"]) == (1, 7)
    assert {"module.2.running_mean", "module.2.num_batches_tracked", "module.1.weight"} <= set(
        arrays
    )
    assert {"optimiser.state.0.step", "optimiser.state.0.exp_avg_sq"} <= set(arrays)
    assert arrays["module.2.num_batches_tracked"] == 3 * 2
    assert arrays["optimiser.state.0.step"] == 3 * 2
    assert arrays["optimiser.state.0.step"].shape == ()
    assert meta["optimiser"]["param_groups"][0]["betas"] == [0.9, 0.999]


def test_a_checkpoint_of_a_later_format_is_refused():
    meta, arrays = state.parse(LEARNERS["linear"].learn(CLASSES, None, samples(3), Step(1, 1.0)))
    with pytest.raises(FormatUnsupported):
        LEARNERS["linear"].predictor(CLASSES, [state.dump({**meta, "format": 2}, arrays)])


def test_a_checkpoint_of_another_network_is_refused():
    parent = LEARNERS["linear"].learn(CLASSES, None, samples(3), Step(1, 1.0))
    with pytest.raises(RecipeInvalid, match="factory changed"):
        LEARNERS["plain"].predictor(CLASSES, [parent])


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"lr": 0.1, "momentum": 0.5, "dampening": 0.3, "maximize": True},
    ],
)
def test_our_sgd_has_the_bits_of_pytorch(options):
    layers = [nn.Linear(5, 4), nn.Linear(5, 4)]
    layers[1].load_state_dict(layers[0].state_dict())
    ours = FusedSGD(list(layers[0].parameters()), options)
    theirs = torch.optim.SGD(layers[1].parameters(), fused=True, **options)
    for step in range(4):
        if step == 2:  # and across a state that was saved
            saved = ours.state()
            ours = FusedSGD(list(layers[0].parameters()), options)
            ours.load(saved)
        gradients = [torch.randn_like(p) for p in layers[0].parameters()]
        for parameter, gradient in zip(layers[1].parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        ours.step(lambda gradients=gradients: (torch.zeros(()), gradients))
        theirs.step()
    for one, other in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        assert torch.equal(one, other)
    mine, reference = ours.state(), theirs.state_dict()
    assert mine["param_groups"][0].keys() == reference["param_groups"][0].keys()
    assert mine["state"].keys() == {str(place) for place in reference["state"]}


@pytest.mark.parametrize(
    "optimiser",
    ["SGD", "Adam", "Adagrad", "RMSprop", "NAdam", "Rprop", "LBFGS", "expunge_test_networks:Sign"],
)
def test_any_optimiser_goes_on_from_its_state(optimiser):
    options = {"lr": 0.05, **({"foreach": False} if optimiser == "SGD" else {})}
    learner = Torch("mlp", {"hidden": [3]}, optimiser, options, epochs=2, batch=4)
    whole = samples(11)
    first = learner.learn(CLASSES, None, whole, Step(1, 1.0))
    second = learner.learn(CLASSES, first, whole, Step(2, 1.0))
    assert second == learner.learn(CLASSES, bytes(bytearray(first)), whole, Step(2, 1.0))
    _, before = state.parse(first)
    _, after = state.parse(second)
    if "optimiser.state.0.step" in before:
        assert after["optimiser.state.0.step"] == 2 * before["optimiser.state.0.step"]


@given(
    hidden=st.lists(st.integers(1, 5), max_size=3),
    rows=st.integers(1, 6),
    classes=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_closed_form_gradients_are_those_of_autograd(hidden, rows, classes, weighted, seed):
    task = CLASSES if classes else REGRESSION
    with seeded(seed):
        module = mlp((3,), 2, hidden=hidden)
    assert torch_gradients.has_closed_form(module)
    batches = Batches(samples(rows, task, seed, weighted), rows)
    batches.fill(torch.arange(rows))
    found, known = (
        way(module, batches, task)()
        for way in (torch_gradients.in_closed_form, torch_gradients.by_autograd)
    )
    torch.testing.assert_close((found[0](), found[1]), (known[0](), list(known[1])))
    assert [g.stride() for g in found[1]] == [p.stride() for p in module.parameters()]


@pytest.mark.parametrize(
    "options", [{"dropout": 0.1}, {"batch_norm": True}, {"activation": "Tanh"}]
)
def test_only_plain_networks_have_a_closed_form(options):
    assert not torch_gradients.has_closed_form(mlp((3,), 2, **options))


# What is learnt ----------------------------------------------------------------------------


def test_one_step_of_a_linear_model_by_hand():
    # Two classes, one row: p = softmax(Wx + b), W ← W − lr · (p − onehot) xᵀ.
    learner = Torch("linear", optimiser_options={"lr": 0.5}, epochs=1, batch=4)
    whole = samples(1)
    before = _layer(learner.learn(CLASSES, None, whole, Step(1, 1e-9)))
    after = _layer(learner.learn(CLASSES, None, whole, Step(1, 1.0)))
    logits = before[0] @ whole.inputs[0] + before[1]
    error = np.exp(logits) / np.exp(logits).sum() - np.eye(2)[whole.targets[0]]
    np.testing.assert_allclose(
        after[0], before[0] - 0.5 * np.outer(error, whole.inputs[0]), atol=1e-6
    )
    np.testing.assert_allclose(after[1], before[1] - 0.5 * error, atol=1e-6)


def test_one_step_of_a_regression_by_hand():
    # Mean over rows and targets: W ← W − lr · 2/(n·t) · Σ (Wx + b − y) xᵀ.
    learner = Torch("linear", optimiser_options={"lr": 0.5}, epochs=1, batch=8)
    whole = samples(5, REGRESSION)
    before = _layer(learner.learn(REGRESSION, None, whole, Step(1, 1e-9)))
    after = _layer(learner.learn(REGRESSION, None, whole, Step(1, 1.0)))
    error = whole.inputs @ before[0].T + before[1] - whole.targets
    np.testing.assert_allclose(
        after[0], before[0] - 0.5 * 2 / 10 * error.T @ whole.inputs, atol=1e-6
    )


def _layer(parent):
    _, arrays = state.parse(parent)
    return arrays["module.1.weight"], arrays["module.1.bias"]


@pytest.mark.parametrize("task", [CLASSES, REGRESSION])
@pytest.mark.parametrize("module", ["linear", "mlp"])
def test_weight_two_is_the_row_twice(task, module):
    learner = Torch(module, optimiser_options={"lr": 0.5}, epochs=1, batch=100)
    whole = samples(6, task)
    weighted = dataclasses.replace(whole, weights=np.array([1, 2, 1, 0, 1, 1.0]))
    rows = [0, 1, 1, 2, 4, 5]
    twice = Samples(np.arange(6, dtype=np.uint64), whole.inputs[rows], whole.targets[rows], None)
    _, one = state.parse(learner.learn(task, None, weighted, Step(1, 1.0)))
    _, other = state.parse(learner.learn(task, None, twice, Step(1, 1.0)))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)


def test_weights_that_are_all_zero_teach_nothing():
    nothing = dataclasses.replace(samples(6), weights=np.zeros(6))
    learner = Torch("linear", optimiser_options={"lr": 0.5})
    learnt, fresh = (learner.learn(CLASSES, None, nothing, Step(1, s)) for s in (1.0, 1e-9))
    assert learnt == fresh


@pytest.mark.parametrize("task", [CLASSES, REGRESSION])
def test_it_learns(task):
    whole = samples(400, task)
    if task.classes:
        targets = (whole.inputs[:, 0] * whole.inputs[:, 1] > 0).astype(np.int64)
    else:
        targets = np.stack([np.abs(whole.inputs[:, 0]), whole.inputs[:, 1]], axis=1).astype(float)
    whole = dataclasses.replace(whole, targets=targets)
    learner = Torch("mlp", {"hidden": [32]}, epochs=40, batch=32)
    predict = learner.predictor(task, [learner.learn(task, None, whole, Step(1, 1.0))])
    out = predict(whole.inputs)[0]
    error = (out.argmax(1) != targets) if task.classes else (out - targets) ** 2
    assert error.mean() < 0.1


def test_a_lone_sample_is_left_out_by_batch_normalisation_alone():
    whole = samples(5)
    for name, learns in [("all", False), ("adam", True)]:
        learner = LEARNERS[name]
        untrained = learner.learn(CLASSES, None, whole.first(1), Step(1, 1e-9))
        assert (learner.learn(CLASSES, None, whole.first(1), Step(1, 1.0)) != untrained) is learns
    # Five samples in batches of four are one batch of five.
    _, arrays = state.parse(LEARNERS["all"].learn(CLASSES, None, whole, Step(1, 1 / 3)))
    assert arrays["module.2.num_batches_tracked"] == 1


def test_memory_maps_are_read_without_warnings_and_not_written():
    whole = samples(9)
    frozen = dataclasses.replace(whole, inputs=whole.inputs.copy())
    frozen.inputs.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = LEARNERS["plain"].learn(CLASSES, None, frozen, Step(1, 1.0))
        LEARNERS["plain"].predictor(CLASSES, [one])(frozen.inputs)
    assert one == LEARNERS["plain"].learn(CLASSES, None, whole, Step(1, 1.0))
    np.testing.assert_array_equal(frozen.inputs, whole.inputs)


# Networks of users -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Small", "Branches", "Tied", "Half", "Draws"])
@pytest.mark.parametrize("optimiser", ["SGD", "Adam"])
def test_imported_networks_learn_and_go_on(name, optimiser):
    learner = network(name, optimiser=optimiser, optimiser_options={"lr": 0.01})
    whole = samples(11)
    first = learner.learn(CLASSES, None, whole.first(6), Step(1, 1.0))
    second = learner.learn(CLASSES, first, whole, Step(2, 1.0))
    assert second == learner.learn(CLASSES, bytes(bytearray(first)), whole, Step(2, 1.0))
    assert second != first
    np.testing.assert_allclose(
        learner.predictor(CLASSES, [first, second])(whole.inputs).sum(axis=2), 1
    )


@pytest.mark.parametrize("optimiser", ["SGD", "Adam"])
def test_gradients_of_any_layout_reach_every_cell(optimiser):
    # The gradient of a sum is one number, expanded: a kernel must not walk past it.
    learner = network("Scalar", optimiser=optimiser, optimiser_options={"lr": 1e-5}, epochs=3)
    whole = dataclasses.replace(samples(4, REGRESSION), targets=np.full((4, 2), 1e6))
    parent = None
    for slice_ in range(2):
        parent = learner.learn(REGRESSION, parent, whole, Step(slice_, 1.0))
    shift = state.parse(parent)[1]["module.shift"]
    assert shift.shape == (2, 1000)
    assert np.unique(shift).size == 1
    assert np.isfinite(shift).all()
    assert shift[0, 0] > 0


def test_frozen_and_unused_parameters_stay():
    first = network("Small").learn(CLASSES, None, samples(9), Step(1, 1e-9))
    last = network("Small").learn(CLASSES, first, samples(9), Step(1, 1.0))
    before, after = state.parse(first)[1], state.parse(last)[1]
    for name in ("module.unused", "module.frozen"):
        np.testing.assert_array_equal(before[name], after[name])
    assert (before["module.layer.weight"] != after["module.layer.weight"]).any()


def test_bfloat16_round_trips_by_bits():
    meta, arrays = state.parse(network("Half").learn(CLASSES, None, samples(9), Step(1, 1.0)))
    assert meta["module"]["layer.weight"] == {"$tensor": "module.layer.weight", "dtype": "bfloat16"}
    assert arrays["module.layer.weight"].dtype == np.int16


def test_images_keep_their_shape():
    learner = network("convolution", {"channels": 2})
    rng = np.random.default_rng(0)
    inputs = learner.encode(IMAGES, {"image": rng.integers(0, 256, (9, 1, 4, 4)).astype(np.uint8)})
    assert inputs.shape == (9, 1, 4, 4)
    whole = Samples(np.arange(9, dtype=np.uint64), inputs, rng.integers(0, 3, 9), None)
    states = [learner.learn(IMAGES, None, whole, Step(seed, 1.0)) for seed in range(2)]
    assert learner.predictor(IMAGES, states)(inputs).shape == (2, 9, 3)
    flat = Torch("linear").learn(IMAGES, None, whole, Step(1, 1.0))
    assert state.parse(flat)[1]["module.1.weight"].shape == (3, 16)


# Prediction --------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    n=st.sampled_from([0, 1, 5, 513]),
    states=st.integers(1, 4),
    classes=st.booleans(),
    batch_norm=st.booleans(),
    hidden=st.lists(st.integers(1, 6), max_size=2),
)
def test_all_states_together_predict_what_each_predicts(n, states, classes, batch_norm, hidden):
    task = CLASSES if classes else REGRESSION
    options = {"hidden": hidden, "batch_norm": batch_norm, "dropout": 0.2, "activation": "GELU"}
    learner = Torch("mlp", options, epochs=1, batch=4)
    whole, inputs = samples(9, task), samples(n, task, seed=1).inputs
    trained = [learner.learn(task, None, whole, Step(seed, 1.0)) for seed in range(states)]
    together = learner.predictor(task, trained)(inputs)
    assert together.shape == (states, n, 2)
    assert together.dtype == np.float64
    for place, one in enumerate(trained):
        module = learner._module(task, *_parsed(one)).eval()
        with torch.no_grad():
            alone = module(torch.from_numpy(inputs)).double()
        alone = alone.softmax(1) if classes else alone
        np.testing.assert_allclose(together[place], alone.numpy(), atol=1e-5)


def _parsed(one):
    return state.parse(one)


def test_prediction_repeats_what_the_factory_drew():
    learner = network("Draws")
    parent = learner.learn(REGRESSION, None, samples(9, REGRESSION), Step(1, 1.0))
    inputs = samples(4).inputs
    one, other = (learner.predictor(REGRESSION, [parent])(inputs) for _ in range(2))
    np.testing.assert_array_equal(one, other)


# Faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"module": "mpl"}, "'linear', 'mlp'|linear, mlp"),
        ({"optimiser": "Adm"}, "Adam"),
        ({"optimiser": "Optimizer"}, "Adam"),
        ({"epochs": 0}, "`epochs` must be positive"),
        ({"epochs": float("nan")}, "`epochs` must be positive"),
        ({"batch": 0}, "`batch` must be at least 1"),
        ({"module_options": {"f": float("inf")}}, "not JSON"),
    ],
)
def test_fields_that_make_no_sense_are_refused_at_once(fields, words):
    with pytest.raises(RecipeInvalid, match=words):
        Torch(**fields)


@pytest.mark.parametrize(
    ("learner", "words"),
    [
        (Torch("no_such_package:factory"), "cannot be imported"),
        (Torch("torch:no_such_factory"), "cannot be imported"),
        (Torch(optimiser="torch:no_such"), "cannot be imported"),
        (Torch("mlp", {"width": 3}), "width"),
        (Torch("mlp", {"activation": "Softplus"}), "'GELU', 'ReLU'"),
        (Torch(optimiser="Adam", optimiser_options={"momentum": 0.9}), "momentum"),
        (Torch(optimiser="Muon"), "2D"),
        (Torch(optimiser_options={"lr": -1}), "must not be negative"),
        (Torch(optimiser_options={"lr": "fast"}), "must be a number"),
        (Torch(optimiser_options={"nesterov": True}), "needs a positive `momentum`"),
        (Torch("expunge_test_networks:lazy"), "lazy"),
        (Torch("expunge_test_networks:flat"), "last layer"),
        (Torch("expunge_test_networks:nothing"), "NoneType"),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_advice(learner, words):
    with pytest.raises(RecipeInvalid, match=words):
        learner.learn(CLASSES, None, samples(5), Step(1, 1.0))


@pytest.mark.parametrize(
    ("learner", "attribute"),
    [
        (network("Hidden", {"kept": False}), "module.count"),
        (network("extra"), "module._extra_state"),
        (network("odd"), "module.odd"),
        (
            network("Small", optimiser="expunge_test_networks:Opaque", optimiser_options={"lr": 1}),
            "optimiser.state.0.secret",
        ),
    ],
)
def test_states_without_canonical_bytes_are_named(learner, attribute):
    with pytest.raises(StateNotCanonical) as caught:
        learner.learn(CLASSES, None, samples(5), Step(1, 1.0))
    assert caught.value.attribute == attribute


def test_buffers_that_training_leaves_alone_may_be_outside_the_state():
    assert network("Hidden", {"kept": True}).learn(CLASSES, None, samples(5), Step(1, 1.0))


def test_learners_are_values():
    one = Torch("mlp", {"hidden": (4,)})
    assert one == Torch("mlp", {"hidden": [4]}, epochs=10)
    assert hash(one) == hash(Torch("mlp", {"hidden": [4]}))
    assert one.optimiser_options == {"lr": 0.1, "momentum": 0.9}
    assert Torch(optimiser="Adam").optimiser_options == {}
    assert dataclasses.asdict(one)["module_options"] == {"hidden": [4]}
