"""Nothing that stays names anybody: not the ledger, journal or logs at any time, nothing at the end.

Canaries are planted as sample ids and subjects, in rows and in requests of every kind. Then all
that a home wrote is searched for them: as they are, in other encodings, and as hashes that
anybody could compute who guesses a name.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from expunge.core.errors import InputError, UnknownName
from expunge.ledger import vault
from expunge.requests import shred
from expunge.storage.database import METADATA
from expunge.testing.fakes import Tiny, people
from expunge.training.recipe import Sharded

ROWS = 60
IDS = (
    "CANARY-id-7731",
    "Kanarienvögel/渡辺/№7",
    "canary-long-" + "q7" * 300,
    "canary id to correct",
)
PEOPLE = (
    "Canary Person <canary.person@example.org>",
    "Zoë Ångström-Ñandú 渡辺",
    "canary-" + "w3" * 400 + "@example.org",
    "canary.before@example.org",
)
STRANGERS = ("canary.stranger@example.org", "canary-7732", "Fremder Kanarienvogel ☂")
CANARIES = (*IDS, *PEOPLE, *STRANGERS)

HASHES = [hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512, hashlib.sha3_256]
HASHES += [lambda data, n=n: hashlib.blake2b(data, digest_size=n) for n in (8, 16, 20, 32, 64)]
HASHES += [hashlib.blake2s]


def spelt(value: bytes) -> set[bytes]:
    """A value as it is, in hexadecimal, and in base64 at every place of a longer text."""
    found = {value, value.hex().encode(), value.hex().upper().encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for ahead in range(3):
            whole = encode(bytes(ahead) + value).rstrip(b"=")
            # What overlaps its neighbours depends on them: only the middle is certain.
            found.add(whole[4 * (ahead > 0) : len(whole) - 1])
    return found


def forms(canary: str) -> set[bytes]:
    encodings = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")
    encoded = {text.encode(e) for e in encodings for text in (canary, canary.lower())}
    hashed = {make(one).digest() for one in encoded for make in HASHES}
    escaped = {canary.encode("unicode_escape"), canary.encode("utf-8").replace(b"/", b"\\/")}
    return {form for one in encoded | hashed | escaped for form in spelt(one)}


FORMS = {canary: forms(canary) for canary in CANARIES}


def found_in(content: bytes) -> list[str]:
    return [name for name, each in FORMS.items() if any(form in content for form in each)]


def check_files(folder: Path, *, but: tuple[str, ...] = ()) -> int:
    """Search all files of a home, or all but some folders. Returns how many bytes."""
    size = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in but:
            content = path.read_bytes()
            assert found_in(str(name).encode()) == found_in(content) == [], name
            size += len(content)
            if path.suffix == ".zip":
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    for member in archive.namelist():
                        assert found_in(archive.read(member)) == [], member
    return size


def check_database(home) -> None:
    with home.site.database.reading() as transaction:
        for table in METADATA.sorted_tables:
            rows = transaction.execute(sa.select(table))
            cells = [raw(cell) for row in rows for cell in row]
            assert found_in(b"\0".join(cells)) == [], table.name


def raw(cell) -> bytes:
    return bytes(cell) if isinstance(cell, (bytes, memoryview)) else str(cell).encode()


def planted():
    rows = people(ROWS)
    rows["id"], rows["who"] = rows["id"].astype(object), rows["who"].astype(object)
    for place, (one, who) in enumerate(zip(IDS, PEOPLE, strict=True)):
        rows["id"][5 + 13 * place], rows["who"][5 + 13 * place] = one, who
    return {name: np.array(cells.tolist()) for name, cells in rows.items()}


def ask(home, rows) -> list[str]:
    """Requests of every kind; ids of those that were accepted."""
    refused = [
        lambda: home.forget(["s1", STRANGERS[0]]),
        lambda: home.forget(subjects=[PEOPLE[1], STRANGERS[2]]),
        lambda: home.correct({n: c[:1] for n, c in rows.items()} | {"id": [STRANGERS[1]]}),
        lambda: home.correct({"id": np.array([IDS[0]]), "nonsense": np.array([STRANGERS[0]])}),
        lambda: home.ingest("people", rows),
    ]
    for act in refused:
        with pytest.raises(InputError) as caught:
            act()
        assert found_in(str(caught.value).encode()) == []
    corrected = {name: cells[44:45].copy() for name, cells in rows.items()}
    corrected["who"] = np.array(["p1"])
    receipts = [
        home.correct(corrected),
        home.forget([IDS[3]]),
        home.forget([IDS[0]], subjects=[PEOPLE[1]]),
        home.forget([IDS[0], *STRANGERS], subjects=[PEOPLE[2], STRANGERS[0]], missing="ignore"),
        home.forget(STRANGERS, missing="ignore"),
        home.forget(subjects=[PEOPLE[0], PEOPLE[2]]),
    ]
    assert not any(found_in(repr(receipt.facts).encode()) for receipt in receipts)
    return [receipt.request for receipt in receipts]


def hear_all(caplog) -> None:
    """Every logger says all that it can; SQLAlchemy's would begin at warnings."""
    for name in (None, *logging.getLogger().manager.loggerDict, "sqlalchemy", "sqlalchemy.engine"):
        caplog.set_level(logging.DEBUG, name)


