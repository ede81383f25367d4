"""Verify a certificate: by a public key alone, and by building again what it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from expunge.cli.common import count, executor, finish, opened
from expunge.cli.endings import Exit
from expunge.ledger import certificate as archives
from expunge.ledger import ladder, offline
from expunge.ledger import opened as readings
from expunge.ledger.report import Report, Verdict

if TYPE_CHECKING:
    from expunge.verify.certified import Replayed


@dataclass(frozen=True, slots=True)
class Asked:
    """What to check, and what to trust.

    Attributes:
        share: Part of the shards to build again.
        data: A data package to build from; by default the home.
    """

    file: Path
    log_keys: Sequence[str]
    witness_keys: Sequence[str]
    replay: bool
    share: float
    data: Path | None
    home: str
    files: Path | None
    workers: int


def run(asked: Asked, as_json: bool) -> None:
    """Check a certificate, and end with 0 only where all of it is as it says."""
    with asked.file.open("rb") as file:
        data = file.read(archives.ARCHIVE_BYTES + 1)
    keys = (asked.log_keys, asked.witness_keys, len(asked.witness_keys))
    report = offline.verify(data, *keys)
    replayed = _replay(asked, data) if asked.replay and report.ok else ()
    passed = report.ok and all(found.verdict == "passed" for found in replayed)
    whole = bool(replayed) and passed and asked.share == 1
    level = len(ladder.LEVELS) if whole else report.level
    body = {
        **report.to_json(),
        "ok": passed,
        "level": level,
        "replayed": [asdict(found) | {"verdict": found.verdict} for found in replayed],
    }
    finish(as_json, body, *_told(report, replayed, level))
    if not passed:
        raise typer.Exit(int(Exit.NO))


def _replay(asked: Asked, data: bytes) -> tuple[Replayed, ...]:
    from expunge.execution import progress
    from expunge.verify import certified
    from expunge.verify.claims import claims

    members = archives.unpack(data)
    found = replace(readings.read(members), entries=readings.entries(members))
    digest = bytes.fromhex(found.digest)
    if asked.data is not None:
        work = (executor(asked.workers), progress.default())
        return certified.from_package(asked.data, claims(found), digest, *work, asked.share)
    with opened(asked.home, asked.files, workers=asked.workers) as there:
        return there.replay(claims(found), digest, asked.share)


def _told(report: Report, replayed: Sequence[Replayed], level: int) -> list[str]:
    marks = {Verdict.PASSED: "[green]ok[/]     ", Verdict.FAILED: "[bold red]FAILED[/] "}
    lines = [
        f"{marks.get(check.verdict, '[dim]skipped[/]')}  {check.name:10} {escape(check.what)}"
        for check in report.checks
    ]
    if not report.ok:
        return [*lines, "", "[bold red]Not verified.[/]"]
    verdicts = {found.verdict for found in replayed}
    answer = "[bold green]Verified.[/]"
    if verdicts - {"passed"}:
        answer = "Verified, but [bold]not by building it again[/]."
    if "failed" in verdicts:
        answer = "[bold red]Not confirmed by building it again.[/]"
    said = f"{answer} Evidence: level {level} of 8, {ladder.LEVELS[level - 1]}."
    return [*lines, *map(_built, replayed), "", said]


def _built(found: Replayed) -> str:
    shards = f"{found.rebuilt:,} of {count(found.constituents, 'shard')}"
    words = {
        "passed": f"[green]ok[/]       replay     {shards} built again: the same bytes",
        "failed": "[bold red]FAILED[/]   replay     what came out is not what is stated",
        "inconclusive": "[yellow]unknown[/]  replay     bytes cannot be compared",
    }
    why = []
    if not found.is_build:
        why.append("its certificate does not claim that it was built again")
    if found.other_runtime:
        why.append(f"{count(found.other_runtime, 'shard')} from another runtime than this one")
    if found.forgotten_since:
        why.append(f"{count(found.forgotten_since, 'shard')} lost rows to later requests")
    if found.changed_rows or found.changed_roots:
        why.append("rows are not those that were committed to")
    return f"{words[found.verdict]} (model {found.model}{''.join(f'; {w}' for w in why)})."
