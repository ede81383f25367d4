"""Who may ask for what."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from expunge.core.errors import InputError, UnknownName
from expunge.service import callers, keys
from expunge.service.keys import KEYS, Scope

PUBLIC = {"/health/live", "/health/ready", "/problems/{code}"}


def operations(server):
    for path, methods in server.app.openapi()["paths"].items():
        for method, said in methods.items():
            yield method.upper(), path, said


def concrete(path):
    ids = "4f1f64b0-6a0c-4d35-9d3b-6a3a7b9c2b11"
    for name, value in (
        ("request_id", ids),
        ("hold", ids),
        ("audit", ids),
        ("name", "wide"),
        ("code", "x"),
    ):
        path = path.replace(f"{{{name}}}", value)
    return path.replace("{place}", "0/000")


def test_every_route_but_health_and_pages_needs_a_key(server):
    for method, path, _ in operations(server):
        answer = server(method, concrete(path), token=None)
        if path in PUBLIC:
            assert answer.status_code in (200, 404)
            continue
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "credentials-invalid"


SCOPES = {
    "unlearn": "unlearn:submit",
    "unlearnBulk": "unlearn:submit",
    "cancelRequest": "unlearn:submit",
    "getRequest": "read unlearn:submit",
    "listRequests": "read",
    "approveRequest": "unlearn:approve",
    "refuseRequest": "unlearn:approve",
    "undoRequest": "unlearn:approve",
    "liftRequest": "unlearn:approve",
    "extendRequest": "unlearn:approve",
    "retryRequest": "admin",
    "getCertificate": "audit read",
    "listDatasets": "read",
    "listModels": "read",
    "getModel": "read",
    "listVersions": "read",
    "predict": "read",
    "forecast": "read",
    "retireModel": "admin",
    "getGate": "read",
    "putGate": "admin",
    "dropGate": "admin",
    "askAudit": "audit",
    "listAudits": "read audit",
    "getAudit": "read audit",
    "getAuditPage": "read audit",
    "placeHold": "admin",
    "listHolds": "read audit",
    "releaseHold": "admin",
    "getCheckpoint": "audit read",
    "getTile": "audit read",
    "getMetrics": "read",
    "isLive": "",
    "isReady": "",
    "getProblem": "",
}


def test_scopes_are_those_that_were_decided(shared):
    described = {
        said["operationId"]: {one["apiKey"][0] for one in said["security"]}
        for _, _, said in operations(shared)
    }
    assert described == {name: set(scopes.split()) for name, scopes in SCOPES.items()}


def test_every_route_refuses_keys_whose_scopes_do_not_reach(serve):
    server = serve(rate_unknown="1000/minute")
    by_scope = {scope: server.key(scope) for scope in Scope}
    for method, path, said in operations(server):
        wanted = {one["apiKey"][0] for one in said["security"]} if said["security"] else set()
        if not wanted:
            continue
        for scope, token in by_scope.items():
            answer = server(method, concrete(path), token=token)
            if scope in wanted | {Scope.ADMIN}:
                assert answer.status_code != 403, (path, scope)
            else:
                assert answer.status_code == 403, (path, scope)
                assert answer.json()["scope"] in wanted


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic dTpw",
        "Bearer exp_0000000000000000_" + "0" * 64,
        "Bearer exp__",
        "Bearer " + "x" * 5000,
        "Bearer exp_é",
    ],
)
def test_wrong_credentials_are_all_the_same(server, header):
    answer = server("GET", "/requests", headers={"Authorization": header.encode()})
    assert answer.status_code == 401
    assert {**answer.json(), "instance": ""} == {
        **server("GET", "/requests", token=None).json(),
        "instance": "",
    }


def test_the_secret_of_another_key_does_not_fit(shared):
    first, second = shared.key("read"), shared.key("read")
    mixed = "_".join((*first.split("_")[:2], second.split("_")[2]))
    assert shared("GET", "/requests", token=first).status_code == 200
    assert shared("GET", "/requests", token=mixed).status_code == 401


def test_a_revoked_key_works_for_two_seconds_at_most(server):
    id_, token = keys.create(server.home.site, "short", ["read"])
    assert server("GET", "/requests", token=token).status_code == 200
    keys.revoke(server.home.site, id_)
    until, began = time.monotonic() + 2, 0.0
    while server("GET", "/requests", token=token).status_code == 200:
        assert began < until
        time.sleep(0.1)
        began = time.monotonic()
    assert server("GET", "/requests", token=token).status_code == 401


@pytest.mark.parametrize("known", [True, False])
def test_an_expired_key_does_not_work(serve, monkeypatch, known):
    server = serve() if known else serve(key_cache_s=0)
    soon = datetime.now(UTC) + timedelta(hours=1)
    token = server.key("read", expires=soon)
    assert server("GET", "/requests", token=token).status_code == 200
    later = (soon + timedelta(seconds=1)).isoformat()
    for module in (callers, keys):
        monkeypatch.setattr(module, "now", lambda: later)
    assert server("GET", "/requests", token=token).status_code == 401


def test_keys_of_another_home_do_not_work(serve, tmp_path):
    one, other = serve(tmp_path / "one"), serve(tmp_path / "other")
    assert one("GET", "/requests", token=other.token).status_code == 401
    request = other.unlearn({"sample_id": "s3"}).json()["request"]
    assert one("GET", f"/requests/{request}").status_code == 404


def test_only_hashes_of_secrets_are_kept(shared):
    id_, token = keys.create(shared.home.site, "kept", ["read", "audit"])
    secret = token.split("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    with shared.home.site.database.reading() as transaction:
        row = transaction.execute(select(KEYS).where(KEYS.c.id == id_)).one()
    assert all(secret not in str(value) for value in row)
    (key,) = [key for key in keys.all_of(shared.home.site) if key.id == id_]
    assert key.scopes == {Scope.READ, Scope.AUDIT}
    assert secret not in repr(key)


@pytest.mark.parametrize(
    ("name", "scopes", "expires", "error"),
    [
        ("", ["read"], None, InputError),
        ("x" * 201, ["read"], None, InputError),
        ("a\nb", ["read"], None, InputError),
        ("x", [], None, InputError),
        ("x", ["write"], None, UnknownName),
        ("x", ["read"], datetime(2030, 1, 1), InputError),  # noqa: DTZ001 - that is what is wrong
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(shared, name, scopes, expires, error):
    with pytest.raises(error):
        keys.create(shared.home.site, name, scopes, expires)


def test_an_unknown_key_cannot_be_revoked(shared):
    with pytest.raises(UnknownName):
        keys.revoke(shared.home.site, "0" * 16)


def test_who_asks_too_often_is_told_to_wait(serve):
    server = serve(rate="3/hour", rate_unknown="5/hour")
    token = server.key("read")
    statuses = [server("GET", "/requests", token=token) for _ in range(4)]
    assert [one.status_code for one in statuses] == [200, 200, 200, 429]
    assert 0 < int(statuses[-1].headers["retry-after"]) <= 3600
    assert server("GET", "/requests").status_code == 200  # another key
    wrong = [server("GET", "/requests", token="exp_x").status_code for _ in range(7)]
    assert wrong == [401] * 5 + [429] * 2
    assert server("GET", "/requests").status_code == 200  # one that works, from there


def guesses_of(token, count):
    return [f"exp_{token.split('_')[1]}_{number:064x}" for number in range(count)]


def test_who_guesses_locks_nobody_out_who_calls_from_the_same_address(serve):
    server = serve(rate_unknown="3/hour", key_cache_s=0)  # as once a key's cache has ended
    unused, (id_, revoked) = server.key("read"), keys.create(server.home.site, "old", ["read"])
    keys.revoke(server.home.site, id_)
    answers = [server("GET", "/requests", token=one) for one in guesses_of(unused, 6)]
    assert [one.status_code for one in answers] == [401] * 3 + [429] * 3
    for token in (revoked, None, "exp_x"):
        answer = server("GET", "/requests", token=token)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 3600
    for token in (unused, server.token):
        assert server("GET", "/requests", token=token).status_code == 200


def test_who_guesses_too_often_is_looked_up_one_at_a_time(serve, monkeypatch):
    server = serve(rate_unknown="1/hour", key_cache_s=0)
    find, at_once, most = server.service.callers._find, 0, 0

    async def watched(token):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await find(token)
        finally:
            at_once -= 1

    async def together():
        tokens = [*guesses_of(server.token, 10), server.token]
        calls = (server.call("GET", "/requests", token=token) for token in tokens)
        return [answer.status_code for answer in await asyncio.gather(*calls)]

    assert server("GET", "/requests", token="exp_x").status_code == 401
    monkeypatch.setattr(server.service.callers, "_find", watched)
    assert server.run(together()) == [429] * 10 + [200]
    assert most == 1
