"""Do the certificate's other parts say what the signed statement says? Files, proofs, words."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from expunge.core import jcs, merkle, names
from expunge.core.errors import CertificateInvalid
from expunge.core.types import Guarantee
from expunge.ledger import absence, certificate, ladder, limits, modelsign, predicate
from expunge.ledger.opened import Opened
from expunge.ledger.served import digest_bytes
from expunge.ledger.statement import Model, Promise
from expunge.ledger.story import CORRECT

_ABSENCE: Final = "absence/"
_ORDER: Final = tuple(Guarantee)  # from strong to weak


def complete(opened: Opened) -> str:
    """Check that the archive holds what the statement lists, byte for byte, and nothing else.

    Raises:
        CertificateInvalid: A member is missing, changed, or nobody signed for it.
    """
    listed = opened.claims.members
    held = {
        name: content
        for name, content in opened.members.items()
        if name != certificate.STATEMENT and not name.startswith("ledger/")
    }
    if missing := listed.keys() - held.keys():
        raise CertificateInvalid(f"The archive lacks {min(missing)!r}, which the statement lists.")
    if strangers := held.keys() - listed.keys():
        raise CertificateInvalid(f"The archive holds {min(strangers)!r}: nobody signed for it.")
    for name, content in held.items():
        if name != certificate.PAGE and sha256(content).hexdigest() != listed[name]:
            raise CertificateInvalid(f"{name!r} is another than the one that was signed for.")
    return f"All {len(listed)} other members are those that were signed for."


def same_page(opened: Opened) -> str:
    """Check that the page for people is the one that was signed for."""
    found = sha256(opened.members[certificate.PAGE]).hexdigest()
    if opened.claims.members.get(certificate.PAGE) != found:
        raise CertificateInvalid("The page for people is another than the one that was signed for.")
    return "The page for people is the one that was signed for."


def subjects(opened: Opened) -> str:
    """Check that the statement's subjects are the served versions and all of their files."""
    if opened.subjects != predicate.subjects(opened.claims):
        raise CertificateInvalid("The statement's subjects are not the versions that it speaks of.")
    for model in opened.claims.models:
        _signed_files(opened, model)
    count = sum(len(model.files) for model in opened.claims.models)
    return f"All {count} served files are subjects, and signed for by OpenSSF model-signing too."


def _signed_files(opened: Opened, model: Model) -> None:
    listing, signature = f"models/{model.id}.files.json", f"models/{model.id}.sig"
    for name in (listing, signature):
        if name not in opened.members:
            raise CertificateInvalid(f"The archive lacks {name!r}.")
    if opened.members[listing] != jcs.dumps(dict(model.files)):
        raise CertificateInvalid(f"{listing!r} lists other files than the statement.")
    found = modelsign.verify(opened.members[signature], opened.key, signature)
    if found != model.files:
        raise CertificateInvalid(f"{signature!r} is for other files than the statement's.")


def absent(opened: Opened) -> str:
    """Check every proof that a served model leaves a forgotten row out.

    Raises:
        CertificateInvalid: A proof is missing, of another row or model, or does not show it.
    """
    claims = opened.claims
    held = [name for name in opened.members if name.startswith(_ABSENCE)]
    expected = claims.request.samples * len(claims.concerned)
    if (len(held), expected) != (claims.absence.shown, claims.absence.of):
        raise CertificateInvalid(
            f"The statement speaks of {claims.absence.shown} proofs of absence of "
            f"{claims.absence.of}; the archive holds {len(held)} of {expected}."
        )
    models = {model.id: model for model in claims.concerned}
    for name in held:
        _absent(opened, models, name)
    return f"{len(held)} of {expected} proofs of absence lead from a forgotten row to served names."


def _absent(opened: Opened, models: dict[str, Model], name: str) -> None:
    found = _json(opened, name)
    model = models.get(found["model"])
    is_number = type(found["row"]) is int  # true would count as 1
    if model is None or not is_number or name != f"{_ABSENCE}{model.id}-{found['row']}.json":
        raise CertificateInvalid(f"{name!r} is a proof about another model or row.")
    leaf = bytes.fromhex(found["leaf"])
    path = [bytes.fromhex(one) for one in found["path"]]
    rows = opened.claims.request.rows_root
    if rows is None or not merkle.check_inclusion(
        merkle.leaf_hash(leaf),
        found["row"],
        opened.claims.request.samples,
        path,
        digest_bytes(rows),
    ):
        raise CertificateInvalid(f"{name!r} is about a row that this request did not forget.")
    _leads_to(found["proof"], leaf, model, name)
    _committed(opened, found["proof"], model, name)
    if opened.claims.request.kind != CORRECT and absence.returned(found["proof"], leaf):
        raise CertificateInvalid(f"{name!r} shows that an id which was forgotten came in again.")


