"""Scopes: for which models a tombstone counts, besides those that count for all.

One model, by its random id, which is its folder's name; or all models of a purpose, also those
that will be made later.
"""

from __future__ import annotations

from hashlib import sha256

from expunge.training.recipe import Recipe


def of_model(model: str) -> str:
    """The scope of the one model with this random id."""
    return f"model:{model}"


def of_purpose(purpose: str) -> str:
    """The scope of all models whose view has this purpose, word by word."""
    return f"purpose:{purpose}"


def of_hashed_purpose(digest: str) -> str:
    """The same where only SHA-256 of the purpose is known, hexadecimal: from the ledger."""
    return of_purpose(f"sha256:{digest}")


def counting_for(model: str, recipe: Recipe) -> tuple[str, ...]:
    """The scopes that a model of this random id and recipe is in."""
    purpose = recipe.view.purpose
    if not purpose:
        return (of_model(model),)
    hashed = of_hashed_purpose(sha256(purpose.encode()).hexdigest())
    return (of_model(model), of_purpose(purpose), hashed)
