"""A differentiable training problem, as influence corrections need it: losses, gradients, curvature.

The objective of the samples that stay, R, with weights w and the penalty Λ (a number, or one for
each parameter), is, in the convention

    ``mean``:   (1 / Σ_R w) Σ_R wᵢ ℓᵢ(θ) + ½ θᵀΛθ,   so the penalty is per sample;
    ``total``:   Σ_R wᵢ ℓᵢ(θ) + ½ θᵀΛθ,               so the penalty keeps its weight as samples leave.

The two differ in what a removal does: in the mean convention a leaving sample takes its share of the
penalty's gradient with it, in the total one it does not. Code that forgets this is wrong by mΛθ.

Samples are walked in blocks that fit under a cap of bytes. How much a sample takes is found out
by running one and two of them and adding up all that is allocated, freed or not, so the estimate
errs upwards, by two to eight times.

The curvature is the Gauss-Newton matrix Σ wᵢ Jᵢᵀ ∇²ℓᵢ Jᵢ, which is positive semi-definite
wherever the loss is convex in the outputs. For generalised linear models it is the Hessian.

Fails where a module is not a function of one sample at a time (batch statistics in training
mode), or uses operations that cannot be differentiated twice; :meth:`Problem.rows` also needs modules
that ``torch.func.vmap`` can take.

References:
    Martens, "New Insights and Perspectives on the Natural Gradient Method", JMLR 21 (2020),
    section 8: the generalised Gauss-Newton matrix.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy as _cross_entropy

from expunge.core.errors import InputError, MemoryCapTooSmall, PrecisionTooLow
from expunge.methods.empirical.influence import kernels
from expunge.methods.empirical.influence.kernels import Block, Loss

Convention: TypeAlias = Literal["mean", "total"]
Kind: TypeAlias = Literal["gauss-newton", "hessian"]
Kernel: TypeAlias = Callable[[Tensor, Block], object]

# Larger blocks are no faster; one sample may take more.
_ENOUGH: Final = 2**28
_PRECISIONS: Final = (torch.float32, torch.float64)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss of each sample whose outputs are logits (n, classes) and targets classes (n,); (n,)."""
    return _cross_entropy(outputs, targets, reduction="none")


def half_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error of each sample, summed over its outputs; (n,)."""
    return 0.5 * (outputs - targets.reshape(outputs.shape)).square().flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class Samples:
    """What was trained on. Tensors may be memory-mapped: one block at a time is read.

    Attributes:
        inputs: (n, *shape). Floating ones are cast to the parameters' precision, block by block.
        targets: (n, …).
        weights: Not negative, (n,); None: each counts 1.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        lengths = {len(t) for t in (self.inputs, self.targets, self.weights) if t is not None}
        if len(lengths) != 1 or lengths == {0}:
            raise InputError(
                f"Inputs, targets and weights have {sorted(lengths)} rows. Expected as many of "
                f"each, and at least one."
            )
        if self.weights is not None and not bool((self.weights >= 0).all()):
            raise InputError("A sample's weight is negative or not a number. Give weights of 0 up.")

    def __len__(self) -> int:
        return len(self.inputs)

    def mass(self, indices: Tensor) -> float:
        """Sum of the weights of the samples at ``indices``."""
        if self.weights is None:
            return float(len(indices))
        return float(self.weights[indices].double().sum())


@dataclass(frozen=True, eq=False)
class Objective:
    """What training made small.

    Attributes:
        loss: Of each sample, from outputs (n, …) and targets: (n,). Its value for a sample may
            depend on nothing but this sample.
        penalty: Λ of ½ θᵀΛθ, not negative; a tensor (d,) where parameters are penalised
            differently, in the order of ``module.parameters()``.
        convention: Whether losses are averaged or added (see above).
    """

    loss: Loss = cross_entropy
    penalty: float | Tensor = 0.0
    convention: Convention = "mean"

    def __post_init__(self) -> None:
        # `not` catches what is not a number, too.
        if not bool((torch.as_tensor(self.penalty) >= 0).all()):
            raise InputError("`penalty` must not be negative anywhere.")