def _leads_to(document: dict[str, Any], leaf: bytes, model: Model, name: str) -> None:
    """The proof is about this row, and ends at the name that its shard serves."""
    if problems := absence.check(document, leaf, model.served.names):
        raise CertificateInvalid(f"{name!r}: {problems[0]}")
    if (document["model"], document["recipe"]) != (model.id, model.recipe.digest):
        raise CertificateInvalid(f"{name!r} holds a proof about another model.")


def _committed(opened: Opened, document: dict[str, Any], model: Model, name: str) -> None:
    """What the served name was made from had been committed to before it was published."""
    indexes = [
        entry.index
        for entry in opened.of_kind("version.published")
        if entry.body["model"] == model.id and entry.body["digest"] == model.served.digest
    ]
    published = max(indexes, default=opened.entries[-1].index)  # never: another check says so
    known = {
        (tier, entry.body["number"])
        for entry in opened.of_kind("dataset.ingested")
        if entry.index < published
        for tier, _ in entry.body["roots"]
    }
    for part in document["slices"]:
        tier, batch, _ = map(int, part["place"].split(":")[1:])
        if (tier, batch) not in known:
            raise CertificateInvalid(
                f"{name!r} shows rows that were not committed to before they were learnt from."
            )


def _json(opened: Opened, name: str) -> dict[str, Any]:
    try:
        found = jcs.loads(opened.members[name], repr(name), certificate.MEMBER_BYTES)
    except ValueError as error:
        raise CertificateInvalid(str(error)) from error
    if not isinstance(found, dict) or found.keys() != {"model", "row", "leaf", "path", "proof"}:
        raise CertificateInvalid(f"{name!r} is not a proof of absence.")
    return found


def guaranteed(opened: Opened) -> str:
    """Check that no model's guarantee is a stronger word than its method may use.

    Raises:
        CertificateInvalid: It is, or parameters, comparator or assumptions are missing.
    """
    for model in opened.claims.models:
        if problem := _overstated(model.promise) or _other_method(opened, model):
            raise CertificateInvalid(f"Model {model.id!r}: {problem}")
    words = sorted({model.promise.guarantee.value for model in opened.claims.models})
    return f"Guarantees: {', '.join(words) or 'none, as no model learns from the dataset'}."


def _other_method(opened: Opened, model: Model) -> str | None:
    """What a method made forget is promised by that method, and has the name that follows."""
    for entry in opened.of_kind("unit.forgot"):
        if (entry.body["model"], entry.body["name"]) not in {
            (model.id, name) for name in model.served.names
        }:
            continue
        parent, root, remaining = (
            digest_bytes(entry.body[field]) for field in ("parent", "root", "remaining")
        )
        method, rows = entry.body["method"], entry.body["rows"]
        if names.forgotten(parent, method, rows, root, remaining).hex() != entry.body["name"]:
            return f"entry {entry.index:,} has a name that does not follow from what it tells."
        if model.promise.method != method:
            return f"it serves what {method!r} made, and promises {model.promise.method!r}."
    return None


def _overstated(promise: Promise) -> str | None:
    allowed = ladder.strongest(promise.method)
    if _ORDER.index(promise.guarantee) < _ORDER.index(allowed):
        return (
            f"the method {promise.method!r} may claim {allowed.value!r} at most, and claims "
            f"{promise.guarantee.value!r}."
        )
    if not promise.comparator:
        return "it does not say what it is compared with."
    if promise.guarantee is Guarantee.EXACT and promise.parameters:
        return "'exact' has no parameters; a guarantee that has some is another one."
    if promise.guarantee is Guarantee.CERTIFIED and not (
        {"epsilon", "delta"} <= promise.parameters.keys() and promise.assumptions
    ):
        return "'certified' needs epsilon, delta and assumptions."
    return None


def limited(opened: Opened) -> str:
    """Check that every limit is stated that must be, given everything else."""
    known = {**limits.SOMETIMES, **limits.ALWAYS}
    for limit in opened.claims.limitations:
        if limit.text != known.get(limit.id):
            raise CertificateInvalid(f"The limit {limit.id!r} is put in other words than ours.")
    stated = {limit.id for limit in opened.claims.limitations}
    if missing := [name for name in opened.claims.limits_required if name not in stated]:
        raise CertificateInvalid(
            f"The statement leaves out a limit that it must state: {missing[0]!r}."
        )
    return f"All {len(opened.claims.limits_required)} limits that must be stated are."
