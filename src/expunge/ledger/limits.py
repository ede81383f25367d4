"""The limits that a certificate states: what it does not say (DESIGN.md 9).

Each has an id, by which a verifier asks for it, and a sentence for people. Sentences may be put
better from version to version; ids stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ALWAYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "copies": (
            "It says nothing about copies of the same facts under other ids, or about the same "
            "facts in other people’s rows."
        ),
        "exported": (
            "Models that were copied out of the owner’s system, and predictions that were made "
            "before, are out of reach. Copies that the system knows of are listed."
        ),
        "keyed": (
            "Proofs of absence show keyed hashes of forgotten ids and of some that remain. They "
            "name nobody; whoever has the dataset's secret can recognise them, in any certificate."
        ),
        "which-rows": (
            "Which rows belong to the ids in the request is the owner's finding; the rows shown "
            "absent are those that the owner found."
        ),
        "two-versions": (
            "Somebody who holds a model from before and one from after, and compares them, may "
            "learn about what was forgotten."
        ),
        "adaptive": (
            "Requests that were chosen by looking at published models are covered for one fixed "
            "secret key of the dataset only."
        ),
        "whose": (
            "That the ids in the request were all ids of one person is the word of those who "
            "made and took the request. Rows are counted here, people are not named."
        ),
        "entries": (
            "It shows those entries of the log that it holds. Whether the log has others about "
            "this request is seen by whoever reads the whole log."
        ),
        "clock": "Times are those of the owner’s clock; the order of the log’s entries is fixed.",
        "disks": (
            "What was destroyed was destroyed in the owner’s system. What file systems, disks, "
            "backups and snapshots keep besides is not covered."
        ),
        "words": (
            "Names of models, of the dataset and of witnesses, the key of the log as it stands here, "
            "and the verdicts of audits are the owner’s word. Take the keys of log and witnesses "
            "from elsewhere: only signatures by those are checked."
        ),
        "law": "It is a technical finding. Whether it meets a law is for others to judge.",
    }
)
"""Limits of every certificate."""

SOMETIMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "relative": (
            "“Exact” is relative to the recipe, to the secret key of the dataset and to the "
            "runtime (library versions, processor, threads). If the recipe was chosen by looking "
            "at the data, that choice is not covered."
        ),
        "schema-adopted": (
            "Nobody declared which values and ranges the columns may have: they were proposed "
            "from the data, the forgotten rows among it, with rare values hidden and ranges "
            "rounded."
        ),
        "absence-partly": (
            "Absence from the served models is proved for some of the forgotten rows only; how "
            "many is stated."
        ),
        "absence-none": (
            "Absence from the served models is proved for none of the forgotten rows: they are "
            "not known any more, their ids came in again, or the models forgot by a method that "
            "leaves no such proof."
        ),
        "rows-stay": (
            "The rows were not destroyed: the request did not ask for that, or was about some models "
            "only. They stay in the owner’s system, and what it is not about may learn from them."
        ),
        "until-lifted": (
            "A restriction lasts until the owner lifts it. Whether it was lifted since is seen by "
            "whoever reads the log."
        ),
        "purpose": (
            "Which models serve the purpose that the request is about is the owner’s word: the log "
            "has a digest of the purpose, and recipes as digests."
        ),
        "destroyed-apart": (
            "The steps that ended this request destroyed fewer rows than it made be forgotten. The "
            "others had gone with other requests, or with what a backup lacked."
        ),
        "restored": (
            "The owner’s database was restored from a backup after the request was received. What "
            "the backup lacked is known as far as the log and the owner’s journal have it: rows that "
            "came after it are gone with it, and can be shown to nobody."
        ),
        "reissued": (
            "The log has earlier certificates of this request, which stand in it here. The owner "
            "says that this one takes their place: their files were lost, or never handed out."
        ),
        "audits": (
            "Audits were run by the owner. What an attack did not find may still be there: an "
            "audit can show that something leaks, never that nothing does."
        ),
        "not-whole": (
            "A model was still being rebuilt when this was issued. It had forgotten the rows, "
            "and had not yet learnt again from all that remain."
        ),
        "measured-only": (
            "A model’s guarantee is “empirical” or “attested”: nothing is proved about it beyond "
            "what is stated here."
        ),
    }
)
"""Limits of certificates of which something holds; ``Claims.limits_required`` knows what."""


def required(holds: Mapping[str, bool]) -> tuple[str, ...]:
    """Ids of the limits that a certificate must state.

    Args:
        holds: For each of :data:`SOMETIMES`, whether it holds.
    """
    return (*(name for name in SOMETIMES if holds[name]), *ALWAYS)


def sentence(name: str) -> str:
    """A limit's sentence."""
    return {**ALWAYS, **SOMETIMES}[name]
