"""Make the golden certificates: one that is genuine, and one for each attack, named for it.

    python tests/ledger/attacks_certificate/build.py

They stay as they are while we change: whoever holds an old certificate must be able to check
it. Make them again only when the format gets a new version.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric import utils

from expunge.core import jcs, names
from expunge.ledger import certificate, dsse, issue, modelsign, predicate, strict
from expunge.ledger.predicate import Claims
from expunge.ledger.statement import Audit, Entry, Evidence
from expunge.storage.facts import Fact, leaf
from expunge.testing.certificates import MadeUp, Owner
from expunge.testing.made_up import fixed

HERE: Final = Path(__file__).parent
HOME: Final = MadeUp(plain=True)
TWO: Final = MadeUp(plain=True, models=2)
OTHER: Final = MadeUp(plain=True, request="00000000-0000-4000-8000-000000000001")
MALLORY: Final = Owner.named("mallory")

FAILING: Final[Mapping[str, list[str]]] = json.loads((HERE / "failing.json").read_text())
"""Which checks must say no, for each file; those that could not be run say nothing."""


def build() -> dict[str, bytes]:
    """All files, by name."""
    return {name: build_one(name) for name in FAILING}


def build_one(name: str) -> bytes:
    """One file, as it would be made today."""
    return _ATTACKS[name]()


def _changed(**fields: Any) -> bytes:
    """The owner signs other evidence than there is, and logs that."""
    return HOME.certificate(replace(HOME.evidence, **fields))


def _model(home: MadeUp = HOME, **fields: Any) -> Evidence:
    first, *others = home.evidence.models
    return replace(home.evidence, models=(replace(first, **fields), *others))


def _members(change: Callable[[dict[str, bytes]], object]) -> bytes:
    """Somebody without the key changes members, and packs the archive again."""
    members = certificate.unpack(HOME.certificate())
    change(members)
    return certificate.pack(members)


def _claims(change: Callable[[Claims], Claims]) -> bytes:
    """The owner signs claims that do not follow from evidence."""
    honest = predicate.claims

    def lying(evidence: Evidence, members: Mapping[str, bytes]) -> Claims:
        return change(honest(evidence, members))

    with patch.object(predicate, "claims", lying):
        return HOME.certificate()


def _with_signature(change: Callable[[dict[str, Any]], object]) -> bytes:
    def in_bundle(members: dict[str, bytes]) -> None:
        bundle = jcs.loads(members[certificate.STATEMENT], "bundle")
        change(bundle)
        members[certificate.STATEMENT] = jcs.dumps(bundle)

    return _members(in_bundle)


def _other_key() -> bytes:
    """Mallory signs everything again with a key of hers; the log knows nothing of it."""

    def sign(members: dict[str, bytes]) -> None:
        payload = dsse.unseal(
            members[certificate.STATEMENT], dsse.public_key(members[certificate.KEY]), ""
        )
        statement = jcs.loads(payload, "")
        members[certificate.KEY] = dsse.pem(MALLORY.key.public_key())
        for model in HOME.evidence.models:
            members[f"models/{model.id}.sig"] = modelsign.sign(model.files, model.id, MALLORY.key)
        listed = statement["predicate"]["members"]
        for name in listed:
            listed[name] = sha256(members[name]).hexdigest()
        members[certificate.STATEMENT] = dsse.seal(jcs.dumps(statement), MALLORY.key)

    return _members(sign)


def _unlogged() -> bytes:
    told = HOME.evidence
    proofs = [(one, HOME.owner.prove(HOME.log.leaves, one.index)) for one in told.entries]
    return issue.finish(HOME.prepared(), proofs)


def _heads(old: slice) -> bytes:
    """Some entries are proved under the head that the log had before the certificate."""

    def roll_back(members: dict[str, bytes]) -> None:
        for index in range(len(HOME.log.leaves))[old]:
            proof = HOME.owner.prove(HOME.log.leaves, index)
            members[f"ledger/{index}.tlog-proof"] = proof

    return _members(roll_back)


def _all_heads() -> bytes:
    """All are: the certificate's own entry is behind the end of that log."""

    def roll_back(members: dict[str, bytes]) -> None:
        head = HOME.owner.head(HOME.log.leaves)
        for name, content in members.items():
            if name.endswith(".tlog-proof"):
                members[name] = content.partition(b"\n\n")[0] + b"\n\n" + head

    return _members(roll_back)


def _high_s(bundle: dict[str, Any]) -> None:
    one = bundle["dsseEnvelope"]["signatures"][0]
    r, s = utils.decode_dss_signature(strict.decode(one["sig"]) or b"")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    one["sig"] = strict.encode(utils.encode_dss_signature(r, order - s))


