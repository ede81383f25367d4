"""Schemathesis reads our OpenAPI and calls a running server: no error of ours, no word untrue.

Half of the calls are single ones, valid and invalid; the others walk along the links: submit,
follow, decide, fetch the certificate. Valid calls name what is there, for else all would end at
an unknown id; the seed for that is what schemathesis made up.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from zlib import crc32

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import Bundle, initialize
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    ensure_resource_availability,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
)
from schemathesis.generation.stateful.state_machine import StepInput

import expunge
from expunge.service import keys

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS = 400
STEPS = 8
PROMISED = {"model-withdrawn"}  # 503 until it is rebuilt: that is no failure
TEXTS = {"sample_id": "s", "subject": "p"}
LISTS = {"sample_ids": "s", "subjects": "p"}
TERMS = (
    {"kind": "erase", "undo_s": 3600, "effective": None, "received": None},
    {"kind": "erase", "effective": "2100-01-01T00:00:00Z", "received": None, "regime": None},
    {"kind": "restrict", "undo_s": 0, "effective": None, "received": None, "regime": "gdpr"},
    {},
)
ROW = {"x0": 0.1, "x1": 0.2, "x2": 0.3, "job": "cook"}
QUIET = {"rate": "1000000/second", "rate_unknown": "1000000/second"}
SPOIL = {
    "deadline": None,
    "database": None,
    "derandomize": False,
    "suppress_health_check": list(HealthCheck),
}
NO_SHRINKING = (Phase.generate,)  # a case that fails is small enough, and the server remembers


def no_error_of_ours(_context, response, case):
    if response.status_code < 500:
        return
    code = response.json()["code"]
    assert code in PROMISED, (case.operation.label, code)
    assert response.headers["retry-after"]


def what_is_invalid_is_refused(context, response, case):
    # A file has no type that it could violate: `null`, too, is an id.
    if not (case.operation.path == "/unlearn/bulk" and not isinstance(case.body, str)):
        negative_data_rejection(context, response, case)


CHECKS = [
    no_error_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    what_is_invalid_is_refused,
]


class Walker:
    """Calls a server as schemathesis says, and counts what it answers."""

    def __init__(self, server, second):
        self.url = f"http://127.0.0.1:{server.port}"
        self.schema = schemathesis.openapi.from_url(f"{self.url}/openapi.json")
        self.schema.config.generation.update(with_security_parameters=False)  # ours are real
        # Heads of 16 kB are too long for some queries, bodies for some lists: refused as they are.
        refused = self.schema.config.checks.negative_data_rejection
        refused.expected_statuses = [*refused.expected_statuses, "413", "431"]
        self.tokens = (server.token, second)
        self.answers, self.wrong = Counter(), []

    @property
    def calls(self):
        return sum(self.answers.values())

    def headers(self, case):
        # Nobody approves their own request.
        token = self.tokens[case.operation.path.endswith("/approve")]
        return {"Authorization": f"Bearer {token}"}

    def counted(self, response, case):
        self.answers[case.operation.label, response.status_code] += 1

    def single(self, calls):
        operations = [found.ok() for found in self.schema.get_all_operations()]
        for operation in operations:
            self._single(operation, max(1, calls // len(operations)))

    def _single(self, operation, most):
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

        @settings(max_examples=most, phases=NO_SHRINKING, **SPOIL)
        @given(st.one_of([operation.as_strategy(mode) for mode in modes]))
        def check(case):
            name_what_is_there(case)
            headers = self.headers(case)
            response = case.call(headers=headers)
            self.counted(response, case)
            case.validate_response(response, checks=[*CHECKS, ignored_auth], headers=headers)

        check()

    def walk(self, calls):
        walker = self

        class Walk(self.schema.as_state_machine()):
            # Each walk begins with a request that is accepted: few that are made up are.
            @initialize(
                target=Bundle("POST /unlearn -> 202"),
                row=st.integers(0, ROWS - 1),
                terms=st.sampled_from(TERMS),
            )
            def begin(self, row, terms):
                operation = walker.schema["/unlearn"]["POST"]
                first = StepInput.initial(operation.Case(body={"sample_id": f"s{row}"} | terms))
                self.recorder.record_case(case=first.case)
                self.control.record_step(first, self.recorder)
                return self.step(first)

            def before_call(self, case):
                name_what_is_there(case)

            def get_call_kwargs(self, case):
                return {"headers": walker.headers(case)}

            def after_call(self, response, case):
                super().after_call(response, case)
                walker.counted(response, case)

            def validate_response(self, response, case, **_):
                checks = [*CHECKS, use_after_free, ensure_resource_availability]
                try:
                    case.validate_response(response, checks=checks, recorder=self.recorder)
                except BaseException as error:
                    walker.wrong.append(error)
                    raise

        until = self.calls + calls
        while self.calls < until:
            how = settings(
                max_examples=max(1, (until - self.calls) // STEPS),
                stateful_step_count=STEPS,
                phases=NO_SHRINKING,
                **SPOIL,
            )
            with suppress(FlakyStrategyDefinition):  # what is there changes, so rules do
                Walk.run(settings=how)
            assert not self.wrong, self.wrong


def name_what_is_there(case):
    """Have most valid calls name rows and models of the home."""
    leave_the_model(case)
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    chance = crc32(repr((case.body, case.query, case.path_parameters)).encode("utf-8", "replace"))
    if chance % 8 == 0:
        return
    name_all(case, chance)


def leave_the_model(case):
    """Nothing would be left to ask."""
    if case.operation.path.endswith("/retire") and case.path_parameters.get("name") == "wide":
        case.path_parameters["name"] = "narrow"


def name_all(case, chance):
    if isinstance(case.body, dict):
        name_rows(case.body, chance)
    elif case.operation.path == "/unlearn/bulk":
        case.body = f"s{chance % ROWS}\ns{chance % 7}\n"
    for given_ in (case.body, case.query):
        if isinstance(given_, dict):
            name_the_rest(given_, chance)
    if case.operation.path.startswith("/models/") and not case.operation.path.endswith("/retire"):
        case.path_parameters["name"] = "wide"


def name_rows(body, chance):
    for name, start in TEXTS.items():
        if body.get(name):
            body[name] = f"{start}{chance % (ROWS // 2)}"
    for name, start in LISTS.items():
        if body.get(name):
            body[name] = [f"{start}{(chance + n) % (ROWS // 2)}" for n in range(len(body[name]))]
    if "rows" in body:
        body["rows"] = [ROW] * len(body["rows"])

    if "sample_id" in body or "subject" in body:
        body |= TERMS[chance % len(TERMS)]


def name_the_rest(given_, chance):
    there = {"dataset": "people", "models": ["wide"], "purpose": "care", "regime": "gdpr"}
    for name in there.keys() & given_.keys():
        given_[name] = there[name]
    if chance % 3 and "purpose" in given_:
        del given_["purpose"]
    if chance % 5 and given_.get("method"):
        given_["method"] = "sisa"


@pytest.fixture
def walker(run, tmp_path):
    """A walker over a new home, and the server of that."""

    def walker_(place=None, **options):
        files = tmp_path / "home" if place else None
        server = run(place, files, **QUIET, **options)
        opened = expunge.open(place or tmp_path / "home", files=files, background=False)
        with opened as home:
            second = keys.create(home.site, "second", ["admin"])[1]
        return server, Walker(server, second)

    return walker_


def check_whole(server, calls):
    """It lived through all that, found nothing to complain of, and has reached what it was to."""
    assert server.http.get("/health/ready").status_code == 200
    assert "ended in" not in server.log
    reached = {label for label, status in calls.answers if status in (200, 201, 202)}
    assert "POST /unlearn" in reached
    return reached


def test_no_call_breaks_a_running_server(walker, record_property):
    server, calls = walker()
    calls.single(140)
    calls.walk(120)
    record_property("cases", calls.calls)
    check_whole(server, calls)


STATES = {
    "new": ({}, 1_600),
    "approval": ({"approval": True}, 1_200),
    "withdrawn": ({"workers": 0}, 1_000),
    "blind": ({"reveal_unknown": False, "undo_s": 60}, 700),
}
REACHED = {"GET /requests/{request_id}", "DELETE /holds/{hold}"} | {
    f"POST /requests/{{request_id}}/{move}" for move in ("cancel", "undo", "extend", "lift")
}


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_none_of_thousands_does(walker, record_property, state):
    options, most = STATES[state]
    server, calls = walker(**options)
    if state == "withdrawn":
        withdrawn = {"sample_ids": [f"s{n}" for n in range(ROWS // 4)]}
        server.http.post("/unlearn", json=withdrawn).raise_for_status()
    calls.single(most // 2)
    calls.walk(most - calls.calls)
    record_property("cases", calls.calls)
    reached = check_whole(server, calls)
    if state == "new":
        assert reached >= REACHED, REACHED - reached
    if state == "approval":
        assert "POST /requests/{request_id}/approve" in reached
    if state == "withdrawn":
        assert ("POST /models/{name}/predict", 503) in calls.answers


@pytest.mark.slow
@pytest.mark.postgres
def test_none_of_a_thousand_does_on_postgresql(walker, record_property, postgres_url):
    server, calls = walker(postgres_url)
    calls.single(500)
    calls.walk(1_000 - calls.calls)
    record_property("cases", calls.calls)
    check_whole(server, calls)