def leaves(home) -> bytes:
    return b"\n".join(fact.leaf for fact in home.facts())


def test_the_search_finds_what_is_there():
    for canary in CANARIES:
        value = canary.encode()
        for content in (
            b"..." + value + b"...",
            canary.encode("utf-16-le"),
            value.hex().encode(),
            b"ab" + base64.b64encode(b"a" + value + b"bcd"),
            hashlib.sha256(value).digest(),
            base64.b64encode(hashlib.md5(value).digest()),
            hashlib.blake2b(value, digest_size=16).hexdigest().encode(),
        ):
            assert canary in found_in(content)
    assert found_in(b"canary") == []


def test_nothing_that_stays_names_anybody(place, opened, caplog):
    hear_all(caplog)
    folder = Path(place.get("files", place["place"]))
    rows = planted()
    home = opened(**place)
    home.ingest("people", rows, id="id", subject="who")
    view = home.dataset("people").view("y")
    home.train("m", view, Sharded(Tiny(), shards=3, slices=2))
    with pytest.raises(AssertionError):
        check_files(folder)  # they are in the rows

    requests = ask(home, rows)
    home.ledger.sync()
    # At any time: before anything is destroyed.
    assert check_files(folder, but=("data",)) > 10_000
    assert found_in(leaves(home)) == []
    check_database(home)

    home.recover()
    check_destroyed(home, requests)
    home.close()
    with opened(**place) as again:
        assert again.restored is None
        check_files(folder)
    assert len(caplog.text) > 10_000
    assert found_in(caplog.text.encode()) == []


def check_destroyed(home, requests) -> None:
    """Certified and shredded, still nothing of them is anywhere."""
    folder = home.site.root
    certificates = [home.certificate(request) for request in requests]
    assert len(certificates) == len(list(folder.glob("certificates/*.zip"))) == 6
    check_files(folder)
    check_database(home)
    assert count_openings(home, requests) == 15

    for request in requests:
        shred.shred(home.site, request)
    home.ledger.sync()
    check_files(folder)
    check_database(home)
    assert found_in(leaves(home)) == []
    assert count_openings(home, requests) == 0


def count_openings(home, requests) -> int:
    """How many commitments somebody can open who guesses all names right."""
    count = 0
    for request in requests:
        for kind in ("sample", "subject"):
            for canary in CANARIES:
                with home.site.database.reading() as transaction:
                    try:
                        vault.opening(transaction, request, kind, canary)
                    except UnknownName:
                        continue
                count += 1
    return count


def test_a_restored_home_names_nobody_either(tmp_path, opened, caplog):
    hear_all(caplog)
    folder, rows = tmp_path / "home", planted()
    with opened(folder) as home:
        home.ingest("people", {n: c[:40] for n, c in rows.items()}, id="id", subject="who")
        home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=3, slices=2))
    saved = (folder / "expunge.sqlite").read_bytes()
    with opened(folder) as home:
        home.ingest("people", {n: c[40:] for n, c in rows.items()})
        home.forget(IDS, missing="ignore")
    (folder / "expunge.sqlite").write_bytes(saved)
    with opened(folder) as home:
        assert (home.restored.requests, home.restored.unknown) == (1, 1)
        home.recover()
        check_database(home)
        check_files(folder)
    assert found_in(caplog.text.encode()) == []


# Shredding


def test_shredding_is_recorded_once_and_leaves_no_key(world):
    receipt, other = world.home.forget(["s1"], subjects=["p5"]), world.home.forget(["s2"])
    site = world.home.site
    with site.database.reading() as transaction:
        key = vault.opening(transaction, receipt.request, "subject", "p5").key
    assert shred.shred(site, receipt.request) == 2
    assert shred.shred(site, receipt.request) == 0
    (fact,) = [fact for fact in world.home.facts() if fact.kind == "salt.destroyed"]
    assert (fact.request, fact.body) == (receipt.request, {"count": 2})
    for path in site.root.glob("expunge.sqlite*"):
        assert key not in path.read_bytes()
    with site.database.reading() as transaction:
        assert vault.opening(transaction, other.request, "sample", "s2")
        with pytest.raises(UnknownName) as caught:
            vault.opening(transaction, receipt.request, "subject", "p5")
    assert "p5" not in str(caught.value)
    with pytest.raises(UnknownName):
        shred.shred(site, "nobody's")


def test_old_requests_are_shredded_when_they_are_done(world):
    site, home = world.home.site, world.home
    first = home.forget(["s1"]).wait()
    second = home.forget(["s2"])
    assert shred.shred_older_than(site) == 0
    assert shred.shred_older_than(site, days=-1) == 1
    assert [f.request for f in home.facts() if f.kind == "salt.destroyed"] == [first.request]
    second.wait()
    assert shred.shred_older_than(site, days=-1) == 1
    assert shred.shred_older_than(site, days=-1) == 0
