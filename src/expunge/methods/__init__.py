"""Ways to make a model forget; the folder is the guarantee."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from expunge.core.catalogue import Catalogue

if TYPE_CHECKING:
    from expunge.core.types import Guarantee


class Method(Protocol):
    """A way to forget: for every model, or for those whose learner declares it."""

    guarantee: ClassVar[Guarantee]


METHODS: Final[Catalogue[type[Method]]] = Catalogue(
    "method",
    "expunge.methods",
    {
        "rebuild": "expunge.methods.exact.rebuild:Rebuild",
        "sisa": "expunge.methods.exact.rebuild:Rebuild",
        "retrain": "expunge.methods.exact.rebuild:Rebuild",
        "certified": "expunge.learners.convex.certified:Certified",
        "influence": "expunge.methods.empirical.influence.learner:Influence",
    },
)

__all__ = ["METHODS", "Method"]
