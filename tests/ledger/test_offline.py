"""Checking a certificate: what is genuine passes, and whatever was done to it is found and named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import jcs
from expunge.core.errors import KeyInvalid
from expunge.ledger import certificate, offline, predicate
from expunge.ledger.report import Report, Verdict
from expunge.ledger.statement import Entry
from expunge.storage.facts import Fact, leaf
from expunge.testing.certificates import REQUEST, MadeUp, Owner
from expunge.testing.made_up import fixed

HERE = Path(__file__).parent
FAILING: dict[str, list[str]] = json.loads((HERE / "attacks_certificate/failing.json").read_text())
SMALL = MadeUp(plain=True)
WITNESSED = MadeUp(
    samples=2, models=2, audits=("membership",), owner=Owner.named("owner", witnesses=2)
)

junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@cache
def attacks() -> ModuleType:
    spec = spec_from_file_location("attacks", HERE / "attacks_certificate/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(data: bytes, home: MadeUp = SMALL, **options: Any) -> Report:
    return offline.verify(data, [home.vkey], **options)


def failing(report: Report) -> set[str]:
    return {one.name for one in report.failed}


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    inner = [
        place
        for key, one in pairs
        if isinstance(one, dict | list)
        for place in nodes(one, (*path, key))
    ]
    own = value if isinstance(value, dict) else range(len(value))
    return [*((*path, key) for key in own), *inner]


def put(value: Any, path: tuple[Any, ...], other: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = other


@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize("models", [0, 1, 3])
def test_a_genuine_certificate_is_verified(samples: int, models: int) -> None:
    home = MadeUp(samples=samples, models=models, plain=True)
    evidence = home.evidence
    if not samples:
        entries = tuple(e for e in evidence.entries if b"checkpoint.destroyed" not in e.leaf)
        evidence = replace(evidence, destroyed=None, entries=entries)
    report = check(home.certificate(evidence), home)
    assert report.ok, report.text
    assert report.level == (4 if samples and models else 2)
    assert report.request == REQUEST


def test_each_check_says_in_words_what_it_found() -> None:
    report = check(WITNESSED.certificate(), WITNESSED, witness_keys=WITNESSED.witness_keys)
    assert report.ok
    assert all(len(one.what) > 15 and one.what.endswith(".") for one in report.checks)
    assert "VERIFIED" in report.text
    assert report.level == 5
    assert [one.level for one in report.levels if one.holds] == [1, 2, 3, 4, 5]
    assert json.loads(json.dumps(report.to_json()))["ok"] is True


@pytest.mark.parametrize("name", FAILING)
def test_an_attack_is_found_by_the_check_for_it(name: str) -> None:
    report = check(attacks().read(name), request=REQUEST)
    assert failing(report) == set(FAILING[name]), report.text
    assert report.ok == (name == "genuine")
    assert report.level == (4 if report.ok else 0)


@pytest.mark.parametrize("name", FAILING)
def test_an_attack_that_is_made_today_is_found_too(name: str) -> None:
    report = check(attacks().build_one(name), request=REQUEST)
    assert failing(report) == set(FAILING[name]), report.text


def test_there_is_a_golden_file_for_each_attack_and_no_other() -> None:
    files = {path.name.removesuffix(".zip.xz") for path in HERE.glob("attacks_certificate/*.xz")}
    assert files == set(FAILING)


def regions(data: bytes) -> list[tuple[int, int, str]]:
    """Start, end and name of each part of an archive: its members, their lines, its end."""
    found, offset = [], 0
    members = certificate.unpack(data)
    for name, content in members.items():
        found.append((offset, offset + 30 + len(name) + len(content), name))
        offset = found[-1][1]
    for name in members:
        found.append((offset, offset + 46 + len(name), name))
        offset = found[-1][1]
    return [*found, (offset, len(data), "the directory's end")]


def test_a_flipped_bit_at_any_byte_is_found_and_named() -> None:
    data = SMALL.certificate()
    parts = regions(data)
    assert parts[-1][1] == len(data)
    for start, end, name in parts:
        for place in range(start, end):
            changed = bytearray(data)
            changed[place] ^= 1 << place % 8
            report = check(bytes(changed))
            (found,) = report.failed
            assert found.name == "archive"
            said = re.search(r"at byte ([\d,]+): (.+)", found.what)
            assert said is not None, found.what
            at = int(said[1].replace(",", ""))
            in_header = place < start + 30 + len(name) and "header" in said[2]
            assert name in said[2] or start <= at <= end or in_header, (place, found.what)


@pytest.mark.slow
def test_a_flipped_bit_is_found_when_the_archive_is_packed_again() -> None:
    flips_when_packed_again(1)


def test_some_flipped_bits_are_found_when_the_archive_is_packed_again() -> None:
    flips_when_packed_again(97)


def flips_when_packed_again(step: int) -> None:
    """Checksums are made right again, as an attacker would: the proofs must find it alone."""
    members = certificate.unpack(SMALL.certificate())
    place = 0
    for name, content in members.items():
        for index in range(place % step, len(content), step):
            changed = bytearray(content)
            changed[index] ^= 1 << index % 8
            report = check(certificate.pack({**members, name: bytes(changed)}))
            assert not report.ok, (name, index)
            assert report.failed
        place += len(content)


@given(st.data())
def test_whatever_an_owner_signs_the_check_ends_with_a_verdict(data: st.DataObject) -> None:
    """A statement with anything anywhere, signed and logged by the owner."""
    honest = predicate.payload

    def other(claims: Any) -> bytes:
        statement = jcs.loads(honest(claims), "it")
        path = data.draw(st.sampled_from(nodes(statement)))
        put(statement, path, data.draw(junk))
        return jcs.dumps(statement)

    with patch.object(predicate, "payload", other):
        report = check(SMALL.certificate())
    assert len(report.checks) == 17


@given(st.data())
def test_whatever_stands_in_the_log_the_check_ends_with_a_verdict(data: st.DataObject) -> None:
    home = MadeUp(plain=True, audits=("membership",))
    index = data.draw(st.integers(0, len(home.log.leaves) - 1))
    entry = json.loads(home.log.leaves[index])
    path = data.draw(st.sampled_from(nodes(entry)))
    put(entry, path, data.draw(junk))
    home.log.leaves[index] = jcs.dumps(entry)
    entries = tuple(Entry(n, one) for n, one in enumerate(home.log.leaves))

    def listed(number: int, content: bytes) -> predicate.Listed:
        kind = json.loads(content)["kind"]
        return predicate.Listed(number, str(kind), fixed(content).hex())

    evidence = replace(MadeUp(plain=True, audits=("membership",)).evidence, entries=entries)
    with patch.object(predicate, "listed", listed):
        report = check(home.certificate(evidence), home)
    assert len(report.checks) == 17


@given(st.binary(max_size=300))
def test_whatever_bytes_come_the_check_ends_with_a_verdict(data: bytes) -> None:
    report = check(data)
    assert failing(report) == {"archive"}
    assert "NOT VERIFIED" in report.text


def test_without_a_key_of_a_log_nothing_is_verified() -> None:
    report = offline.verify(SMALL.certificate(), [])
    assert not report.ok
    assert "log" in failing(report)
    assert "Not verified against a log" in report.text
    assert not report.levels[1].holds


def test_one_of_several_trusted_logs_is_enough() -> None:
    other = MadeUp(owner=Owner.named("another")).vkey
    assert offline.verify(SMALL.certificate(), [other, SMALL.vkey]).ok
    assert not offline.verify(SMALL.certificate(), [other]).ok


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(KeyInvalid):
        offline.verify(SMALL.certificate(), ["hello"])


def test_witnesses_count_only_by_keys_that_were_given() -> None:
    data, keys = WITNESSED.certificate(), WITNESSED.witness_keys
    strangers = MadeUp(owner=Owner.named("another", witnesses=3)).witness_keys

    assert not check(data, WITNESSED).levels[2].holds
    assert check(data, WITNESSED).ok
    assert check(data, WITNESSED, witness_keys=keys, witnesses_needed=2).ok
    report = check(data, WITNESSED, witness_keys=(*keys, *strangers), witnesses_needed=3)
    assert "witnesses" in failing(report)
    report = check(data, WITNESSED, witness_keys=strangers)
    assert "evidence" in failing(report), "the statement claims witnesses; none of these is one"
    assert "witnesses" in failing(check(data, WITNESSED, witnesses_needed=1))


def test_a_restored_home_may_forget_twice_and_the_last_time_counts() -> None:
    home = MadeUp(plain=True)
    again = json.loads(next(one for one in home.log.leaves if b"request.forgotten" in one))
    story = [json.loads(one) for one in home.log.leaves]
    first = next(n for n, one in enumerate(story) if one["kind"] == "request.forgotten")
    earlier = {
        **again,
        "at": "2026-11-21T13:00:00.000000Z",
        "body": {**again["body"], "changed": 0},
    }
    earlier["body"]["names"] = []
    home.log.leaves.insert(first, jcs.dumps(earlier))
    entries = tuple(Entry(n, one) for n, one in enumerate(home.log.leaves))
    assert check(home.certificate(replace(SMALL.evidence, entries=entries)), home).ok


def test_a_model_that_came_after_the_request_has_nothing_to_forget() -> None:
    home = MadeUp(plain=True, models=2)
    late = home.ids[1]
    leaves = [one for one in home.log.leaves if late.encode() not in one]
    about = [one for one in home.log.leaves if f'"model":"{late}"'.encode() in one]
    frames = {"dataset": home.evidence.dataset.id, "rows": 1, "frames": {home.ids[0]: 1}}
    body = {**frames, "requests": [REQUEST]}
    destroyed = leaf(Fact("checkpoint.destroyed", body), home.evidence.destroyed.at)  # type: ignore[union-attr]
    kinds = ("model.created", "version.published", "unit.rebuilt")
    later = [one for one in about if any(kind.encode() in one for kind in kinds)]
    home.log.leaves[:] = [*leaves, destroyed, *later]
    first, second = home.evidence.models
    evidence = replace(
        home.evidence,
        entries=tuple(Entry(n, one) for n, one in enumerate(home.log.leaves)),
        models=(first, replace(second, forgotten=None)),
        destroyed=replace(home.evidence.destroyed, checkpoints=1),  # type: ignore[type-var]
    )
    report = check(home.certificate(evidence), home)
    assert report.ok, report.text


def test_a_destroyed_key_of_the_same_request_may_stand_in_the_story() -> None:
    home = MadeUp(plain=True)
    shredded = leaf(Fact("salt.destroyed", {"count": 1}, REQUEST), "2026-11-21T14:00:58.000000Z")
    home.log.leaves.append(shredded)
    entries = (*SMALL.evidence.entries, Entry(len(home.log.leaves) - 1, shredded))
    assert check(home.certificate(replace(SMALL.evidence, entries=entries)), home).ok


def test_skipped_checks_do_not_count_as_passed() -> None:
    report = check(b"nothing")
    assert {one.verdict for one in report.checks[1:]} == {Verdict.SKIPPED}
    assert not report.ok


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "expunge.ledger.offline", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_says_yes_no_or_that_it_cannot_tell(tmp_path: Path) -> None:
    file = tmp_path / "certificate.zip"
    file.write_bytes(WITNESSED.certificate())
    keys = [word for key in WITNESSED.witness_keys for word in ("--witness-key", key)]

    done = run(file, "--log-key", WITNESSED.vkey, *keys, "--request", REQUEST, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    done = run(file, "--log-key", WITNESSED.vkey, *keys[:2], "--witnesses", "2")
    assert done.returncode == 1
    assert "NOT VERIFIED" in done.stdout
    done = run(file)
    assert done.returncode == 1
    assert "Not verified against a log" in done.stdout
    for arguments in ([file, "--log-key", "x"], [tmp_path / "none.zip"], [], [file, "--key"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stderr


def test_checking_loads_neither_numpy_nor_a_database() -> None:
    program = (
        "import sys, expunge.ledger.offline\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        env=clean,
    )
    loaded = set(done.stdout.split())
    allowed = {*sys.stdlib_module_names, "__main__", "expunge"}
    allowed |= {"cryptography", "_cffi_backend", "_openssl"}
    assert "expunge" in loaded
    assert loaded <= allowed