def _swap_in_payload(bundle: dict[str, Any]) -> None:
    payload = strict.decode(bundle["dsseEnvelope"]["payload"]) or b""
    changed = payload.replace(b'"samples":1}', b'"samples":9}')
    assert changed != payload
    bundle["dsseEnvelope"]["payload"] = strict.encode(changed)


def _key_twice() -> bytes:
    """The owner signs JSON that two readers read in two ways."""
    honest = predicate.payload

    def twice(claims: Claims) -> bytes:
        payload = honest(claims)
        return payload.replace(b'"issued":', b'"issued":"2020-01-01T00:00:00Z","issued":', 1)

    with patch.object(predicate, "payload", twice):
        return HOME.certificate()


def _reordered() -> bytes:
    """The last member first: any unpacking program would not mind."""
    members = certificate.unpack(HOME.certificate())
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name in reversed(members):
            archive.writestr(zipfile.ZipInfo(name), members[name])
    return whole.getvalue()


def _compressed() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in certificate.unpack(HOME.certificate()).items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def _foreign_entry(members: dict[str, bytes]) -> None:
    index = HOME.evidence.entries[-1].index
    own, foreign = HOME.log.leaves[index], OTHER.log.leaves[index]
    assert own != foreign
    members[f"ledger/{index}.json"] = foreign


def _drop(text: str) -> Callable[[dict[str, bytes]], None]:
    def drop(members: dict[str, bytes]) -> None:
        for name in [name for name in members if text in name]:
            del members[name]

    return drop


def _without(kind: str) -> tuple[Entry, ...]:
    wanted = f'"kind":"{kind}"'.encode()
    return tuple(one for one in HOME.evidence.entries if wanted not in one.leaf)


def _stays() -> bytes:
    """A row that stays is said to be a forgotten one."""
    row = HOME.kept[0]
    proof = {**HOME.absence(HOME.ids[0], 0), "key": row[:8].hex(), "token": row[8:16].hex()}
    absences = (replace(HOME.evidence.absences[0], document=proof),)
    return _changed(absences=absences, rows=(row,))


def _other_row() -> bytes:
    """The proof is right, and about a row that this request did not forget."""
    two = MadeUp(plain=True, samples=2)
    row = next(index for index, one in enumerate(two.gone) if one not in HOME.gone)
    document = two.absence(HOME.ids[0], row)
    rows = (two.gone[row],)
    return _changed(absences=(replace(HOME.evidence.absences[0], document=document),), rows=rows)


def _other_names() -> bytes:
    """The proof leads to names of a model that the version does not have."""
    fewer = MadeUp(plain=True, stay=4)
    document = fewer.absence(HOME.ids[0], 0)
    assert document["name"] not in HOME.names()
    return _changed(absences=(replace(HOME.evidence.absences[0], document=document),))


def _promise(**fields: Any) -> bytes:
    return HOME.certificate(_model(promise=replace(HOME.evidence.models[0].promise, **fields)))


def _served(**fields: Any) -> bytes:
    return HOME.certificate(_model(served=replace(HOME.evidence.models[0].served, **fields)))


def _file_digest(members: dict[str, bytes]) -> None:
    name = f"models/{HOME.ids[0]}.files.json"
    files = jcs.loads(members[name], name)
    members[name] = jcs.dumps({**files, "version.json": fixed("other").hex()})


def _signed_files() -> bytes:
    honest = modelsign.sign

    def other(files: Mapping[str, str], name: str, key: Any) -> bytes:
        return honest({**files, "version.json": fixed("other").hex()}, name, key)

    with patch.object(modelsign, "sign", other):
        return HOME.certificate()


def _subjects() -> bytes:
    honest = predicate.subjects

    def other(claims: Claims) -> list[dict[str, Any]]:
        return [
            {"name": "another", "digest": {"sha256": fixed("model").hex()}},
            *honest(claims)[1:],
        ]

    with patch.object(predicate, "subjects", other):
        return HOME.certificate()


def _withdrawn() -> bytes:
    """What is served is what saw the row, with a digest that fits."""
    served = HOME.names(with_gone=True)
    constituents = [bytes.fromhex(name) if name else None for name in served]
    digest = names.version(fixed("recipe"), "mean", constituents).hex()
    return _served(names=served, digest=digest)


def _unpublished() -> bytes:
    return _served(number=HOME.evidence.models[0].served.number + 1)


def _request(**fields: Any) -> bytes:
    return _changed(request=replace(HOME.evidence.request, **fields))


def _left_out() -> bytes:
    """The statement does not speak of one of two models, and leaves out what is only about it."""
    gone = TWO.ids[1]
    told = TWO.evidence
    about = f'"model":"{gone}"'.encode()
    forgot = b"request.forgotten"
    return TWO.certificate(
        replace(
            told,
            models=told.models[:1],
            entries=tuple(e for e in told.entries if about not in e.leaf or forgot in e.leaf),
            absences=tuple(one for one in told.absences if one.model != gone),
        )
    )


