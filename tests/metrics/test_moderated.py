"""Variances of rows from few models: none makes a model that never saw a row look guilty."""

from __future__ import annotations

import numpy as np
import pytest
from draws import halves, normal
from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import moderated
from expunge.metrics.moderated import Variance

ALL = np.ones((8, 1), dtype=np.bool_)


def test_a_rows_own_variance_by_hand() -> None:
    signals = np.array([[1.0], [2.0], [3.0], [1.0], [2.0], [3.0], [1.0], [3.0]])
    fit = moderated.fit(signals, ALL, "row")
    scale = signals.std(ddof=1) * np.sqrt(9 / 8)
    assert (fit.mean[0], fit.scale[0], fit.freedom[0]) == pytest.approx((2.0, scale, 7))
    theirs = stats.t(7, loc=2, scale=scale)
    assert fit.log_density(np.array([4.0])) == pytest.approx([theirs.logpdf(4.0)])
    assert fit.surprise(np.array([4.0])) == pytest.approx([-theirs.logsf(4.0)])


def test_a_common_variance_is_a_normal() -> None:
    fit = moderated.fit(normal(8, 50), np.ones((8, 50), dtype=np.bool_), "global")
    theirs = stats.norm(fit.mean, fit.scale)
    far = fit.mean + 20
    np.testing.assert_allclose(fit.log_density(far), theirs.logpdf(far))
    np.testing.assert_allclose(fit.surprise(far), -theirs.logsf(far))
    assert len(set(fit.scale.tolist())) == 1


@pytest.mark.parametrize("variance", ["row", "moderated"])
def test_surprise_is_as_rare_as_it_says(variance: Variance) -> None:
    rows = 20_000
    # Rows differ in their spread: a common variance would be wrong for most.
    spread = np.exp(normal(rows, about=1))
    fit = moderated.fit(spread * normal(8, rows, about=2), np.ones((8, rows), bool), variance)
    chances = np.exp(-fit.surprise(spread * normal(rows, about=3)))
    for level in (0.01, 0.1, 0.5):
        assert np.mean(chances <= level) == pytest.approx(level, abs=0.4 * level)


def test_the_strength_of_the_prior_is_found() -> None:
    rows, freedom = 20_000, 7
    alike = (normal(freedom, rows, about=4) ** 2).sum(axis=0)
    assert moderated.strength(alike, np.full(rows, freedom))[0] > 50
    # Variances that are 6 / chi²(6) have, by definition, a strength of 6 about 1.
    prior = 6 / (normal(6, rows, about=5) ** 2).sum(axis=0)
    strength, centre = moderated.strength(alike * prior, np.full(rows, freedom, dtype=float))
    assert strength == pytest.approx(6, rel=0.1)
    assert centre == pytest.approx(1, rel=0.05)


def test_models_that_agree_to_the_last_bit_have_a_variance_still() -> None:
    signals = np.concatenate([np.zeros((8, 1)), normal(8, 3)], axis=1)
    for variance in ("row", "global", "moderated"):
        fit = moderated.fit(signals, np.ones((8, 4), dtype=np.bool_), variance)
        assert np.isfinite(fit.log_density(np.ones(4))).all()
        assert (fit.scale > 0).all()
    constant = moderated.fit(np.zeros((8, 3)), np.ones((8, 3), dtype=np.bool_), "moderated")
    assert np.isfinite(constant.surprise(np.ones(3))).all()


def test_each_side_has_a_variance_of_its_own() -> None:
    member = halves(16, 400)
    signals = np.where(member, 5 + 0.1 * normal(16, 400), normal(16, 400, about=7))
    inside = moderated.fit(signals, member, "global").scale[0]
    outside = moderated.fit(signals, ~member, "global").scale[0]
    assert (inside, outside) == pytest.approx((0.1, 1.0), rel=0.15)


def test_a_row_without_models_is_refused() -> None:
    member = np.array([[True], [True], [False]])
    with pytest.raises(InputError, match="shadow models"):
        moderated.fit(normal(3, 1), ~member, "row")
    with pytest.raises(InputError, match="shadow models"):
        moderated.fit(normal(3, 1), np.zeros((3, 1), dtype=np.bool_), "global")
