"""Check a certificate with a public key alone: no database, no network, no numpy.

    python -m expunge.ledger.offline certificate.zip --log-key VKEY [--witness-key VKEY …]

Nothing is taken from the certificate on trust: keys of log and witnesses come from whoever
checks, and the level of evidence is found again from what was checked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from expunge.core.errors import CertificateInvalid, KeyInvalid, LedgerError
from expunge.ledger import (
    certificate,
    contents,
    dsse,
    ladder,
    logged,
    opened,
    predicate,
    served,
    story,
)
from expunge.ledger.ladder import Known, Level
from expunge.ledger.logged import Trust
from expunge.ledger.note import Verifier
from expunge.ledger.opened import Opened
from expunge.ledger.proof import Checked
from expunge.ledger.report import Check, Report, Verdict

# What code that reads foreign JSON raises where a part has another form than ours.
_MALFORMED: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


def verify(
    data: bytes,
    log_keys: Sequence[str],
    witness_keys: Sequence[str] = (),
    witnesses_needed: int = 0,
    *,
    request: str | None = None,
) -> Report:
    """Check a certificate. Costs one signature check for each entry that it holds.

    Args:
        data: The archive.
        log_keys: Verifier keys (C2SP vkey) of logs that are trusted: one must have signed.
            Without any, the certificate is not verified, whatever else holds.
        witness_keys: Verifier keys of witnesses whose cosignatures count.
        witnesses_needed: How many of them must have cosigned.
        request: The request that it should be about; any, if None.

    Raises:
        KeyInvalid: A key that was passed cannot be read.
    """
    trust = Trust(
        tuple(map(Verifier.parse, log_keys)),
        tuple(map(Verifier.parse, witness_keys)),
        witnesses_needed,
    )
    return _Case(data, trust, request).run()


def said(members: Mapping[str, bytes]) -> dict[str, Any]:
    """What a certificate says, from its unpacked members. Only its signature is checked.

    Raises:
        CertificateInvalid: A part is missing or malformed, or the signature is wrong.
    """
    statement: dict[str, Any] = json.loads(opened.read(members).payload)
    return statement


class _NotAsked(Exception):
    """A check that nobody asked for."""


class _Case:
    """One verification: what was found so far, and which checks have passed."""

    def __init__(self, data: bytes, trust: Trust, request: str | None) -> None:
        self.data, self.trust, self.request = data, trust, request
        self.members: dict[str, bytes] = {}
        self.opened: Opened | None = None
        self.checked: Checked | None = None
        self.checks: list[Check] = []
        self.levels: tuple[Level, ...] = ()

    def run(self) -> Report:
        """Run all checks that can be run."""
        for name, step, needs in _STEPS:
            if needs and not self.passed(*needs):
                missing = next(need for need in needs if not self.passed(need))
                self.checks.append(
                    Check(name, Verdict.SKIPPED, f"Not looked at: “{missing}” did not pass.")
                )
                continue
            self.checks.append(self._run(name, step))
        found = self.opened
        report = Report(
            checks=tuple(self.checks),
            levels=self.levels,
            request=found.claims.request.id if found else None,
            statement=json.loads(found.payload) if found else None,
        )
        # What is not verified has no level, whatever parts of it hold.
        return replace(report, level=ladder.height(self.levels)) if report.ok else report

    def passed(self, *names: str) -> bool:
        """Whether all of these checks have passed."""
        return set(names) <= {c.name for c in self.checks if c.verdict is Verdict.PASSED}

    @property
    def found(self) -> Opened:
        """The certificate; only steps that need its signature may ask."""
        assert self.opened is not None
        return self.opened

    def _run(self, name: str, step: Callable[[_Case], str]) -> Check:
        try:
            return Check(name, Verdict.PASSED, step(self))
        except _NotAsked as reason:
            return Check(name, Verdict.SKIPPED, str(reason))
        except LedgerError as error:
            return Check(name, Verdict.FAILED, str(error))
        except _MALFORMED as error:
            what = f"A part of the certificate has an unexpected form ({type(error).__name__})."
            return Check(name, Verdict.FAILED, what)


def _archive(case: _Case) -> str:
    case.members = certificate.unpack(case.data)
    return f"{len(case.data):,} bytes, {len(case.members)} members, none changed since packing."


def _signature(case: _Case) -> str:
    case.opened = opened.read(case.members)
    key = dsse.key_id(case.opened.key)
    return f"The statement is signed by key {key[:16]}…, which came with it; the log must know it."


def _asked(case: _Case) -> str:
    if case.request is None:
        return f"It is about request {case.found.claims.request.id}; any was accepted."
    if case.found.claims.request.id != case.request:
        raise CertificateInvalid("The certificate is about another request than the one asked for.")
    return "It is about the request that was asked for."


def _entries(case: _Case) -> str:
    case.opened = replace(case.found, entries=opened.entries(case.members))
    return logged.belonging(case.found)


def _log(case: _Case) -> str:
    case.checked = logged.included(case.found, case.trust)
    head = case.checked.checkpoint
    return (
        f"All entries are in the log {head.origin!r} of {head.size:,} entries; its key, which you "
        f"gave, signed that."
    )


def _witnesses(case: _Case) -> str:
    assert case.checked is not None
    if not case.trust.witnesses and not case.trust.needed:
        raise _NotAsked("No key of a witness was given.")
    return logged.cosigned(case.checked, case.trust)


def _absence(case: _Case) -> str:
    what = contents.absent(case.found)
    if not case.found.claims.absence.shown:
        raise _NotAsked("The certificate holds no proof of absence.")
    return what


def _evidence(case: _Case) -> str:
    """Find the level again, and compare: nothing that is claimed may be more than was checked."""
    claims = case.found.claims
    in_log = case.passed("entries", "log", "key", "story", "versions")
    case.levels = ladder.judge(
        Known(
            signed=True,
            logged=in_log,
            witnesses=len(case.checked.witnesses) if case.checked and in_log else 0,
            rows=claims.request.samples * len(claims.concerned),
            shown=claims.absence.shown if in_log and case.passed("absence") else 0,
            models=len(claims.concerned),
            audits=predicate.audited(claims.concerned) if in_log and case.passed("audits") else {},
        )
    )
    claimed = claims.evidence
    unchecked = set() if case.trust.witnesses else {3}  # without a key, nobody can say
    for ours, theirs in zip(case.levels, claimed.levels, strict=True):
        if (ours.level, ours.name) != (theirs.level, theirs.name):
            raise CertificateInvalid(
                "The statement's levels of evidence are not the eight of ours."
            )
        if theirs.holds and not ours.holds and ours.level not in unchecked:
            raise CertificateInvalid(
                f"The statement claims level {ours.level} ({ours.name}); it is not borne out: "
                f"{ours.why}"
            )
    if claimed.level != ladder.height(claimed.levels):
        raise CertificateInvalid("The statement claims another level than the highest it lists.")
    return f"Level {ladder.height(case.levels)} of 8 is borne out; claimed was {claimed.level}."


_OPENED: Final = ("archive", "signature")
_READ: Final = (*_OPENED, "entries")

_STEPS: Final[tuple[tuple[str, Callable[[_Case], str], tuple[str, ...]], ...]] = (
    ("archive", _archive, ()),
    ("signature", _signature, ("archive",)),
    ("request", _asked, _OPENED),
    ("members", lambda case: contents.complete(case.found), _OPENED),
    ("page", lambda case: contents.same_page(case.found), _OPENED),
    ("entries", _entries, _OPENED),
    ("log", _log, _READ),
    ("key", lambda case: logged.vouched(case.found), _READ),
    ("witnesses", _witnesses, (*_READ, "log")),
    ("story", lambda case: story.told(case.found), _READ),
    ("versions", lambda case: served.versions(case.found), _READ),
    ("subjects", lambda case: contents.subjects(case.found), _OPENED),
    ("absence", _absence, _OPENED),
    ("audits", lambda case: served.reported(case.found), _READ),
    ("guarantee", lambda case: contents.guaranteed(case.found), _OPENED),
    ("limits", lambda case: contents.limited(case.found), _OPENED),
    ("evidence", _evidence, _OPENED),
)
"""Name, check, and the checks that must have passed before."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a file; 0 where it is verified, 1 where not, 2 where it cannot be tried."""
    options = _options().parse_args(arguments)
    needed = len(options.witness_key) if options.witnesses is None else options.witnesses
    try:
        with options.certificate.open("rb") as file:
            data = file.read(certificate.ARCHIVE_BYTES + 1)
        keys = (options.log_key, options.witness_key, needed)
        report = verify(data, *keys, request=options.request)
    except (OSError, KeyInvalid) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    text = json.dumps(report.to_json(), ensure_ascii=False) if options.json else report.text
    sys.stdout.write(f"{text}\n")
    return 0 if report.ok else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expunge.ledger.offline",
        description="Check a certificate of unlearning. Needs no network and no database.",
    )
    parser.add_argument("certificate", type=Path, help="the zip file")
    parser.add_argument(
        "--log-key",
        action="append",
        default=[],
        metavar="VKEY",
        help="public key of a log that you trust, from its owner; may be repeated",
    )
    parser.add_argument(
        "--witness-key",
        action="append",
        default=[],
        metavar="VKEY",
        help="public key of a witness that must have signed the log's head; may be repeated",
    )
    parser.add_argument(
        "--witnesses", type=int, metavar="N", help="how many of the witnesses must have (all)"
    )
    parser.add_argument("--request", metavar="ID", help="the request that it should be about")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
