"""Options are JSON that nobody can change."""

from __future__ import annotations

import copy
import json

import pytest

from expunge.core.errors import RecipeInvalid
from expunge.learners.options import Options


def test_options_are_equal_hashable_and_json():
    one, other = Options({"a": 1, "b": (1, 2)}), Options({"b": [1, 2], "a": 1.0})
    assert one == other
    assert hash(one) == hash(other)
    assert json.loads(json.dumps(one)) == {"a": 1, "b": [1, 2]}
    assert copy.deepcopy(one) == one


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.update(a=2),
        lambda o: o.__setitem__("a", 2),
        lambda o: o.pop("a"),
        lambda o: o.__ior__({"a": 2}),
    ],
)
def test_options_cannot_be_changed(change):
    options = Options({"a": 1})
    with pytest.raises(TypeError, match="cannot be changed"):
        change(options)
    assert options == {"a": 1}


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"bytes"])
def test_what_is_not_json_is_refused(value):
    with pytest.raises(RecipeInvalid, match="not JSON"):
        Options({"a": value})
