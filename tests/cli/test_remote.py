"""Commands and the Python client on a real server, and that server's ways to end."""

from __future__ import annotations

import json
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from expunge.cli import app
from expunge.client import Client, Patience, ServerProblem, ServerUnreachable, StillOpen, Terms
from expunge.core.errors import (
    CertificateNotReady,
    CredentialsInvalid,
    InputError,
    MethodUnavailable,
    SamplesUnknown,
    ScopeMissing,
    UnknownName,
)

from .conftest import BAYES, people, write  # noqa: TID252 - tests are no package
from .running import COMMAND, Running, clean, run, started  # noqa: TID252

TRAIN = ("train", "income", "--target", "income", "--learner", BAYES, "--shards", "2")
ROWS = people(900)


@dataclass(frozen=True)
class There:
    """A server, and its keys by name."""

    folder: Path
    url: str
    keys: dict[str, str]
    running: Running

    def client(self, key: str = "boss") -> Client:
        return Client(self.url, self.keys[key], patience=Patience(tries=2, first_s=0.01))

    def call(self, *arguments: str, key: str = "boss", given: str | None = None) -> Result:
        env = {"EXPUNGE_API_KEY": self.keys[key], "EXPUNGE_SERVER": self.url}
        return CliRunner().invoke(app, list(arguments), input=given, env=env)

    def answer(self, *arguments: str, key: str = "boss", code: int = 0) -> dict[str, Any]:
        done = self.call(*arguments, "--json", key=key)
        assert done.exit_code == code, done.output
        value: dict[str, Any] = json.loads(done.stdout)
        return value


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    folder = tmp_path_factory.mktemp("server")
    write(folder / "people.csv", ROWS)
    run(folder, "ingest", "people", "people.csv", "--id", "row", "--subject", "person")
    run(folder, *TRAIN, "--workers", "1")
    scopes = {"boss": ["admin"], "crm": ["unlearn:submit"], "reader": ["read"]}
    keys = {}
    for name, granted in scopes.items():
        options = [word for scope in granted for word in ("--scope", scope)]
        keys[name] = run(folder, "keys", "create", name, *options)["key"]
    with started(folder, "serve", "--port", "0") as running:
        yield There(folder, running.said["url"], keys, running)


def test_the_promised_request_from_a_shell_to_the_certificate(there: There) -> None:
    told = there.answer("forecast", "--subject", "p-001", "--regime", "gdpr")
    done = there.answer("forget", "--subject", "p-001", "--regime", "gdpr")
    assert told["samples"] == done["samples"] == 3
    (status,) = done["status"]
    assert status["state"] == "done"
    (request,) = done["requests"]

    out = there.folder / "certificate.zip"
    saved = there.answer("certificate", "save", request, "--out", str(out))
    assert zipfile.is_zipfile(out)
    run(there.folder, "verify", str(out), "--log-key", saved["log_key"])
    shown = there.call("forget", "--subject", "p-002").stdout
    assert "Forgot 3 samples" in shown
    assert "certificate save" in shown


def test_what_a_server_serves_is_shown(there: There) -> None:
    body = there.answer("status")
    assert [one["name"] for one in body["models"]] == ["income"]
    assert body["datasets"][0]["rows"] > 800
    shown = there.call("status").stdout
    assert "income" in shown
    assert "No open requests" in shown


def test_predictions_of_a_server_are_those_of_the_home(there: There) -> None:
    file = there.folder / "new.csv"
    write(file, ROWS[:1500])
    remote = there.answer("predict", "income", str(file), "--proba")
    local = run(there.folder, "predict", "income", str(file), "--proba")
    local["predictions"].pop("row")
    assert remote["predictions"] == local["predictions"]
    assert remote["rows"] == len(ROWS) - 1
    lines = there.call("predict", "income", str(file)).stdout.splitlines()
    assert lines[0] == "prediction"
    assert set(lines[1:]) == {"high", "low"}
    write(file, [row[:3] for row in ROWS[:5]])
    assert (
        "lacks columns" in there.answer("predict", "income", str(file), code=2)["error"]["message"]
    )


