"""What is computed on one block of samples, and how much memory that takes. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.func import grad, jacrev, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from expunge.core.errors import CorrectionFailed, CurvatureIndefinite, InputError

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Product: TypeAlias = Callable[[Tensor], Tensor]
Outputs: TypeAlias = Callable[[Tensor, Tensor], Tensor]

NOT_FINITE: Final = (
    "A loss or a derivative of it is not finite. Look for NaN and infinite values in samples and "
    "parameters; nothing can be solved from there."
)
# A loss that is convex in the outputs has no eigenvalue below zero but by rounding.
_ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples: inputs (n, …), targets (n, …) and weights (n,)."""

    inputs: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a kernel allocates: for any block, and for each sample of it."""

    fixed: int
    sample: int


def _each(loss: Loss, outputs: Tensor, block: Block) -> Tensor:
    each = loss(outputs, block.targets)
    if each.shape != block.weights.shape:
        raise InputError(
            f"The loss of {len(block.weights)} samples has shape {tuple(each.shape)}. Expected one "
            f"number for each sample, not their mean: pass `reduction='none'`."
        )
    return each


def _weighted(loss: Loss, outputs: Tensor, block: Block) -> Tensor:
    return (block.weights * _each(loss, outputs, block)).sum()


def losses(outputs: Outputs, loss: Loss, at: Tensor, block: Block) -> float:
    """Weighted sum of the losses, added in float64."""
    with torch.no_grad():
        # `double` before the sum: differences of objectives are small against their sizes.
        each = _each(loss, outputs(at, block.inputs), block).double()
        return float((block.weights.double() * each).sum())


def gradient(outputs: Outputs, loss: Loss, at: Tensor, block: Block) -> Tensor:
    """Gradient of the weighted sum of the losses: (d,)."""
    return grad(lambda p: _weighted(loss, outputs(p, block.inputs), block))(at)  # type: ignore[no-any-return]


def gauss_newton(outputs: Outputs, loss: Loss, at: Tensor, block: Block) -> Product:
    """Multiply with Σ wᵢ Jᵢᵀ ∇²ℓᵢ Jᵢ. What it returns holds the block's graph, for any number of vectors.

    A derivative along a vector is the derivative, by ``free``, of one against it: reverse mode
    alone, which more operations have than forward mode.
    """
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        found = outputs(leaf, block.inputs)
        free = torch.zeros_like(found, requires_grad=True)
        pulled = _by(leaf, found, free, create_graph=True)
        middle = found.detach().requires_grad_()
        slope = _by(middle, _weighted(loss, middle, block), None, create_graph=True)

    def multiply(vector: Tensor) -> Tensor:
        if not slope.requires_grad:  # a loss that is linear in the outputs does not curve
            return torch.zeros_like(vector)
        pushed = _by(free, pulled, vector)
        return _by(leaf, found, _by(middle, slope, pushed))

    return multiply


def hessian(outputs: Outputs, loss: Loss, at: Tensor, block: Block) -> Product:
    """Multiply with the Hessian of the weighted sum of the losses, as :func:`gauss_newton`."""
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        slope = _by(
            leaf, _weighted(loss, outputs(leaf, block.inputs), block), None, create_graph=True
        )

    def multiply(vector: Tensor) -> Tensor:
        return _by(leaf, slope, vector) if slope.requires_grad else torch.zeros_like(vector)

    return multiply


def _by(given: Tensor, of: Tensor, against: Tensor | None, create_graph: bool = False) -> Tensor:
    """Derivative by ``given`` of ``of``, against a vector; graphs are kept."""
    return torch.autograd.grad(
        of, given, against, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )[0]


def rows(outputs: Outputs, loss: Loss, at: Tensor, block: Block) -> Tensor:
    """Rows R with RᵀR = Σ wᵢ Jᵢᵀ ∇²ℓᵢ Jᵢ: (n · outputs, d)."""

    def one(p: Tensor, sample: Tensor) -> Tensor:
        return outputs(p, sample[None])[0].flatten()

    jacobian = vmap(jacrev(one), (None, 0))(at, block.inputs)
    with torch.no_grad():
        found = outputs(at, block.inputs)
    roots = _roots(loss, found, block)
    wide: Tensor = roots.mT @ jacobian
    return wide.flatten(0, 1)


def _roots(loss: Loss, outputs: Tensor, block: Block) -> Tensor:
    """Square roots of the losses' curvatures by outputs: (n, outputs, outputs)."""
    size = outputs[0].numel()
    # In float64: what is left of p(1 − p) by a saturated softmax in float32 is its rounding.
    wide, targets = outputs.double(), block.targets
    targets = targets.double() if targets.is_floating_point() else targets

    def one(o: Tensor, target: Tensor) -> Tensor:
        return loss(o[None], target[None])[0]

    curved = vmap(jacrev(jacrev(one)))(wide, targets).reshape(-1, size, size)
    if not bool(torch.isfinite(curved).all()):
        raise CorrectionFailed(NOT_FINITE)
    values, vectors = torch.linalg.eigh(block.weights.double()[:, None, None] * curved)
    if bool((values[:, 0] < -_ROUNDING * (values[:, -1].abs() + _ROUNDING)).any()):
        raise CurvatureIndefinite(float(values.min()), 0.0)
    roots: Tensor = vectors * values.clamp(min=0).sqrt()[:, None, :]
    return roots.to(outputs.dtype)


def measured(run: Callable[[int], object]) -> Bytes:
    """How much ``run(samples)`` allocates, from running it with one and with two samples.

    What is freed in between counts, too, so this is a bound from above on the peak.
    """
    counts = []
    for samples in (1, 2):
        with _Allocated() as allocated:
            run(samples)
        counts.append(allocated.bytes)
    return Bytes(fixed=max(0, 2 * counts[0] - counts[1]), sample=counts[1] - counts[0])


class _Allocated(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all tensors that operations make; views take none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: OpOverload[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            # What is done in place returns what it was given.
            given = {id(each) for each in tree_leaves((args, kwargs))}
            new = (each for each in tree_leaves(made) if id(each) not in given)
            self.bytes += sum(t.numel() * t.element_size() for t in new if isinstance(t, Tensor))
        return made
