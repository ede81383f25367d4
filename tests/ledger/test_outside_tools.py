"""Checking a certificate with tools that are not ours, by the very commands that we print."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from expunge.testing.certificates import MadeUp, Owner

PAGE = (Path(__file__).parents[2] / "docs/certificate.md").read_text()
HOME = MadeUp(samples=2, models=2, owner=Owner.named("owner", witnesses=2))

SIZE = b"\n%d\n" % (len(HOME.log.leaves) + 1)

pytestmark = pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")


def blocks(language: str) -> str:
    """All blocks of one language on the page about certificates, one after the other."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    about = {"LOG_KEY": HOME.vkey, "MODEL": HOME.ids[0], "SERVED": str(folder / "served")}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": tools, "LC_ALL": "C.UTF-8", **about},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A certificate, and the files that are served."""
    (tmp_path / "certificate.zip").write_bytes(HOME.certificate())
    (tmp_path / "served").mkdir()
    for name, content in HOME.files.items():
        (tmp_path / "served" / name).write_bytes(content)
    return tmp_path


def repack(folder: Path, name: str, old: bytes, new: bytes) -> None:
    """Change a member; the checksums of the archive are right again."""
    with zipfile.ZipFile(folder / "certificate.zip") as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    assert old in members[name]
    members[name] = members[name].replace(old, new, 1)
    with zipfile.ZipFile(folder / "certificate.zip", "w") as archive:
        for one, content in members.items():
            archive.writestr(one, content)


def test_every_command_of_the_documentation_accepts_a_genuine_certificate(folder: Path) -> None:
    done = run(blocks("sh"), folder)
    assert done.returncode == 0, done.stderr
    assert "Verified OK" in done.stdout
    assert "Signature Verified Successfully" in done.stdout
    assert "it names this certificate" in done.stdout
    assert "Verification succeeded" in done.stdout


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("certificate.json", b'"sig":"ME', b'"sig":"MF'),
        ("certificate.html", b"2 rows", b"0 rows"),
        ("keys/certificate.pem", b"MFkw", b"MFkx"),
        ("ledger/4.json", b'"at":"2026', b'"at":"2025'),
        ("ledger/4.tlog-proof", b"index 4", b"index 5"),
        ("ledger/0.tlog-proof", SIZE, b"\n99\n"),
    ],
)
def test_the_commands_refuse_what_was_changed(
    folder: Path, name: str, old: bytes, new: bytes
) -> None:
    repack(folder, name, old, new)
    assert run(blocks("sh"), folder).returncode != 0


def test_the_commands_refuse_another_logs_key(folder: Path) -> None:
    other = MadeUp(owner=Owner.named("another")).vkey
    assert run(f"LOG_KEY='{other}'\n{blocks('sh')}", folder).returncode != 0


def test_the_python_of_the_documentation_accepts_a_genuine_certificate(folder: Path) -> None:
    with zipfile.ZipFile(folder / "certificate.zip") as archive:
        archive.extractall(folder)
    (folder / "check.py").write_text(blocks("python"))
    done = run("python check.py", folder)
    assert done.returncode == 0, done.stderr


def test_the_commands_on_the_page_for_people_accept_it(folder: Path) -> None:
    with zipfile.ZipFile(folder / "certificate.zip") as archive:
        archive.extractall(folder)
    page = (folder / "certificate.html").read_text()
    steps = [
        html.unescape(step) for step in re.findall(r"<pre><code>(.*?)</code>", page, re.DOTALL)
    ]
    steps[-1] = steps[-1].partition("\n")[2].replace("FOLDER", '"$SERVED"')  # but for pip
    signature, pages, entry, files = [run("\n".join(steps[: n + 1]), folder) for n in range(4)]

    for done in (signature, pages, entry, files):
        assert done.returncode == 0, done.stderr
    assert signature.stdout.strip() == "Verified OK"
    *_, first, second = pages.stdout.strip().split("\n")
    assert second == f'"certificate.html":"{first.split()[0]}"'
    *_, digest, issued = entry.stdout.strip().split("\n")
    assert f'"statement":"{digest.split()[0]}"' in issued
    assert "Verification succeeded" in files.stdout
