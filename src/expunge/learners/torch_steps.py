"""Optimisers: SGD by PyTorch's fused kernel, and any other as it comes.

`torch.optim.SGD` spends more time in Python than in its kernel for small networks, and
the first optimiser that a process makes imports `torch._dynamo` (two seconds). So SGD
calls the kernel itself; its state has the layout of ``torch.optim.SGD.state_dict()``.

References:
    PyTorch 2.13, ``torch/optim/sgd.py``, ``_fused_sgd``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from expunge.core.digest import Json
from expunge.core.errors import RecipeInvalid
from expunge.learners.torch_modules import imported

Loss: TypeAlias = Callable[[], Tensor]

Gradients: TypeAlias = Callable[[], tuple[Loss, list[Tensor | None]]]
"""Of the batch at hand: its loss, which most optimisers do not ask for, and its gradients,
laid out like the parameters."""


class Stepper(Protocol):
    """What the training loop needs of an optimiser."""

    def step(self, gradients: Gradients) -> None:
        """Change the parameters once."""
        ...

    def state(self) -> dict[str, Any]:
        """In the layout of ``state_dict()``, with strings for keys."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        ...


def stepper(name: str, options: Mapping[str, Json], parameters: Sequence[nn.Parameter]) -> Stepper:
    """Make an optimiser over ``parameters``.

    Args:
        name: A class of ``torch.optim``, or ``package.module:class``.
        options: Its arguments. ``fused`` is set where the class has it and nobody chose.
        parameters: To train.

    Raises:
        RecipeInvalid: There is no such optimiser, or it does not take these options.
    """
    dtypes = {parameter.dtype for parameter in parameters}
    if name == "SGD" and options.keys() <= _SGD.keys() and dtypes in ({_F32}, {torch.float64}):
        return FusedSGD(parameters, options)
    return AnyOptimiser(name, options, parameters)


_F32 = torch.float32
_SGD: Final[Mapping[str, Any]] = {
    "lr": 1e-3,
    "momentum": 0.0,
    "dampening": 0.0,
    "weight_decay": 0.0,
    "nesterov": False,
    "maximize": False,
}


class FusedSGD:
    """`torch.optim.SGD(fused=True)`, with the same bits, straight from its kernel."""

    def __init__(self, parameters: Sequence[nn.Parameter], options: Mapping[str, Json]) -> None:
        self._options = {**_SGD, **options}
        self._parameters = list(parameters)
        self._values = [parameter.detach() for parameter in parameters]  # the same memory
        self._momenta: dict[int, Tensor] = {}  # by place; a parameter without gradients has none
        _check_sgd(self._options)

    def step(self, gradients: Gradients) -> None:
        """Change the parameters that have gradients."""
        _, each = gradients()
        whole = [gradient for gradient in each if gradient is not None]
        if len(self._momenta) == len(each) == len(whole):
            momenta = [self._momenta[place] for place in range(len(each))]
            torch._fused_sgd_(self._values, whole, momenta, **self._options, is_first_step=False)
            return
        used = {place: gradient for place, gradient in enumerate(each) if gradient is not None}
        if not self._options["momentum"]:
            self._kernel(used, first=False)
            return
        new = {place: gradient for place, gradient in used.items() if place not in self._momenta}
        self._momenta |= {place: torch.empty_like(self._parameters[place]) for place in new}
        self._kernel(new, first=True)
        self._kernel({p: g for p, g in used.items() if p not in new} if new else used, first=False)

    def state(self) -> dict[str, Any]:
        """As ``torch.optim.SGD.state_dict()``."""
        unset = {"foreach": None, "differentiable": False, "fused": True}
        places = list(range(len(self._parameters)))
        return {
            "state": {str(place): {"momentum_buffer": b} for place, b in self._momenta.items()},
            "param_groups": [{**self._options, **unset, "params": places}],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over momentum buffers."""
        self._momenta = {
            int(place): laid_out(entry["momentum_buffer"], self._parameters[int(place)])
            for place, entry in state["state"].items()
        }

    def _kernel(self, gradients: Mapping[int, Tensor], *, first: bool) -> None:
        if not gradients:
            return
        momenta = [self._momenta[p] for p in gradients] if self._options["momentum"] else []
        with torch.no_grad():
            torch._fused_sgd_(
                [self._parameters[place] for place in gradients],
                list(gradients.values()),
                momenta,
                **self._options,
                is_first_step=first,
            )


class AnyOptimiser:
    """An optimiser class, driven through ``step(closure)`` so that any of them works."""

    def __init__(
        self, name: str, options: Mapping[str, Json], parameters: Sequence[nn.Parameter]
    ) -> None:
        kind = optimiser_class(name)
        self._parameters = list(parameters)
        fusable = "fused" in signature(kind).parameters and not (
            {"fused", "foreach", "differentiable"} & options.keys()
        )
        try:
            self._optimiser = kind(
                self._parameters, **({"fused": True} if fusable else {}), **options
            )
        except (TypeError, ValueError, RuntimeError) as problem:
            raise RecipeInvalid(
                f"Optimiser {name!r} does not take options {dict(options)}: {problem}. Mend "
                f"`optimiser_options`."
            ) from problem

    def step(self, gradients: Gradients) -> None:
        """One step; the closure is called as often as the optimiser likes."""

        def closure() -> Tensor:
            loss, each = gradients()
            for parameter, gradient in zip(self._parameters, each, strict=True):
                parameter.grad = gradient
            return loss()

        self._optimiser.step(closure)

    def state(self) -> dict[str, Any]:
        """As ``state_dict()``."""
        state = self._optimiser.state_dict()
        return {**state, "state": {str(place): entry for place, entry in state["state"].items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """As ``load_state_dict()``, with tensors laid out as their parameters are."""
        entries = {
            int(place): _laid_out_entry(entry, self._parameters[int(place)])
            for place, entry in state["state"].items()
        }
        self._optimiser.load_state_dict({**state, "state": entries})


def laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """``tensor`` with the strides of ``like``: fused kernels walk the memory of both alike.

    Without it they read past the end of, say, an expanded gradient, and say nothing.
    """
    if tensor.stride() == like.stride() or tensor.layout is not torch.strided:
        return tensor
    return torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


def _laid_out_entry(entry: Mapping[str, Any], like: Tensor) -> dict[str, Any]:
    return {
        key: laid_out(value, like)
        if isinstance(value, Tensor) and value.shape == like.shape
        else value
        for key, value in entry.items()
    }


def optimiser_class(name: str) -> Any:  # noqa: ANN401 - a class of unknown arguments
    """Find an optimiser.

    Raises:
        RecipeInvalid: There is none of that name.
    """
    if ":" in name:
        return imported("optimiser", name)
    kinds = {
        key: kind
        for key, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    }
    kinds.pop("Optimizer", None)
    if name not in kinds:
        raise RecipeInvalid(
            f"No optimiser {name!r} in `torch.optim`. There are: {', '.join(sorted(kinds))}; or "
            f"give 'package.module:class'."
        )
    return kinds[name]


def _check_sgd(options: Mapping[str, Any]) -> None:
    for name in ("lr", "momentum", "weight_decay"):
        if isinstance(options[name], bool) or not isinstance(options[name], int | float):
            raise RecipeInvalid(f"SGD's `{name}` must be a number, got {options[name]!r}.")
        if options[name] < 0:
            raise RecipeInvalid(f"SGD's `{name}` must not be negative, got {options[name]}.")
    if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
        raise RecipeInvalid(
            "SGD's `nesterov` needs a positive `momentum` and no `dampening`. Set `momentum`, "
            "or leave `nesterov` out."
        )
