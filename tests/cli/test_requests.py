"""Commands on requests, holds and keys, on a home."""

from __future__ import annotations

import pytest

from expunge.cli import asking
from expunge.core.errors import InputError


def test_a_forecast_is_what_forgetting_then_costs(trained, answer, call):
    told = answer("forecast", "--subject", "p-017", "--regime", "gdpr")
    shown = call("forecast", "--subject", "p-017", "--regime", "gdpr").stdout
    assert "It would forget 3 samples" in shown
    assert "Nothing was changed" in shown
    assert answer("requests", "list")["requests"] == []

    done = answer("forget", "--subject", "p-017", "--regime", "gdpr")
    assert told["samples"] == done["samples"] == 3
    assert [len(one["shards"]) for one in told["models"]] == [done["recovery"]["shards"]]
    assert [one["slices"] for one in told["models"]] == [done["recovery"]["built"]]
    (listed,) = answer("requests", "list")["requests"]
    assert listed["deadline"][:19] == told["deadline"][:19]


def test_requests_are_listed_and_shown(trained, answer, call):
    assert "No such requests" in call("requests", "list").stdout
    (first,) = answer("forget", "r-0001")["requests"]
    (second,) = answer("forget", "r-0007", "--no-wait", "--regime", "ccpa")["requests"]

    listed = answer("requests", "list")["requests"]
    assert [one["request"] for one in listed] == [second, first]
    assert [one["state"] for one in listed] == ["forgotten", "done"]
    assert [r["request"] for r in answer("requests", "list", "--last", "1")["requests"]] == [second]
    done = answer("requests", "list", "--state", "done")["requests"]
    assert [one["request"] for one in done] == [first]
    assert answer("requests", "list", "--overdue")["requests"] == []
    shown = call("requests", "list").stdout
    assert first in shown
    assert "in 45 days" in shown

    story = answer("requests", "show", second)
    assert story["timeline"][0]["kind"].startswith("request.")
    assert story["units"]["open"] == 1
    shown = call("requests", "show", second).stdout
    assert "models are rebuilt" in shown
    assert "confirm by" in shown
    assert f"certificate save {first}" in call("requests", "show", first).stdout


def test_a_mistake_is_undone_within_its_window(trained, answer, call):
    before = answer("status")["models"][0]["version"]
    (request,) = answer("forget", "--subject", "p-010", "--undo", "1h")["requests"]
    assert answer("status")["open_requests"][0]["state"] == "held"
    assert "undo window" in call("status").stdout
    assert answer("requests", "undo", request)["state"] == "undone"
    answer("recover")
    status = answer("status")
    assert status["models"][0]["version"] == before
    assert status["datasets"][0]["forgotten"] == 0
    assert "they are back" in call("requests", "show", request).stdout
    assert answer("requests", "undo", request, code=2)["error"]["code"] == "request-move-refused"


def test_what_takes_effect_later_can_be_cancelled_or_refused(trained, answer, call):
    later = ("--effective", "2199-01-01", "--no-wait")
    done = call("forget", "r-0003", *later)
    assert "will be forgotten" in done.stdout
    (first,) = answer("requests", "list")["requests"]
    assert first["state"] == "scheduled"
    assert answer("requests", "cancel", first["request"])["state"] == "cancelled"
    (second,) = answer("forget", "r-0004", *later)["requests"]
    refused = answer("requests", "refuse", second, "--reason", "unverified")
    assert (refused["state"], refused["error"]) == ("refused", "unverified")
    assert answer("requests", "approve", second, code=2)["error"]["code"] == "request-move-refused"
    assert answer("status")["datasets"][0]["forgotten"] == 0


def test_a_deadline_is_extended_once(trained, answer):
    (request,) = answer("forget", "r-0003", "--no-wait", "--regime", "30d+15d")["requests"]
    before = answer("requests", "show", request)["deadline"]
    after = answer("requests", "extend", request)
    assert after["deadline"] > before
    assert after["extended"]
    assert answer("requests", "extend", request, code=2)["error"]["code"] == "input-invalid"


def test_a_restriction_is_lifted(trained, answer):
    (request,) = answer("forget", "r-0003", "--kind", "restrict")["requests"]
    assert answer("requests", "show", request)["state"] == "held"
    assert answer("requests", "lift", request)["state"] == "undone"


