"""Counts of n-grams at hashed places."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role
from expunge.learners.features.ngrams import NGrams

TEXT = Column("text", Role.FEATURE, Kind.TEXT, "str")
TITLE = Column("title", Role.FEATURE, Kind.TEXT, "str")
AGE = Column("age", Role.FEATURE, Kind.NUMERIC, "float64", low=0, high=100)
WIDE = 1 << 20  # so wide that no two n-grams of these tests share a place


def counts(features, *texts):
    integers = features.integers((TEXT,), {"text": np.array(texts, object)})
    return [sorted(row[row > 0].tolist()) for row in integers]


def test_known_answer():
    # so ×3, good, so good, good so, so so
    assert counts(NGrams(WIDE, words=(1, 2)), "So good, so SO.", "", "!?") == [
        [1, 1, 1, 1, 3],
        [],
        [],
    ]
    # " a", "ab", "b " and " ab", "ab "
    assert counts(NGrams(WIDE, words=None, characters=(2, 3)), "ab AB") == [[2] * 5]
    assert counts(NGrams(WIDE, words=(1, 1), characters=(2, 2)), "ab") == [[1] * 4]


def test_greater_counts_are_clipped():
    often = " ".join(["so"] * 100)
    assert counts(NGrams(WIDE, words=(1, 1)), often) == [[15]]
    assert counts(NGrams(WIDE, words=(1, 1), bits=1), often) == [[1]]
    assert counts(NGrams(WIDE, words=(1, 1), bits=15), often) == [[100]]


def test_n_grams_that_share_a_place_are_added():
    assert counts(NGrams(1, words=(1, 2)), "one two three") == [[5]]


def test_columns_have_places_of_their_own_and_stay_there():
    cells = {"text": np.array(["good"], object), "title": np.array(["good film"], object)}
    features = NGrams(WIDE, words=(1, 1))
    both = features.integers((TEXT, TITLE), cells)
    assert both.sum() == 3
    assert both.max() == 1
    np.testing.assert_array_equal(both, features.integers((TITLE, TEXT), cells))


def test_another_seed_has_other_places():
    cells = {"text": np.array(["good"], object)}
    first, second = (NGrams(WIDE, seed=seed).integers((TEXT,), cells) for seed in (0, 1))
    assert first.argmax() != second.argmax()


def test_places_do_not_depend_on_the_hash_seed_of_the_process():
    code = (
        "import numpy as np; from expunge.core.types import Column, Kind, Role;"
        "from expunge.learners.features.ngrams import NGrams;"
        "c = Column('t', Role.FEATURE, Kind.TEXT, 'str');"
        "print(NGrams(64).integers((c,), {'t': np.array(['so good a film'], object)}).tolist())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("columns", "words"), [((), "no feature columns"), ((TEXT, AGE), "`columns`")]
)
def test_what_holds_no_text_is_refused_with_advice(columns, words):
    with pytest.raises(RecipeInvalid, match=words):
        NGrams().width(columns)


@pytest.mark.parametrize(
    "fields",
    [
        {"features": 0},
        {"bits": 0},
        {"words": (0, 1)},
        {"words": (2, 1)},
        {"words": (1,)},
        {"words": 2},
        {"characters": (1.0, 2)},
        {"characters": None, "words": None},
    ],
)
def test_fields_that_make_no_sense_are_refused(fields):
    with pytest.raises(RecipeInvalid, match=next(iter(fields))):
        NGrams(**fields)
