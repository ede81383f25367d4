"""Canaries, backdoors and relearning: their ideal on retrained models, and where something is left."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.verify import score_audit, score_planted, scores
from expunge.verify.report import Check
from expunge.verify.score_plan import Plan


def check(name: str, arrays: dict[str, object], plan: Plan | None = None) -> Check:
    found = score_audit.audit(scores.of(arrays), "made up", plan)
    (one,) = [one for one in found.checks if one.name == name]
    return one


def canaries(shift: float, count: int = 200, seed: int = 0) -> dict[str, object]:
    draw = np.random.default_rng(seed)
    return {"canaries": draw.normal(shift, 1, count), "references": draw.normal(0, 1, 2000)}


def hits(rate: float, never: float, count: int = 1500, seed: int = 0) -> dict[str, object]:
    draw = np.random.default_rng(seed)
    return {
        "backdoor_hits": (draw.uniform(size=count) < rate).astype(int),
        "backdoor_never": (draw.uniform(size=count) < never).astype(int),
    }


def steps(mean: float, runs: int = 40, seed: int = 0) -> dict[str, object]:
    draw = np.random.default_rng(seed)
    return {
        "relearn_served": draw.poisson(mean, runs),
        "relearn_retrained": draw.poisson(20, runs),
    }


@pytest.mark.parametrize(
    ("name", "arrays", "verdict"),
    [
        ("canary-exposure", canaries(0.0), "passed"),
        ("canary-exposure", canaries(1.5), "failed"),
        ("canary-exposure", canaries(-3.0), "failed"),
        ("canary-exposure", canaries(0.0, 5), "inconclusive"),
        ("backdoor-hits", hits(0.1, 0.1), "passed"),
        ("backdoor-hits", hits(0.9, 0.1), "failed"),
        ("backdoor-hits", hits(0.1, 0.1, 30), "inconclusive"),
        ("relearn-time", steps(20), "passed"),
        ("relearn-time", steps(5), "failed"),
        ("relearn-time", steps(80), "failed"),
        ("relearn-time", steps(20, 3), "inconclusive"),
    ],
)
def test_each_says_what_it_should(name: str, arrays: dict[str, object], verdict: str) -> None:
    assert check(name, arrays).verdict == verdict


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10_000))
def test_models_that_never_learnt_what_was_planted_hardly_ever_fail(seed: int) -> None:
    verdicts = [
        check("canary-exposure", canaries(0.0, 60, seed)).verdict,
        check("backdoor-hits", hits(0.1, 0.1, 600, seed)).verdict,
        check("relearn-time", steps(20, 10, seed)).verdict,
    ]
    assert "failed" not in verdicts


def test_the_ideal_exposure_by_hand() -> None:
    # Of two references, a secret that was never there has ranks 1, 2, 3: log2(3) − 0, 1, log2(3).
    ideal, spread = score_planted._by_chance(3)
    bits = [math.log2(3), math.log2(3) - 1, 0.0]
    assert ideal == pytest.approx(sum(bits) / 3)
    assert spread == pytest.approx(np.std(bits))


def test_who_is_first_of_all_is_most_exposed() -> None:
    arrays = {"canaries": [9.0] * 50, "references": np.arange(7.0).tolist()}
    one = check("canary-exposure", arrays)
    assert one.value == pytest.approx(3.0)  # log2(8) − log2(1)
    assert one.verdict == "failed"


def test_a_run_that_never_got_there_is_inconclusive_and_says_so() -> None:
    one = check("relearn-time", {"relearn_served": [3, -1], "relearn_retrained": [4, 5]})
    assert one.verdict == "inconclusive"
    assert "Relearn for longer" in one.why
    same = check("relearn-time", {"relearn_served": [3, 3], "relearn_retrained": [3, 3]})
    assert "No run differs" in same.why
    few = check("relearn-time", {"relearn_served": [3], "relearn_retrained": [4, 5]})
    assert "two runs" in few.why


def test_hits_are_ones_and_noughts() -> None:
    one = check("backdoor-hits", {"backdoor_hits": [0.5, 1], "backdoor_never": [0, 1]})
    assert one.verdict == "inconclusive"
    assert "hits (1) and misses (0)" in one.why


def test_counts_are_counts_whatever_the_kind_of_scores() -> None:
    found = scores.of({"relearn_served": [3, 4], "canaries": [1.0], "references": [2.0]}, "loss")
    assert found.arrays["relearn_served"].tolist() == [3, 4]
    assert found.arrays["canaries"].tolist() == [-1.0]


@pytest.mark.parametrize("field", ["bits", "speed"])
def test_margins_are_positive(field: str) -> None:
    with pytest.raises(InputError, match=field):
        Plan(**{field: 0.0})
