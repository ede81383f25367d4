"""How a server runs: from the environment, each under ``EXPUNGE_`` and its name in capitals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_DAY_S: Final = 86_400.0

Seconds = Annotated[float, Field(gt=0, le=365 * _DAY_S)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Settings(BaseSettings):
    """How a server runs.

    Attributes:
        home: Folder of the home, or a PostgreSQL URL.
        files: Folder of data and models, where ``home`` is a URL.
        journal: Folder of the journal of accepted requests; best on another disk.
        rabbitmq: URL of the broker (``amqp://…``); without it, this process rebuilds.
        host: Address to listen on.
        port: To listen on; 0 takes a free one.
        approval: Whether requests wait for a second person's approval.
        reveal_unknown: Whether a request that names unknown samples is refused (404). Without
            it, known and unknown samples are answered alike.
        regime: Deadlines of requests that name no regime (``gdpr``, ``ccpa``).
        undo_s: How long rows of a request wait for an undo, where it does not say.
        workers: Units that this process rebuilds at once, without a broker; 0: none.
        lease_s: Of a worker on a unit.
        serving_lease_s: Of a server on the versions that it answers from.
        coalesce_s: How long a unit waits for more requests before it is built.
        batch: Requests that are accepted in one transaction, at most.
        queue: Requests that may wait to be accepted; more are told to come again (503).
        threads: Reads and predictions that run at once.
        body_bytes: Longest body of a request, uploads apart.
        bulk_bytes: Longest upload.
        bulk_ids: Most ids in one upload.
        predict_rows: Most rows in one prediction.
        header_bytes: Longest head of a request: its line and its headers.
        connections: At once; more are told to come again (503).
        rate: Requests of one key, as ``<count>/<period>``.
        rate_unknown: Failed attempts to authenticate from one address.
        head_timeout_s: For a client to send the head of its request.
        body_timeout_s: For a client to send the next part of its body.
        upload_timeout_s: For a client to send all of its body.
        read_timeout_s: For answering what changes nothing.
        accept_timeout_s: For accepting a request; after it, the client is told that it is not
            known yet, and to ask again under its idempotency key.
        stop_timeout_s: For ending what runs, when the server is told to stop.
        key_cache_s: How long a key is believed before the database is asked again: a revoked
            one works that long.
        idempotency_s: How long answers under an idempotency key are kept.
        reserve_s: How long another process waits for the one that holds an idempotency key.
        ledger_check_s: How often the whole ledger is checked; 0: never.
        gold_standard_requests: After so many requests that a model forgot something by, it is
            audited: attacked, and compared with retrained ones; 0: never for that.
        gold_standard_days: After so many days in which it forgot something, likewise.
        gold_standard_unseen: Name of a dataset with rows that no model saw, for these audits.
        log_json: Whether log lines are JSON.
    """

    model_config = SettingsConfigDict(env_prefix="EXPUNGE_", extra="ignore", frozen=True)

    home: str = "expunge-home"
    files: Path | None = None
    journal: Path | None = None
    rabbitmq: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080

    approval: bool = False
    reveal_unknown: bool = True
    regime: str | None = None
    undo_s: Annotated[float, Field(ge=0, le=365 * _DAY_S)] = 0.0

    workers: Annotated[int, Field(ge=0, le=256)] = 1
    lease_s: Seconds = 30.0
    serving_lease_s: Seconds = 2.0
    coalesce_s: Annotated[float, Field(ge=0, le=_DAY_S)] = 0.0
    batch: Annotated[int, Field(ge=1, le=1_000)] = 256
    queue: Count = 10_000
    threads: Annotated[int, Field(ge=1, le=256)] = 8

    body_bytes: Count = 2_000_000
    bulk_bytes: Count = 256_000_000
    bulk_ids: Count = 1_000_000
    predict_rows: Count = 10_000
    header_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = 16_384
    connections: Count = 2_000

    rate: Annotated[str, Field(pattern=r"^\d{1,9}/(second|minute|hour|day)$")] = "2000/second"
    rate_unknown: Annotated[str, Field(pattern=r"^\d{1,9}/(second|minute|hour|day)$")] = "60/minute"
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 10.0
    upload_timeout_s: Seconds = 600.0
    read_timeout_s: Seconds = 30.0
    accept_timeout_s: Seconds = 60.0
    stop_timeout_s: Seconds = 30.0

    key_cache_s: Annotated[float, Field(ge=0, le=2)] = 1.5
    idempotency_s: Seconds = _DAY_S
    reserve_s: Seconds = 30.0
    ledger_check_s: Annotated[float, Field(ge=0, le=365 * _DAY_S)] = _DAY_S
    gold_standard_requests: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    gold_standard_days: Annotated[float, Field(ge=0, le=3_650)] = 0.0
    gold_standard_unseen: str | None = None
    log_json: bool = True

    @model_validator(mode="after")
    def _leases_fit(self) -> Settings:
        # Who takes over an idempotency key answers without asking who serves what.
        if self.reserve_s <= self.serving_lease_s:
            raise ValueError("reserve_s must be longer than serving_lease_s")
        return self
