"""The socket of a post-hoc method: a frozen dataclass whose knobs are its fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol

from torch import nn

from expunge.core.types import Guarantee
from expunge.methods.empirical.outcome import Forgotten
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.work import Course, Work


class Posthoc(Protocol):
    """A post-hoc method: a frozen dataclass whose knobs are its fields.

    Attributes:
        name: In the catalogue.
    """

    guarantee: ClassVar[Guarantee]
    name: ClassVar[str]

    def passes(self, work: Work) -> Iterator[None]:
        """Change ``work.student``; yield where somebody may look, or stop."""
        ...

    def forget(
        self,
        module: nn.Module,
        retain: Rows,
        forget: Rows,
        *,
        seed: int = 0,
        course: Course | None = None,
    ) -> Forgotten:
        """Make a copy of ``module`` forget; see :func:`expunge.methods.empirical.loop.forget`."""
        ...
