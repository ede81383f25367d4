"""What routes show of a home: datasets, models, gates and holds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from expunge.api.schemas.common import Given, Moment


class Dataset(Given):
    """A dataset."""

    name: str = Field(examples=["adult"])
    rows: int = Field(ge=0, description="Those that were forgotten left out.")
    forgotten: int = Field(ge=0)
    batches: int = Field(ge=0)
    columns: list[str]


class Datasets(Given):
    """All datasets."""

    datasets: list[Dataset]


class Gate(Given):
    """A floor under a model."""

    model: str
    metric: Literal["accuracy", "r2"]
    floor: float
    dataset: str


class Audit(Given):
    """An audit that was asked for, or was due by the server's policy."""

    id: str = Field(examples=["4f1f64b0-6a0c-4d35-9d3b-6a3a7b9c2b11"])
    model: str
    state: Literal["open", "running", "done", "failed"]
    asked: Moment
    finished: Moment | None
    by_policy: bool = Field(description="Whether nobody asked: the policy had it due.")
    unseen: str | None = Field(description="Dataset of rows that no model saw.")
    settings: dict[str, JsonValue] = Field(description="All that was fixed beforehand.")
    report: dict[str, JsonValue] | None = Field(description="What it found; null until it is done.")
    error: str | None = Field(description="Code of why there is no report.")


class Audits(Given):
    """Audits of a model, newest first."""

    audits: list[Audit]


class Model(Given):
    """A model."""

    name: str = Field(examples=["income"])
    dataset: str
    purpose: str
    features: list[str] = Field(description="Columns that a row for a prediction has.")
    targets: list[str]
    classes: list[JsonValue] = Field(description="In the order of outputs; empty for regression.")
    shards: int
    slices: int
    version: str | None = Field(description="Digest of what is served; null before the first.")
    whole: bool = Field(description="Whether it is all that its plan says.")
    withdrawn: bool = Field(description="Whether it does not answer until it is rebuilt.")
    gate: Gate | None = Field(description="The floor under it; null where it has none.")


class Models(Given):
    """All models."""

    models: list[Model]


class Retired(Given):
    """Models that were retired."""

    retired: list[str] = Field(description="Names: the model, and what descends from it.")


class Version(Given):
    """One published state of a model."""

    number: int
    version: str = Field(description="Digest.")
    created: Moment
    whole: bool
    withdrawn: bool
    samples: int = Field(description="That its checkpoints have seen.")


class Versions(Given):
    """Versions of a model, newest first."""

    versions: list[Version]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class Predictions(Given):
    """Outputs, and the version that they come from."""

    version: str = Field(description="Digest of the version that answered.")
    classes: list[JsonValue] = Field(description="In the order of outputs; empty for regression.")
    outputs: list[list[float]] = Field(description="Probabilities, or values; a list for each row.")
    predictions: list[JsonValue] = Field(description="The likeliest class, or the values.")


class Hold(Given):
    """A legal hold."""

    id: str
    name: str
    dataset: str
    rows: int
    placed: Moment


class Holds(Given):
    """All legal holds."""

    holds: list[Hold]
