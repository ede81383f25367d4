"""What a release costs: epsilon and delta of Gaussian noise and of dithered rounding.

A release of Gaussian noise σ around two centres at most Δ apart is described by one number,
μ = Δ/σ: the two are as hard to tell apart as N(0, 1) and N(μ, 1). Dithered rounding to a grid
has epsilon = 0, and delta is the chance that the two round differently.

Nothing here is sampled. All functions are of scalars and cost less than a millisecond.

References:
    Balle and Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018,
    arXiv:1805.06530, theorem 8. Dong, Roth and Su, "Gaussian Differential Privacy", JRSS-B 2022,
    arXiv:1905.02383, corollary 2 (composition, adaptive). Guo, Goldstein, Hannun and van der
    Maaten, "Certified Data Removal from Machine Learning Models", ICML 2020,
    arXiv:1911.03030, theorem 3. Neel, Roth and Sharifi-Malvajerdi, "Descent-to-Delete", ALT
    2021, arXiv:2007.02923.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from scipy import special

from expunge.core.errors import GuaranteeUnproved, InputError

DITHER_BITS: Final = 64
_OUTWARD: Final = 1 + 1e-9  # what is computed in floating point is rounded to the safe side
_LOG_STEPS: Final = np.arange(-38.0, 4.5, 1 / 16)
_SQRT_HALF_PI_LOG: Final = 0.5 * math.log(2 * math.pi)


def gaussian_log_delta(epsilon: float, mu: float) -> float:
    """Natural logarithm of the δ of a Gaussian release, -inf for μ = 0.

    δ = Φ(μ/2 - ε/μ) - e^ε Φ(-μ/2 - ε/μ).

    Relative error of δ below 1e-9 while |ε/μ - μ/2| ≤ 1e3, so also where δ underflows.

    Both terms are nearly equal in the tail, so they are not subtracted: with
    a = ε/μ - μ/2, δ = φ(a) ∫₀^∞ exp(-as - s²/2) (1 - exp(-μs)) ds, whose integrand is positive.

    Raises:
        InputError: ``epsilon`` or ``mu`` is negative, or not finite.
    """
    _need(0 <= epsilon < math.inf, f"`epsilon` must be at least 0 and finite, got {epsilon}.")
    _need(0 <= mu < math.inf, f"`mu` must be at least 0 and finite, got {mu}.")
    if mu == 0:
        return -math.inf
    a = epsilon / mu - mu / 2
    if a > 1e100:  # δ is below exp(-10¹⁹⁹), which no float's logarithm needs
        return -math.inf
    if a <= -2:  # δ > 0.9: nothing cancels, and the integrand would be too narrow
        second = math.exp(-a * a / 2) / math.sqrt(2 * math.pi) * _mills(a + mu)
        return math.log(float(special.ndtr(-a)) - second)
    return -a * a / 2 - _SQRT_HALF_PI_LOG + math.log(_positive_integral(a, mu))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """δ at ``epsilon`` of a Gaussian release; see :func:`gaussian_log_delta`."""
    return math.exp(gaussian_log_delta(epsilon, mu))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The largest μ (to 1e-9, rounded down) whose release is (ε, δ)-indistinguishable.

    The noise it asks for is σ = Δ/μ, for centres at most Δ apart.

    Raises:
        InputError: ``delta`` is not within (0, 1), or ``epsilon`` is negative.
    """
    _need(0 < delta < 1, f"`delta` must lie between 0 and 1, got {delta}.")
    wanted = math.log(delta)
    found = _last_true(lambda mu: gaussian_log_delta(epsilon, mu) <= wanted)
    return found / _OUTWARD


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest ε (to 1e-9, rounded up) at which a Gaussian release has ``delta``.

    Raises:
        InputError: ``delta`` is not within (0, 1), or ``mu`` is negative.
    """
    _need(0 < delta < 1, f"`delta` must lie between 0 and 1, got {delta}.")
    wanted = math.log(delta)
    if gaussian_log_delta(0, mu) <= wanted:
        return 0.0
    found = _last_true(lambda epsilon: gaussian_log_delta(epsilon, mu) > wanted)
    return found * _OUTWARD**2


def gaussian_composed(mus: Iterable[float]) -> float:
    """μ of several Gaussian releases together: the root of the sum of squares.

    Holds as well when a later release is asked for in the light of earlier ones.
    """
    return math.hypot(*mus) * _OUTWARD


def dithered_delta(distance: float, grid: float, parameters: int) -> float:
    """δ at ε = 0 of dithered rounding, for two vectors at most ``distance`` apart.

    A coordinate rounds differently with probability |w - w'|/g, if the dither is uniform and
    shared; summed, ‖w - w'‖₁/g ≤ √d ‖w - w'‖₂/g. Our dither has :data:`DITHER_BITS` bits, which
    costs 2⁻⁶⁴ per coordinate.

    Args:
        distance: Bound on ‖w - w'‖₂. Unit: weight.
        grid: Distance g between two published values. Unit: weight.
        parameters: Number d of coordinates.
    """
    _need(0 <= distance < math.inf, f"`distance` must be finite, got {distance}.")
    _need(0 < grid < math.inf, f"`grid` must be positive and finite, got {grid}.")
    _need(parameters > 0, f"There must be at least one parameter, got {parameters}.")
    rounds_apart = math.sqrt(parameters) * distance / grid
    return min((rounds_apart + parameters * 2.0**-DITHER_BITS) * _OUTWARD, 1.0)


def dithered_composed(deltas: Iterable[float]) -> float:
    """δ of several dithered releases together, at ε = 0: their sum, at most 1."""
    return min(math.fsum(deltas) * _OUTWARD, 1.0)


def guo_constant(delta: float) -> float:
    """Guo et al.'s c = √(2 ln(1.5/δ)), theorem 3."""
    _need(0 < delta < 1, f"`delta` must lie between 0 and 1, got {delta}.")
    return math.sqrt(2 * math.log(1.5 / delta))


