"""Is what is served what the log has published? Versions, rebuilds, audits and exports."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

from expunge.core import names
from expunge.core.errors import CertificateInvalid
from expunge.ledger.opened import Entry, Opened
from expunge.ledger.statement import Model

_DIGEST: Final = re.compile("[0-9a-f]{64}")


def versions(opened: Opened) -> str:
    """Check what is served: digests follow from names, and the log has published them.

    Raises:
        CertificateInvalid: A digest does not follow, or was never published as is said.
    """
    for model in opened.claims.models:
        if version_digest(model) != model.served.digest:
            raise CertificateInvalid(
                f"The digest of the served version of model {model.id!r} does not follow from "
                f"its recipe and names."
            )
        _recipe(opened, model)
        _published(opened, model)
    return f"{len(opened.claims.models)} served versions follow from their names, and are logged."


def _recipe(opened: Opened, model: Model) -> None:
    created = _entries(opened, "model.created", model)
    made_from = (model.recipe.digest, opened.claims.dataset.id)
    if (
        len(created) != 1
        or tuple(created[0].body.get(f) for f in ("recipe", "dataset")) != made_from
    ):
        raise CertificateInvalid(f"The log does not have the recipe of model {model.id!r}.")


def _published(opened: Opened, model: Model) -> None:
    told = _publishing(opened, model)
    said = (model.served.samples, model.served.whole)
    if not told or (told[-1].body.get("samples"), told[-1].body.get("whole")) != said:
        raise CertificateInvalid(f"The log never published what model {model.id!r} serves.")
    change, forgot = model.forgotten, _entries(opened, "request.forgotten", model)
    if change is None or not forgot:
        return
    clean = change.after is not None and change.after.digest == model.served.digest
    if told[-1].index < forgot[-1].index and not clean:
        raise CertificateInvalid(f"Model {model.id!r} serves a version from before the request.")


def reported(opened: Opened) -> str:
    """Check that audits, rebuilds and exports are those of the log: none more, none fewer.

    Raises:
        CertificateInvalid: One is missing, made up, or says otherwise.
    """
    models = opened.claims.models
    audits = [
        (m.id, a.version, a.method, a.verdict, a.logged, a.at) for m in models for a in m.audits
    ]
    exports = [(m.id, e.version, e.files, e.at) for m in models for e in m.exports]
    _alike(opened, "audit.finished", audits, "model version method verdict figures")
    _alike(opened, "model.exported", exports, "model version files")
    for model in models:
        _rebuilt(opened, model)
    return f"{len(audits)} audits and {len(exports)} exported copies, as the log has them."


def digest_bytes(text: str) -> bytes:
    """The 32 bytes of a digest or name.

    Raises:
        CertificateInvalid: It is not 64 lower-case hexadecimal digits.
    """
    if _DIGEST.fullmatch(text) is None:
        raise CertificateInvalid("The statement has a digest that is not 64 hexadecimal digits.")
    return bytes.fromhex(text)


def version_digest(model: Model) -> str:
    """The digest that a version of these names, by this recipe, has; hexadecimal."""
    constituents = [None if name is None else digest_bytes(name) for name in model.served.names]
    recipe = digest_bytes(model.recipe.digest)
    return names.version(recipe, model.recipe.aggregate, constituents).hex()


def _alike(opened: Opened, kind: str, claimed: Iterable[tuple[Any, ...]], fields: str) -> None:
    logged = [
        (*(entry.body.get(field) for field in fields.split()), entry.at)
        for entry in opened.of_kind(kind)
    ]
    left = list(claimed)
    for one in logged:
        if one not in left:
            raise CertificateInvalid(f"The statement leaves out, or changes, an entry {kind!r}.")
        left.remove(one)
    if left:
        raise CertificateInvalid(f"The statement lists {kind!r} {len(left)} times without entry.")


def _rebuilt(opened: Opened, model: Model) -> None:
    units = _entries(opened, "unit.rebuilt", model)
    claimed = model.rebuilt
    if claimed is None:
        if units:
            raise CertificateInvalid(f"The statement leaves out that {model.id!r} was rebuilt.")
        return
    samples, destroyed = (
        sum(unit.body.get(name, 0) for unit in units) for name in ("samples", "destroyed")
    )
    seconds = math.fsum(unit.body.get("seconds", 0) for unit in units)
    logged = (len(units), samples, destroyed)
    alike = logged == (claimed.units, claimed.samples, claimed.destroyed)
    if not alike or not math.isclose(seconds, claimed.seconds, rel_tol=1e-6, abs_tol=1e-6):
        raise CertificateInvalid(f"The rebuilding of {model.id!r} was another than is stated.")
    if claimed.at not in {entry.at for entry in _publishing(opened, model)[-1:]}:
        raise CertificateInvalid(f"Model {model.id!r} was whole at another time than is stated.")


def _entries(opened: Opened, kind: str, model: Model) -> list[Entry]:
    return [entry for entry in opened.of_kind(kind) if entry.body.get("model") == model.id]


def _publishing(opened: Opened, model: Model) -> list[Entry]:
    """Entries that publish the version that is served."""
    served = model.served
    return [
        entry
        for entry in _entries(opened, "version.published", model)
        if (entry.body.get("digest"), entry.body.get("number")) == (served.digest, served.number)
    ]
