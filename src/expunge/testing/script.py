"""What happens to a dataset and its model before :func:`expunge.testing.check_exact` looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from expunge.testing.scene import Scene


class Operation(Protocol):
    """A step of a script."""

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget samples, subjects or both."""

    samples: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.forget(self.samples, self.subjects)


@dataclass(frozen=True, slots=True)
class ForgetSome:
    """Forget a keyed choice of the rows that remain."""

    count: int
    seed: int = 0

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.forget([row.sample for row in scene.choose(self.count, self.seed)])


@dataclass(frozen=True, slots=True)
class ForgetFromEach:
    """Forget one sample of each shard, from one place in its chain.

    What comes before it is kept, so that a checkpoint which knew of later samples shows.

    Attributes:
        place: 0 is the first slice, 1 the last one.
    """

    place: float

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        chains = [plan for plan in scene.plans() if plan.slices]
        slices = [round(self.place * (len(plan.slices) - 1)) for plan in chains]
        found = [scene.slice_rows(p, index) for p, index in zip(chains, slices, strict=True)]
        scene.forget([ids[len(ids) // 2] for ids in found])


@dataclass(frozen=True, slots=True)
class Append:
    """Append rows as a new batch, and train.

    Attributes:
        rows: Any source that ``Home.ingest`` takes, with the dataset's columns.
        slices: As in ``Home.ingest``.
        readmit: Whether forgotten ids may come back.
    """

    rows: Any
    slices: int = 1
    readmit: bool = False

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.append(self.rows, slices=self.slices, readmit=self.readmit)


@dataclass(frozen=True, slots=True)
class Correct:
    """Replace the rows that have the ids of these."""

    rows: Any

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.correct(self.rows)


@dataclass(frozen=True, slots=True)
class Recover:
    """Rebuild, and destroy what was forgotten, before the script goes on."""

    def __call__(self, scene: Scene) -> None:
        """Do it."""
        scene.recover()
