"""Certificates about nobody: a made-up home's log, evidence and keys, small and always the same.

For tests of those who check certificates, and of us. Everything follows from constants, so the
same certificate comes out in every process. Its keys are worthless: anybody can read them here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from expunge.core import merkle, names
from expunge.core.types import Guarantee
from expunge.ledger import dsse, issue, page, statement
from expunge.ledger.issue import Prepared
from expunge.ledger.predicate import Claims
from expunge.ledger.statement import Changed, Entry, Evidence, Forgotten, VersionRef
from expunge.storage.facts import Fact, leaf
from expunge.testing.made_up import (
    ORIGIN,
    SHARDS,
    Log,
    Owner,
    fixed,
    hex_of,
    name_of,
    of_shard,
    row,
    window,
)

__all__ = ["REQUEST", "MadeUp", "Owner"]

REQUEST: Final = "7d1f0c52-8b1e-4b8e-9d5c-0a4f6f1c2e77"

_DATASET: Final = "19a2b3c4d5e-0011223344556677"


@dataclass(frozen=True)
class MadeUp:
    """A home in which one request was made, and everything about it.

    Attributes:
        samples: How many rows the request forgot.
        models: How many models learn from the dataset.
        stay: How many rows stay.
        audits: Methods of audits that passed.
        request: Its id.
        plain: Whether the page for people is one line, to save space.
    """

    samples: int = 1
    models: int = 1
    stay: int = 6
    audits: tuple[str, ...] = ()
    owner: Owner = field(default_factory=lambda: Owner.named("owner"))
    request: str = REQUEST
    plain: bool = False

    @cached_property
    def gone(self) -> tuple[bytes, ...]:
        """Leaves of the forgotten rows, sorted."""
        return tuple(sorted(row("gone", index) for index in range(self.samples)))

    @cached_property
    def kept(self) -> tuple[bytes, ...]:
        """Leaves of the rows that stay, in ring order."""
        return tuple(sorted(row("stay", index) for index in range(self.stay)))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of the models."""
        return tuple(f"19a2b3c4f{n:02x}-{fixed('model', n).hex()[:16]}" for n in range(self.models))

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """Contents of each model's files, by name."""
        states = {f"shard-{shard:05d}.state": fixed("state", shard) * 8 for shard in range(SHARDS)}
        return states | {"version.json": b'{"v":1}'}

    @cached_property
    def log(self) -> Log:
        """The log, up to the entry before the certificate's."""
        log = Log()
        keys = {"log_key": self.vkey, "certificate_key": self.key_id}
        log.add("ledger.opened", {"origin": ORIGIN, **keys})
        batch = {"rows": self.stay + self.samples, "number": 0, "roots": [[0, hex_of("batch")]]}
        adopted = {"schema": hex_of("schema"), "schema_adopted": True}
        log.add("dataset.ingested", {"dataset": _DATASET, **batch, **adopted})
        for model in self.ids:
            created = {"model": model, "recipe": hex_of("recipe"), "dataset": _DATASET}
            log.add("model.created", created)
            self._publish(log, model, 1, self.names(with_gone=True))
        log.add("request.received", self._received(), self.request)
        for model in self.ids:
            self._publish(log, model, 2, self._between())
            log.add("request.forgotten", self._forgotten(model), self.request)
        for model in self.ids:
            self._rebuild(log, model)
        frames = dict.fromkeys(self.ids, 1)  # what another runtime had left
        destroyed = {"dataset": _DATASET, "rows": self.samples, "frames": frames}
        log.add("checkpoint.destroyed", {**destroyed, "requests": [self.request]})
        return log

    @cached_property
    def evidence(self) -> Evidence:
        """What the home knows about the request."""
        told = self.log.at
        received, destroyed = told("request.received"), told("checkpoint.destroyed")
        adopted = statement.Batch(0, self.stay + self.samples, ((0, hex_of("batch")),))
        return Evidence(
            request=statement.Request(
                id=self.request,
                kind="erase",
                received=received,
                effective=received,
                samples=self.samples,
                already=0,
                identifiers=1,
                identifiers_root=hex_of("identifiers"),
                rows_root=self._rows_root(),
            ),
            dataset=statement.Dataset("people", _DATASET, hex_of("schema"), True, (adopted,)),
            models=tuple(self._model(model) for model in self.ids),
            entries=tuple(Entry(n, one) for n, one in enumerate(self.log.leaves)),
            log=statement.Log(ORIGIN, self.vkey, tuple(w.name for w in self.owner.witnesses)),
            software=statement.Software("0.1.0", {"house": hex_of("code")}),
            issued="2026-11-21T14:00:59.000000Z",
            destroyed=statement.Destroyed(destroyed, self.samples, self.models, 1),
            rows=self.gone,
            absences=tuple(
                statement.Absence(model, row, self.absence(model, row))
                for model in self.ids
                for row in range(self.samples)
            ),
            issuer="Example Ltd",
        )

    @property
    def vkey(self) -> str:
        """The log's public key."""
        return self.owner.log.verifier.vkey

    @property
    def witness_keys(self) -> tuple[str, ...]:
        """Public keys of the witnesses."""
        return tuple(witness.verifier.vkey for witness in self.owner.witnesses)

    @property
    def key_id(self) -> str:
        """Id of the key that signs certificates."""
        return dsse.key_id(self.owner.key.public_key())

    def prepared(self, evidence: Evidence | None = None) -> Prepared:
        """The signed certificate, which the log does not know yet."""
        render = _line if self.plain else page.render
        return issue.prepare(evidence or self.evidence, self.owner.key, render)

    def certificate(
        self,
        evidence: Evidence | None = None,
        members: Callable[[dict[str, bytes]], Mapping[str, bytes]] = dict,
    ) -> bytes:
        """The certificate; of other evidence, or with other members, where a test wants that."""
        told = evidence or self.evidence
        prepared = self.prepared(told)
        body = {"statement": prepared.statement, "key": prepared.key}
        issued = leaf(Fact("certificate.issued", body, self.request), told.issued)
        leaves = [*self.log.leaves, issued]
        entries = [*told.entries, Entry(len(leaves) - 1, issued)]
        prepared = replace(prepared, members=members(dict(prepared.members)))
        return issue.finish(
            prepared, [(one, self.owner.prove(leaves, one.index)) for one in entries]
        )

    def names(self, *, with_gone: bool = False) -> tuple[str | None, ...]:
        """Names of each shard's checkpoint, after the rows that stay; or before the request."""
        rows = sorted((*self.kept, *self.gone)) if with_gone else self.kept
        return tuple(name_of(shard, of_shard(rows, shard)) for shard in range(SHARDS))

    def absence(self, model: str, row: int) -> dict[str, Any]:
        """Proof that the served names leave a row out."""
        gone = self.gone[row]
        key, token = gone[: names.HASH_BYTES], gone[names.HASH_BYTES : 2 * names.HASH_BYTES]
        shard = names.shard_of(int.from_bytes(key, "big"), SHARDS)
        rows = of_shard(self.kept, shard)
        return {
            "v": 1,
            "model": model,
            "recipe": hex_of("recipe"),
            "ring": hex_of("ring"),
            "shard": shard,
            "shards": SHARDS,
            "key": key.hex(),
            "token": token.hex(),
            "filtered": False,
            "name": self.names()[shard],
            "slices": [window(rows, key)] if rows else [],
        }

    def _received(self) -> dict[str, Any]:
        identifiers = {"count": 1, "root": hex_of("identifiers")}
        counts = {"kind": "erase", "samples": self.samples, "already": 0}
        rows = {"identifiers": identifiers, "rows": self._rows_root()}
        return {"dataset": _DATASET, **counts, **rows}

    def _forgotten(self, model: str) -> dict[str, Any]:
        changed = self._changed()
        listed = [[one.shard, one.before, one.after] for one in changed]
        versions = {"before": self._version(1).digest, "version": self._version(2).digest}
        return {"model": model, **versions, "changed": len(changed), "names": listed}

    def _rows_root(self) -> str | None:
        if not self.gone:
            return None
        return merkle.root([merkle.leaf_hash(row) for row in self.gone]).hex()

    def _between(self) -> tuple[str | None, ...]:
        """Names right after the request: one slice each, so a touched constituent is left out."""
        pairs = zip(self.names(with_gone=True), self.names(), strict=True)
        return tuple(before if before == now else None for before, now in pairs)

    def _changed(self) -> tuple[Changed, ...]:
        pairs = zip(self.names(with_gone=True), self._between(), strict=True)
        return tuple(
            Changed(s, before, now) for s, (before, now) in enumerate(pairs) if before != now
        )

    def _version(self, number: int) -> VersionRef:
        served = {1: self.names(with_gone=True), 2: self._between(), 3: self.names()}[number]
        constituents = [bytes.fromhex(name) if name else None for name in served]
        return VersionRef(number, names.version(fixed("recipe"), "mean", constituents).hex())

    def _publish(self, log: Log, model: str, number: int, served: Sequence[str | None]) -> None:
        before = self._version(number - 1).digest if number > 1 else None
        counts = {"clean_to": number - 1, "whole": number != 2, "samples": self.stay}
        digest = self._version(number).digest
        body = {"model": model, "number": number, "digest": digest, "before": before, **counts}
        log.add("version.published", body)

    def _rebuild(self, log: Log, model: str) -> None:
        for one in self._changed():
            built = {"destroyed": 1, "built": 1, "samples": self.stay, "seconds": 0.25}
            name = self.names()[one.shard]
            body = {"model": model, "shard": one.shard, "pack": "0.a.pack", "name": name}
            log.add("unit.rebuilt", {**body, **built})
        self._publish(log, model, 3, self.names())
        for method in self.audits:
            figures = {"auc": 0.503, "interval": [0.481, 0.525], "thresholds": {"auc": 0.55}}
            found = {"method": method, "verdict": "passed", "figures": figures}
            version = self._version(3).digest
            log.add("audit.finished", {"model": model, "version": version, **found})

    def _model(self, model: str) -> statement.Model:
        told, changed = self.log.at, self._changed()
        last = self._version(3)
        return statement.Model(
            name=f"income {self.ids.index(model)}",
            id=model,
            promise=statement.Promise(
                "rebuild",
                Guarantee.EXACT,
                "the model that the same recipe and key build from the rows that remain",
                ("SHA-256 is not broken.",),
            ),
            recipe=statement.Recipe(hex_of("recipe"), "mean", "xgboost", 1),
            forgotten=Forgotten(
                told("request.forgotten", model),
                self._version(1),
                self._version(2),
                len(changed),
                changed,
            ),
            served=statement.Served(last.number, last.digest, True, self.stay, self.names()),
            files={name: sha256(content).hexdigest() for name, content in self.files.items()},
            runtimes=(statement.Runtime(hex_of("runtime"), {"python": "3.11.9", "threads": 1}),),
            rebuilt=statement.Rebuilt(
                told("version.published", model),
                len(changed),
                self.stay * len(changed),
                0.25 * len(changed),
                len(changed),
            ),
            audits=tuple(
                statement.Audit(
                    method,
                    last.digest,
                    "passed",
                    told("audit.finished", model, method),
                    {"auc": 0.503, "interval": [0.481, 0.525]},
                    {"auc": 0.55},
                )
                for method in self.audits
            ),
        )


def _line(claims: Claims, key: str) -> str:
    return f"<!DOCTYPE html><title>{claims.request.id} {key}</title>"
