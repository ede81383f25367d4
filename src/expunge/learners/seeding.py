"""The one place that seeds the generators of frameworks, and puts them back.

Frameworks draw initial weights, dropout masks and bootstraps from generators that the
whole process shares. Within :func:`seeded` these are a function of one seed; afterwards
they are as they were, so that a user's own draws are not disturbed. They belong to the
process, so a second thread waits until the first has put them back.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from types import ModuleType
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

_TURN: Final = RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and, where it is imported, PyTorch's generators; then restore them.

    Args:
        seed: 64 bits, from :func:`expunge.core.rng.seed`.
    """
    with seeded_torch(seed):
        python, legacy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002 - the one place
        random.seed(seed)
        # NumPy takes 32-bit words; scikit-learn draws from this generator by default.
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002, TID251 - the one place
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002 - the one place


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seed PyTorch's generators alone, if it is imported; then restore them.

    A tenth of the cost of :func:`seeded`, for what is known to draw from nowhere else.
    PyTorch's own generator for CPUs uses the lower 32 bits of a seed.
    """
    torch = sys.modules.get("torch")
    with _TURN, ExitStack() as restore:
        for device in _devices(torch) if torch else []:
            restore.callback(device.set_state, device.get_state())
            device.manual_seed(seed)
        yield


def _devices(torch: ModuleType) -> list[Any]:
    # CUDA is touched only where the process uses it: it takes seconds and memory to start.
    cuda = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    return [torch.default_generator, *cuda]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread in this process, then on as many as before.

    Equal bytes need equal thread counts (DESIGN.md 3, runtimes). Worker processes are started
    with one thread; this is for training inside the user's own process. Costs milliseconds,
    so enter it once for a piece of work, not once per slice.
    """
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    with threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)
