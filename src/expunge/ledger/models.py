"""What a certificate says about one model: what was promised, what was done, what is served.

Part of ``ledger.statement``; the same rules hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expunge.core.types import Guarantee


@dataclass(frozen=True, slots=True)
class Promise:
    """What is guaranteed about a model, and by which method.

    Attributes:
        parameters: What the guarantee depends on, such as ``epsilon`` and ``delta``; empty for
            ``exact``.
        comparator: What the model is compared with, in words.
        assumptions: What must hold for the guarantee to hold, in words.
    """

    method: str
    guarantee: Guarantee
    comparator: str
    assumptions: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that shapes a model besides its data and their key.

    Attributes:
        digest: Of the whole recipe.
        aggregate: How the constituents' answers are joined: ``mean`` or ``vote``.
        learner: Catalogue name, or ``package.module:Class``.
        revision: Of what the learner computes.
    """

    digest: str
    aggregate: str
    learner: str
    revision: int


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A published state of a model."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Served:
    """The version that was served when the certificate was issued.

    Attributes:
        whole: Whether every constituent is all that its plan says.
        samples: How many samples it learnt from.
        names: Of the checkpoint that stands for each shard, in order; None where none does.
    """

    number: int
    digest: str
    whole: bool
    samples: int
    names: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """A constituent that was swapped when the request was accepted: names before and after."""

    shard: int
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What accepting the request did to a model, as the ledger has it.

    Attributes:
        at: When no answer could come any more from a checkpoint that saw the samples.
        before: The version that was served until then; None where there was none yet.
        after: The one that was served from then on; the same where nothing had to change.
        changed: How many constituents were swapped.
        names: These, or None where they are too many to list.
    """

    at: str
    before: VersionRef | None
    after: VersionRef | None
    changed: int
    names: tuple[Changed, ...] | None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was built again so that the model is whole.

    Attributes:
        at: When the version that is served now was published.
        units: How many pieces of rebuilding it took; the requests of other people may share them.
        samples: How many samples they visited, together.
        seconds: Computing time, together.
        destroyed: How many checkpoints that had seen forgotten samples went before it began.
    """

    at: str
    units: int
    samples: int
    seconds: float
    destroyed: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """An environment in which equal names promise equal bytes: library versions, processor."""

    name: str
    description: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """A copy of a model that left the home. It is out of our reach.

    Attributes:
        version: Digest of the exported version.
        files: How many files.
    """

    at: str
    version: str
    files: int


@dataclass(frozen=True, slots=True)
class Audit:
    """A finished audit of a version.

    Attributes:
        method: One of ``expunge.ledger.ladder.AUDITS``, or another that counts for no level.
        version: Digest of the version that was audited.
        verdict: ``passed``, ``failed`` or ``inconclusive``.
        figures: What was measured.
        thresholds: What it was compared with, by the same keys.
    """

    method: str
    version: str
    verdict: str
    at: str
    figures: Mapping[str, Any]
    thresholds: Mapping[str, Any]

    @property
    def logged(self) -> dict[str, Any]:
        """The field ``figures`` of the fact ``audit.finished``: it has the thresholds as well."""
        return {**self.figures, "thresholds": dict(self.thresholds)}


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the dataset, and what the request did to it.

    Attributes:
        name: The owner's word for it.
        id: Random; the ledger's word for it, and its folder's name.
        files: SHA-256 of every file that an export of the served version has, by name.
        concerned: Whether the request is about it; others may go on learning from the rows.
    """

    name: str
    id: str
    promise: Promise
    recipe: Recipe
    forgotten: Forgotten | None
    served: Served
    files: Mapping[str, str]
    runtimes: tuple[Runtime, ...]
    concerned: bool = True
    rebuilt: Rebuilt | None = None
    exports: tuple[Export, ...] = ()
    audits: tuple[Audit, ...] = ()
