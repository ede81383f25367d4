"""What the boosting learners share: rounds per slice, seeds, and options that stay ours."""

from __future__ import annotations

from collections.abc import Collection
from math import floor

from expunge.core import rng
from expunge.core.errors import RecipeInvalid
from expunge.learners.protocol import Step


def rounds_of(step: Step, rounds: int) -> int:
    """Boosting rounds of one slice: its share of all rounds, rounded half up, at least 1."""
    return max(1, floor(rounds * step.share + 0.5))


def seed_of(step: Step, library: str) -> int:
    """Seed of one slice, 31 bits: what the libraries take."""
    return rng.seed(library, step.seed) & 0x7FFF_FFFF


def check(rounds: int, options: Collection[str], ours: Collection[str]) -> None:
    """Refuse fields that cannot be: no rounds, or an option that the learner sets itself.

    Raises:
        RecipeInvalid: As said.
    """
    if rounds < 1:
        raise RecipeInvalid(f"`rounds` must be at least 1, got {rounds}.")
    if both := sorted(set(options) & set(ours)):
        raise RecipeInvalid(
            f"`options` may not set {', '.join(both)}: use the learner's field of that name, or "
            f"leave it to the recipe (seed, objective, threads)."
        )
