"""The archive: any program unpacks it, and it has one form only."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import CertificateInvalid
from expunge.ledger import certificate
from expunge.ledger.certificate import pack, unpack

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}(/[a-z0-9][a-z0-9._-]{0,8}){0,3}", fullmatch=True)
contents = st.dictionaries(names, st.binary(max_size=60), min_size=1, max_size=8)

SMALL = {"certificate.json": b"{}", "keys/certificate.pem": b"key", "ledger/0.json": b"entry"}


@given(contents)
def test_what_is_packed_is_unpacked(members: dict[str, bytes]) -> None:
    assert unpack(pack(members)) == members


@given(contents)
def test_equal_members_give_equal_bytes(members: dict[str, bytes]) -> None:
    assert pack(members) == pack(dict(reversed(members.items())))


@given(contents, st.data())
def test_no_changed_bit_is_accepted(members: dict[str, bytes], data: st.DataObject) -> None:
    packed = bytearray(pack(members))
    place = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[place // 8] ^= 1 << place % 8

    with pytest.raises(CertificateInvalid):
        unpack(bytes(packed))


@given(contents, st.data())
def test_no_archive_that_is_cut_off_is_accepted(
    members: dict[str, bytes], data: st.DataObject
) -> None:
    packed = pack(members)
    with pytest.raises(CertificateInvalid):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(contents)
def test_pythons_zipfile_reads_it(members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(pack(members))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert all(one.date_time == (1980, 1, 1, 0, 0, 0) for one in archive.infolist())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_reads_it(tmp_path: Path) -> None:
    (tmp_path / "it.zip").write_bytes(pack(SMALL))
    subprocess.run(["unzip", "-q", "it.zip"], cwd=tmp_path, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in SMALL} == SMALL


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../outside",
        "a/../../outside",
        "a//b",
        "a/",
        "a\\b",
        ".hidden",
        "a/.hidden",
        "c:evil",
        "name with blanks",
        "näme",
        "a\x00b",
        "a\n",
        "a/b/c/d/e",
        "a" * 201,
    ],
)
def test_no_path_leaves_the_folder(name: str) -> None:
    with pytest.raises(CertificateInvalid, match="not allowed"):
        pack({name: b""})
    stand_in = "x" * len(name.encode())
    forged = pack({stand_in: b""}) if 0 < len(stand_in) <= 200 else b"PK\3\4" + bytes(26)
    with pytest.raises(CertificateInvalid):
        unpack(forged.replace(stand_in.encode() or b"PK", name.encode() or b"PK"))


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(CertificateInvalid, match="upper and lower case"):
        pack({"a": b"", "A": b""})


def test_an_archive_says_where_it_was_changed() -> None:
    packed = pack(SMALL)
    place = packed.index(b"entry")
    changed = packed[:place] + b"E" + packed[place + 1 :]
    with pytest.raises(CertificateInvalid, match=re.escape("'ledger/0.json'")):
        unpack(changed)
    with pytest.raises(CertificateInvalid, match=f"byte {len(packed):,}.*end"):
        unpack(packed + b"\0")


def by_zipfile(**options: object) -> bytes:
    """The same members, as :mod:`zipfile` writes them."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, content in sorted(SMALL.items()):
            info = zipfile.ZipInfo(name)
            for field, value in options.items():
                setattr(info, field, value)
            archive.writestr(info, content)
    return raw.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"compress_type": zipfile.ZIP_DEFLATED},
        {"date_time": (2026, 11, 21, 0, 0, 0)},
        {"comment": b"hello"},
        {"extra": b"\x01\x00\x01\x00x"},
        {"external_attr": 0o120777 << 16},  # a symbolic link
        {"create_system": 0},
    ],
)
def test_other_archives_of_the_same_members_are_refused(options: dict[str, object]) -> None:
    assert by_zipfile(external_attr=0o100644 << 16, create_system=3) == pack(SMALL)
    with pytest.raises(CertificateInvalid, match="was changed, at byte"):
        unpack(by_zipfile(**({"external_attr": 0o100644 << 16, "create_system": 3} | options)))


def test_a_member_that_stands_there_twice_is_refused() -> None:
    one = pack({"a": b"1"})
    local = one[: one.index(b"PK\1\2")]
    with pytest.raises(CertificateInvalid, match="twice"):
        unpack(local + one)


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "MEMBER_BYTES", 10)
    monkeypatch.setattr(certificate, "MEMBERS", 2)
    with pytest.raises(CertificateInvalid, match="size"):
        pack({"a": bytes(11)})
    with pytest.raises(CertificateInvalid, match="3 members"):
        pack({"a": b"", "b": b"", "c": b""})
    monkeypatch.setattr(certificate, "ARCHIVE_BYTES", 100)
    with pytest.raises(CertificateInvalid, match="bytes"):
        pack({"a": bytes(9), "b": bytes(9)})
    with pytest.raises(CertificateInvalid, match="at most 100"):
        unpack(bytes(101))


def test_a_size_that_cannot_be_costs_nothing() -> None:
    forged = bytearray(pack({"a": b"1"}))
    forged[18:22] = b"\xff\xff\xff\xff"
    with pytest.raises(CertificateInvalid, match="size that cannot be"):
        unpack(bytes(forged))


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\3\4", b"PK\5\6" + bytes(18), b"hello" * 99])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateInvalid):
        unpack(data)
