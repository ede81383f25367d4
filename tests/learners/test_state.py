"""States are safetensors with one spelling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save

from expunge.core.digest import canonical_json
from expunge.core.errors import StateNotCanonical
from expunge.learners.state import dump, parse

ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__"),
    arrays.arrays(
        st.one_of(
            arrays.boolean_dtypes(),
            arrays.floating_dtypes(endianness="="),
            arrays.integer_dtypes(endianness="="),
            arrays.unsigned_integer_dtypes(endianness="="),
        ).filter(lambda dtype: dtype.itemsize <= 8),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    max_size=6,
)


@given(given_arrays=ARRAYS, meta=st.dictionaries(st.text(max_size=3), st.integers(), max_size=3))
def test_bytes_are_those_of_the_library_and_come_back(given_arrays, meta):
    state = dump(meta, given_arrays)
    library = save(
        {name: np.asarray(array, order="C") for name, array in given_arrays.items()},
        {"expunge": canonical_json(meta).decode()},
    )
    assert state == library
    back_meta, back = parse(state)
    assert back_meta == meta
    assert back.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()
        assert back[name].flags.writeable


def test_order_of_arrival_and_memory_leave_no_trace():
    one, two = np.arange(6.0).reshape(2, 3), np.arange(3)
    assert dump(1, {"a": one, "b": two}) == dump(1, {"b": two, "a": np.asfortranarray(one)})
    assert dump(1, {"a": one.astype(">f8")}) == dump(1, {"a": one})


def test_arrays_that_hold_no_numbers_are_refused_by_name():
    with pytest.raises(StateNotCanonical, match=r"`a\.b`"):
        dump(None, {"a.b": np.array(["text"], object)})
