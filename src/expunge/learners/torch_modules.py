"""Networks by name: three of our own, and any that a user's module can make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pkgutil import resolve_name
from typing import Any, Final, TypeAlias

from torch import nn
from torch.nn.parameter import is_lazy

from expunge.core.digest import Json
from expunge.core.errors import RecipeInvalid

Factory: TypeAlias = Callable[..., nn.Module]
"""``factory(inputs, outputs, **options)``: shape of one row's input, width of the output."""


class _Blank(nn.Linear):
    """A layer whose weights are about to be loaded: drawing them would be for nothing."""

    def reset_parameters(self) -> None:
        """Leave the weights as the allocator gave them."""


class _BlankConv2d(nn.Conv2d):
    """The same for a convolution."""

    def reset_parameters(self) -> None:
        """Leave the weights as the allocator gave them."""


def linear(inputs: tuple[int, ...], outputs: int, *, blank: bool = False) -> nn.Sequential:
    """One affine layer over the flattened input."""
    return mlp(inputs, outputs, hidden=(), blank=blank)


def mlp(  # noqa: PLR0913 - a factory's options are its arguments
    inputs: tuple[int, ...],
    outputs: int,
    *,
    hidden: Sequence[int] = (128,),
    activation: str = "ReLU",
    batch_norm: bool = False,
    dropout: float = 0.0,
    blank: bool = False,
) -> nn.Sequential:
    """Affine layers over the flattened input, with an activation behind all but the last.

    Args:
        inputs: Shape of one row's input.
        outputs: Width of the output: logits, or values.
        hidden: Widths of the hidden layers.
        activation: One of :data:`ACTIVATIONS`.
        batch_norm: Normalise before each activation.
        dropout: Probability that a hidden output is left out in training.
        blank: Leave the weights of affine layers undefined, to be loaded.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"`activation` must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
    affine = _Blank if blank else nn.Linear
    layers: list[nn.Module] = [nn.Flatten()]
    size = prod(inputs)
    for following in hidden:
        layers.append(affine(size, following))
        if batch_norm:
            layers.append(nn.BatchNorm1d(following))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        size = following
    return nn.Sequential(*layers, affine(size, outputs))


def convnet(  # noqa: PLR0913 - a factory's options are its arguments
    inputs: tuple[int, ...],
    outputs: int,
    *,
    channels: Sequence[int] = (16, 32),
    kernel: int = 3,
    activation: str = "ReLU",
    batch_norm: bool = False,
    dropout: float = 0.0,
    blank: bool = False,
) -> nn.Sequential:
    """Convolutions, each with an activation and a 2 × 2 maximum behind it, then one affine layer.

    Args:
        inputs: Shape of one image: (height, width), or (channels, height, width). Each convolution
            halves height and width, rounded down; they must not become 0.
        outputs: Width of the output: logits, or values.
        channels: Of each convolution's output, at least one.
        kernel: Height and width of the kernels, odd; the border is padded with zeros.
        activation: One of :data:`ACTIVATIONS`.
        batch_norm: Normalise before each activation.
        dropout: Probability that an input of the affine layer is left out in training.
        blank: Leave the weights undefined, to be loaded.
    """
    depth, height, width = _image(inputs)
    _check_convnet(channels, kernel, activation)
    layers: list[nn.Module] = [] if len(inputs) == 3 else [nn.Unflatten(1, (1, height))]
    for following in channels:
        convolution = _BlankConv2d if blank else nn.Conv2d
        layers.append(convolution(depth, following, kernel, padding=kernel // 2))
        if batch_norm:
            layers.append(nn.BatchNorm2d(following))
        layers += [ACTIVATIONS[activation](), nn.MaxPool2d(2)]
        depth, height, width = following, height // 2, width // 2
    if not height * width:
        raise ValueError(f"images of shape {inputs} are too small for {len(channels)} halvings")
    layers.append(nn.Flatten())
    if dropout:
        layers.append(nn.Dropout(dropout))
    affine = _Blank if blank else nn.Linear
    return nn.Sequential(*layers, affine(depth * height * width, outputs))


def _image(inputs: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width."""
    if len(inputs) not in (2, 3):
        raise ValueError(
            f"expected images, (height, width) or (channels, height, width), got rows of {inputs}"
        )
    depth, height, width = inputs if len(inputs) == 3 else (1, *inputs)
    return depth, height, width


def _check_convnet(channels: Sequence[int], kernel: int, activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"`activation` must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
    if not channels:
        raise ValueError("`channels` must name at least one convolution")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"`kernel` must be odd and positive, got {kernel}")


ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {
    "GELU": nn.GELU,
    "ReLU": nn.ReLU,
    "SiLU": nn.SiLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
}

OURS: Final[Mapping[str, Factory]] = {
    "convnet": convnet,
    "linear": linear,
    "mlp": mlp,
}


def build(
    name: str, options: Mapping[str, Json], inputs: tuple[int, ...], outputs: int, *, blank: bool
) -> nn.Module:
    """Make a network.

    Args:
        name: One of :data:`OURS`, or ``package.module:factory``.
        options: Handed to the factory.
        inputs: Shape of one row's input.
        outputs: Width of the output.
        blank: The weights will be loaded; networks of our own then skip drawing them.

    Raises:
        RecipeInvalid: There is no such factory, or it does not take these options.
    """
    factory = OURS[name] if name in OURS else imported("module", name)
    extra = {"blank": True} if blank and name in OURS else {}
    try:
        module = factory(inputs, outputs, **options, **extra)
    except (TypeError, ValueError) as problem:
        raise RecipeInvalid(
            f"Module {name!r} could not be made with inputs {inputs}, outputs {outputs} and "
            f"options {dict(options)}: {problem}. Mend `module_options`; a factory is called as "
            f"factory(inputs, outputs, **module_options)."
        ) from problem
    if not isinstance(module, nn.Module):
        raise RecipeInvalid(
            f"{name!r} returned a {type(module).__name__}, expected a `torch.nn.Module`."
        )
    if any(is_lazy(parameter) for parameter in module.parameters()):
        raise RecipeInvalid(
            f"Module {name!r} has lazy layers, whose shapes are not known before the first "
            f"batch. Give them their input sizes; the factory is told the shape of a row."
        )
    return module


def imported(field: str, name: str) -> Any:  # noqa: ANN401 - whatever stands there
    """What stands at ``package.module:attribute``.

    Raises:
        RecipeInvalid: Nothing does.
    """
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as problem:
        raise RecipeInvalid(
            f"`{field}={name!r}` cannot be imported: {problem}. Expected "
            f"'package.module:attribute', importable in every worker (installed, or on "
            f"PYTHONPATH)."
        ) from problem
