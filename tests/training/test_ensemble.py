"""Ensembles, by hand."""

from __future__ import annotations

import numpy as np

from expunge.core.types import Column, Kind, Role, Task
from expunge.training import ensemble

CLASSES = Column("y", Role.VALUE, Kind.CATEGORICAL, "int32", categories=("a", "b", "c"))
NUMBER = Column("y", Role.VALUE, Kind.NUMERIC, "float64")


def test_the_mean_weighs_by_samples_seen() -> None:
    each = np.array([[[1.0, 0.0]], [[0.2, 0.8]]])
    assert ensemble.combine(each, np.array([30.0, 10.0])).tolist() == [[0.8, 0.2]]


def test_each_constituent_has_one_vote() -> None:
    each = np.array([[[0.9, 0.1, 0.0]], [[0.3, 0.4, 0.3]], [[0.0, 0.6, 0.4]]])
    ballots = ensemble.ballots(each)
    assert ballots.tolist() == [[[1, 0, 0]], [[0, 1, 0]], [[0, 1, 0]]]
    counts = ensemble.combine(ballots, np.ones(3))
    np.testing.assert_allclose(counts, [[1 / 3, 2 / 3, 0]])


def test_the_mean_and_the_vote_can_differ() -> None:
    each = np.array([[[0.95, 0.05]], [[0.45, 0.55]], [[0.45, 0.55]]])
    mean = ensemble.combine(each, np.ones(3))
    votes = ensemble.combine(ensemble.ballots(each), np.ones(3))
    assert (mean.argmax(), votes.argmax()) == (0, 1)


def test_labels_are_classes_or_values() -> None:
    classes, number = Task((), (CLASSES,)), Task((), (NUMBER,))
    assert ensemble.labels(classes, np.array([[0.1, 0.2, 0.7], [0.6, 0.2, 0.2]])).tolist() == [
        "c",
        "a",
    ]
    assert ensemble.labels(number, np.array([[1.5], [2.5]])).tolist() == [1.5, 2.5]
    two = Task((), (NUMBER, NUMBER))
    assert ensemble.labels(two, np.array([[1.5, 2.5]])).tolist() == [[1.5, 2.5]]