def test_requests_are_moved_and_held_over_the_network(there: There) -> None:
    later = ("--effective", "2199-01-01")
    (request,) = there.answer("forget", "r-0100", *later)["requests"]
    assert there.answer("requests", "show", request)["state"] == "scheduled"
    assert request in there.call("requests", "list", "--state", "scheduled").stdout
    assert "scheduled" in there.call("status").stdout
    assert there.answer("requests", "cancel", request)["state"] == "cancelled"
    (request,) = there.answer("forget", "r-0101", *later)["requests"]
    refused = there.answer("requests", "refuse", request, "--reason", "exempt")
    assert refused["error"] == "exempt"

    hold = there.answer("holds", "place", "case 1", "--subject", "p-050")
    done = there.answer("forget", "--subject", "p-050")
    assert done["status"][0]["state"] == "held"
    assert hold["id"] in there.call("holds", "list").stdout
    assert there.answer("holds", "release", hold["id"])["released"]
    with there.client() as client:
        assert client.wait(done["requests"][0], timeout_s=200, every_s=0.2)["state"] == "done"


def test_many_ids_are_uploaded(there: There) -> None:
    ids = [f"r-{number:04d}" for number in range(300, 360)]
    with there.client() as client:
        accepted = client.bulk(ids, terms=Terms(regime="ccpa", undo_s=3_600))
        assert accepted["samples"] == 60
        held = client.wait(accepted["request"], until={"held"}, timeout_s=200)
        assert held["state"] == "held"
        assert client.undo(accepted["request"])["state"] == "undone"

        file = there.folder / "subjects.csv"
        file.write_text("subject\np-150\np-151\n")
        assert client.bulk(file, of="subject")["samples"] == 6
        with pytest.raises(SamplesUnknown):
            client.bulk(["nobody"])
        assert client.bulk(["nobody"], terms=Terms(missing="ignore"))["samples"] == 0


def test_a_stream_of_ids_from_a_shell(there: There) -> None:
    given = "".join(f"r-{number:04d}\n" for number in range(400, 407))
    done = there.call("forget", "--file", "-", "--every", "3", "--no-wait", "--json", given=given)
    body = json.loads(done.stdout)
    assert (len(body["requests"]), body["samples"]) == (3, 7)
    assert "3 requests" in there.call("forget", "--file", "-", "--every", "3", given=given).stdout


def test_a_request_is_waited_for_and_listed(there: There) -> None:
    with there.client() as client:
        accepted = client.unlearn("r-0500", terms=Terms(method="sisa"))
        assert client.wait(accepted["request"], timeout_s=200, every_s=0.2)["final"]
        assert client.request(accepted["request"])["timeline"]
        everything = list(client.requests())
        assert [one["accepted"] for one in everything] == sorted(
            (one["accepted"] for one in everything), reverse=True
        )
        assert client.certificate(accepted["request"])[:2] == b"PK"
        assert {one["state"] for one in client.requests({"state": "done"})} == {"done"}
        later = Terms(effective=datetime.now(UTC) + timedelta(days=9))
        waiting = client.unlearn("r-0501", terms=later)["request"]
        with pytest.raises(StillOpen, match="'scheduled'"):
            client.wait(waiting, timeout_s=0)
        with pytest.raises(CertificateNotReady):
            client.certificate(waiting)
        client.cancel(waiting)


def test_what_is_served_can_be_asked(there: There) -> None:
    with there.client("reader") as client:
        assert client.is_ready()
        assert [one["name"] for one in client.datasets()] == ["people"]
        assert [one["name"] for one in client.models()] == ["income"]
        assert client.model("income")["classes"] == ["high", "low"]
        assert next(iter(client.versions("income")))["number"] >= 1
        told = client.forecast(subjects="p-200")
        assert told["samples"] == 3
        row = dict(zip(ROWS[0][2:5], (40, "clerk", 30), strict=True))
        assert client.predict("income", [row])["predictions"][0] in {"high", "low"}
        assert list(client.holds()) == []


