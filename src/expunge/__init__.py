"""Make trained models forget chosen people's data, and prove it to strangers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from expunge.home import Home, open  # noqa: A004 - read as `expunge.open`
    from expunge.learners.convex.certified import Certified
    from expunge.learners.convex.learner import Convex
    from expunge.learners.lightgbm import LightGBM
    from expunge.learners.sklearn import Sklearn
    from expunge.learners.sums.bernoulli import BernoulliBayes
    from expunge.learners.sums.gaussian import GaussianBayes
    from expunge.learners.sums.lda import LDA
    from expunge.learners.sums.multinomial import MultinomialBayes
    from expunge.learners.sums.ridge import Ridge
    from expunge.learners.torch import Torch
    from expunge.learners.xgboost import XGBoost
    from expunge.methods.empirical.adopt import adopt
    from expunge.methods.empirical.influence.learner import Influence
    from expunge.training.recipe import Sharded

__all__ = [
    "LDA",
    "BernoulliBayes",
    "Certified",
    "Convex",
    "GaussianBayes",
    "Home",
    "Influence",
    "LightGBM",
    "MultinomialBayes",
    "Ridge",
    "Sharded",
    "Sklearn",
    "Torch",
    "XGBoost",
    "adopt",
    "open",
]

_WHERE: Final = {
    "BernoulliBayes": "expunge.learners.sums.bernoulli",
    "Certified": "expunge.learners.convex.certified",
    "Convex": "expunge.learners.convex.learner",
    "GaussianBayes": "expunge.learners.sums.gaussian",
    "Home": "expunge.home",
    "LDA": "expunge.learners.sums.lda",
    "Influence": "expunge.methods.empirical.influence.learner",
    "LightGBM": "expunge.learners.lightgbm",
    "MultinomialBayes": "expunge.learners.sums.multinomial",
    "Ridge": "expunge.learners.sums.ridge",
    "Sharded": "expunge.training.recipe",
    "Sklearn": "expunge.learners.sklearn",
    "Torch": "expunge.learners.torch",
    "XGBoost": "expunge.learners.xgboost",
    "adopt": "expunge.methods.empirical.adopt",
    "open": "expunge.home",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is asked for
    # Frameworks take a second to import: only those that are used are.
    if name not in _WHERE:
        raise AttributeError(f"module 'expunge' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
