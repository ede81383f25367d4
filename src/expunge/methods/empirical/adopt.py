"""Take in a network that was trained elsewhere, and make it forget.

    adopted = expunge.adopt(module, retain=(x, y), forget=(x_gone, y_gone), validation=(x_new, y_new))
    outcome = adopted.forget("scrub")
    outcome.module  # a new network; the guarantee is `empirical`

No home, request or ledger knows of it: there is no certificate. What was learnt by the training was
not recorded, so nobody can say more than what is measured afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from torch import nn

from expunge.core.errors import InputError
from expunge.methods.empirical import POSTHOC, figures, rows
from expunge.methods.empirical.auto import Auto, Search
from expunge.methods.empirical.outcome import Forgotten, NotAchieved
from expunge.methods.empirical.protocol import Posthoc
from expunge.methods.empirical.rows import Given, Rows
from expunge.methods.empirical.work import Course

Pair: TypeAlias = tuple[Given, Given]
"""Inputs (n, *shape of one row) and class codes (n,), as arrays or tensors."""


@dataclass(frozen=True, slots=True, eq=False)
class Adopted:
    """A network with the rows that it learnt from.

    Attributes:
        module: As it was given. Never changed.
        retained: Rows that stay.
        leaving: Rows to forget.
        validation: Rows that it never saw, if any were given.
    """

    module: nn.Module
    retained: Rows
    leaving: Rows
    validation: Rows | None

    def forget(
        self,
        method: str | Posthoc | Auto = "auto",
        *,
        seed: int = 0,
        budget_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Forgotten | NotAchieved:
        """Return a network that forgot, with its figures before and after.

        Args:
            method: A name in the catalogue, a method with knobs of your own, or "auto" or an
                :class:`~expunge.methods.empirical.auto.Auto`, which search.
            seed: Of all chance.
            budget_s: Seconds; a method that is not done by then is returned as it stands, with
                ``finished`` false.
            progress: Called after each step of descent with how many there were in its run.

        Returns:
            :class:`Forgotten`; a search may return :class:`NotAchieved`, whose ``module`` raises.

        Raises:
            UnlearningDiverged: The method came to values that are not finite.
            ModuleUnsuitable: The network has not got what the method works on.
            UnknownName: There is no such method.
            InputError: A search, or SCRUB+R, without ``validation``.
        """
        if method == "auto":
            method = Auto()
        if isinstance(method, Auto):
            return self._search(method, seed, budget_s, progress)
        chosen = POSTHOC[method]() if isinstance(method, str) else method
        course = Course(self.validation, budget_s, progress)
        outcome = chosen.forget(self.module, self.retained, self.leaving, seed=seed, course=course)
        before, after = (
            figures.measure(module, self.retained, self.leaving, self.validation)
            for module in (self.module, outcome.module)
        )
        return replace(outcome, before=before, after=after)

    def _search(
        self,
        auto: Auto,
        seed: int,
        budget_s: float | None,
        progress: Callable[[int], None] | None,
    ) -> Forgotten | NotAchieved:
        if self.validation is None:
            raise InputError(
                "A search needs rows that the network never saw: give `validation` to `adopt`, or "
                "name a method."
            )
        of = (self.module, self.retained, self.leaving, self.validation)
        return Search(auto, *of, seed, budget_s, progress).run()


def adopt(
    module: nn.Module, *, retain: Pair, forget: Pair, validation: Pair | None = None
) -> Adopted:
    """Take in a classifier that was trained elsewhere.

    Args:
        module: Rows to logits, (n, classes). Any module that ``copy.deepcopy`` copies.
        retain: Rows that it was trained on and that stay: inputs and class codes. Inputs that are
            floating point numbers take on the precision of the network's parameters.
        forget: Rows that it was trained on and that it is to forget.
        validation: Rows that it never saw, like the others; half of them choose, half confirm.

    Raises:
        InputError: Rows are empty, differ in length or shape, or their targets are no class codes.
    """
    named = {"retain": retain, "forget": forget}
    if validation is not None:
        named["validation"] = validation
    taken = {name: _like(module, rows.rows(name, *pair)) for name, pair in named.items()}
    if len({of.inputs.shape[1:] for of in taken.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(of.inputs.shape[1:])}" for name, of in taken.items())
        raise InputError(f"Rows differ in shape: {shapes}. Expected equal ones.")
    return Adopted(module, taken["retain"], taken["forget"], taken.get("validation"))


def _like(module: nn.Module, of: Rows) -> Rows:
    """Inputs in the precision of the network: arrays are float64 before anybody thought of it."""
    dtypes = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if len(dtypes) != 1 or not of.inputs.is_floating_point():
        return of
    return replace(of, inputs=of.inputs.to(dtypes.pop()))
