"""Find a method and its knobs in the time that there is, under constraints that are measured.

Candidates are tried in turn: each method's defaults first, then draws from its ranges, and in the
second half of the tries neighbours of its best so far. A candidate is stopped at the first epoch at
which it keeps both constraints, on one half of the validation rows: accuracy has not fallen by more
than so many points, and losses tell forgotten rows from unseen ones of their class no better than
so. The candidates that keep them, the one with most room first, are confirmed on the other half,
from which the figures of the outcome come (they are a little flattering where a second candidate
had to be looked at). Where none is confirmed, the outcome is :class:`NotAchieved`, with all that
was tried: never a broken network.

What this cannot say: an attack on the losses of all rows together is a weak one, so "kept" is a
lower bound on what is left; and an AUC of 0.5 is what a *retrained* network has only where rows to
forget are like unseen ones of their class. Where they are not, compare with a network that was
trained again. Costs as many runs as fit into the budget, and a forward pass over rows to forget and
validation rows in each epoch. Fails, by saying so, where there are too few rows to see anything: a
retrained network must have a chance of 9 in 10 to be within the margin.

References:
    Random search: Bergstra and Bengio, JMLR 13 (2012). Stopping where forgotten rows are as wrong
    as unseen ones: Kurmanji et al., arXiv:2302.09880, section 3 (rewinding).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from torch import nn

from expunge.core import rng
from expunge.core.errors import (
    InputError,
    ModuleUnsuitable,
    UnlearningDiverged,
)
from expunge.methods.empirical import figures, knobs, spaces
from expunge.methods.empirical.figures import Seen
from expunge.methods.empirical.outcome import Forgotten, NotAchieved, Trial
from expunge.methods.empirical.protocol import Posthoc
from expunge.methods.empirical.rows import Rows, shuffled
from expunge.methods.empirical.work import Course

_SURE: Final = 1.645  # standard errors: a retrained network is within them nine times in ten
_ROOM: Final = 0.5  # of the constraints: whoever uses no more of them is good enough to stop at


@dataclass(frozen=True, slots=True)
class Auto:
    """What is searched, and what the outcome must keep.

    Attributes:
        accuracy_points: Percentage points of accuracy that may be lost, on validation rows of classes
            that stay. Negative ones ask for an improvement.
        auc_margin: How far above 0.5 the two-sided AUC of forgotten against unseen rows' losses may be.
        methods: Names in the catalogue, in the order in which they are tried.
        tries: Candidates of each method, at most.
    """

    accuracy_points: float = 1.0
    auc_margin: float = 0.05
    methods: tuple[str, ...] = ("neg-grad-plus", "scrub", "salun", "fine-tuning")
    tries: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.auc_margin < 0.5:
            raise InputError(f"`auc_margin` must be between 0 and 0.5, got {self.auc_margin}.")
        if not math.isfinite(self.accuracy_points):
            raise InputError(f"`accuracy_points` must be finite, got {self.accuracy_points}.")
        if self.tries < 1 or not self.methods:
            raise InputError("`tries` must be at least 1, and `methods` must name at least one.")


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of the constraints a network uses.

    Attributes:
        lost: Points of accuracy that it lost; its ``auc`` is two-sided.
        used: The larger of the two shares of what is allowed; kept where it is at most 1.
    """

    lost: float
    auc: float
    used: float


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Looks at networks with some rows that they never saw."""

    auto: Auto
    forget: Rows
    unseen: Rows
    stays: np.ndarray  # codes of the classes that stay
    accuracy: float  # of the network as it was given

    @classmethod
    def of(cls, auto: Auto, module: nn.Module, rows: tuple[Rows, Rows, Rows]) -> Judge:
        """A judge with ``rows``: those that stay, those to forget, unseen ones."""
        retain, forget, unseen = rows
        stays = np.unique(retain.targets.numpy(force=True))
        return cls(auto, forget, unseen, stays, figures.see(module, unseen).accuracy(stays))

    def judge(self, module: nn.Module) -> Kept:
        """Ask a network, and compare."""
        forget, unseen = figures.see(module, self.forget), figures.see(module, self.unseen)
        return self.compare(forget, unseen)

    def compare(self, forget: Seen, unseen: Seen) -> Kept:
        """What answers use of the constraints."""
        lost = 100 * (self.accuracy - unseen.accuracy(self.stays))
        auc = figures.told(forget, unseen)
        return Kept(lost, auc, max(self._utility(lost), (auc - 0.5) / self.auto.auc_margin))

    def _utility(self, lost: float) -> float:
        allowed = self.auto.accuracy_points
        if lost > allowed:
            return math.inf if allowed <= 0 else lost / allowed
        return 0.0 if allowed <= 0 else max(0.0, lost / allowed)


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A network, its rows, and what is left of the time."""

    auto: Auto
    module: nn.Module
    retain: Rows
    forget: Rows
    validation: Rows
    seed: int = 0
    budget_s: float | None = None
    progress: Callable[[int], None] | None = None
    began: float = field(default_factory=time.perf_counter)

    def run(self) -> Forgotten | NotAchieved:
        """Try candidates, confirm the best.

        Raises:
            InputError: A class to forget has fewer than two validation rows.
        """
        halves = split(self.validation, self.forget, rng.seed(self.seed, "halves"))
        choose, confirm = (
            Judge.of(self.auto, self.module, (self.retain, self.forget, half)) for half in halves
        )
        before = self._figures(self.module, halves[1])
        if why := too_few(self.auto, choose):
            return NotAchieved(why, (), before)
        tried: list[Trial] = []
        good: list[tuple[float, Forgotten]] = []
        best: dict[str, tuple[float, Posthoc]] = {}
        for method in self._candidates(best):
            trial, outcome, used = self._try(method, choose)
            tried.append(trial)
            best[method.name] = min(
                (used, method), best.get(method.name, (math.inf, method)), key=lambda each: each[0]
            )
            if outcome is not None and used <= 1:
                good.append((used, outcome))
                if used <= _ROOM:
                    break
        for _, outcome in sorted(good, key=lambda each: each[0]):
            if confirm.judge(outcome.module).used <= 1:
                after = self._figures(outcome.module, halves[1])
                return replace(outcome, before=before, after=after, tried=tuple(tried))
        return NotAchieved(_why(self.auto, tried, len(good)), tuple(tried), before)

    def _candidates(self, best: Mapping[str, tuple[float, Posthoc]]) -> Iterator[Posthoc]:
        """Draws, then neighbours of what was ``best`` by then."""
        for number in range(self.auto.tries):
            for name in self.auto.methods:
                if self._left() == 0:
                    return
                if number <= self.auto.tries // 2:
                    yield spaces.drawn(name, number, self.seed)
                else:
                    yield spaces.near(best[name][1], number, self.seed)

    def _left(self) -> float | None:
        if self.budget_s is None:
            return None
        return max(0.0, self.budget_s - (time.perf_counter() - self.began))

    def _try(self, method: Posthoc, judge: Judge) -> tuple[Trial, Forgotten | None, float]:
        course = Course(
            unseen=judge.unseen,
            budget_s=self._left(),
            progress=self.progress,
            watch=lambda student: judge.judge(student).used <= 1,
        )
        started, settings = time.perf_counter(), knobs.as_json(method)
        try:
            outcome = method.forget(
                self.module, self.retain, self.forget, seed=self.seed, course=course
            )
        except (UnlearningDiverged, ModuleUnsuitable) as problem:
            seconds = time.perf_counter() - started
            failed = Trial(method.name, settings, 0, seconds, None, None, str(problem))
            return failed, None, math.inf
        kept = judge.judge(outcome.module)
        words = "kept" if kept.used <= 1 else "not kept" if outcome.finished else "out of time"
        trial = Trial(
            method.name, settings, outcome.steps, outcome.seconds, kept.lost, kept.auc, words
        )
        return trial, outcome, kept.used

    def _figures(self, module: nn.Module, unseen: Rows) -> Mapping[str, float]:
        return figures.measure(module, self.retain, self.forget, unseen)


