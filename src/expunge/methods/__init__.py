"""Ways to make a model forget; the folder is the guarantee."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from expunge.core.catalogue import Catalogue

if TYPE_CHECKING:
    from expunge.methods.exact.rebuild import Rebuild

METHODS: Final[Catalogue[type[Rebuild]]] = Catalogue(
    "method",
    "expunge.methods",
    {
        "rebuild": "expunge.methods.exact.rebuild:Rebuild",
        "sisa": "expunge.methods.exact.rebuild:Rebuild",
        "retrain": "expunge.methods.exact.rebuild:Rebuild",
    },
)

__all__ = ["METHODS"]
