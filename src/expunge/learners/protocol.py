"""The socket of a learner: encode rows, learn a slice, predict with many states at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from expunge.core.digest import Json
from expunge.core.types import Guarantee, Task

Features: TypeAlias = Mapping[str, NDArray[Any]]
"""Column name → cells, (n,) or (n, *shape); categorical cells are int32 codes (-1: not
declared or missing), text is an object array of str."""

Inputs: TypeAlias = Any
"""What a learner's ``encode`` returns: has a length, and slices by rows (``inputs[:n]``)."""

Predictor: TypeAlias = Callable[[Inputs], NDArray[np.float64]]
"""Inputs → (states, n, outputs): probabilities per class, or values per target."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Ordered samples: slices in the order of the chain, rows in ring order within each.

    Attributes:
        tokens: Keyed 64-bit hash of each sample id, (n,). The visiting order comes from it.
        inputs: Encoded features, n rows.
        targets: int64 class codes (n,), or float64 values (n, targets).
        weights: float64 (n,), or None where all weigh the same.
    """

    tokens: NDArray[np.uint64]
    inputs: Inputs
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.tokens)

    def first(self, n: int) -> Samples:
        """The first ``n`` samples, without copying."""
        return self._part(slice(n))

    def behind(self, n: int) -> Samples:
        """All but the first ``n`` samples, without copying."""
        return self._part(slice(n, None))

    def _part(self, rows: slice) -> Samples:
        weights = None if self.weights is None else self.weights[rows]
        return Samples(self.tokens[rows], self.inputs[rows], self.targets[rows], weights)


@dataclass(frozen=True, slots=True)
class Step:
    """One slice's place in the schedule.

    Attributes:
        seed: Made of the recipe's seed, the shard and the slice; the only source of chance.
        share: Part of the whole schedule that this slice trains, 2/(R+1): times e₀ epochs, or
            times the boosting rounds.
    """

    seed: int
    share: float


class Learner(Protocol):
    """A canonical function of its ordered samples. Its knobs are its fields.

    A learner is a frozen dataclass whose fields are JSON values: they, its catalogue name and
    its ``revision`` stand in the recipe. Equal arguments give equal bytes in equal runtimes,
    in any process; whoever changes what it computes raises ``revision``.

    Attributes:
        revision: Of what it computes; part of the recipe.
        libraries: The distributions whose versions its bytes depend on; part of the runtime.
    """

    revision: ClassVar[int]
    libraries: ClassVar[tuple[str, ...]]

    def encode(self, task: Task, features: Features) -> Inputs:
        """Encode rows, each by itself: no row may influence another, nothing is fitted."""
        ...

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Train one slice on all ``samples`` so far, from the ``parent`` state or afresh.

        Returns the full state, optimiser included, in canonical bytes.
        """
        ...

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Load states, at least one, into a function that predicts with all of them."""
        ...


@runtime_checkable
class Changing(Protocol):
    """A learner whose state can lose samples without seeing those that stay.

    What :meth:`change` gives is, byte for byte, what :meth:`Learner.learn` gives for the samples
    that are left. :func:`expunge.testing.check_exact` says whether it is.
    """

    def change(self, task: Task, state: bytes, gone: Samples | None, come: Samples | None) -> bytes:
        """The state without the samples ``gone``, which are in it, and with those that ``come``.

        None stands for no samples; at least one sample stays or comes.
        """
        ...


@runtime_checkable
class Warm(Protocol):
    """A learner whose bytes do not depend on the parent: any state of its own makes it faster.

    So an engine may have it go on from a state that knew samples which are gone.
    """

    warm: ClassVar[Literal[True]]


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised of a state that a method of its learner's made forget.

    Attributes:
        guarantee: Its kind; never ``exact``.
        comparator: What the state is compared with, in words.
        assumptions: What must hold for it, in words.
        parameters: What it depends on; of ``certified`` at least ``epsilon`` and ``delta``.
    """

    guarantee: Guarantee
    comparator: str
    assumptions: tuple[str, ...] = ()
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forgot:
    """A state that a method made forget.

    Attributes:
        figures: What the method knows of how well it went; stands in the ledger.
    """

    state: bytes
    figures: Mapping[str, Json]


@runtime_checkable
class Forgetting(Protocol):
    """A learner whose states forget by another method than building again.

    What comes out is not, byte for byte, what a build gives, so it gets a name of its own
    (``core.names.forgotten``), and the certificate names the method and what it promises. Who
    trains such a learner declares that its models may be treated so.

    Attributes:
        guarantee: The strongest word that its method may use; never ``exact``.
        method: Its name in the catalogue of methods.
        canonical: Whether what :meth:`Learner.learn` gives is a function of its arguments, so
            that a model which was built again without the rows is exact.
    """

    guarantee: ClassVar[Guarantee]
    method: ClassVar[str]
    canonical: ClassVar[bool]

    def forget(self, task: Task, state: bytes, stay: Samples, gone: Samples) -> Forgot:
        """The state without the samples ``gone``, which it was made with, as ``stay`` was.

        Raises:
            CorrectionFailed: The method cannot do it; the state is to be built again.
            GuaranteeUnproved: Nothing could be promised of what it would give.
        """
        ...

    def promise(self, task: Task, releases: int) -> Promise:
        """What is promised of the last of so many states that were published, all seen together."""
        ...


@runtime_checkable
class Checking(Protocol):
    """A learner that says beforehand what it cannot learn, before anything is recorded."""

    def check(self, task: Task) -> None:
        """See that it can learn ``task``.

        Raises:
            RecipeInvalid: It cannot.
        """
        ...