def split(validation: Rows, forget: Rows, seed: int) -> tuple[Rows, Rows]:
    """Two halves, of each class as equal as can be.

    Raises:
        InputError: A class to forget has fewer than two rows in ``validation``.
    """
    order = shuffled(len(validation), seed)
    by_class = order[validation.targets.cpu()[order].argsort(stable=True)]
    halves = validation.take(by_class[::2]), validation.take(by_class[1::2])
    if len(validation) < 2 or not all(figures.covers(half, forget) for half in halves):
        raise InputError(
            "A class to forget has fewer than two rows in `validation`, so unseen rows of it cannot "
            "both choose and confirm. Give more of them, or name a method instead of 'auto'."
        )
    return halves


def too_few(auto: Auto, judge: Judge) -> str | None:
    """Why nothing could be said with so few rows; None where something can."""
    codes = [rows.targets.numpy(force=True) for rows in (judge.forget, judge.unseen)]
    error = figures.chance_error(codes[0], codes[1])
    if auto.auc_margin >= _SURE * error:
        return None
    return (
        f"{len(judge.forget):,} rows to forget and {len(judge.unseen):,} unseen ones tell an AUC to "
        f"± {_SURE * error:.3f} by chance alone, which is more than the margin of {auto.auc_margin:g}: "
        f"even a network that was trained again would often be outside of it."
    )


def _why(auto: Auto, tried: list[Trial], good: int) -> str:
    if not tried:
        return "the time was over before a candidate was tried."
    if good:
        return f"{good} kept the constraints on the rows that chose them, and none on those that confirm."
    measured = [t for t in tried if t.forget_auc is not None and t.accuracy_points is not None]
    if not measured:
        return f"all {len(tried)} ended with an error."
    aucs = [t.forget_auc for t in measured if t.accuracy_points <= auto.accuracy_points]  # type: ignore[operator]  # measured
    if not aucs:
        return f"all lost more than {auto.accuracy_points:g} points of accuracy."
    return (
        f"of those that lost at most {auto.accuracy_points:g} points of accuracy, the best had an "
        f"AUC of {min(aucs):.3f}, and {0.5 + auto.auc_margin:.3f} is allowed."  # type: ignore[type-var]  # measured
    )
