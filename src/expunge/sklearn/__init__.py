"""Estimators for people who only want scikit-learn: sharded, in memory, able to forget."""

from __future__ import annotations

from expunge.sklearn.base import EverythingForgotten
from expunge.sklearn.estimators import ShardedClassifier, ShardedRegressor

__all__ = ["EverythingForgotten", "ShardedClassifier", "ShardedRegressor"]
