"""What every learner of the catalogue keeps."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge import learners
from expunge.core.digest import canonical_json
from expunge.core.errors import FormatUnsupported, RecipeInvalid, UnknownName
from expunge.learners import LEARNERS
from expunge.learners.protocol import Changing, Learner, Samples, Step
from expunge.learners.state import dump, parse

CUTS = [1, 12, 90, 160]


def _sklearn() -> Learner:
    from sklearn.ensemble import RandomForestClassifier

    return LEARNERS["sklearn"](RandomForestClassifier(5))


def _sklearn_values() -> Learner:
    from sklearn.ensemble import ExtraTreesRegressor

    return LEARNERS["sklearn"](ExtraTreesRegressor(5))


# One example of each that draws at random; for classes, and for values where it is another.
CLASSES: dict[str, Callable[[], Learner]] = {
    "bernoulli-bayes": lambda: LEARNERS["bernoulli-bayes"](above=127),
    "certified": lambda: LEARNERS["certified"](delta=1e-3),
    "convex": lambda: LEARNERS["convex"](),
    "gaussian-bayes": lambda: LEARNERS["gaussian-bayes"](),
    "influence": lambda: LEARNERS["influence"](learner={"epochs": 10, "batch": 16}),
    "lda": lambda: LEARNERS["lda"](),
    "lightgbm": lambda: LEARNERS["lightgbm"](
        rounds=12, bagging_fraction=0.5, feature_fraction=0.6, min_data_in_leaf=5
    ),
    "multinomial-bayes": lambda: LEARNERS["multinomial-bayes"](),
    "ridge": lambda: LEARNERS["ridge"](features={"map": "fourier", "features": 64}),
    "sklearn": _sklearn,
    "torch": lambda: LEARNERS["torch"](epochs=10, batch=16),
    "xgboost": lambda: LEARNERS["xgboost"](rounds=12, subsample=0.5, colsample_bytree=0.6),
}
TELLS_CLASSES_APART = {"bernoulli-bayes", "gaussian-bayes", "lda", "multinomial-bayes"}
VALUES = {name: make for name, make in CLASSES.items() if name not in TELLS_CLASSES_APART} | {
    "certified": lambda: LEARNERS["certified"]("huber", delta=1e-3),
    "convex": lambda: LEARNERS["convex"]("huber"),
    "sklearn": _sklearn_values,
}
RELEASES = {"certified"}  # with fresh chance each time, on purpose
DRAWS_NOTHING = TELLS_CLASSES_APART | {"convex", "ridge"}


def _example(name: str, table: Any) -> Learner:
    if not table.task.classes and name in TELLS_CLASSES_APART:
        pytest.skip("it tells classes apart")
    return (CLASSES if table.task.classes else VALUES)[name]()


every = pytest.mark.parametrize("name", sorted(LEARNERS))
canonical = pytest.mark.parametrize("name", sorted(set(LEARNERS) - RELEASES))


def test_the_examples_are_all_of_the_catalogue() -> None:
    assert set(CLASSES) == set(LEARNERS)


@every
def test_it_is_frozen_and_cites_a_source(name: str) -> None:
    kind = LEARNERS[name]
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.revision >= 1
    assert kind.libraries
    assert "References:" in (inspect.getmodule(kind).__doc__ or "")


@every
def test_whether_it_subtracts_is_known_without_importing_it(name: str) -> None:
    written = learners.to_json(CLASSES[name]())
    assert learners.subtracts(written) == isinstance(CLASSES[name](), Changing)


@every
def test_it_goes_through_json(name: str) -> None:
    learner = CLASSES[name]()
    written = canonical_json(learners.to_json(learner))
    read = learners.from_json(json.loads(written))
    assert read == learner
    assert hash(read) == hash(learner)
    assert canonical_json(learners.to_json(read)) == written


@every
def test_a_recipe_of_another_revision_is_refused(name: str) -> None:
    recipe = learners.to_json(CLASSES[name]()) | {"revision": 10**6}
    with pytest.raises(FormatUnsupported, match=name):
        learners.from_json(recipe)


def test_a_learner_of_ones_own_goes_by_its_import_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_learners.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Theirs:\n"
        "    sizes: tuple[int, ...] = (1, 2)\n"
        "    revision = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import their_learners

    written = learners.to_json(their_learners.Theirs())
    assert written == {
        "name": "their_learners:Theirs",
        "revision": 3,
        "fields": {"sizes": [1, 2]},
    }
    assert learners.from_json(json.loads(canonical_json(written))) == their_learners.Theirs()
    for name in ("their_learners:Nothing", "no_such_module:Theirs", "nothing"):
        with pytest.raises(UnknownName):
            learners.from_json(written | {"name": name})


def test_a_learner_that_workers_cannot_import_is_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Stranger:
        revision = 1

    with pytest.raises(RecipeInvalid, match="cannot be imported"):
        learners.to_json(Stranger())  # type: ignore[arg-type]


@every
def test_rows_are_encoded_each_by_itself(name: str, table: Any) -> None:
    learner = _example(name, table)
    together = learner.encode(table.task, table.features)
    assert len(together) == len(together[:]) == 160
    for start, stop in [(0, 1), (3, 20), (159, 160)]:
        part = {column: cells[start:stop] for column, cells in table.features.items()}
        alone = learner.encode(table.task, part)
        np.testing.assert_array_equal(np.asarray(alone), np.asarray(together[start:stop]))


def test_those_that_release_anew_are_known_to_be_no_functions_of_their_arguments(
    kinds: Any,
) -> None:
    for name, make in CLASSES.items():
        is_canonical = getattr(make(), "canonical", True)
        assert is_canonical is not (name in RELEASES)
    for name in RELEASES:
        assert len({kinds.chain(CLASSES[name](), [160])[-1] for _ in range(5)}) > 1


@canonical
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_arguments_give_equal_bytes_that_predict(
    name: str, weighted: bool, table: Any
) -> None:
    learner = _example(name, table)
    states = table.chain(learner, CUTS, weighted)
    assert states == table.chain(_example(name, table), CUTS, weighted)

    predicted = table.predict(learner, states)
    assert predicted.shape == (len(CUTS), 160, table.task.outputs)
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()
    if table.task.classes:
        np.testing.assert_allclose(predicted.sum(axis=2), 1, atol=1e-6)
        assert (predicted >= 0).all()
    one_by_one = [table.predict(learner, [state])[0] for state in states]
    np.testing.assert_allclose(predicted, one_by_one, rtol=1e-5, atol=1e-6)


@every
def test_a_state_is_canonical(name: str, kinds: Any) -> None:
    for state in kinds.chain(CLASSES[name](), CUTS):
        assert dump(*parse(state)) == state


@canonical
def test_weights_and_seed_count(name: str, kinds: Any) -> None:
    learner = CLASSES[name]()
    plain = kinds.chain(learner, CUTS)[-1]
    assert kinds.chain(learner, CUTS, weighted=True)[-1] != plain
    samples = kinds.samples(learner)
    one, two = (learner.learn(kinds.task, None, samples, Step(seed, 1.0)) for seed in (1, 2))
    assert (one == two) == (name in DRAWS_NOTHING)


@every
def test_it_learns_something(name: str, kinds: Any, prices: Any) -> None:
    learner = CLASSES[name]()
    predicted = kinds.predict(learner, kinds.chain(learner, [80, 160]))[-1]
    assert (predicted.argmax(axis=1) == kinds.targets).mean() > 0.6
    if name in TELLS_CLASSES_APART:
        return
    learner = VALUES[name]()
    predicted = prices.predict(learner, prices.chain(learner, [80, 160]))[-1]
    assert ((predicted - prices.targets) ** 2).mean() < prices.targets.var()


@every
def test_one_class_so_far_works_and_the_others_come_later(name: str, kinds: Any) -> None:
    first = dataclasses.replace(kinds, targets=np.where(np.arange(160) < 40, 2, kinds.targets))
    learner = CLASSES[name]()
    early, later = (first.predict(learner, first.chain(learner, cuts))[-1] for cuts in ([40], CUTS))
    assert (early.argmax(axis=1) == 2).all()
    assert len(np.unique(later.argmax(axis=1))) > 1


@every
def test_no_rows_predict_nothing(name: str, table: Any) -> None:
    learner = _example(name, table)
    states = table.chain(learner, [30])
    none = learner.encode(table.task, {k: cells[:0] for k, cells in table.features.items()})
    assert learner.predictor(table.task, states)(none).shape == (1, 0, table.task.outputs)


@every
def test_a_state_of_a_newer_format_is_refused(name: str, kinds: Any) -> None:
    learner = CLASSES[name]()
    meta, arrays = parse(kinds.chain(learner, [40])[-1])
    with pytest.raises(FormatUnsupported):
        learner.predictor(kinds.task, [dump(meta | {"format": 99}, arrays)])


CHILD = """
import hashlib, json, sys
import numpy as np
from expunge import learners
from expunge.core.types import Column, Task
from expunge.learners.protocol import Samples, Step

