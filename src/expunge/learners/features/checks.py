"""What the fields of feature maps must be."""

from __future__ import annotations

from expunge.core.errors import RecipeInvalid


def check_between(name: str, value: object, least: int, most: int) -> None:
    """Refuse what is no whole number from ``least`` to ``most``.

    Raises:
        RecipeInvalid: It is something else.
    """
    if not _whole(value) or not least <= value <= most:  # type: ignore[operator]  # whole, then
        raise RecipeInvalid(f"`{name}` is a whole number from {least} to {most}, got {value!r}.")


def check_positive(name: str, value: object) -> None:
    """Refuse what is no finite number above 0.

    Raises:
        RecipeInvalid: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
        raise RecipeInvalid(f"`{name}` is a finite number above 0, got {value!r}.")


def check_shape(shape: object) -> None:
    """Refuse what is no shape of an image.

    Raises:
        RecipeInvalid: It is something else.
    """
    good = isinstance(shape, tuple) and len(shape) in {2, 3}
    if not good or not all(_whole(side) and side >= 1 for side in shape):  # type: ignore[attr-defined]  # a tuple, then
        raise RecipeInvalid(
            f"`shape` is (height, width) or (height, width, channels), got {shape!r}."
        )


def check_lengths(name: str, lengths: object) -> None:
    """Refuse what is no least and greatest length.

    Raises:
        RecipeInvalid: It is something else.
    """
    good = isinstance(lengths, tuple) and len(lengths) == 2 and all(map(_whole, lengths))
    if not good or not 1 <= lengths[0] <= lengths[1]:  # type: ignore[index]  # a tuple, then
        raise RecipeInvalid(
            f"`{name}` is (least, greatest), two whole numbers from 1 on, got {lengths!r}."
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
