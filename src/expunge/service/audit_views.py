"""What a server shows of audits. Plain JSON, and pages for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from expunge.core.errors import AuditNotDone
from expunge.service import audits
from expunge.service.audits import Owed, Wanted
from expunge.training.site import Site
from expunge.verify import page as pages
from expunge.verify.report import Report
from expunge.verify.settings import Settings


def settings(shadows: int, retrains: int, margin: float, seed: int) -> Settings:
    """All that is fixed beforehand; what is not said has its default."""
    return Settings(shadows=shadows, retrains=retrains, margin=margin, seed=seed)


def asked(site: Site, wanted: Wanted) -> dict[str, Any]:
    """Ask for an audit, and show it; see :func:`expunge.service.audits.ask`."""
    return _shown(wanted.model, audits.ask(site, wanted))


def listed(site: Site, name: str) -> dict[str, Any]:
    """Audits of a model, newest first.

    Raises:
        UnknownName: There is no such model.
    """
    return {"audits": [_shown(name, one) for one in audits.listed(site, name)]}


def one(site: Site, name: str, id_: str) -> dict[str, Any]:
    """One audit of a model.

    Raises:
        UnknownName: There is no such model, or no such audit of it.
    """
    return _shown(name, audits.find(site, name, id_))


def page(site: Site, name: str, id_: str) -> str:
    """The page of an audit.

    Raises:
        UnknownName: There is no such model or audit.
        AuditNotDone: It has no report.
    """
    found = audits.find(site, name, id_)
    if found.report is None:
        raise AuditNotDone(found.state.value)
    return pages.render(Report.from_json(found.report))


def _shown(name: str, owed: Owed) -> dict[str, Any]:
    return {**asdict(owed), "model": name, "state": owed.state.value}
