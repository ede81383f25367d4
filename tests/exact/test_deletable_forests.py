"""Two published deletable forests keep traces of what they deleted: byte checks and audits find it."""

from __future__ import annotations

import numpy as np
import pytest
from deletable_forests import Boundaries, Drawn

from expunge.core.types import Column, Kind, Role, Task
from expunge.home import Home
from expunge.learners.protocol import Samples, Step
from expunge.metrics import divergence, ulira
from expunge.testing import Data, Forget, FreshProcess, NotExact, Recover, check_exact
from expunge.verify import recording

X = Column("x", Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=1)
Y = Column("y", Role.VALUE, Kind.NUMERIC, "float64", low=0, high=1)
TASK = Task((X,), (Y,))


def samples(x, y) -> Samples:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return Samples(np.arange(len(x), dtype=np.uint64), x, y[:, None], None)


def deleted_and_retrained(learner, everybody, gone, seed=0):
    """States after a deletion, and after never having seen the rows."""
    stay = np.setdiff1d(np.arange(len(everybody)), gone)
    step = Step(seed, 1.0)
    before = learner.learn(TASK, None, everybody, step)
    after = learner.change(TASK, before, pick(everybody, gone), None)
    return after, learner.learn(TASK, None, pick(everybody, stay), step)


def pick(everybody: Samples, rows) -> Samples:
    return samples(everybody.inputs[rows], np.ravel(everybody.targets)[rows])


def test_a_split_stays_at_the_value_of_somebody_who_left() -> None:
    # Who left had x = 2. A tree that never saw them splits at 1, and answers 1 for x = 1.5.
    everybody = samples([1, 1, 2, 3, 3], [0, 0, 0, 1, 1])
    for published, split, answer in ((True, 2.0, 0.0), (False, 1.0, 1.0)):
        learner = Boundaries(published)
        after, again = deleted_and_retrained(learner, everybody, [2])
        assert (after == again) is not published
        predict = learner.predictor(TASK, [after, again])
        assert predict(np.array([1.5])).ravel().tolist() == [answer, 1.0]
        from expunge.learners import state

        assert learner.threshold(state.parse(after)[1]) == split


def crowd() -> tuple[Samples, np.ndarray]:
    """Those who leave, 120, hold the split at 0.3; without them it belongs at 0.65."""
    draw = np.random.default_rng(0)
    parts = [
        (draw.uniform(0.0, 0.3, 12), np.zeros(12)),
        (draw.uniform(0.3, 0.65, 5), np.array([0, 0, 0, 1, 0.0])),
        (draw.uniform(0.65, 1.0, 8), np.array([1, 1, 1, 0, 1, 1, 1, 1.0])),
        (draw.uniform(0.3, 0.65, 120), np.ones(120)),
    ]
    x, y = (np.concatenate(one) for one in zip(*parts, strict=True))
    return samples(x, y), np.arange(25, 145)


@pytest.mark.parametrize("published", [True, False])
def test_a_split_that_became_worse_survives_and_populations_of_models_show_it(
    published: bool,
) -> None:
    everybody, gone = crowd()
    learner = Drawn(published)
    pairs = [deleted_and_retrained(learner, everybody, gone, seed) for seed in range(64)]
    points = np.linspace(0.05, 0.95, 40)

    def margins(states) -> np.ndarray:
        found = learner.predictor(TASK, states)(points)[..., 0]
        return np.log((found + 1e-3) / (1 - found + 1e-3))

    forgot, never = (margins(list(states)) for states in zip(*pairs, strict=True))
    differing = sum(a != b for a, b in pairs)
    worst = divergence.klom(forgot, never).max()
    null = divergence.klom_null(never).max()
    if published:
        assert 2 * differing > len(pairs)
        assert worst > 2 * null
        assert ulira.per_example(forgot, never).mean > 0.6
    else:
        assert differing == 0
        assert worst == 0


def data() -> Data:
    draw = np.random.default_rng(3)
    x = np.round(draw.uniform(size=120), 2)
    y = ((x > 0.4) ^ (draw.uniform(size=120) < 0.2)).astype(np.float64)
    named = {"id": np.array([f"s{n}" for n in range(120)]), "x": x, "y": y}
    return Data(named, "y", id="id", values=["y"])


def leaving() -> list[tuple[str, ...]]:
    """Those who agree with the best split: without them it is a worse one."""
    rows = data().rows
    agree = rows["id"][(rows["x"] > 0.4) == (rows["y"] > 0.5)]
    return [tuple(agree[start : start + 15].tolist()) for start in range(0, 45, 15)]


SCRIPT = [step for gone in leaving() for step in (Forget(gone), Recover())]


@pytest.mark.parametrize("kind", [Boundaries, Drawn])
def test_check_exact_passes_the_sound_tree_and_fails_the_published_one(
    builder: FreshProcess, kind: type[Boundaries] | type[Drawn]
) -> None:
    assert check_exact(kind(), data(), *SCRIPT, builder=builder).changed > 0
    with pytest.raises(NotExact) as caught:
        check_exact(kind(published=True), data(), *SCRIPT, builder=builder)
    assert caught.value.what == "bytes"


@pytest.mark.parametrize("kind", [Boundaries, Drawn])
@pytest.mark.parametrize("published", [True, False])
def test_an_audit_by_replay_says_so(
    home: Home, kind: type[Boundaries] | type[Drawn], published: bool
) -> None:
    given = data()
    home.ingest("people", given.rows, id="id", values=["y"])
    home.train("m", home.dataset("people").view("y"), kind(published))
    for gone in leaving():
        home.forget(list(gone))
        home.recover()
    assert recording.verdict(home.verify("m")) == ("failed" if published else "passed")
