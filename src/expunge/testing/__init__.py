"""Public: what we test ourselves with, for those who write learners and methods."""

from __future__ import annotations

from expunge.testing.builder import FreshProcess
from expunge.testing.exact import Data, Exactness, check_exact
from expunge.testing.scene import Scene
from expunge.testing.script import (
    Append,
    Correct,
    Forget,
    ForgetFromEach,
    ForgetSome,
    Operation,
    Recover,
)
from expunge.testing.state import NotExact

__all__ = [
    "Append",
    "Correct",
    "Data",
    "Exactness",
    "Forget",
    "ForgetFromEach",
    "ForgetSome",
    "FreshProcess",
    "NotExact",
    "Operation",
    "Recover",
    "Scene",
    "check_exact",
]
