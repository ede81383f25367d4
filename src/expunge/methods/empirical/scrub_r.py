"""SCRUB+R: SCRUB, rewound to where forgotten rows are as wrong as rows that were never seen.

An error on forgotten rows that is too high gives them away. SCRUB+R keeps the network after each
epoch, takes the error of the last one on unseen rows as what the error on forgotten rows should be,
and returns the network that comes closest to it. The unseen rows are weighted to have the classes
of those to forget. Costs what SCRUB costs, a forward pass over rows to forget per epoch, and memory
for ``epochs`` networks. Needs unseen rows of each class that is to be forgotten. Fails as SCRUB
does, and where errors are too coarse: with a single row to forget its error is 0 or 1.

References:
    Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023, arXiv:2302.09880,
    section 3, "SCRUB and Rewind (SCRUB+R)". Defaults as in :mod:`expunge.methods.empirical.scrub`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.core.errors import InputError
from expunge.core.types import Guarantee
from expunge.methods.empirical import knobs, loop
from expunge.methods.empirical.losses import error_rate
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.scrub import Scrub
from expunge.methods.empirical.work import Work


@dataclass(frozen=True, slots=True)
class ScrubR:
    """SCRUB with a rewind. Its knobs are those of SCRUB."""

    guarantee: ClassVar[Guarantee] = Guarantee.EMPIRICAL
    name: ClassVar[str] = "scrub-r"

    alpha: float = 0.5
    gamma: float = 1.0
    temperature: float = 2.0
    lr: float = 5e-4
    epochs: int = 10
    max_epochs: int = 3
    forget_batch: int = 16
    batch: int = 64
    clip: float | None = None

    forget = loop.forget

    def __post_init__(self) -> None:
        knobs.check(self)

    def passes(self, work: Work) -> Iterator[None]:
        """One for each epoch, one for the rewind."""
        unseen = _unseen(work)
        weights = like(work.forget.targets, unseen.targets)
        states, errors = [], []
        for _ in Scrub(**knobs.as_json(self)).passes(work):  # type: ignore[arg-type]  # the same knobs
            states.append(copy.deepcopy(work.student.state_dict()))
            errors.append(float(_errors(work, work.forget).mean()))
            yield
        wanted = float((_errors(work, unseen).cpu() * weights).sum())
        work.student.load_state_dict(states[closest(errors, wanted)])
        yield


def like(wanted: Tensor, given: Tensor) -> Tensor:
    """Weights that give the classes ``given`` the shares that they have in ``wanted``.

    Args:
        wanted: Class codes, (m,).
        given: Class codes, (n,); of each class in ``wanted`` at least one.

    Returns:
        float64, (n,), summing to 1.

    Raises:
        InputError: A class is missing.
    """
    size = 1 + int(max(wanted.max(), given.max()))
    share = torch.bincount(wanted, minlength=size).double() / len(wanted)
    counts = torch.bincount(given, minlength=size)
    if missing := int(((share > 0) & (counts == 0)).sum()):
        raise InputError(
            f"{missing} of the classes to forget have no unseen row, so nothing says how wrong a "
            f"network is about rows like them. Give rows of each of these classes in `validation`."
        )
    return (share / counts.clamp_min(1))[given]


def closest(errors: Sequence[float], wanted: float) -> int:
    """Place of the error that is closest to ``wanted``; of equal ones the last.

    >>> closest([0.0, 0.2, 0.4, 0.2], 0.25)
    3
    """
    return min(range(len(errors)), key=lambda place: (abs(errors[place] - wanted), -place))


def _errors(work: Work, of: Rows) -> Tensor:
    return error_rate(work.see(work.student.eval(), of), of.targets.to(work.device))


def _unseen(work: Work) -> Rows:
    if work.course.unseen is None:
        raise InputError(
            "SCRUB+R needs rows that the network never saw: give `validation`, or take 'scrub'."
        )
    return work.course.unseen
