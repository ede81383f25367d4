"""JSON options as a frozen, hashable mapping: what a learner hands on to its framework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from expunge.core.digest import Json, canonical_json
from expunge.core.errors import RecipeInvalid


class Options(dict[str, Json]):
    """A dict that cannot be changed, so that a frozen learner stays frozen.

    It is a dict, so that ``json.dumps`` and ``**options`` take it as it is.

    Raises:
        RecipeInvalid: A value is not JSON, and so could not stand in a recipe.

    >>> Options({"hidden": (64, 32)})
    {'hidden': [64, 32]}
    """

    def __init__(self, values: Mapping[str, Json] | None = None) -> None:
        values = dict(values or {})
        try:
            plain = json.loads(canonical_json(values))
        except (TypeError, ValueError) as problem:
            raise RecipeInvalid(
                f"Options {sorted(map(str, values))} are not JSON: {problem}. Use finite numbers, "
                f"strings, booleans, None, lists and dicts."
            ) from problem
        super().__init__(plain)

    def __hash__(self) -> int:  # type: ignore[override]
        # The keys alone: 1 and 1.0 are equal values and must have equal hashes.
        return hash(frozenset(self))

    def __reduce__(self) -> tuple[type[Options], tuple[dict[str, Json]]]:
        return Options, (dict(self),)

    def _frozen(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("Options cannot be changed. Make a new learner with other options.")

    __setitem__ = __delitem__ = __ior__ = _frozen
    clear = pop = popitem = setdefault = update = _frozen