given = json.load(sys.stdin)
arrays = {k: np.array(cells, dtype) for k, (dtype, cells) in given["arrays"].items()}
task = Task(*(tuple(map(Column.from_json, given[k])) for k in ("features", "targets")))
weights, targets, tokens = (arrays.pop(k) for k in ("weights", "targets", "tokens"))
found = {}
for name, (learner, parent) in given["learners"].items():
    learner = learners.from_json(learner)
    samples = Samples(tokens, learner.encode(task, arrays), targets, weights)
    state = learner.learn(task, parent and bytes.fromhex(parent), samples, Step(5, 0.5))
    found[name] = hashlib.sha256(state).hexdigest()
json.dump(found, sys.stdout)
"""


def _child(table: Any, examples: dict[str, tuple[Learner, bytes | None]]) -> dict[str, str]:
    """Learn a slice in a new process, with another hash seed and other bytes in fresh memory."""
    tokens = table.samples(next(iter(examples.values()))[0]).tokens
    extra = {"weights": table.weights, "targets": table.targets, "tokens": tokens}
    given = {
        "features": [column.to_json() for column in table.task.features],
        "targets": [column.to_json() for column in table.task.targets],
        "arrays": {k: (a.dtype.str, a.tolist()) for k, a in (table.features | extra).items()},
        "learners": {
            name: (learners.to_json(learner), parent and parent.hex())
            for name, (learner, parent) in examples.items()
        },
    }
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(given),
        text=True,
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": "4711", "MALLOC_PERTURB_": "165"},
    )
    assert child.returncode == 0, child.stderr
    found: dict[str, str] = json.loads(child.stdout)
    return found


def test_another_process_gives_equal_bytes(kinds: Any) -> None:
    examples: dict[str, tuple[Learner, bytes | None]] = {}
    here: dict[str, str] = {}
    for name in sorted(set(CLASSES) - RELEASES):
        learner = CLASSES[name]()
        for parent in (None, kinds.chain(learner, [20, 80])[-1]):
            key = f"{name} {'going on' if parent else 'afresh'}"
            examples[key] = (learner, parent)
            samples: Samples = kinds.samples(learner, weighted=True)
            state = learner.learn(kinds.task, parent, samples, Step(5, 0.5))
            here[key] = sha256(state).hexdigest()
    assert _child(kinds, examples) == here
