"""What routes take: strict, nothing unknown, everything bounded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from expunge.api.schemas.common import (
    MOST_IDS,
    MOST_MODELS,
    AskedKind,
    Instant,
    Method,
    Missing,
    Name,
    Regime,
    SampleId,
    Taken,
)


def _given(name: str, kind: str) -> dict[str, Any]:
    """JSON schema of an object in which a member stands, and is not null."""
    return {"required": [name], "properties": {name: {"type": kind}}}


class Conditions(Taken):
    """On what terms something is to be forgotten."""

    dataset: Name | None = Field(
        None, description="Its name; may be left out where the home has only one."
    )
    method: Method = Field(
        "declared",
        description="How models are to forget; by default, each as its owner declared. `sisa`, "
        "`rebuild` and `retrain` are the same: affected shards are built again without the "
        "samples. `certified` and `influence` are for models that were trained to forget so. A "
        "method that a covered model cannot do, or that is weaker than what it promises, is "
        "refused (422), and nothing is accepted.",
    )
    models: Annotated[list[Name], Field(min_length=1, max_length=MOST_MODELS)] | None = Field(
        None, description="Names of models to narrow the request to; by default all of the dataset."
    )
    kind: AskedKind = Field("erase", description="What is asked for.")
    purpose: Name | None = Field(
        None, description="Narrows the request to models of that purpose, future ones included."
    )
    regime: Regime | None = Field(
        None, description="Whose deadlines count: `gdpr`, `ccpa`, or a period such as `30d+15d`."
    )
    received: Instant | None = Field(
        None, description="When it came in, if that was before now: deadlines count from it."
    )
    effective: Instant | None = Field(
        None, description="When it is to take effect; by default at once."
    )
    undo_s: Annotated[float, Field(ge=0, le=31_536_000)] | None = Field(
        None,
        description="For so many seconds it can be undone; where it does not say, for as long as "
        "the server has it.",
    )
    missing: Missing = Field(
        "refuse", description="Whether unknown ids refuse the request (404), or are left out."
    )


class Unlearn(Conditions):
    """A request to forget: at least one sample or subject."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                _given("sample_id", "string"),
                _given("sample_ids", "array"),
                _given("subject", "string"),
                _given("subjects", "array"),
            ],
            "examples": [
                {"sample_id": "UUID-1234", "method": "sisa"},
                {"subjects": ["p-1734"], "regime": "gdpr", "undo_s": 86400},
            ],
        }
    )
    sample_id: SampleId | None = Field(None, description="A sample.")
    sample_ids: Annotated[list[SampleId], Field(min_length=1, max_length=MOST_IDS)] | None = Field(
        None, description="Samples."
    )
    subject: SampleId | None = Field(None, description="A subject: all their samples are meant.")
    subjects: Annotated[list[SampleId], Field(min_length=1, max_length=MOST_IDS)] | None = Field(
        None, description="Subjects: all their samples are meant."
    )

    @model_validator(mode="after")
    def _names_somebody(self) -> Unlearn:
        if not any((self.sample_id, self.sample_ids, self.subject, self.subjects)):
            raise ValueError("name at least one of sample_id, sample_ids, subject, subjects")
        return self

    @property
    def all_samples(self) -> tuple[str, ...]:
        """All samples that it names."""
        return _joined(self.sample_id, self.sample_ids)

    @property
    def all_subjects(self) -> tuple[str, ...]:
        """All subjects that it names."""
        return _joined(self.subject, self.subjects)


def _joined(one: str | None, many: list[str] | None) -> tuple[str, ...]:
    return (*((one,) if one else ()), *(many or ()))


class Reason(Taken):
    """Why a request is refused."""

    reason: Literal["unverified", "exempt", "duplicate", "mistaken", "other"] = Field(
        description="In one word: reasons stand in the ledger, so they name nobody.",
        examples=["unverified"],
    )


Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Cell = bool | Number | float | str | None | Annotated[list[float], Field(max_length=100_000)]
Row = Annotated[dict[Name, Cell], Field(min_length=1, max_length=10_000)]


class Rows(Taken):
    """Rows to predict."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rows": [{"age": 39, "job": "nurse"}]}]}
    )

    rows: Annotated[list[Row], Field(min_length=1, max_length=100_000)] = Field(
        description="Each with the columns that the model learnt from."
    )


class NewAudit(Taken):
    """An audit to be made. All margins are fixed by it beforehand."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"unseen": "held-out", "shadows": 16, "retrains": 8}]}
    )

    unseen: Name | None = Field(
        None,
        description="Name of a dataset with rows of the same kind that no model saw. Without it, "
        "what needs them is inconclusive.",
    )
    shadows: int = Field(
        16, ge=4, le=1_024, multiple_of=2, description="Models of half of the rows."
    )
    retrains: int = Field(
        8, ge=2, le=1_024, description="Models of all rows that remain, with other seeds."
    )
    margin: float = Field(
        0.05, gt=0, lt=0.5, description="How far from its ideal an AUC may be to pass."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of halves, trainings and draws.")


class NewGate(Taken):
    """A floor under a model."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"floor": 0.8, "dataset": "held-out"}]}
    )

    floor: float = Field(
        ge=-1e9, le=1, description="The least accuracy of a classification, or r² of a regression."
    )
    dataset: Name = Field(
        description="Of rows to measure on, with the model's columns: not those it learns from."
    )


class NewHold(Taken):
    """Rows that nobody may destroy for the time being."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [_given("sample_ids", "array"), _given("subjects", "array")],
            "examples": [{"name": "case 2026/17", "subjects": ["p-1734"]}],
        }
    )

    name: Annotated[Name, Field(max_length=100)] = Field(
        description="Such as a case number; no personal data: it is kept."
    )
    dataset: Name | None = Field(
        None, description="Its name; may be left out where the home has only one."
    )
    sample_ids: Annotated[list[SampleId], Field(min_length=1, max_length=MOST_IDS)] | None = None
    subjects: Annotated[list[SampleId], Field(min_length=1, max_length=MOST_IDS)] | None = None

    @model_validator(mode="after")
    def _names_somebody(self) -> NewHold:
        if not (self.sample_ids or self.subjects):
            raise ValueError("name at least one of sample_ids, subjects")
        return self
