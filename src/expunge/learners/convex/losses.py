"""Losses of linear models, as functions of scores, with the constants that proofs need.

A score is z = x·w. All are convex and have a continuous slope; none is strongly convex, that
comes from the penalty on *all* weights. An intercept is a column of ones, penalised like the
rest: otherwise the objective would be flat along it, and no distance could be bounded.

A constant is a supremum over all scores, and None where it is infinite or does not exist.

References:
    Guo et al. 2020, arXiv:1911.03030, section 3.2 (what removal needs of a loss). Böhning,
    "Multinomial logistic regression algorithm", 1992 (smoothness of the multinomial one).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expunge.core.errors import InputError

Floats: TypeAlias = NDArray[np.float64]

UNIT: Final = 2.0**-53
"""Unit roundoff of float64."""

TRANSCENDENTAL: Final = 16 * UNIT
"""Assumed relative error of exp and log1p: 8 units in the last place. NumPy's own tests
allow 4, mathematical libraries promise 1."""


class Loss(Protocol):
    """A convex loss of scores.

    Scores are (n,), or (n, K) where a sample has K of them; slopes have the shape of the scores.

    Attributes:
        smoothness: Lipschitz constant of the slope (2-norm), or None.
        lipschitz: Bound on the slope's 2-norm, or None.
        third: Bound on the third derivative (operator norm), or None.
    """

    @property
    def smoothness(self) -> float | None:
        """Lipschitz constant of the slope."""
        ...

    @property
    def lipschitz(self) -> float | None:
        """Bound on the slope."""
        ...

    @property
    def third(self) -> float | None:
        """Bound on the third derivative."""
        ...

    def outputs(self) -> tuple[int, ...]:
        """Shape of one sample's score: () or (K,)."""
        ...

    def check(self, targets: NDArray[Any]) -> None:
        """Raise :class:`InputError` where a target is none of this loss."""
        ...

    def value(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """Loss of each sample, (n,)."""
        ...

    def slope(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """First derivative by the score."""
        ...

    def curvature(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """Second derivative by the score: (n,) or (n, K, K).

        Where the slope has a kink: that of one side.
        """
        ...

    def slope_error(self, scores: Floats, slopes: Floats, errors: Floats) -> Floats:
        """Bound on ‖computed slope - true slope‖₂ of each sample, (n,).

        Args:
            scores: As computed.
            slopes: What :meth:`slope` made of them.
            errors: Bound on ‖computed score - true score‖₂ of each sample, (n,).
        """
        ...


@dataclass(frozen=True, slots=True)
class Logistic:
    """ln(1 + exp(-yz)), y ∈ {-1, +1}."""

    smoothness: ClassVar[float] = 0.25
    lipschitz: ClassVar[float] = 1.0
    third: ClassVar[float] = 1 / (6 * math.sqrt(3))

    def outputs(self) -> tuple[int, ...]:
        """One score."""
        return ()

    def check(self, targets: NDArray[Any]) -> None:
        """Targets are -1 or +1."""
        _check_signs(targets)

    def value(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The loss ln(1 + exp(-yz))."""
        return np.asarray(np.logaddexp(0, -targets * scores))

    def slope(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The slope -y/(1 + exp(yz))."""
        with np.errstate(over="ignore"):  # exp(z) = inf gives the right slope, 0
            return np.asarray(-targets / (1 + np.exp(targets * scores)))

    def curvature(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """With p = |slope|: p(1 - p)."""
        chance = np.abs(self.slope(scores, targets))
        return np.asarray(chance * (1 - chance))

    def slope_error(self, scores: Floats, slopes: Floats, errors: Floats) -> Floats:
        """By the curvature nearby, which is less than its supremum."""
        chance = np.abs(slopes)
        steep = np.minimum(chance * (1 - chance) + self.third * errors + 4 * UNIT, self.smoothness)
        # exp, 1 + e, the division: relative to the slope, which they change by no more
        return np.asarray(steep * errors + (TRANSCENDENTAL + 4 * UNIT) * chance)


@dataclass(frozen=True, slots=True)
class Multinomial:
    """ln Σ exp(z_k) - z_y, y ∈ {0, …, K-1}.

    The Hessian of one sample, diag(p) - ppᵀ, is at most 1/2. Its third derivative along a unit
    vector is a third central moment of values within an interval of length √2, so at most
    √2³/(6√3).
    """

    classes: int

    smoothness: ClassVar[float] = 0.5
    lipschitz: ClassVar[float] = math.sqrt(2)
    third: ClassVar[float] = math.sqrt(2) ** 3 / (6 * math.sqrt(3))

    def outputs(self) -> tuple[int, ...]:
        """One score per class."""
        return (self.classes,)

    def check(self, targets: NDArray[Any]) -> None:
        """Targets are codes of classes."""
        known = np.isin(targets, np.arange(self.classes))
        _check(known, f"a class code from 0 to {self.classes - 1}")

    def value(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The loss ln Σ exp(z_k) - z_y."""
        top = scores.max(axis=1)
        total = np.log(np.exp(scores - top[:, None]).sum(axis=1))
        return np.asarray(total + top - scores[np.arange(len(scores)), targets])

    def slope(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """Chances p less the indicator of y."""
        chances = _softmax(scores)
        chances[np.arange(len(scores)), targets] -= 1
        return chances

    def curvature(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The matrices diag(p) - ppᵀ."""
        del targets  # the curvature is the same for every class
        chances = _softmax(scores)
        return np.asarray(
            chances[:, :, None] * (np.eye(self.classes) - chances[:, None, :]), np.float64
        )

    def slope_error(self, scores: Floats, slopes: Floats, errors: Floats) -> Floats:
        """By the smoothness: the slope moves by at most half as much as the scores."""
        del scores, slopes
        # A chance p = exp(-t)/Σ errs by t·u·exp(-t) ≤ u/e from z - max, in norm by √K·u/e; the
        # rest is relative to p, of norm at most 1: exp twice, a sum of K, a division, p - 1.
        own = 2 * TRANSCENDENTAL + (3 * self.classes + 8) * UNIT
        return self.smoothness * errors + own


@dataclass(frozen=True, slots=True)
class SquaredHinge:
    """max(0, 1 - yz)²/2, y ∈ {-1, +1}: a support vector machine with a continuous slope."""

    smoothness: ClassVar[float] = 1.0
    lipschitz: ClassVar[None] = None  # the slope grows with the score
    third: ClassVar[None] = None  # the curvature jumps

    def outputs(self) -> tuple[int, ...]:
        """One score."""
        return ()

    def check(self, targets: NDArray[Any]) -> None:
        """Targets are -1 or +1."""
        _check_signs(targets)

    def value(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The loss max(0, 1 - yz)²/2."""
        return np.asarray(np.maximum(0, 1 - targets * scores) ** 2 / 2)

    def slope(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The slope -y·max(0, 1 - yz)."""
        return np.asarray(-targets * np.maximum(0.0, 1 - targets * scores))

    def curvature(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """1 within the margin, 0 beyond."""
        return np.asarray(targets * scores < 1, np.float64)

    def slope_error(self, scores: Floats, slopes: Floats, errors: Floats) -> Floats:
        """By the smoothness."""
        del scores
        return errors + 2 * UNIT * np.abs(slopes)


@dataclass(frozen=True, slots=True)
class Poisson:
    """exp(z) - yz, y ≥ 0: counts with rate exp(z). It has no finite constants.

    The bound on the distance holds all the same, since the penalty alone makes it; what needs
    a Lipschitz constant (Guo's and Neel's methods) is refused.
    """

    smoothness: ClassVar[None] = None
    lipschitz: ClassVar[None] = None
    third: ClassVar[None] = None

    def outputs(self) -> tuple[int, ...]:
        """One score."""
        return ()

    def check(self, targets: NDArray[Any]) -> None:
        """Targets are not negative."""
        _check(np.isfinite(targets) & (targets >= 0), "a number that is not negative")

    def value(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The loss exp(z) - yz."""
        with np.errstate(over="ignore"):  # too long a step: the solver takes a shorter one
            return np.asarray(np.exp(scores) - targets * scores)

    def slope(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The slope exp(z) - y."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(scores) - targets)

    def curvature(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The rate exp(z)."""
        del targets
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(scores))

    def slope_error(self, scores: Floats, slopes: Floats, errors: Floats) -> Floats:
        """By the rate itself: exp(z + e) - exp(z) = exp(z)(exp(e) - 1)."""
        with np.errstate(over="ignore"):
            rates = np.exp(scores)
            # expm1(2e) is more than expm1(e) for a computed rate that may be too small
            return rates * (np.expm1(2 * errors) + TRANSCENDENTAL) + 2 * UNIT * np.abs(slopes)


@dataclass(frozen=True, slots=True)
class Huber:
    """r²/2 for |r| ≤ κ, else κ(|r| - κ/2), with r = z - y; y is any finite number.

    Attributes:
        knee: κ, where the loss becomes a straight line. Unit: target.
    """

    knee: float = 1.0

    smoothness: ClassVar[float] = 1.0
    third: ClassVar[None] = None  # the curvature jumps

    def __post_init__(self) -> None:
        if not 0 < self.knee < math.inf:
            raise InputError(f"`knee` must be positive and finite, got {self.knee}.")

    @property
    def lipschitz(self) -> float:
        """The knee: beyond it the slope does not grow."""
        return self.knee

    def outputs(self) -> tuple[int, ...]:
        """One score."""
        return ()

    def check(self, targets: NDArray[Any]) -> None:
        """Targets are finite."""
        _check(np.isfinite(targets), "a finite number")

    def value(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The loss: a parabola up to the knee, then straight lines."""
        size = np.abs(scores - targets)
        return np.asarray(
            np.where(size <= self.knee, size**2 / 2, self.knee * (size - self.knee / 2))
        )

    def slope(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """The residual, cut at the knee."""
        return np.asarray(np.clip(scores - targets, -self.knee, self.knee))

    def curvature(self, scores: Floats, targets: NDArray[Any]) -> Floats:
        """1 up to the knee, 0 beyond."""
        return np.asarray(np.abs(scores - targets) <= self.knee, np.float64)

    def slope_error(self, scores: Floats, slopes: Floats, errors: Floats) -> Floats:
        """By the smoothness."""
        del scores
        return errors + 2 * UNIT * np.abs(slopes)


def _softmax(scores: Floats) -> Floats:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _check_signs(targets: NDArray[Any]) -> None:
    _check(np.abs(targets) == 1, "-1 or +1")


def _check(fine: NDArray[Any], expected: str) -> None:
    if not fine.all():
        raise InputError(
            f"{int((~fine).sum()):,} of {len(fine):,} targets cannot be used: each must be {expected}."
        )
