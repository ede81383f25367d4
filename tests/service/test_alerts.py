"""Alert rules: Prometheus accepts them, they tell what they should, and of numbers that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from expunge.requests import forget
from expunge.requests.forget import Wanted
from expunge.requests.terms import Terms
from expunge.service.inprocess import InProcessQueue
from expunge.service.telemetry import Telemetry, render
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"
CI = os.environ.get("CI", "") not in {"", "0", "false"}
RULES = [
    rule
    for group in yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if CI:
            pytest.fail("no promtool; .ci/run brings it")
        pytest.skip("no promtool; it is in Debian's package prometheus")
    return found


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=OPS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_the_rules(promtool):
    assert f"SUCCESS: {len(RULES)} rules found" in run(promtool, "check", "rules", "alerts.yml")


def test_the_rules_fire_when_they_should_and_not_before(promtool):
    assert "SUCCESS" in run(promtool, "test", "rules", "alerts_test.yml")


def test_each_rule_is_tested_to_fire_and_to_be_silent():
    fires, silent = set(), set()
    for case in yaml.safe_load((OPS / "alerts_test.yml").read_text())["tests"]:
        for asked in case["alert_rule_test"]:
            (fires if asked.get("exp_alerts") else silent).add(asked["alertname"])
    assert fires == silent == {rule["alert"] for rule in RULES}


def test_each_rule_says_what_to_do_and_stands_in_the_manual():
    page = (ROOT / "docs/how-to/monitor.md").read_text()
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "action"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert f"`{rule['alert']}`" in page


@pytest.fixture
def exported(home) -> set[str]:
    """All that a server exports once something has happened."""
    home.ingest("people", people(60), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=1, slices=1))
    home.verify("m")
    forget.accept(home.site, "people", Wanted(("s1",)), Terms(regime="gdpr"))
    telemetry = Telemetry(home.site, InProcessQueue())
    telemetry.accepted("erase", 1, 0.001)
    text = render(telemetry)[0].decode()
    return {re.split(r"[ {]", line)[0] for line in text.splitlines() if line[0] != "#"}


def test_every_number_that_a_rule_names_is_exported(exported):
    named = {name for rule in RULES for name in re.findall(r"expunge_\w+", rule["expr"])}
    assert len(named) > 10
    assert named <= exported


def test_the_manual_lists_what_is_exported(exported):
    page = (ROOT / "docs/how-to/monitor.md").read_text()
    listed = set(re.findall(r"`(expunge_\w+)", page))
    own = {re.sub(r"_(bucket|sum|count)$", "", n) for n in exported if n.startswith("expunge_")}
    assert own <= listed
