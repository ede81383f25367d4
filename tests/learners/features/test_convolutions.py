"""Convolutions count in float32, so they must never count past 2²⁴."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.core.errors import RecipeInvalid
from expunge.core.types import Column, Kind, Role
from expunge.learners.features import convolutions
from expunge.learners.features.convolutions import Convolutions


def tensor(*shape, dtype="uint8"):
    return Column("image", Role.FEATURE, Kind.TENSOR, dtype, shape=shape)


def by_hand(features, images):
    """One patch at a time in Python's integers, but for the root."""
    images = images.reshape(*images.shape[:3], -1).astype(int)
    size, taps = features.size, features.size**2 * images.shape[3]
    bank = convolutions._bank(features.seed, size, images.shape[3], features.filters // 2)
    bank, top = bank.astype(int), features.top(())
    high = (images.shape[1] - size) // features.stride + 1
    wide = (images.shape[2] - size) // features.stride + 1
    grid = range(features.pool)
    rows = []
    for image in images:
        sums = np.zeros((features.pool, features.pool, 2, bank.shape[1]), dtype=int)
        counts = np.zeros((features.pool, features.pool), dtype=int)
        for i in range(high):
            for j in range(wide):
                a = max(g for g in grid if high * g // features.pool <= i)
                b = max(g for g in grid if wide * g // features.pool <= j)
                y, x = i * features.stride, j * features.stride
                patch = image[y : y + size, x : x + size].transpose(2, 0, 1).ravel()
                answer = patch @ bank
                sums[a, b] += np.stack([np.maximum(answer, 0), np.maximum(-answer, 0)])
                counts[a, b] += 1
        unit = counts[:, :, None, None] * (255 * 4 * taps**0.5) * features.full / top**2
        rows.append(np.minimum(np.rint(np.sqrt(sums / unit)), top).ravel())
    return np.array(rows, np.int16)


@pytest.mark.parametrize(
    ("features", "shape"),
    [
        (Convolutions(filters=6), (28, 28)),
        (Convolutions(filters=8, size=3, pool=2, stride=2, bits=10), (9, 12, 3)),
        (Convolutions(filters=4, size=2, pool=3, full=0.01), (5, 4, 1)),
        (Convolutions(filters=2, size=4, pool=1, bits=15), (4, 4)),
    ],
)
def test_known_answer(features, shape):
    images = np.random.default_rng(0).integers(0, 256, (5, *shape)).astype(np.uint8)
    images[0], images[1] = 0, 255
    found = features.integers((tensor(*shape),), {"image": images})
    np.testing.assert_array_equal(found, by_hand(features, images))
    assert found.any()


def test_the_greatest_sums_are_exact_in_float32():
    """The images that a filter answers most to, over patches enough to pass 2²⁴ many times."""
    bank = convolutions._bank(0, 6, 3, 8)
    for sign in (1, -1):
        extreme = np.where(sign * bank.T > 0, np.float32(255), np.float32(0))
        patches = np.repeat(extreme[:, None], 3000, axis=1)
        above, below = convolutions._sums(patches, bank, convolutions._group(bank))
        answers = patches.astype(np.int64) @ bank.astype(np.int64)
        np.testing.assert_array_equal(above, np.maximum(answers, 0).sum(axis=1))
        np.testing.assert_array_equal(below, np.maximum(-answers, 0).sum(axis=1))
        assert max(above.max(), below.max()) > 1 << 24


@pytest.mark.parametrize(("size", "channels"), [(2, 1), (6, 1), (6, 3), (11, 3), (32, 1)])
def test_no_group_of_answers_can_pass_what_float32_counts(size, channels):
    bank = convolutions._bank(0, size, channels, 64).astype(int)
    most = 255 * max(np.maximum(bank, 0).sum(axis=0).max(), np.maximum(-bank, 0).sum(axis=0).max())
    group = convolutions._group(bank.astype(np.float32))
    assert group >= 1
    assert group * most <= 1 << 24 < (group + 1) * most


def test_filters_are_small_whole_numbers_of_mean_zero():
    bank = convolutions._bank(0, 6, 1, 500)
    assert (bank == np.rint(bank)).all()
    assert np.abs(bank).max() <= 24
    assert abs(bank.std() - 4) < 0.1
    assert np.abs(bank.mean(axis=0)).max() < 0.5  # what rounding leaves


def test_more_filters_leave_the_first_ones_as_they_are():
    few, many = convolutions._bank(3, 6, 1, 5), convolutions._bank(3, 6, 1, 50)
    np.testing.assert_array_equal(few, many[:, :5])


def test_flat_pixels_and_columns_of_numbers_are_the_same_image():
    images = np.random.default_rng(1).integers(0, 256, (3, 6, 7)).astype(np.uint8)
    features = Convolutions(filters=4, size=3, pool=2)
    expected = features.integers((tensor(6, 7),), {"image": images})
    flat = Convolutions(filters=4, size=3, pool=2, shape=(6, 7))
    found = flat.integers((tensor(42),), {"image": images.reshape(3, 42)})
    np.testing.assert_array_equal(found, expected)
    names = [f"p{i}" for i in range(42)]
    columns = [Column(n, Role.FEATURE, Kind.NUMERIC, "int64", low=0, high=255) for n in names]
    cells = dict(zip(names, images.reshape(3, 42).T.astype(np.int64), strict=True))
    np.testing.assert_array_equal(flat.integers(columns, cells), expected)


@pytest.mark.parametrize(
    ("features", "columns", "words"),
    [
        (Convolutions(), (), "one column of images"),
        (Convolutions(), (tensor(784),), "`shape`"),
        (Convolutions(), (tensor(28, 28), tensor(28, 28)), "one column of images"),
        (Convolutions(shape=(28, 28)), (tensor(783),), "783 cells"),
        (Convolutions(), (tensor(8, 30),), "need 9"),
        (Convolutions(), (tensor(28, 28, dtype="float32"),), "Declare"),
        (Convolutions(shape=(9, 9)), (Column("t", Role.FEATURE, Kind.TEXT, "str"),), "ngrams"),
    ],
)
def test_what_is_no_image_is_refused_with_advice(features, columns, words):
    with pytest.raises(RecipeInvalid, match=words):
        features.width(columns)


@pytest.mark.parametrize(
    "fields",
    [
        {"filters": 3},
        {"filters": 0},
        {"size": 1},
        {"pool": 0},
        {"stride": 0},
        {"bits": 16},
        {"full": 0},
        {"full": float("nan")},
        {"shape": (28,)},
        {"shape": (28, 0)},
        {"shape": [28, 28]},
    ],
)
def test_fields_that_make_no_sense_are_refused(fields):
    with pytest.raises(RecipeInvalid, match=next(iter(fields))):
        Convolutions(**fields)


def test_filters_that_float32_cannot_count_are_refused():
    with pytest.raises(RecipeInvalid, match="smaller `size`"):
        Convolutions(filters=2, size=32, pool=1).integers(
            (tensor(32, 32, 64),), {"image": np.zeros((1, 32, 32, 64), np.uint8)}
        )
