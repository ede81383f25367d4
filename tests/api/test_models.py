"""Datasets, models, forecasts, holds, the ledger, health and metrics."""

from __future__ import annotations

import pytest

from expunge.ledger import files
from expunge.ledger.fsck import fsck

ROW = {"x0": 0.1, "x1": 0.2, "x2": 0.3, "job": "cook"}


def test_datasets_and_models(server):
    server.unlearn({"sample_id": "s3"})
    (dataset,) = server("GET", "/datasets").json()["datasets"]
    assert (dataset["name"], dataset["rows"], dataset["forgotten"]) == ("people", 119, 1)
    (model,) = server("GET", "/models").json()["models"]
    assert model == server("GET", "/models/wide").json()
    assert model["features"] == ["x0", "x1", "x2", "job"]
    assert model["classes"] == ["no", "yes"]
    assert (model["purpose"], model["whole"], model["withdrawn"]) == ("care", False, False)
    assert server("GET", "/models/other").status_code == 404


def test_versions_page_by_page(server):
    for number in range(3):
        server.unlearn({"sample_id": f"s{number}"})
    found, cursor = [], {}
    while True:
        page = server("GET", "/models/wide/versions", params={"limit": 2, **cursor}).json()
        found += [one["number"] for one in page["versions"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == sorted(found, reverse=True)
    assert found[-1] == 1
    newest = server("GET", "/models/wide/versions", params={"limit": 1}).json()["versions"][0]
    assert newest["version"] == server("GET", "/models/wide").json()["version"]


def test_predictions_are_the_models_own(shared):
    answer = shared("POST", "/models/wide/predict", json={"rows": [ROW, {**ROW, "x0": -3.0}]})
    body, model = answer.json(), shared.home.model("wide")
    assert answer.status_code == 200
    assert body["predictions"] == model.predict([ROW, {**ROW, "x0": -3.0}]).tolist()
    assert body["outputs"] == model.predict_proba([ROW, {**ROW, "x0": -3.0}]).tolist()
    assert body["version"] == model.version.digest


def test_a_row_that_does_not_fit_is_named_by_its_number_from_one(shared):
    missing = shared("POST", "/models/wide/predict", json={"rows": [{"x0": 1.0}]})
    assert (missing.status_code, missing.json()["code"]) == (422, "column-unknown")
    rows = [ROW, {**ROW, "x0": "anna"}]
    unknown = shared("POST", "/models/wide/predict", json={"rows": rows})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "cell-invalid")
    assert (unknown.json()["row"], unknown.json()["column"]) == (2, "x0")
    assert "anna" not in unknown.text


def test_a_withdrawn_model_is_503_until_it_is_rebuilt(server):
    for shard in ([f"s{n}" for n in range(119)],):
        server.unlearn({"sample_ids": shard})
    answer = server("POST", "/models/wide/predict", json={"rows": [ROW]})
    assert (answer.status_code, answer.json()["code"]) == (503, "model-withdrawn")
    assert answer.headers["retry-after"]
    assert server("GET", "/models/wide").json()["withdrawn"]
    server.home.recover()
    assert server("POST", "/models/wide/predict", json={"rows": [ROW]}).status_code == 200


def test_a_retired_model_never_answers_again(server):
    reader = server.key("read")
    assert server("POST", "/models/wide/retire", token=reader).status_code == 403
    retired = server("POST", "/models/wide/retire", json={})
    assert (retired.status_code, retired.json()) == (200, {"retired": ["wide"]})
    answer = server("POST", "/models/wide/predict", json={"rows": [ROW]})
    assert (answer.status_code, answer.json()["code"]) == (410, "model-retired")
    assert server("POST", "/models/none/retire").status_code == 404
    assert server("GET", "/models").status_code == 200


def test_a_forecast_changes_nothing(server):
    answer = server("POST", "/forecast", json={"subject": "p1", "regime": "gdpr"})
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (body["samples"], body["already"]) == (2, 0)
    assert body["models"][0]["model"] == "wide"
    assert body["deadline"]
    assert not body["late"]
    assert server("GET", "/requests").json()["requests"] == []
    assert server("POST", "/forecast", json={"subject": "stranger"}).status_code == 404
    submitter = server.key("unlearn:submit")
    assert server("POST", "/forecast", json={"subject": "p1"}, token=submitter).status_code == 403


def test_a_held_row_waits_for_its_release(server):
    placed = server("POST", "/holds", json={"name": "case 1", "sample_ids": ["s3"]})
    assert (placed.status_code, placed.json()["rows"]) == (201, 1)
    assert server("GET", "/holds").json()["holds"] == [placed.json()]
    path = server.unlearn({"sample_id": "s3"}).headers["location"]
    server.home.recover()
    assert server("GET", path).json()["state"] == "held"
    released = server("DELETE", f"/holds/{placed.json()['id']}")
    assert (released.status_code, released.json()) == (200, placed.json())
    server.home.recover()
    assert server("GET", path).json()["state"] == "done"
    assert server("GET", "/holds").json()["holds"] == []
    assert server("DELETE", f"/holds/{placed.json()['id']}").status_code == 404


def test_holds_that_cannot_be(server):
    server("POST", "/holds", json={"name": "case 1", "sample_ids": ["s3"]})
    taken = server("POST", "/holds", json={"name": "case 1", "sample_ids": ["s4"]})
    assert (taken.status_code, taken.json()["code"]) == (409, "name-taken")
    assert server("POST", "/holds", json={"name": "x", "sample_ids": ["no"]}).status_code == 404
    for body in (
        {"name": "x"},
        {"name": "", "subjects": ["p"]},
        {"name": "n" * 101, "subjects": ["p"]},
    ):
        assert server("POST", "/holds", json=body).status_code == 422


def test_the_ledger_is_served_to_whoever_mirrors_it(server, tmp_path):
    assert server("GET", "/ledger/checkpoint").status_code == 404
    server.unlearn({"sample_id": "s3"})
    server.home.ledger.sync()
    auditor, copy = server.key("audit"), tmp_path / "copy"
    checkpoint = server("GET", "/ledger/checkpoint", token=auditor)
    assert checkpoint.headers["cache-control"] == "no-cache"
    copy.mkdir()
    (copy / "checkpoint").write_bytes(checkpoint.content)
    size = files.published(copy).checkpoint.size
    for place in files.places(size):
        tile = server("GET", f"/ledger/{place.path}", token=auditor)
        assert tile.status_code == 200
        assert "immutable" in tile.headers["cache-control"]
        (copy / place.path).parent.mkdir(parents=True, exist_ok=True)
        (copy / place.path).write_bytes(tile.content)
    report = fsck(copy, server.home.ledger.vkey)
    assert report.is_clean, report.problems
    assert server("GET", f"/ledger/tile/0/000.p/{size + 1}", token=auditor).status_code == 404


def test_health(server):
    assert server("GET", "/health/live", token=None).json() == {"status": "ok"}
    assert server("GET", "/health/ready", token=None).json() == {"status": "ok"}
    server.service.stop()
    assert server("GET", "/health/live", token=None).status_code == 200
    answer = server("GET", "/health/ready", token=None)
    assert (answer.status_code, answer.json()["code"]) == (503, "server-stopping")
    assert server.unlearn({"sample_id": "s3"}).status_code == 503
    assert server("GET", "/requests").status_code == 200


def test_a_server_whose_journal_cannot_be_written_is_not_ready(server, monkeypatch):
    def full(**_):
        raise OSError(28, "full")

    monkeypatch.setattr("expunge.service.service.TemporaryFile", full)
    answer = server("GET", "/health/ready", token=None)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage-unavailable")


@pytest.mark.parametrize("path", ["/metrics"])
def test_metrics_name_routes_and_nobody(server, path):
    server.unlearn({"sample_id": "s3"})
    server.unlearn({"sample_id": "anna"})
    server("GET", "/requests/anna")
    server("GET", "/anna")
    text = server("GET", path).text
    assert 'expunge_requests_accepted_total{kind="erase"} 1.0' in text
    assert 'expunge_requests_refused_total{code="samples-unknown"} 1.0' in text
    assert 'route="/unlearn",status="202"' in text
    assert 'route="/requests/{request_id}"' in text
    assert "anna" not in text
    assert "s3" not in text