def test_errors_of_a_server_are_those_of_the_library(there: There) -> None:
    with there.client() as client:
        with pytest.raises(SamplesUnknown):
            client.unlearn("nobody")
        with pytest.raises(MethodUnavailable):
            client.unlearn("r-0600", terms=Terms(method="influence"))
        with pytest.raises(UnknownName):
            client.request("0" * 8 + "-0000-0000-0000-" + "0" * 12)
        with pytest.raises(UnknownName):
            client.predict("nobody", [{"age": 1}])
        with pytest.raises(ServerProblem) as caught:
            client.unlearn("r-0600", terms=Terms(kind="burn"))
        assert caught.value.code == "request-invalid"
        with pytest.raises(InputError, match="zone"):
            client.unlearn("r-0600", terms=Terms(received=datetime(2026, 1, 1)))  # noqa: DTZ001
    with there.client("reader") as client, pytest.raises(ScopeMissing):
        client.unlearn("r-0600")
    with Client(there.url, "exp_wrong") as client, pytest.raises(CredentialsInvalid):
        client.models()


def test_a_shell_tells_them_with_exit_codes(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    assert there.answer("forget", "nobody", code=2)["error"]["code"] == "samples-unknown"
    assert (
        there.answer("forget", "r-0600", key="reader", code=2)["error"]["code"] == "scope-missing"
    )
    done = CliRunner().invoke(app, ["status", "--server", there.url], env={"EXPUNGE_API_KEY": ""})
    assert done.exit_code == 2
    assert "EXPUNGE_API_KEY" in done.stderr
    monkeypatch.setattr("expunge.client.transport.Patience.pause_s", lambda *_: 0.0)
    options = ["status", "--server", "http://127.0.0.1:9", "--json"]
    done = CliRunner().invoke(app, options, env={"EXPUNGE_API_KEY": "exp_x"})
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"]["code"] == "server-unreachable"


def test_a_floor_over_the_network(there: There) -> None:
    schema = run(there.folder, "status")["datasets"][0]["schema"]
    (there.folder / "schema.json").write_text(json.dumps(schema))
    write(there.folder / "held.csv", people(60))
    run(there.folder, "ingest", "held", "held.csv", "--schema", "schema.json")
    put = there.answer("gate", "income", "--floor", "0.5", "--on", "held")
    assert put["gate"]["floor"] == 0.5
    assert there.answer("gate", "income", key="reader") == put
    assert there.answer("gate", "income", "--open", key="reader", code=2)
    assert there.answer("gate", "income", "--open")["gate"] is None
    with there.client() as client:
        assert client.model("income")["gate"] is None


def test_a_server_that_went_away_is_told() -> None:
    client = Client("http://127.0.0.1:9", "exp_x", patience=Patience(tries=2, first_s=0.0))
    with client, pytest.raises(ServerUnreachable, match="2 tries"):
        client.unlearn("r-0001")


def test_settings_that_cannot_be_are_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    write(tmp_path / "people.csv", people(30))
    run(tmp_path, "ingest", "people", "people.csv", "--id", "row", env={"EXPUNGE_HOME": "home"})
    for options, env, said in (
        (["--home", "nowhere"], {}, "There is no home"),
        (["--home", "home", "--regime", "hgb"], {}, "No regime 'hgb'"),
        (["--home", "home", "--undo", "soon"], {}, "24h"),
        (["--home", "home"], {"EXPUNGE_LEASE_S": "-1"}, "EXPUNGE_LEASE_S"),
        (["--home", "home", "--rabbitmq", "nonsense"], {}, "broker's URL"),
    ):
        done = subprocess.run(
            [*COMMAND, "serve", "--port", "0", *options],
            cwd=tmp_path,
            env=clean(**env),
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )
        assert done.returncode == 2, done.stderr
        assert said in done.stderr


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_workers_and_servers_end_cleanly_and_others_go_on(
    tmp_path: Path, by: signal.Signals
) -> None:
    write(tmp_path / "people.csv", people(90))
    run(tmp_path, "ingest", "people", "people.csv", "--id", "row", "--subject", "person")
    run(tmp_path, *TRAIN, "--workers", "1")
    key = run(tmp_path, "keys", "create", "boss", "--scope", "admin")["key"]
    with started(tmp_path, "serve", "--port", "0", "--workers", "0") as server:
        with Client(server.said["url"], key) as client:
            accepted = client.unlearn("r-0001")
            with pytest.raises(StillOpen):
                client.wait(accepted["request"], timeout_s=0)
            with started(tmp_path, "worker") as worker:
                assert len(worker.said["workers"]) == 1
                assert (
                    client.wait(accepted["request"], timeout_s=200, every_s=0.2)["state"] == "done"
                )
                assert worker.stop(by) == 0
        assert server.stop(by) == 0
