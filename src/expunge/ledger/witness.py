"""Ask a witness to cosign the log, so that nobody can be shown another history of it.

A witness keeps the last checkpoint that it cosigned, and cosigns a newer one only with a proof
that it goes on from there. What it answers is not believed but verified.

References:
    c2sp.org/tlog-witness, section "add-checkpoint"; c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Timer
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from expunge.core.errors import InputError, NoteInvalid, WitnessRefused
from expunge.ledger import note, strict
from expunge.ledger.note import Checkpoint, Signature, Verifier

Prove: TypeAlias = Callable[[int], Sequence[bytes]]
"""Gives the consistency proof from a smaller size to the checkpoint's."""

_MOST_ANSWER: Final = 1 << 16
"""A witness answers with a few lines. Unit: bytes."""

_HERE: Final = ("localhost", "127.0.0.1", "::1")
_SIZE_TYPE: Final = "text/x.tlog.size"

_ADVICE: Final = {
    400: "It cannot read the request: ask its operator which version of the protocol it speaks.",
    403: "It does not know the key that signed the log: send its operator the log's public key "
    "(`expunge ledger show`), the new one too after a rotation.",
    404: "It does not know the log: ask its operator to add the log's origin and public key.",
    409: "It holds another tree of this size: a fork of the log's history, or a database and a "
    "folder that do not belong together. Run `expunge ledger fsck`.",
    422: "The proof does not lead from the tree that it cosigned last to this one: a fork of the "
    "log's history, or damaged files. Run `expunge ledger fsck`.",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a witness answered.

    Attributes:
        kind: Its content type, without parameters.
    """

    status: int
    kind: str
    body: bytes


def add_checkpoint(
    url: str, checkpoint: bytes, verifier: Verifier, prove: Prove, *, old: int, timeout_s: float
) -> Signature:
    """Submit a checkpoint; return the cosignature, verified.

    Args:
        url: The witness's submission prefix; https, or http on this machine.
        checkpoint: The signed checkpoint.
        verifier: The witness's public key.
        prove: Gives the proofs that the witness asks for.
        old: Size of the tree that it cosigned last, as far as we know; 0 if never.
        timeout_s: For all of it.

    Raises:
        InputError: The URL is of another kind.
        WitnessRefused: It does not answer, refuses, or answers with something else.
    """
    where = _parsed(url)
    text = note.parse(checkpoint).text
    size, until = Checkpoint.parse(text).size, time.monotonic() + timeout_s
    answer = _post(where, _request(old, prove, checkpoint), until)
    known = _known_size(answer)
    if known is not None and known != old:
        if known > size:
            raise WitnessRefused(
                f"The witness has cosigned a log of {known:,} entries; this one has {size:,}: it "
                f"was rolled back, or its files are old. Restore the newest ones."
            )
        # Once: who answers with yet another size is asked again later.
        answer = _post(where, _request(known, prove, checkpoint), until)
    if answer.status != 200:
        advice = _ADVICE.get(answer.status, "Try again later, or ask its operator.")
        raise WitnessRefused(f"The witness answered {answer.status}. {advice}")
    return _cosignature(answer.body, text, verifier)


def _parsed(url: str) -> SplitResult:
    where = urlsplit(url)
    try:
        is_whole = where.hostname is not None and where.port != 0
    except ValueError:  # a port that is no number
        is_whole = False
    is_safe = where.scheme == "https" or (where.scheme == "http" and where.hostname in _HERE)
    if not is_whole or not is_safe or where.query or where.fragment:
        raise InputError(
            "A witness's address must begin with https:// and have neither query nor fragment; "
            "http:// is for a witness on this machine."
        )
    return where


def _request(old: int, prove: Prove, checkpoint: bytes) -> bytes:
    lines = [f"old {old}", *map(strict.encode, prove(old)), ""]
    return "".join(f"{line}\n" for line in lines).encode() + checkpoint


def _known_size(answer: _Answer) -> int | None:
    """The size that a witness says it cosigned last; None where it says no such thing."""
    if answer.status != 409 or answer.kind != _SIZE_TYPE:
        return None
    text = answer.body.decode("ascii", "replace")
    return strict.number(text[:-1]) if text.endswith("\n") else None


def _cosignature(body: bytes, text: str, verifier: Verifier) -> Signature:
    """The line that is by the witness and over the checkpoint, out of an answer."""
    try:
        answered = note.parse(text.encode() + b"\n" + body)
        note.verified(answered, [verifier])
    except NoteInvalid as error:
        raise WitnessRefused(f"The witness's answer is no cosignature. {error}") from error
    for signature in answered.signatures:
        if (signature.name, signature.key_id) == (verifier.name, verifier.key_id):
            return signature
    raise WitnessRefused(
        f"The witness answered without a cosignature by {verifier.name!r}. Check its public key."
    )


def _post(where: SplitResult, body: bytes, until: float) -> _Answer:
    path = f"{where.path.rstrip('/')}/add-checkpoint"
    kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
    connection = kind(where.hostname or "", where.port, timeout=_left(until))
    try:
        connection.connect()
        with _ended(connection.sock, until):
            connection.request("POST", path, body, {"Content-Type": "text/plain; charset=utf-8"})
            response = connection.getresponse()
            data = response.read(_MOST_ANSWER + 1)
    except (OSError, HTTPException) as error:
        _left(until)
        raise WitnessRefused(
            f"The witness does not answer ({type(error).__name__}). Check its address, and try "
            f"again later."
        ) from error
    finally:
        connection.close()
    _left(until)
    if len(data) > _MOST_ANSWER:
        raise WitnessRefused(f"The witness's answer is longer than {_MOST_ANSWER:,} bytes.")
    return _Answer(response.status, response.headers.get_content_type(), data)


@contextmanager
def _ended(connected: socket.socket, until: float) -> Iterator[None]:
    """End a connection in time: its own timeout begins again with every byte that comes."""

    def end() -> None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = Timer(_left(until), end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise WitnessRefused("The witness did not answer in time. Try again later.")
    return left
