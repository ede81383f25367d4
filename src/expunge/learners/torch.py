"""PyTorch networks: any module that can be imported, any optimiser.

Each slice begins with a module that is built anew and the serialised parent loaded into it,
so nothing survives that is not in the state: parameters, buffers, the optimiser's state.
Samples are visited in orders that hash sample and epoch; initial weights and dropout come
from generators that are seeded by the slice and put back. ``revision`` stands for all of that
and for the loss: it rises when equal arguments would give other bytes in the same runtime.

Costs, beside the training itself, two copies of the state to load it and one to write it. Fails
with :class:`RecipeInvalid` where module, optimiser and options do not fit together, and with
:class:`StateNotCanonical` where a state holds more than tensors, numbers and strings. Bytes
repeat on a CPU with the same instruction profile and one thread;
``torch.use_deterministic_algorithms`` would add nothing there.

References:
    Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, doi:10.1109/SP40001.2021.00019,
    section IV: sharded, isolated, sliced training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from expunge.core import rng
from expunge.core.digest import Json
from expunge.core.errors import FormatUnsupported, RecipeInvalid, StateNotCanonical
from expunge.core.types import Kind, Task
from expunge.learners import (
    encoding,
    state,
    torch_gradients,
    torch_loop,
    torch_modules,
    torch_predict,
    torch_steps,
)
from expunge.learners.options import Options
from expunge.learners.protocol import Features, Predictor, Samples, Step
from expunge.learners.seeding import seeded, seeded_torch
from expunge.learners.torch_state import freeze, thaw
from expunge.learners.torch_steps import Gradients, Stepper

_FORMAT: Final = 1
_STEPS: Final[Mapping[str, Mapping[str, Json]]] = {"SGD": {"lr": 0.1, "momentum": 0.9}}


@dataclass(frozen=True)
class Torch:
    """A network, trained slice by slice.

    The loss is cross-entropy of the module's outputs as logits, or their mean squared error;
    both are means over a batch, weighted by the samples' weights.

    Attributes:
        module: ``linear``, ``mlp``, or ``package.module:factory``, called as
            ``factory(inputs, outputs, **module_options)``. ``inputs`` is the shape of one row:
            of the tensor where the view has a single feature and that is a tensor which may
            not be missing, else ``(width,)``. ``outputs`` is the number of classes or targets.
            All that a factory draws or learns must be a parameter or a persistent buffer.
        module_options: JSON; those of ``mlp`` are in :func:`expunge.learners.torch_modules.mlp`.
        optimiser: A class of ``torch.optim``, or ``package.module:class``.
        optimiser_options: Its arguments (``lr``, ``momentum`` …). Without them, ``SGD`` takes
            ``lr=0.1, momentum=0.9`` and others what PyTorch says. ``fused`` is on where the
            class has it, unless said otherwise.
        epochs: e₀: epochs of plain training that the whole schedule is worth.
        batch: Samples of a batch.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy")

    module: str = "mlp"
    module_options: Mapping[str, Json] = Options()
    optimiser: str = "SGD"
    optimiser_options: Mapping[str, Json] | None = None
    epochs: float = 10.0
    batch: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "module_options", Options(self.module_options))
        steps = self.optimiser_options
        steps = _STEPS.get(self.optimiser, {}) if steps is None else steps
        object.__setattr__(self, "optimiser_options", Options(steps))
        object.__setattr__(self, "epochs", float(self.epochs))
        if self.module not in torch_modules.OURS and ":" not in self.module:
            raise RecipeInvalid(
                f"No module {self.module!r}. There are: {', '.join(sorted(torch_modules.OURS))}; "
                f"or give 'package.module:factory'."
            )
        if ":" not in self.optimiser:
            torch_steps.optimiser_class(self.optimiser)
        if not (self.epochs > 0 and math.isfinite(self.epochs)):
            raise RecipeInvalid(f"`epochs` must be positive and finite, got {self.epochs}.")
        if self.batch < 1:
            raise RecipeInvalid(f"`batch` must be at least 1, got {self.batch}.")

    def encode(self, task: Task, features: Features) -> NDArray[np.float32]:
        """Encode rows by the schema alone; (n, *shape of one row)."""
        rows = encoding.dense(task.features, features)
        return rows.reshape(len(rows), *_shape(task))

    def learn(self, task: Task, parent: bytes | None, samples: Samples, step: Step) -> bytes:
        """Train ``epochs · step.share`` epochs on ``samples``, from ``parent`` or afresh."""
        born, module, stepper = self._build(task, parent, step.seed)
        transient = _transient(module)
        module.train()
        batches = torch_loop.Batches(samples, self.batch)
        visits = torch_loop.orders(samples.tokens, step.seed, self.epochs * step.share)
        gradients = self._gradients(module)(module, batches, task)
        pairs = any(isinstance(layer, _BatchNorm) for layer in module.modules())
        with self._chance(rng.seed(step.seed, "train")):
            torch_loop.fit(visits, batches, gradients, stepper, pairs=pairs)
        _refuse_changes(module, transient)
        return _dump(born, module, stepper)

    def predictor(self, task: Task, states: Sequence[bytes]) -> Predictor:
        """Predict with all states: networks of our own together, imported ones in turn."""
        modules = [self._module(task, *_parse(each)).eval() for each in states]
        ours = self.module in torch_modules.OURS
        together = torch_predict.stacked if ours else torch_predict.one_by_one
        return torch_predict.predictor(task, together(modules), len(modules))

    def fresh(self, task: Task) -> nn.Module:
        """A network as training begins with."""
        return self._module(task, {"seed": 0}, {})

    def network(self, task: Task, state: bytes) -> nn.Module:
        """The network of a state, for whoever wants to change its parameters."""
        return self._module(task, *_parse(state))

    def renewed(self, task: Task, state: bytes, module: nn.Module) -> bytes:
        """``state`` with the parameters of ``module``, and an optimiser that has seen nothing."""
        meta, _ = _parse(state)
        options = self.optimiser_options or {}
        fresh = torch_steps.stepper(self.optimiser, options, torch_gradients.trained(module))
        return _dump(meta["seed"], module, fresh)

    def _build(self, task: Task, parent: bytes | None, seed: int) -> tuple[int, nn.Module, Stepper]:
        """The seed of the first slice that was trained, module and optimiser, as they stood."""
        meta, arrays = _parse(parent) if parent else ({"seed": seed}, {})
        module = self._module(task, meta, arrays)
        parameters = torch_gradients.trained(module)
        stepper = torch_steps.stepper(self.optimiser, self.optimiser_options or {}, parameters)
        if parent:
            stepper.load(thaw(meta["optimiser"], arrays))
        return meta["seed"], module, stepper

    def _module(
        self, task: Task, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> nn.Module:
        blank = "module" in meta
        # What a factory draws beside parameters and buffers is the same in every slice, too.
        # Ours then draw nothing, and need not wait for a thread that is training.
        draws = not blank or self.module not in torch_modules.OURS
        seed = rng.seed(meta["seed"], "initialise")
        with self._chance(seed) if draws else nullcontext():
            module = torch_modules.build(
                self.module, self.module_options, _shape(task), task.outputs, blank=blank
            )
        if blank:
            _load(module, thaw(meta["module"], arrays))
        return module

    def _gradients(self, module: nn.Module) -> Callable[..., Gradients]:
        ours = self.module in torch_modules.OURS
        plain = ours and torch_gradients.has_closed_form(module)
        return torch_gradients.in_closed_form if plain else torch_gradients.by_autograd

    def _chance(self, seed: int) -> AbstractContextManager[None]:
        # Networks of our own draw from PyTorch alone; an imported one may draw from anywhere.
        return seeded_torch(seed) if self.module in torch_modules.OURS else seeded(seed)


def _shape(task: Task) -> tuple[int, ...]:
    """Of one row's input."""
    only = task.features[0] if len(task.features) == 1 else None
    if only and only.kind is Kind.TENSOR and only.shape and not only.nullable:
        return only.shape
    return (encoding.width(task.features),)


def _dump(born: int, module: nn.Module, stepper: Stepper) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    meta = {
        "format": _FORMAT,
        "seed": born,
        "module": freeze(dict(module.state_dict()), "module", arrays),
        "optimiser": freeze(stepper.state(), "optimiser", arrays),
    }
    return state.dump(meta, arrays)


def _parse(given: bytes) -> tuple[Any, dict[str, NDArray[Any]]]:
    meta, arrays = state.parse(given)
    if meta["format"] != _FORMAT:
        raise FormatUnsupported("A PyTorch checkpoint", meta["format"], _FORMAT)
    return meta, arrays


def _load(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = module.state_dict()
    if own.keys() != weights.keys():
        raise RecipeInvalid(
            f"The module has {len(own)} parameters and buffers, its checkpoint {len(weights)}, and "
            f"their names differ. The factory changed after training, or what it makes depends on "
            f"more than its arguments. Restore it, or train a model with another recipe."
        )
    own.update(weights)  # keeps what `state_dict` says about versions of layers
    module.load_state_dict(own)


def _transient(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers that are not part of the state."""
    buffers = dict(module.named_buffers())
    kept = module.state_dict().keys() if buffers else ()
    return {name: buffer.clone() for name, buffer in buffers.items() if name not in kept}


def _refuse_changes(module: nn.Module, before: Mapping[str, Tensor]) -> None:
    buffers = dict(module.named_buffers()) if before else {}
    for name, buffer in before.items():
        if not torch.equal(buffers[name], buffer):
            raise StateNotCanonical(f"module.{name}", "non-persistent buffer that training changes")