def test_a_hold_keeps_rows_until_it_is_released(trained, answer, call):
    hold = answer("holds", "place", "case 17", "--subject", "p-020")
    assert hold["rows"] == 3
    assert "case 17" in call("holds", "list").stdout
    (request,) = answer("forget", "--subject", "p-020")["requests"]
    assert answer("requests", "show", request)["state"] == "held"
    answer("holds", "release", hold["id"])
    assert answer("recover")["rows"] == 3
    assert answer("requests", "show", request)["state"] == "done"
    assert answer("holds", "list")["holds"] == []
    assert "No holds" in call("holds", "list").stdout
    assert answer("holds", "release", hold["id"], code=2)["error"]["code"] == "unknown-name"


def test_retrying_what_was_not_set_aside_changes_nothing(trained, answer):
    (request,) = answer("forget", "r-0003", "--no-wait")["requests"]
    assert answer("requests", "retry", request)["units"]["open"] == 1


def test_a_model_is_retired_when_one_means_it(trained, answer, call):
    assert call("retire", "income", given="n\n").exit_code == 1
    assert answer("status")["models"][0]["whole"]
    assert answer("retire", "income")["retired"]
    done = call("predict", "income", "people.csv")
    assert done.exit_code == 3
    assert "retired" in done.stderr


def test_keys_are_shown_once_and_revoked(trained, answer, call):
    made = answer("keys", "create", "crm", "--scope", "read", "--scope", "unlearn:submit")
    assert made["key"].startswith("exp_")
    assert made["scopes"] == ["read", "unlearn:submit"]
    assert made["expires"] is None
    soon = answer("keys", "create", "visitor", "--scope", "read", "--days", "2")
    shown = call("keys", "list").stdout
    assert made["key"] not in shown
    assert "works until" in shown
    assert answer("keys", "revoke", made["id"])["revoked"]
    states = {key["id"]: key["works"] for key in answer("keys", "list")["keys"]}
    assert states == {made["id"]: False, soon["id"]: True}
    assert "revoked" in call("keys", "list").stdout
    assert answer("keys", "revoke", "0" * 16, code=2)["error"]["code"] == "unknown-name"
    assert (
        answer("keys", "create", "x", "--scope", "all", code=2)["error"]["code"] == "unknown-name"
    )
    assert answer("keys", "create", "x", "--scope", "read", "--days", "0", code=2)["error"]


def test_a_key_is_printed_on_one_line(trained, call):
    shown = call("keys", "create", "crm", "--scope", "read").stdout.splitlines()
    assert any(line.startswith("  export EXPUNGE_API_KEY=exp_") for line in shown)


@pytest.mark.parametrize("text", ["", "24", "h", "1e9d", "-3h", "7 d", "٣d"])
def test_a_length_of_time_needs_its_unit(text):
    with pytest.raises(InputError, match="24h"):
        asking.span_s(text)


def test_moments_are_this_machines_where_they_have_no_zone():
    moment = asking.moment("2026-11-20T09:30", "--received")
    assert moment is not None
    assert moment.utcoffset() is not None
    assert (moment.hour, moment.minute) == (9, 30)
    with pytest.raises(InputError, match="--effective needs a time"):
        asking.moment("tomorrow", "--effective")


def test_terms_that_do_not_fit_are_refused(trained, answer):
    for options in (
        ("--kind", "object"),
        ("--regime", "hgb"),
        ("--method", "influence"),
        ("--model", "nobody"),
        ("--received", "2199-01-01"),
        ("--regime", "30d", "--effective", "2199-01-01"),
        ("--undo", "yes"),
    ):
        assert "error" in answer("forget", "r-0003", *options, code=2)
        assert "error" in answer("forecast", "r-0003", *options, code=2)
    assert answer("status")["datasets"][0]["forgotten"] == 0


def test_one_model_forgets_and_the_other_does_not(trained, answer):
    train = ("--target", "income", "--learner", "sklearn.naive_bayes.GaussianNB", "--shards", "2")
    answer("train", "other", *train)
    done = answer("forget", "r-0003", "--model", "other")
    changed = {m["model"]: m["before"] != m["after"] for m in done["models"]}
    assert changed.get("other")
    assert not changed.get("income", False)
