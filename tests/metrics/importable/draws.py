"""Chance for tests of metrics: keyed, so that every run sees the same."""

from __future__ import annotations

import numpy as np

from expunge.core import rng
from expunge.metrics import chance
from expunge.metrics.arrays import Mask, Numbers


def normal(*shape: int, about: str | int = 0) -> Numbers:
    return chance.normal(shape, rng.seed("tests", about))


def halves(models: int, rows: int, about: str | int = 0) -> Mask:
    """Each row in half of the models: (models, rows)."""
    places = chance.uniform((models, rows), rng.seed("halves", about)).argsort(axis=0)
    return places.argsort(axis=0) < models // 2


def softmax(logits: Numbers) -> Numbers:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