def guo_budget(sigma: float, epsilon: float, delta: float) -> float:
    """The gradient residual σε/c that a loss perturbation of ``sigma`` hides.

    Args:
        sigma: Standard deviation of the perturbation. Unit: of the gradient (of the sum).
        epsilon: Of the guarantee.
        delta: Of the guarantee.

    Raises:
        GuaranteeUnproved: The constant does not hold for so large an ``epsilon``: a shift of
            ε/c standard deviations costs more than ``delta``.
    """
    _need(0 < sigma < math.inf, f"`sigma` must be positive and finite, got {sigma}.")
    _need(0 < epsilon < math.inf, f"`epsilon` must be positive and finite, got {epsilon}.")
    share = epsilon / guo_constant(delta)
    if gaussian_delta(epsilon, share) > delta:
        raise GuaranteeUnproved(
            f"Guo et al.'s constant √(2 ln(1.5/δ)) is too small for epsilon = {epsilon:g}",
            "a smaller epsilon, or output noise by the analytic Gaussian mechanism",
        )
    return sigma * share


def descent_shift(contraction: float, iterations: int, moved: float) -> float:
    """How far descent stays from the minimiser: γᴵ·moved/(1 - γᴵ). Unit: weight.

    Args:
        contraction: γ = (L - m)/(L + m), by which one iteration shortens the distance.
        iterations: I, per update.
        moved: Bound on how far one update moves the minimiser. Unit: weight.
    """
    _need(0 <= contraction < 1, f"`contraction` must lie in [0, 1), got {contraction}.")
    _need(iterations > 0, f"`iterations` must be positive, got {iterations}.")
    kept = contraction**iterations
    return float(moved * kept / -special.expm1(iterations * math.log(max(contraction, 1e-300))))


def descent_sigma(shift: float, epsilon: float, delta: float) -> float:
    """Noise that hides twice ``shift``: √2·shift/(√(ln(1/δ) + ε) - √ln(1/δ)).

    Neel et al. print 4√2 M γᴵ/(m n (1 - γᴵ)(…)). That is this with ``moved`` = 4M/(mn) in
    :func:`descent_shift`: half of the n samples may leave. Twice, because both the model that
    forgot and the one that is trained afresh are ``shift`` away from the minimiser.
    """
    _need(0 < delta < 1, f"`delta` must lie between 0 and 1, got {delta}.")
    _need(0 < epsilon < math.inf, f"`epsilon` must be positive and finite, got {epsilon}.")
    tail = math.log(1 / delta)
    # (√(t + ε) - √t) without cancellation
    root = epsilon / (math.sqrt(tail + epsilon) + math.sqrt(tail))
    return math.sqrt(2) * shift / root


def _positive_integral(a: float, mu: float) -> float:
    """∫₀^∞ exp(-as - s²/2) (1 - exp(-μs)) ds by the trapezoid rule in ln s.

    The integrand is analytic within |Im ln s| < π/4, so the rule's error falls as
    exp(-2π·(π/4)/h), which is 1e-34 for its step h = 1/16.
    """
    s = np.exp(_LOG_STEPS) / max(a, 1.0)
    terms = np.exp(-a * s - s * s / 2) * -np.expm1(-mu * s) * s
    return math.fsum(terms) / 16


def _mills(x: float) -> float:
    """(1 - Φ(x))/φ(x)."""
    return float(math.sqrt(math.pi / 2) * special.erfcx(x / math.sqrt(2)))


def _last_true(holds: Callable[[float], bool]) -> float:
    """The largest positive number, to a part in 10¹⁰ and from below, at which ``holds``."""
    low, high = 1.0, 1.0
    while holds(high):
        high *= 2
    while not holds(low):
        low /= 2
    while high > low * (1 + 1e-10):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)
