"""Networks that forget by an influence correction, as learners of a home."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import expunge
from expunge import learners
from expunge.core.errors import CorrectionFailed, CorrectionRejected, RecipeInvalid
from expunge.core.types import Column, Guarantee, Kind, Role, Task
from expunge.learners.protocol import Forgetting, Samples, Step
from expunge.methods.empirical.influence import learner as influence

NUMBERS = tuple(
    Column(name, Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=1) for name in "abc"
)
PRICE = Column("price", Role.VALUE, Kind.NUMERIC, "float64", low=-4, high=4)
SIDE = Column("side", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("no", "yes"))
LINEAR = Task(NUMBERS, (PRICE,))
CLASSES = Task(NUMBERS, (SIDE,))
STEP = Step(7, 1.0)
ROWS = 60


def samples(learner, task, chosen, *, weighted=False, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(ROWS, 3))
    y = x @ [1.0, -2.0, 0.5] + rng.normal(size=ROWS) * 0.1
    weights = rng.uniform(0.5, 2, size=ROWS)
    targets = (y > -0.3).astype(np.int64) if task.classes else y[:, None]
    cells = {column.name: x[chosen, i] for i, column in enumerate(task.features)}
    return Samples(
        tokens=np.asarray(chosen, np.uint64),
        inputs=learner.encode(task, cells),
        targets=targets[chosen],
        weights=weights[chosen] if weighted else None,
    )


def split(learner, task, gone, *, weighted=False):
    stay = np.setdiff1d(np.arange(ROWS), gone)
    return [samples(learner, task, np.array(one), weighted=weighted) for one in (stay, gone)]


def parameters(learner, task, state):
    return torch.cat([p.flatten() for p in learner.network.network(task, state).parameters()])


@settings(max_examples=8)
@given(
    gone=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=20, unique=True),
    weighted=st.booleans(),
)
def test_of_a_quadratic_loss_one_step_without_damping_is_the_minimum(gone, weighted):
    learner = expunge.Influence(expunge.Torch("linear", epochs=3), damping=0.0)
    everybody = samples(learner, LINEAR, np.arange(ROWS), weighted=weighted)
    state = learner.learn(LINEAR, None, everybody, STEP)
    stay, out = split(learner, LINEAR, gone, weighted=weighted)
    after = learner.forget(LINEAR, state, stay, out)
    x = np.concatenate([stay.inputs, np.ones((len(stay), 1))], axis=1, dtype=np.float64)
    root = np.sqrt(stay.weights if stay.weights is not None else np.ones(len(stay)))[:, None]
    least, *_ = np.linalg.lstsq(x * root, stay.targets * root, rcond=None)
    found = parameters(learner, LINEAR, after.state).detach().numpy()
    np.testing.assert_allclose(found, least[:, 0], atol=2e-4)
    assert after.figures["retain_loss_after"] <= after.figures["retain_loss_before"]


@pytest.mark.parametrize("solver", ["auto", "exact", "conjugate", "lissa"])
def test_each_solver_lowers_the_loss_of_those_that_stay(solver):
    learner = expunge.Influence(
        expunge.Torch("mlp", module_options={"hidden": [4]}, epochs=3), solver=solver
    )
    everybody = samples(learner, CLASSES, np.arange(ROWS))
    state = learner.learn(CLASSES, None, everybody, STEP)
    after = learner.forget(CLASSES, state, *split(learner, CLASSES, [1, 2, 3]))
    assert after.figures["retain_loss_after"] <= after.figures["retain_loss_before"]
    assert after.figures["parameters"] == 3 * 4 + 4 + 4 * 2 + 2
    assert after.state != state


def test_the_optimiser_forgets_what_it_saw_and_training_goes_on():
    learner = expunge.Influence(expunge.Torch("linear", epochs=2))
    everybody = samples(learner, LINEAR, np.arange(ROWS))
    state = learner.learn(LINEAR, None, everybody, STEP)
    stay, gone = split(learner, LINEAR, [5])
    after = learner.forget(LINEAR, state, stay, gone).state
    assert b"momentum_buffer" in state
    assert b"momentum_buffer" not in after
    further = learner.learn(LINEAR, after, stay, Step(8, 1.0))
    assert b"momentum_buffer" in further


def test_a_step_that_raises_the_loss_of_those_that_stay_is_not_taken():
    learner = expunge.Influence(
        expunge.Torch("mlp", module_options={"hidden": [4]}, epochs=1), step="newton", damping=0.0
    )
    everybody = samples(learner, CLASSES, np.arange(ROWS))
    state = learner.learn(CLASSES, None, everybody, STEP)
    with pytest.raises((CorrectionRejected, CorrectionFailed)):
        learner.forget(CLASSES, state, *split(learner, CLASSES, list(range(40))))


def test_the_same_arguments_give_the_same_bytes():
    learner = expunge.Influence(expunge.Torch("mlp", module_options={"hidden": [4]}, epochs=2))
    everybody = samples(learner, CLASSES, np.arange(ROWS))
    state = learner.learn(CLASSES, None, everybody, STEP)
    made = [learner.forget(CLASSES, state, *split(learner, CLASSES, [3])).state for _ in range(2)]
    assert made[0] == made[1]


def test_it_is_written_down_with_its_network_and_read_again():
    learner = expunge.Influence(
        expunge.Torch("mlp", module_options={"hidden": [4]}), step="newton", damping=0.5
    )
    value = learners.to_json(learner)
    assert value["name"] == "influence"
    assert value["fields"]["learner"]["revision"] == expunge.Torch.revision
    assert learners.from_json(value) == learner
    assert learners.declared(value) == learner
    assert isinstance(learner, Forgetting)
    assert expunge.Influence({"module": "linear"}) == expunge.Influence(expunge.Torch("linear"))


def test_it_promises_nothing():
    promise = expunge.Influence().promise(CLASSES, 3)
    assert promise.guarantee is Guarantee.EMPIRICAL
    assert promise.parameters == {}


def test_networks_with_statistics_of_their_own_are_refused():
    options = {"hidden": [4], "batch_norm": True}
    with pytest.raises(RecipeInvalid, match="buffers"):
        expunge.Influence(expunge.Torch("mlp", module_options=options)).check(CLASSES)
    expunge.Influence(expunge.Torch("mlp")).check(CLASSES)


@pytest.mark.parametrize(
    "fields",
    [
        {"step": "leap"},
        {"solver": "guess"},
        {"damping": -1.0},
        {"memory_mb": 0},
        {"learner": expunge.Ridge()},
    ],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(RecipeInvalid):
        expunge.Influence(**fields)


def test_weight_decay_is_the_penalty_but_where_it_is_none_of_the_loss():
    def penalty(optimiser, **options):
        network = expunge.Torch(optimiser=optimiser, optimiser_options=options)
        return expunge.Influence(network)._penalty()

    assert penalty("SGD", lr=0.1, weight_decay=0.25) == 0.25
    assert penalty("AdamW", weight_decay=0.25) == 0
    assert penalty("SGD", lr=0.1) == 0


def test_the_squared_error_by_hand():
    outputs, targets = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    assert influence.mean_squared(outputs, targets).tolist() == [2.5]


def test_a_step_that_is_too_long_is_halved_until_it_helps_and_says_so():
    learner = expunge.Influence(expunge.Torch("mlp", module_options={"hidden": [4]}, epochs=1))
    everybody = samples(learner, CLASSES, np.arange(ROWS))
    state = learner.learn(CLASSES, None, everybody, STEP)
    figures = learner.forget(CLASSES, state, *split(learner, CLASSES, [1])).figures
    assert 0 < figures["share"] < 1
    assert figures["retain_loss_after"] < figures["retain_loss_before"]
