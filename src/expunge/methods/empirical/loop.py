"""The one loop that runs a post-hoc method, and what comes out of it.

The network that is given stays as it is, byte for byte, modes included: a copy is changed and
returned. So an error, an interruption or a divergence leaves nothing half done. Equal seeds give
equal bytes on one thread of the same machine; the process' generators are put back.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from expunge.core import rng
from expunge.core.errors import InputError, ModuleUnsuitable
from expunge.learners.seeding import seeded
from expunge.methods.empirical import knobs
from expunge.methods.empirical.outcome import Forgotten
from expunge.methods.empirical.protocol import Posthoc
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.work import Course, OutOfTime, Work


def forget(
    method: Posthoc,
    module: nn.Module,
    retain: Rows,
    forget: Rows,
    *,
    seed: int = 0,
    course: Course | None = None,
) -> Forgotten:
    """Make a copy of ``module`` forget rows that it was trained on.

    Args:
        method: How.
        module: A trained classifier: rows to logits, (n, classes). It is left as it is.
        retain: Rows that it was trained on and that stay.
        forget: Rows that it was trained on and that it is to forget.
        seed: Of all chance.
        course: Time, progress and who looks on.

    Raises:
        UnlearningDiverged: It came to values that are not finite.
        ModuleUnsuitable: The network has not got what the method works on.
        InputError: The rows do not fit the network.
    """
    began = time.perf_counter()
    course = course or Course()
    with seeded(rng.seed("posthoc", method.name, seed)):
        work = Work(method.name, module, retain, forget, seed, course)
        _check(work)
        finished = _run(method, work)
    _take_modes(work.student, module)
    seconds = time.perf_counter() - began
    set_to = knobs.as_json(method)
    return Forgotten(work.student, method.name, set_to, seed, work.steps, seconds, finished)


def _run(method: Posthoc, work: Work) -> bool:
    try:
        for _ in method.passes(work):
            work.finite()
            if work.course.watch and work.course.watch(work.student.eval()):
                return False
    except OutOfTime:
        work.finite()
        return False
    work.finite()
    return True


def _take_modes(student: nn.Module, module: nn.Module) -> None:
    """Each layer back into the mode that it had; gradients that were copied along go."""
    for own, given in zip(student.modules(), module.modules(), strict=True):
        own.training = given.training
    for parameter in student.parameters():
        parameter.grad = None


def _check(work: Work) -> None:
    if not work.parameters:
        raise ModuleUnsuitable(
            work.method, "none of its parameters is trained", "Set `requires_grad` of some."
        )
    for name, of in (("retain", work.retain), ("forget", work.forget)):
        if len(of) == 0:
            raise InputError(f"`{name}` has no rows. Expected at least one.")
    if work.retain.inputs.shape[1:] != work.forget.inputs.shape[1:]:
        raise InputError("Rows of `retain` and `forget` differ in shape. Expected equal ones.")
    with torch.no_grad():
        found = work.original(work.forget.inputs[:1].to(work.device))
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    highest = max(int(work.retain.targets.max()), int(work.forget.targets.max()))
    if isinstance(shape, str) or len(shape) != 2 or not max(1, highest) < shape[1]:
        raise ModuleUnsuitable(
            work.method,
            f"one row gives an output of {shape}, and the targets go up to {highest}",
            "Expected logits, (rows, classes), of at least two classes, with one for each target.",
        )
