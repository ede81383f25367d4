"""The tree of errors: as drawn, one code each, and no content in messages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest

from expunge.core import errors
from expunge.core.errors import ExpungeError

CLASSES = [
    thing
    for _, thing in inspect.getmembers(errors, inspect.isclass)
    if issubclass(thing, ExpungeError) and thing.__module__ == errors.__name__
]

SECRET = "anna@example.org"
MADE: dict[str, Callable[[], ExpungeError]] = {
    "SamplesUnknown": lambda: errors.SamplesUnknown([SECRET]),
    "SamplesForgotten": lambda: errors.SamplesForgotten([4]),
    "DuplicateSamples": lambda: errors.DuplicateSamples(range(1000), in_dataset=True),
    "CellInvalid": lambda: errors.CellInvalid(1234, "age", "not a number", "Mend the cell."),
    "NothingToForget": errors.NothingToForget,
    "ModelWithdrawn": lambda: errors.ModelWithdrawn("income"),
    "PlanStale": errors.PlanStale,
}


def drawn() -> dict[str, str]:
    """Class → parent, read off the drawing in the module's docstring."""
    parents, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│├└─ ]*)([A-Z]\w+)(?:\s{2,}|$)", line):
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            if depth:
                parents[match[2]] = path[-2]
    return parents


def test_the_tree_is_as_drawn() -> None:
    built = {
        cls.__name__: next(
            base.__name__ for base in cls.__bases__ if issubclass(base, ExpungeError)
        )
        for cls in CLASSES
        if cls is not ExpungeError
    }
    assert drawn() == built


def test_each_error_has_a_code_of_its_own() -> None:
    codes = {cls: vars(cls).get("code") for cls in CLASSES}
    assert len(set(codes.values())) == len(CLASSES)
    for cls, code in codes.items():
        assert code is not None, cls
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)


def test_each_error_says_what_it_means() -> None:
    for cls in CLASSES:
        assert (cls.__doc__ or "").strip(), cls


def test_wrong_input_is_a_value_error_and_a_missing_name_a_lookup_error() -> None:
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.UnknownName, LookupError)


@pytest.mark.parametrize("name", MADE)
def test_messages_are_sentences_with_advice_and_without_ids(name: str) -> None:
    message = str(MADE[name]())
    assert SECRET not in message
    assert message.endswith(".")
    assert len(re.findall(r"[.!?](\s|$)", message)) >= 2, "what happened, then what to do"


def test_ids_are_attributes() -> None:
    assert errors.SamplesUnknown(iter(["b", "a"])).ids == ["a", "b"]
    assert errors.DuplicateSamples({3, 1}, in_dataset=False).rows == [1, 3]