@dataclass(frozen=True, eq=False)
class Problem:
    """What a module was trained to do. Make it by :func:`describe`.

    Attributes:
        module: In evaluation mode; a copy that nobody else has. Its own parameters stand for
            their names and shapes only: all functions here take a flat vector.
        samples: All that were trained on, those that leave included.
        objective: What training made small.
        curvature: What products and solvers take for the curvature of the losses.
        memory_bytes: Cap on what the functions here allocate, beside parameters and samples.
    """

    module: nn.Module
    samples: Samples
    objective: Objective
    curvature: Kind
    memory_bytes: int

    @property
    def penalty(self) -> float | Tensor:
        """Λ: a number or (d,)."""
        return self.objective.penalty

    @cached_property
    def parameters(self) -> Tensor:
        """The module's own trained parameters, flat: (d,)."""
        return torch.cat([p.detach().flatten() for p in self._trained.values()])

    @property
    def size(self) -> int:
        """d: how many parameters there are."""
        return len(self.parameters)

    @cached_property
    def everybody(self) -> Tensor:
        """Indices of all samples: (n,)."""
        return torch.arange(len(self.samples))

    def named(self, at: Tensor) -> dict[str, Tensor]:
        """Cut the flat vector ``at`` into the module's parameters, for ``load_state_dict``."""
        shapes = {name: p.shape for name, p in self._trained.items()}
        parts = torch.split(at, [shape.numel() for shape in shapes.values()])
        return {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}

    def staying(self, leaving: Tensor) -> Tensor:
        """Indices of all samples but ``leaving``.

        Raises:
            InputError: ``leaving`` holds no index, one twice, one that is not there, or all.
        """
        stays = torch.ones(len(self.samples), dtype=torch.bool)
        inside = leaving.numel() and 0 <= int(leaving.min()) <= int(leaving.max()) < len(stays)
        if leaving.dtype != torch.int64 or leaving.ndim != 1 or not inside:
            raise InputError(
                f"The samples to leave are {leaving.numel():,} indices. Expected int64 ones, at "
                f"least one, each from 0 to {len(stays) - 1:,}."
            )
        stays[leaving] = False
        if int(stays.sum()) != len(stays) - len(leaving) or self.samples.mass(stays.nonzero()) <= 0:
            raise InputError(
                "An index to leave stands twice, or nothing would stay. Name each sample once, "
                "and keep some with weight."
            )
        return stays.nonzero().flatten()

    def share(self, indices: Tensor) -> float:
        """What a sum over ``indices`` is divided by in the objective of just them."""
        return self.samples.mass(indices) if self.objective.convention == "mean" else 1.0

    def reserving(self, held: int) -> Problem:
        """The same problem while ``held`` bytes of the cap are taken by others."""
        if held >= self.memory_bytes:
            raise MemoryCapTooSmall(held, self.memory_bytes)
        return replace(self, memory_bytes=self.memory_bytes - held)

    def outputs(self, at: Tensor, inputs: Tensor) -> Tensor:
        """The module's outputs at parameters ``at``: (n, …). Differentiable."""
        return functional_call(self.module, self.named(at), (inputs,))  # type: ignore[no-any-return]

    def losses(self, at: Tensor, indices: Tensor) -> float:
        """Weighted sum of the losses, without penalty. One forward pass."""
        walk = self.blocks(indices, self._gradient_bytes)
        return sum(kernels.losses(self.outputs, self.objective.loss, at, block) for block in walk)

    def gradient(self, at: Tensor, indices: Tensor) -> Tensor:
        """Weighted sum of the losses' gradients, without penalty: (d,). One backward pass."""
        total = torch.zeros_like(at)
        for block in self.blocks(indices, self._gradient_bytes):
            total += self._gradient(at, block)
        return total

    def product(
        self, at: Tensor, indices: Tensor, without: Tensor | None = None
    ) -> kernels.Product:
        """Multiply with the weighted sum of the losses' curvatures: from (d,) to (d,).

        Each multiplication takes a forward and three backward passes; two backward ones where the
        graph of all ``indices`` fits under the cap, as it is then kept.

        Those of ``indices`` that ``without`` marks, (n,), are walked but count nothing: with few
        of them, that is cheaper than to copy the others.
        """

        def walk() -> Iterator[kernels.Product]:
            for block in self.blocks(indices, self._product_bytes, without):
                yield self._product(at, block)

        bytes_ = self._product_bytes
        needed = self._needed(bytes_, indices, len(indices))
        needed += needed // _ENOUGH * bytes_.fixed  # of each block, where there are several
        kept = list(walk()) if needed <= self.memory_bytes else None

        def multiply(vector: Tensor) -> Tensor:
            total = torch.zeros_like(at)
            for each in walk() if kept is None else kept:
                total += each(vector.to(at.dtype))
            return total

        return multiply

    def rows(self, at: Tensor, indices: Tensor) -> Iterator[Tensor]:
        """Rows that square to the Gauss-Newton matrix, (at most n · outputs, d), in blocks.

        As many backward passes as a sample has outputs. The sum over blocks of ``rowsᵀ rows`` is
        the weighted sum of the curvatures.
        """
        for block in self.blocks(indices, self._rows_bytes):
            yield self._rows(at, block)

    def blocks(
        self, indices: Tensor, bytes_: kernels.Bytes, without: Tensor | None = None
    ) -> Iterator[Block]:
        """Cut ``indices`` into blocks that stay under the cap; who is ``without`` has no weight.

        Raises:
            MemoryCapTooSmall: Not even one sample does.
        """
        if (needed := self._needed(bytes_, indices, 1)) > self.memory_bytes:
            raise MemoryCapTooSmall(needed, self.memory_bytes)
        room = min(_ENOUGH, self.memory_bytes - self._needed(bytes_, indices, 0))
        for part in torch.split(indices, max(1, room // max(1, bytes_.sample))):
            yield self._load(part, without)

    def _needed(self, bytes_: kernels.Bytes, indices: Tensor, samples: int) -> int:
        # Indices take memory, too: all of them, and those that a mask of them was made from.
        return bytes_.fixed + 3 * indices.nbytes + samples * bytes_.sample

    def _load(self, indices: Tensor, without: Tensor | None = None) -> Block:
        like, samples = self.parameters, self.samples
        where = _place(indices)
        weights = torch.ones(len(indices)) if samples.weights is None else samples.weights[where]
        if without is not None:
            weights = weights * ~without[where].to(weights.device)
        inputs = samples.inputs[where].to(like.device)
        inputs = inputs.to(like.dtype) if inputs.is_floating_point() else inputs
        targets = samples.targets[where].to(like.device)
        targets = targets.to(like.dtype) if targets.is_floating_point() else targets
        return Block(inputs, targets, weights.to(like))

    def _gradient(self, at: Tensor, block: Block) -> Tensor:
        return kernels.gradient(self.outputs, self.objective.loss, at, block)

    def _product(self, at: Tensor, block: Block) -> kernels.Product:
        kernel = kernels.gauss_newton if self.curvature == "gauss-newton" else kernels.hessian
        return kernel(self.outputs, self.objective.loss, at, block)

    def _rows(self, at: Tensor, block: Block) -> Tensor:
        return kernels.rows(self.outputs, self.objective.loss, at, block)

    @cached_property
    def _trained(self) -> dict[str, nn.Parameter]:
        return {n: p for n, p in self.module.named_parameters() if p.requires_grad}

    @cached_property
    def _gradient_bytes(self) -> kernels.Bytes:
        return self._measured(self._gradient)

    @cached_property
    def _product_bytes(self) -> kernels.Bytes:
        return self._measured(lambda at, block: self._product(at, block)(at))

    @cached_property
    def _rows_bytes(self) -> kernels.Bytes:
        return self._measured(self._rows)

    def _measured(self, kernel: Kernel) -> kernels.Bytes:
        def run(count: int) -> object:
            # The same sample twice serves where there is only one. Loaded twice, because a
            # block is still held while the next one is loaded.
            same = torch.zeros(count, dtype=torch.int64)
            return self._load(same), kernel(self.parameters, self._load(same))

        return kernels.measured(run)


def _place(indices: Tensor) -> slice | Tensor:
    """A slice where it says the same: it makes a view, where indices make a copy."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 == len(indices) and bool((indices.diff() == 1).all()):
        return slice(first, last + 1)
    return indices


def describe(
    module: nn.Module,
    samples: Samples,
    objective: Objective,
    *,
    curvature: Kind = "gauss-newton",
    memory_bytes: int = 2**30,
) -> Problem:
    """Describe what ``module`` was trained to do; the module itself is copied, not changed.

    Args:
        module: Its parameters that require gradients are those that can be corrected.
        samples: All that it was trained on.
        objective: What training made small.
        curvature: ``hessian`` is for those who want it: away from a minimum it is indefinite.
        memory_bytes: Cap on working memory.

    Raises:
        PrecisionTooLow: Parameters are not all float32 or all float64.
        InputError: Nothing is trained, or the penalty is of another shape.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    found = {p.dtype for p in trained}
    if not trained:
        raise InputError("No parameter of the module requires a gradient: nothing to correct.")
    if len(found) > 1 or not found < set(_PRECISIONS):
        raise PrecisionTooLow(sorted(str(each).removeprefix("torch.") for each in found))
    size = sum(p.numel() for p in trained)
    if isinstance(objective.penalty, Tensor):
        if objective.penalty.shape != (size,):
            raise InputError(f"`penalty` must be a number or ({size},), one for each parameter.")
        objective = replace(objective, penalty=objective.penalty.to(trained[0]))
    return Problem(copy.deepcopy(module).eval(), samples, objective, curvature, memory_bytes)


def value(of: Problem, at: Tensor, indices: Tensor) -> float:
    """What training on just ``indices`` would have made small. One forward pass."""
    penalty = 0.5 * float((of.penalty * at.double().square()).sum())
    return of.losses(at, indices) / of.share(indices) + penalty


def curve(of: Problem, at: Tensor, leaving: Tensor | None = None) -> kernels.Product:
    """Multiply with the curvature of the objective of all but ``leaving``, penalty included."""
    share = of.share(of.everybody if leaving is None else of.staying(leaving))
    if leaving is None:
        product = of.product(at, of.everybody)
    elif 2 * len(leaving) < len(of.samples):
        without = torch.zeros(len(of.samples), dtype=torch.bool)
        without[leaving] = True
        product = of.product(at, of.everybody, without)
    else:
        product = of.product(at, of.staying(leaving))
    return lambda vector: product(vector) / share + of.penalty * vector


def pull(of: Problem, at: Tensor, leaving: Tensor) -> Tensor:
    """What the samples ``leaving`` contribute to the gradient of the whole objective, times n.

    In the mean convention with their share of the penalty. At a minimum of the whole
    objective, the gradient of the objective of those that stay is ``-pull / share(staying)``.
    """
    gradient = of.gradient(at, leaving)
    if of.objective.convention == "total":
        return gradient
    return gradient + of.samples.mass(leaving) * of.penalty * at