def _audit() -> bytes:
    served = HOME.evidence.models[0].served.digest
    made_up = Audit("replay", served, "passed", "2026-11-21T14:00:58.000000Z", {}, {})
    return HOME.certificate(_model(audits=(made_up,)))


def _failed_audit() -> bytes:
    """The log has an audit that passed; the certificate keeps silent about it."""
    home = MadeUp(plain=True, audits=("membership",))
    return home.certificate(_model(home, audits=()))


def _overstated(claims: Claims) -> Claims:
    levels = tuple(replace(one, holds=one.level != 8) for one in claims.evidence.levels)
    return replace(claims, evidence=predicate.Standing(7, levels))


def _exported() -> bytes:
    """The log has a copy that left; the certificate keeps silent about it."""
    home = MadeUp(plain=True)
    served = home.evidence.models[0].served.digest
    body = {"model": home.ids[0], "version": served, "files": 3}
    exported = leaf(Fact("model.exported", body), "2026-11-21T14:00:50.000000Z")
    told = home.evidence
    home.log.leaves.append(exported)
    entries = (*told.entries, Entry(len(home.log.leaves) - 1, exported))
    return home.certificate(replace(told, entries=entries))


def _limits(claims: Claims) -> Claims:
    kept = tuple(one for one in claims.limitations if one.id != "two-versions")
    assert len(kept) == len(claims.limitations) - 1
    return replace(claims, limitations=kept)


_ATTACKS: Final[Mapping[str, Callable[[], bytes]]] = {
    "genuine": HOME.certificate,
    "another-request": OTHER.certificate,
    "other-log-key": MadeUp(plain=True, owner=MALLORY).certificate,
    "other-certificate-key": _other_key,
    "unlogged-certificate": _unlogged,
    "rolled-back-checkpoint": lambda: _heads(slice(0, 3)),
    "checkpoint-before-the-certificate": _all_heads,
    "page-changed": lambda: _members(
        lambda members: members.update({certificate.PAGE: b"<p>All is forgotten."})
    ),
    "statement-changed": lambda: _with_signature(_swap_in_payload),
    "signature-in-its-other-form": lambda: _with_signature(_high_s),
    "key-in-another-form": lambda: _members(
        lambda members: members.update({certificate.KEY: members[certificate.KEY] + b"\n"})
    ),
    "envelope-with-a-second-signature": lambda: _with_signature(
        lambda bundle: bundle["dsseEnvelope"]["signatures"].append(
            bundle["dsseEnvelope"]["signatures"][0]
        )
    ),
    "payload-with-a-key-twice": _key_twice,
    "members-reordered": _reordered,
    "member-compressed": _compressed,
    "member-hidden-behind-the-end": lambda: HOME.certificate() + b"PK\3\4hidden",
    "member-added": lambda: _members(lambda members: members.update({"notes.txt": b"trust us"})),
    "entry-of-another-request": lambda: _members(_foreign_entry),
    "entry-left-out": lambda: _members(_drop("ledger/5.")),
    "absence-missing": lambda: _members(_drop("absence/")),
    "absence-of-another-row": _other_row,
    "absence-of-a-row-that-stays": _stays,
    "absence-from-names-not-served": _other_names,
    "weaker-guarantee-as-stronger": lambda: _promise(method="gradient-ascent"),
    "exact-with-an-epsilon": lambda: _promise(parameters={"epsilon": 0.1}),
    "served-file-digest-changed": lambda: _members(_file_digest),
    "served-file-digest-signed-for-another": _signed_files,
    "subject-of-another-model": _subjects,
    "served-version-never-published": _unpublished,
    "served-version-of-other-names": lambda: _served(digest=fixed("other").hex()),
    "served-names-that-were-withdrawn": _withdrawn,
    "fewer-rows-than-received": lambda: _request(samples=0),
    "another-time": lambda: _request(received="2026-11-20T14:00:00.000000Z"),
    "not-destroyed": lambda: _changed(destroyed=None, entries=_without("checkpoint.destroyed")),
    "model-left-out": _left_out,
    "dataset-chosen-afterwards": lambda: _changed(
        dataset=replace(
            HOME.evidence.dataset,
            batches=(replace(HOME.evidence.dataset.batches[0], roots=((0, fixed("x").hex()),)),),
        )
    ),
    "audit-made-up": _audit,
    "audit-that-failed-left-out": _failed_audit,
    "level-overstated": lambda: _claims(_overstated),
    "limit-left-out": lambda: _claims(_limits),
    "export-left-out": _exported,
}


def read(name: str) -> bytes:
    """One file, as it was made once."""
    return lzma.decompress((HERE / f"{name}.zip.xz").read_bytes())


def main() -> None:
    """Write the files beside this one."""
    for name, data in build().items():
        (HERE / f"{name}.zip.xz").write_bytes(lzma.compress(data, preset=9))


if __name__ == "__main__":
    main()
