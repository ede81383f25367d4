"""LiRA: fair to models that never saw a row, and far ahead of one threshold on those that did."""

from __future__ import annotations

import numpy as np
import pytest
from draws import halves, normal
from scipy import stats

from expunge.core.errors import InputError
from expunge.metrics import lira, roc, signals
from expunge.metrics.arrays import Labels, Mask, Numbers
from expunge.metrics.moderated import Variance

ROWS = 3000
VARIANCES: list[Variance] = ["row", "global", "moderated"]


def population(effect: float = 2.0, models: int = 16) -> tuple[Numbers, Mask]:
    """Signals of shadow models about rows of unequal difficulty, higher where they are inside."""
    member = halves(models, ROWS)
    return 3 * normal(ROWS, about="hard") + normal(models, ROWS, about=1) + effect * member, member


def fresh(shift: float = 0.0) -> Numbers:
    return 3 * normal(ROWS, about="hard") + normal(ROWS, about="target") + shift


@pytest.mark.parametrize("variance", VARIANCES)
def test_a_model_that_never_saw_the_rows_has_uniform_p_values(variance: Variance) -> None:
    chances = lira.p_values(fresh(), *population(), variance)
    assert stats.kstest(chances, "uniform").statistic < 0.03
    assert np.mean(chances < 0.01) == pytest.approx(0.01, abs=0.006)
    assert np.mean(lira.unlikely(chances) < 0.05) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("attack", [lira.online, lira.offline])
def test_forgotten_as_if_never_seen_is_chance_and_not_forgotten_is_not(
    attack: object, variance: Variance
) -> None:
    assert callable(attack)
    shadows, member = population()
    forgot = np.arange(ROWS) < ROWS // 2
    retrained = attack(fresh(), shadows, member, variance)
    low, high = roc.auc_interval(
        roc.auc(retrained[forgot], retrained[~forgot]), forgot.sum(), (~forgot).sum()
    )
    assert low <= 0.5 <= high
    untouched = attack(np.where(forgot, fresh(2.0), fresh()), shadows, member, variance)
    assert roc.auc(untouched[forgot], untouched[~forgot]) > 0.85


@pytest.mark.parametrize("variance", VARIANCES)
def test_rows_that_were_pushed_away_are_seen_offline(variance: Variance) -> None:
    forgot = np.arange(ROWS) < ROWS // 2
    scores = lira.offline(np.where(forgot, fresh(-3.0), fresh()), *population(), variance)
    area = roc.auc(scores[forgot], scores[~forgot])
    assert area < 0.15
    assert roc.two_sided(area) > 0.85


def test_online_by_hand() -> None:
    shadows = np.array([[1.0], [3.0], [7.0], [9.0]])
    member = np.array([[False], [False], [True], [True]])
    inside = stats.t(1, loc=8, scale=np.sqrt(2 * 1.5))
    outside = stats.t(1, loc=2, scale=np.sqrt(2 * 1.5))
    expected = inside.logpdf(6.0) - outside.logpdf(6.0)
    assert lira.online([6.0], shadows, member, "row") == pytest.approx([expected])
    assert lira.offline([6.0], shadows, member, "row") == pytest.approx([-outside.logsf(6.0)])


def test_offline_ignores_models_that_saw_the_row() -> None:
    shadows, member = population()
    other = np.where(member, 1e6, shadows)
    np.testing.assert_array_equal(
        lira.offline(fresh(), shadows, member), lira.offline(fresh(), other, member)
    )


def test_rows_do_not_depend_on_the_scale_of_the_signal() -> None:
    shadows, member = population()
    np.testing.assert_allclose(
        lira.online(fresh(), shadows, member),
        lira.online(1000 * fresh() + 5, 1000 * shadows + 5, member),
        atol=1e-6,
    )


def test_hits_and_misses_are_refused() -> None:
    member = halves(8, 20)
    with pytest.raises(InputError, match="hits and misses"):
        lira.online(np.ones(20), (normal(8, 20) > 0).astype(float), member)


def test_shapes_that_do_not_fit_are_refused() -> None:
    shadows, member = population()
    with pytest.raises(InputError, match="same rows"):
        lira.offline(fresh()[:-1], shadows, member)
    with pytest.raises(InputError, match="member"):
        lira.offline(fresh(), shadows, member[:-1])
    with pytest.raises(InputError, match="member"):
        lira.offline(fresh(), shadows, member.astype(float))


def noisy(rows: int) -> tuple[Numbers, Labels]:
    """Four classes by a linear rule; a fifth of the labels says something else."""
    x = normal(rows, 8, about="x")
    labels = (x @ normal(8, 4, about="rule")).argmax(axis=1)
    return x, np.where(normal(rows, about="flip") < -0.84, (labels + 1) % 4, labels)


def test_sixteen_shadows_are_far_ahead_of_one_threshold() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    x, labels = noisy(4000)
    # Sixteen shadows, and a seventeenth to attack; each memorises half of the rows.
    member = np.concatenate([halves(16, 4000), halves(2, 4000, about="target")[:1]])
    shares = [
        ensemble.RandomForestClassifier(30, random_state=model)
        .fit(x[inside], labels[inside])
        .predict_proba(x)
        for model, inside in enumerate(member)
    ]
    # A forest of 30 has zeros; half a vote for each class keeps phi apart from its floor.
    told = np.array([signals.phi((share * 30 + 0.125) / 30.5, labels) for share in shares])
    truth = member[16]
    plain = signals.confidence(shares[16], labels)
    baseline = roc.tpr_at(plain[truth], plain[~truth], 0.001)
    for attack in (lira.online, lira.offline):
        scores = attack(told[16], told[:16], member[:16])
        rate = roc.tpr_at(scores[truth], scores[~truth], 0.001)
        assert rate.allowed >= 1
        assert rate.low > 3 * baseline.high


def test_one_fit_serves_several_attacked_models() -> None:
    fit = lira.outside(*population())
    np.testing.assert_array_equal(fit.surprise(fresh(1.0)), lira.offline(fresh(1.0), *population()))
