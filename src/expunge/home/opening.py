"""Open a home, or make it."""

from __future__ import annotations

import os
from pathlib import Path

from expunge.core.errors import ExpungeError, InputError
from expunge.data.datasets import Grounds
from expunge.execution.local import Executor
from expunge.execution.progress import Progress
from expunge.home.home import Home
from expunge.ledger.log import Ledger
from expunge.requests import life
from expunge.requests import restore as restoring
from expunge.storage import identity
from expunge.storage.database import Database, sqlite_url
from expunge.storage.journal import Journal
from expunge.training import versions
from expunge.training.site import Site


def open(  # noqa: A001 - read as `expunge.open`
    place: str | Path,
    *,
    files: str | Path | None = None,
    journal: str | Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    background: bool = True,
) -> Home:
    """Open a home, or make it.

    Args:
        place: A folder (SQLite lies in it), or a PostgreSQL URL.
        files: Folder of data and models; needed with a URL.
        journal: Folder of the journal of accepted requests; best on another disk, and in no
            backup of the home. By default ``EXPUNGE_JOURNAL``, or ``journal`` in the home.
        executor: Where training runs; by default one worker process per core.
        progress: By default a live display on a terminal, and lines elsewhere.
        background: Rebuild in a background thread after each request, and now what an
            earlier process left. Without it, ``receipt.wait()`` and ``home.recover()`` rebuild.

    Raises:
        FormatUnsupported: The home was made by another version.
        HomeMismatch: The database and the folder do not belong together.
    """
    is_url = "://" in str(place)
    if is_url and files is None:
        raise InputError("A home in a database server needs `files=`, a folder for its data.")
    folder = Path(files if files is not None else place)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(str(place) if is_url else sqlite_url(folder / "expunge.sqlite"))
    identity.check(folder, name := database.create())
    kept = Journal(Path(journal or os.environ.get("EXPUNGE_JOURNAL") or folder / "journal"), name)
    site = Site(database, folder, Grounds(folder / "data"), kept)
    ledger = Ledger(database, folder, f"expunge/{name}")
    for inside in (site.data, site.models, site.certificates, folder / "ledger"):
        inside.mkdir(mode=0o700, exist_ok=True)  # the folder around may have been there, open
    try:
        restoring.begin(site)
        ledger.recover()
        restored = restoring.restore(site)
        life.take_effect(site)
    except BaseException:
        database.close()
        raise
    home = Home(site, ledger, executor=executor, progress=progress, background=background)
    home.restored = restored
    home.keep_ledger()
    home.keep_time()
    if background and _is_unfinished(home.site):
        home.wake()
    return home


def _is_unfinished(site: Site) -> bool:
    """Whether a request waits for what can be done now, or a model for its rebuild."""
    try:
        with site.database.reading() as transaction:
            known = site.all_models(transaction)
            if any(versions.is_behind(site, transaction, model) for model in known):
                return True
        return life.is_due(site)
    except (ExpungeError, OSError):
        return True  # damaged: recovering tells what it is
