"""The archive of a certificate: a zip file that has one form only.

Any program unpacks it. Members are stored uncompressed, sorted by name, without times, comments
or extra fields, so that the bytes of the archive follow from its members. Unpacking builds it
again and compares: no bit of it can change unnoticed, be it one that no unpacking program looks at.
It is written here and not with :mod:`zipfile`, whose output is not promised to stay the same
from one Python to the next; :mod:`zipfile` and ``unzip`` read it.

References:
    PKWARE, ".ZIP File Format Specification", version 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final
from zlib import crc32

from expunge.core.errors import CertificateInvalid

STATEMENT: Final = "certificate.json"
PAGE: Final = "certificate.html"
KEY: Final = "keys/certificate.pem"

ARCHIVE_BYTES: Final = 256 * 2**20
"""The largest archive that is read."""

MEMBER_BYTES: Final = 64 * 2**20
"""The largest member that is read."""

MEMBERS: Final = 50_000
"""The most members that are read; the format's own limit is 65,535."""

# No path can leave the folder that it is unpacked into, or be hidden in it.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}", re.ASCII)

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_VERSION: Final = 20  # folders in names; nothing newer is used
_UNIX: Final = 3 << 8 | _VERSION
_FIRST_DAY: Final = 0x21  # 1980-01-01, the format's first
_PLAIN_FILE: Final = 0o100644 << 16


def pack(members: Mapping[str, bytes]) -> bytes:
    """Pack ``members`` by name. Equal members give equal bytes.

    Raises:
        CertificateInvalid: A name or a size is not one that :func:`unpack` takes.
    """
    _check_names(members)
    body, directory = bytearray(), bytearray()
    for name, content in sorted(members.items()):
        offset, path = len(body), name.encode("ascii")
        about = (_VERSION, 0, 0, 0, _FIRST_DAY, crc32(content), len(content), len(content))
        body += _LOCAL.pack(b"PK\3\4", *about, len(path), 0) + path + content
        place = (len(path), 0, 0, 0, 0, _PLAIN_FILE, offset)
        directory += _CENTRAL.pack(b"PK\1\2", _UNIX, *about, *place) + path
    counts = (0, 0, len(members), len(members), len(directory), len(body), 0)
    whole = bytes(body + directory + _END.pack(b"PK\5\6", *counts))
    if len(whole) > ARCHIVE_BYTES:
        raise CertificateInvalid(f"The archive would have {len(whole):,} bytes.")
    return whole


def unpack(data: bytes) -> dict[str, bytes]:
    """Members of an archive that :func:`pack` made, by name. Costs one pass and one comparison.

    Raises:
        CertificateInvalid: A byte is another than :func:`pack` would write; says which, and
            in which member it lies.
    """
    if len(data) > ARCHIVE_BYTES:
        raise CertificateInvalid(
            f"The archive has {len(data):,} bytes; expected at most {ARCHIVE_BYTES:,}."
        )
    members: dict[str, bytes] = {}
    offset = 0
    while data[offset : offset + 4] == b"PK\3\4":
        name, start, end = _member(data, offset)
        if members and name <= next(reversed(members)):
            raise _not_as_packed(offset, f"member {name!r} is out of order, or there twice")
        members[name] = data[start:end]
        offset = end
    if not members:
        raise _not_as_packed(0, "no member begins there")
    _check_names(members)
    _compare(data, members)
    return members


def _member(data: bytes, offset: int) -> tuple[str, int, int]:
    """Name of the member whose header is at ``offset``, and where its content begins and ends."""
    header = data[offset : offset + _LOCAL.size]
    if len(header) < _LOCAL.size:
        raise _not_as_packed(offset, "the archive ends in a member's header")
    size, length = _LOCAL.unpack(header)[7], _LOCAL.unpack(header)[9]
    start = offset + _LOCAL.size + length
    path = data[offset + _LOCAL.size : start]
    name = path.decode("ascii", "replace")
    if _NAME.fullmatch(name) is None or len(name) > 200:
        raise _not_as_packed(offset, "a member's header has a name that is not allowed")
    if size > MEMBER_BYTES or start + size > len(data):
        raise _not_as_packed(offset, f"the header of {name!r} gives a size that cannot be")
    return name, start, start + size


def _check_names(members: Mapping[str, bytes]) -> None:
    if not 0 < len(members) <= MEMBERS:
        raise CertificateInvalid(f"The archive has {len(members):,} members.")
    # Folders of other systems take upper and lower case for the same.
    if len({name.lower() for name in members}) < len(members):
        raise CertificateInvalid("Two members have names that differ in upper and lower case only.")
    for name, content in members.items():
        if _NAME.fullmatch(name) is None or len(name) > 200 or len(content) > MEMBER_BYTES:
            raise CertificateInvalid("A member has a name or a size that is not allowed.")


def _compare(data: bytes, members: Mapping[str, bytes]) -> None:
    expected = pack(members)
    if data == expected:
        return
    at, end = 0, min(len(data), len(expected))
    while at < end:  # halves, so that a large archive costs no more than reading it twice
        half = (at + end + 1) // 2
        at, end = (half, end) if data[at:half] == expected[at:half] else (at, half - 1)
    raise _not_as_packed(at, _place(members, at))


def _place(members: Mapping[str, bytes], at: int) -> str:
    """Which part of the archive has a byte, in words."""
    offset = 0
    for name, content in members.items():
        offset += _LOCAL.size + len(name) + len(content)
        if at < offset:
            return f"in member {name!r}, or its content does not match its checksum"
    for name in members:
        offset += _CENTRAL.size + len(name)
        if at < offset:
            return f"in the directory's line about {name!r}, or in that member's own header"
    return "in the directory's end, or behind it"


def _not_as_packed(at: int, what: str) -> CertificateInvalid:
    return CertificateInvalid(f"The archive was changed, at byte {at:,}: {what}.")
