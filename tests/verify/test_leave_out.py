"""The harness says what it measured, and None where that is nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from expunge.core import rng
from expunge.core.errors import InputError
from expunge.verify import leave_out
from expunge.verify.leave_out import Fitted, Group
from expunge.verify.statistics import mean_over_outputs, pearson, ranks, spearman

N, FEATURES, OUTPUTS = 120, 3, 4
SIZES = ("1", "10", "1%", "5%")
DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(N, FEATURES)), DRAW.normal(size=N)
PROBES = DRAW.normal(size=(OUTPUTS, FEATURES))
CLASSES = np.repeat([0, 1, 2], N // 3)


def ridge(mask: NDArray[np.bool_], noise: float = 0.0, seed: int = 0) -> Fitted:
    x, y = X[~mask], Y[~mask]
    weights = np.linalg.solve(x.T @ x + np.eye(FEATURES), x.T @ y)
    draw = np.random.default_rng(rng.seed(seed, mask.tobytes().hex()))
    weights = weights + noise * draw.normal(size=FEATURES)
    return Fitted(PROBES @ weights, weights)


def change(mask: NDArray[np.bool_]) -> Fitted:
    then, now = ridge(mask), ridge(np.zeros(N, dtype=bool))
    return Fitted(then.outputs - now.outputs, then.parameters - now.parameters)  # type: ignore[operator]


def drawn(count: int = 4) -> list[Group]:
    groups = leave_out.groups(SIZES, count, 7, classes=CLASSES, features=X)
    return groups + leave_out.subsets(N, 6, 7)


def test_a_perfect_prediction_is_perfect() -> None:
    found = leave_out.measure(lambda mask, _: ridge(mask), change, drawn(), seeds=(0, 1))

    assert len(found.rows) == 3 * len(SIZES) + 1
    for row in found.rows:
        assert row.pearson == pytest.approx(1)
        assert row.spearman == pytest.approx(1)
        assert row.parameter_error == pytest.approx(0, abs=1e-9)
        assert row.ceiling_pearson == pytest.approx(1)
        assert row.spread > 0
    assert found.lds == pytest.approx(1)


def test_predicting_nothing_is_undefined_and_as_wrong_as_doing_nothing() -> None:
    nothing = Fitted(np.zeros(OUTPUTS), np.zeros(FEATURES))
    found = leave_out.measure(lambda mask, _: ridge(mask), lambda _: nothing, drawn(), seeds=(0,))
    for row in found.rows:
        assert (row.pearson, row.spearman) == (None, None)
        assert row.parameter_error == pytest.approx(1)
        assert (row.ceiling_pearson, row.ceiling_spearman) == (None, None)


def test_the_wrong_sign_is_seen() -> None:
    def opposite(mask: NDArray[np.bool_]) -> Fitted:
        return Fitted(-change(mask).outputs)

    found = leave_out.measure(lambda mask, _: ridge(mask), opposite, drawn(), seeds=(0,))
    assert all(row.pearson == pytest.approx(-1) for row in found.rows)
    assert all(row.parameter_error is None for row in found.rows)


def test_noise_lowers_the_ceiling_and_the_figure_with_it() -> None:
    groups = leave_out.groups(["10"], 60, 7, classes=CLASSES)

    def at(noise: float) -> leave_out.Row:
        seeds = range(4)
        return leave_out.measure(
            lambda mask, seed: ridge(mask, noise, seed), change, groups, seeds
        ).rows[0]

    little, much = at(0.002), at(1.0)
    for row in (little, much):
        assert row.pearson is not None
        assert row.ceiling_pearson is not None
        # Whoever knows the mean reaches the root of what two retrainings agree on.
        assert row.pearson == pytest.approx(math.sqrt(max(0, row.ceiling_pearson)), abs=0.2)
    assert little.ceiling_pearson > 0.9  # type: ignore[operator]
    assert much.ceiling_pearson < 0.3  # type: ignore[operator]


def test_known_answer() -> None:
    # Two groups of one output: changes 1 and 3, predicted 2 and 5; θ moved by 2, missed by 1.
    masks = [np.array([True, False, False]), np.array([False, True, False])]
    groups = [Group("random", "1", mask) for mask in masks]

    def retrain(mask: NDArray[np.bool_], _: int) -> Fitted:
        moved = float(mask[0]) + 3 * float(mask[1])
        return Fitted(np.array([moved]), np.array([2.0 if mask.any() else 0.0]))

    def predict(mask: NDArray[np.bool_]) -> Fitted:
        return Fitted(np.array([2.0 if mask[0] else 5.0]), np.array([1.0]))

    (row,) = leave_out.measure(retrain, predict, groups, seeds=(0,)).rows

    assert (row.pearson, row.spearman, row.parameter_error) == pytest.approx((1, 1, 0.5))
    assert row.spread == pytest.approx(math.sqrt((1 + 9) / 2))


def test_groups_are_what_they_are_called() -> None:
    groups = leave_out.groups(SIZES, 6, 1, classes=CLASSES, features=X)
    sizes = {"1": 1, "10": 10, "1%": 1, "5%": 6}
    for group in groups:
        assert group.mask.sum() == sizes[group.size]
        if group.kind == "class":
            assert len(set(CLASSES[group.mask])) == 1
    apart: dict[str, Any] = {
        kind: np.mean(
            [X[g.mask].std(axis=0).mean() for g in groups if g.kind == kind and g.size == "10"]
        )
        for kind in ("random", "cluster")
    }
    assert apart["cluster"] < 0.8 * apart["random"]
    assert len({g.mask.tobytes() for g in groups if g.size == "10"}) == 18


def test_groups_depend_on_the_key_alone() -> None:
    first, second = drawn(), drawn()
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.mask, two.mask)
    # More groups, or other sizes, leave those that were there as they were.
    more = leave_out.groups(["10"], 9, 7, classes=CLASSES)
    fewer = [g for g in first if g.kind == "random" and g.size == "10"]
    assert [g.mask.tobytes() for g in more[:4]] == [g.mask.tobytes() for g in fewer]
    other = leave_out.groups(["10"], 9, 8, classes=CLASSES)
    assert not np.array_equal(other[0].mask, more[0].mask)


def test_clusters_of_equal_rows_are_found_and_no_more() -> None:
    rows = np.repeat([[0.0, 0.0], [9.0, 9.0]], 60, axis=0)
    groups = leave_out.groups(["10"], 8, 1, classes=np.zeros(N, dtype=np.int64), features=rows)
    for group in groups:
        if group.kind == "cluster":
            assert len({row.tobytes() for row in rows[group.mask]}) == 1


def test_subsets_leave_half_out() -> None:
    masks = [group.mask for group in leave_out.subsets(N, 5, 3)]
    assert {int(mask.sum()) for mask in masks} == {N // 2}
    assert len({mask.tobytes() for mask in masks}) == 5


def test_results_are_plain() -> None:
    found = leave_out.measure(lambda mask, _: ridge(mask), change, drawn(2), seeds=(0, 1))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["seeds"] == 2
    assert plain["outputs"] == OUTPUTS
    assert plain["rows"][0]["kind"] == "random"
    assert [row["size"] for row in plain["rows"][:4]] == list(SIZES)


@pytest.mark.parametrize(
    "make",
    [
        lambda: leave_out.groups(["0"], 1, 1, classes=CLASSES),
        lambda: leave_out.groups(["120"], 1, 1, classes=CLASSES),
        lambda: leave_out.groups(["50"], 1, 1, classes=CLASSES),  # no class is as large
        lambda: leave_out.groups(["some"], 1, 1, classes=CLASSES),
        lambda: leave_out.subsets(N, 1, 1, share=1.0),
        lambda: leave_out.measure(lambda m, _: ridge(m), change, [], (0,)),
        lambda: leave_out.measure(lambda m, _: ridge(m), change, drawn(), ()),
        lambda: leave_out.measure(lambda m, _: ridge(m), change, drawn(), (1, 1)),
        lambda: leave_out.measure(
            lambda m, _: ridge(m), change, [*drawn(), Group("random", "1", np.ones(3, bool))], (0,)
        ),
        lambda: leave_out.measure(
            lambda m, _: ridge(m), lambda _: Fitted(np.zeros(1)), drawn(), (0,)
        ),
        lambda: Fitted(np.array([1.0, np.nan])),
        lambda: Fitted(np.ones(1), np.array([np.inf])),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(-5, 5).map(float), st.floats(-1e100, 1e100)), min_size=2, max_size=20
    )
)
def test_correlations_are_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    import scipy.stats

    a, b = np.array(pairs).T
    np.testing.assert_array_equal(ranks(a), scipy.stats.rankdata(a))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) is None
    else:
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b)[0], abs=1e-12)
    scaled = b / (np.abs(b).max() or 1)
    if len(set(a)) > 1 and scaled.std() > 1e-3:
        assert pearson(a, b) == pytest.approx(scipy.stats.pearsonr(a, scaled)[0], abs=1e-9)


def test_what_is_not_finite_or_constant_has_no_correlation() -> None:
    a, b = np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.0, 3.0])
    assert pearson(a, b) is None
    assert spearman(a, b) is None
    assert pearson(b[:1], b[:1]) is None
    both = np.stack([b, np.ones(3)], axis=1)
    assert mean_over_outputs(pearson, both, both) == pytest.approx(1)
    assert mean_over_outputs(pearson, both[:, 1:], both[:, 1:]) is None
