"""Signatures of a model's files: OpenSSF's own command accepts them, and refuses what we refuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import jcs
from expunge.core.errors import CertificateInvalid
from expunge.ledger import dsse, modelsign
from expunge.testing.certificates import Owner

KEY = Owner.named("owner").key
PUBLIC = KEY.public_key()
FILES = {
    "version.json": b'{"v":1}',
    "shard-00010.state": b"ten",
    "shard-00002.state": b"two" * 1000,
    "a-b/c": b"parts of a path are sorted,",
    "a/c": b"not its characters",
}

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


def hashed(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256(content).hexdigest() for name, content in files.items()}


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def foreign_verdict(folder: Path, signature: bytes) -> subprocess.CompletedProcess[str]:
    (folder.parent / "model.sig").write_bytes(signature)
    (folder.parent / "key.pem").write_bytes(dsse.pem(PUBLIC))
    command = [sys.executable, "-m", "model_signing", "verify", "key", folder]
    command += ["--signature", "model.sig", "--public_key", "key.pem"]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)


@given(st.dictionaries(names, digests, min_size=1), names)
def test_what_is_signed_comes_back(files: dict[str, str], name: str) -> None:
    assert modelsign.verify(modelsign.sign(files, name, KEY), PUBLIC, "it") == files


def test_the_foreign_command_accepts_the_files_and_no_others(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", FILES)
    signature = modelsign.sign(hashed(FILES), "model", KEY)
    done = foreign_verdict(folder, signature)
    assert done.returncode == 0, done.stderr
    assert "Verification succeeded" in done.stdout

    (folder / "shard-00002.state").write_bytes(b"other")
    done = foreign_verdict(folder, signature)
    assert done.returncode != 0
    assert "shard-00002.state" in done.stdout + done.stderr


def test_the_subject_is_the_digest_of_the_digests_in_order() -> None:
    files = hashed({"b": b"2", "a": b"1"})
    statement: Any = modelsign.statement(files, "m")
    whole = sha256(sha256(b"1").digest() + sha256(b"2").digest()).hexdigest()
    assert statement["subject"] == [{"name": "m", "digest": {"sha256": whole}}]


@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement["subject"][0].update(digest={"sha256": "0" * 64}),
        lambda statement: statement["subject"].append(statement["subject"][0]),
        lambda statement: statement["predicate"]["resources"].reverse(),
        lambda statement: statement["predicate"]["resources"][0].update(algorithm="md5"),
        lambda statement: statement["predicate"]["resources"][0].update(digest="xy"),
        lambda statement: statement["predicate"]["serialization"].update(allow_symlinks=True),
        lambda statement: statement.update(predicateType="https://example.com/other"),
        lambda statement: statement.update(extra=1),
        lambda statement: statement.pop("predicate"),
        lambda statement: statement.update(predicate=[]),
        lambda statement: statement.update(subject=None),
    ],
)
def test_other_statements_are_refused_though_signed(change: Any) -> None:
    statement: Any = modelsign.statement(hashed(FILES), "m")
    change(statement)
    with pytest.raises(CertificateInvalid, match="not a model signature"):
        modelsign.verify(dsse.seal(jcs.dumps(statement), KEY), PUBLIC, "it")
