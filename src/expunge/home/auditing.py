"""Audit a model of a home, and record what was found; needs SciPy from here on."""

from __future__ import annotations

from expunge.core.errors import LibraryMissing
from expunge.execution.local import Executor
from expunge.execution.progress import Progress
from expunge.storage import facts
from expunge.training import sql
from expunge.training.site import Site
from expunge.verify import recording
from expunge.verify.report import Report
from expunge.verify.settings import Given, Settings


def audit(
    site: Site, name: str, given: Given, settings: Settings, work: tuple[Executor, Progress]
) -> Report:
    """As :meth:`expunge.home.Home.audit`.

    Raises:
        LibraryMissing: SciPy is not installed.
    """
    try:
        from expunge.verify import audit as auditor
    except ModuleNotFoundError as error:
        raise LibraryMissing("An audit", "audit") from error
    with site.database.reading() as transaction:
        row = site.model(transaction, name)
        sql.check_in_service(transaction, row)
    found = auditor.audit(site, row, given, settings, work)
    with site.database.transaction() as transaction:
        for fact in recording.audited(found, row):
            facts.record(transaction, fact)
    return found
