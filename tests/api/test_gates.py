"""Floors under models."""

from __future__ import annotations

import pytest

from expunge.testing.fakes import people

GATE = {"floor": 0.25, "dataset": "held"}


@pytest.fixture
def gated(server):
    schema = server.home.dataset("people").schema
    rows = {name: column[60:] for name, column in people(90, each=2).items()}
    server.home.ingest("held", rows, schema=schema)
    return server


def test_a_gate_is_put_shown_and_taken_away(gated):
    url = "/models/wide/gate"
    assert gated("GET", url).status_code == 404
    answer = gated("PUT", url, json=GATE)
    assert answer.status_code == 200, answer.text
    said = {"model": "wide", "metric": "accuracy", **GATE}
    assert answer.json() == gated("GET", url).json() == said
    assert gated("GET", "/models/wide").json()["gate"] == said
    higher = {**said, "floor": 0.5}
    assert gated("PUT", url, json={**GATE, "floor": 0.5}).json() == higher
    assert gated("DELETE", url).json() == higher
    assert gated("DELETE", url).status_code == 404
    assert gated("GET", "/models/wide").json()["gate"] is None


def test_what_is_refused_by_a_gate_waits_for_somebody(gated):
    gated("PUT", "/models/wide/gate", json={**GATE, "floor": 1})
    request = gated.unlearn({"sample_id": "s3", "dataset": "people"}).json()["request"]
    gated.home.site.database  # noqa: B018 - the model answers all the same
    row = {"x0": 0.1, "x1": 0.2, "x2": 0.3, "job": "cook"}
    assert gated("POST", "/models/wide/predict", json={"rows": [row]}).status_code == 200
    assert gated("GET", f"/requests/{request}").json()["state"] == "forgotten"


@pytest.mark.parametrize(
    ("model", "body", "status"),
    [
        ("wide", {"floor": 2, "dataset": "held"}, 422),
        ("wide", {"floor": "0.5", "dataset": "held"}, 422),
        ("wide", {"floor": 0.5}, 422),
        ("wide", {"dataset": "held"}, 422),
        ("wide", {"floor": 0.5, "dataset": "people"}, 422),
        ("wide", {"floor": 0.5, "dataset": "none"}, 404),
        ("none", {"floor": 0.5, "dataset": "held"}, 404),
    ],
)
def test_gates_that_make_no_sense(gated, model, body, status):
    assert gated("PUT", f"/models/{model}/gate", json=body).status_code == status
    assert gated("GET", "/models/wide/gate").status_code == 404
