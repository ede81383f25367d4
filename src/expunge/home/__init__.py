"""The one object that users hold. It delegates, it decides nothing."""

from __future__ import annotations

from expunge.home.home import Home
from expunge.home.model import Model, Prediction
from expunge.home.opening import open  # noqa: A004 - read as `expunge.open`
from expunge.home.people import Learning, People
from expunge.home.receipt import Receipt

__all__ = ["Home", "Learning", "Model", "People", "Prediction", "Receipt", "open"]
