"""Influence corrections for differentiable models. The guarantee is ``empirical``.

Describe what was trained (:func:`describe`), choose a solver, and correct::

    of = describe(module, Samples(inputs, targets), Objective(penalty=1e-4))
    prepared = Exact().prepare(of, of.parameters)
    correction = correct(prepared, leaving)
"""

from expunge.methods.empirical.influence.conjugate import Conjugate
from expunge.methods.empirical.influence.correct import (
    Correction,
    correct,
    first_order,
    newton,
    refit,
)
from expunge.methods.empirical.influence.exact import Exact
from expunge.methods.empirical.influence.lissa import Lissa
from expunge.methods.empirical.influence.problem import (
    Objective,
    Problem,
    Samples,
    cross_entropy,
    describe,
    half_squared,
)
from expunge.methods.empirical.influence.solver import Curvature, Prepared, Solved

__all__ = [
    "Conjugate",
    "Correction",
    "Curvature",
    "Exact",
    "Lissa",
    "Objective",
    "Prepared",
    "Problem",
    "Samples",
    "Solved",
    "correct",
    "cross_entropy",
    "describe",
    "first_order",
    "half_squared",
    "newton",
    "refit",
]
