"""What must be true at the end, whatever was killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import expunge
from chaos.stream import Accepted, Answered
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home


def judge(
    place: str,
    files: Path,
    wanted: Sequence[tuple[str, ...]],
    accepted: Sequence[Accepted],
    answered: Sequence[Answered],
) -> None:
    """Raise where anything that was promised did not happen, or happened twice."""
    options = {"executor": Inline(), "progress": Silent(), "background": False}
    with expunge.open(place, files=files, **options) as home:
        _every_request_once(home, wanted, accepted)
        _no_tainted_answer(home, accepted, answered)
        home.ledger.sync(wait=True)
        problems = home.ledger.fsck().problems
        assert not problems, f"the ledger does not verify: {problems}"
        assert home.model("m").version.whole, "the model is not whole"
        assert home.verify("m").exact, "the served bytes are not those of a fresh build"


def _every_request_once(
    home: Home, wanted: Sequence[tuple[str, ...]], accepted: Sequence[Accepted]
) -> None:
    states = {request.id: str(request.state) for request in home.requests()}
    assert len(states) == len(wanted), "a request was lost, or entered twice"
    assert {one.request for one in accepted} == states.keys(), "an accepted request is not there"
    assert set(states.values()) == {"done"}, Counter(states.values())
    received = Counter(f.request for f in home.facts() if f.kind == "request.received")
    assert received == dict.fromkeys(states, 1), "an entry of the ledger is missing or doubled"
    gone = {sample for samples in wanted for sample in samples}
    assert home.dataset("people").forgotten == len(gone), "other rows are gone than were named"


def _no_tainted_answer(
    home: Home, accepted: Sequence[Accepted], answered: Sequence[Answered]
) -> None:
    facts = home.facts()
    last: dict[str, int] = {}
    clean_from = {}
    for told in facts:  # of a digest that comes again, the number at that moment
        if told.kind == "version.published":
            last[told.body["digest"]] = told.body["number"]
        if told.kind == "request.forgotten":
            clean_from[told.request] = last[told.body["version"]]
    for one in accepted:
        clean = clean_from[one.request]
        tainted = [
            (last[a.version], clean, f"asked {a.asked - one.at:.3f} s after it was accepted")
            for a in answered
            if a.asked > one.at and last[a.version] < clean
        ]
        assert not tainted, f"answers (version, first clean one, when): {tainted}"
