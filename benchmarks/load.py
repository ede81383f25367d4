"""Load on an HTTP server: many connections of one process, as lean as can be.

Requests are prepared beforehand as bytes, so that the load costs little beside the server on the
same machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What was measured.

    Attributes:
        per_s: Answers of the wanted status a second.
        p50_ms: Median of the time from sending to the whole answer.
        p99_ms: 99th percentile of it.
        statuses: How many answers had each status.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]


def post(path: str, token: str, body: bytes, kind: str = "application/json") -> bytes:
    """A POST as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, token: str) -> bytes:
    """A GET as bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def run(port: int, requests: Sequence[bytes], connections: int, wanted: int) -> Load:
    """Send all requests over so many connections, each one after the other."""
    return asyncio.run(_run(port, iter(requests), connections, wanted))


async def _run(port: int, requests: Iterator[bytes], connections: int, wanted: int) -> Load:
    times: list[float] = []
    statuses: dict[int, int] = {}

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in requests:
            started = time.perf_counter()
            writer.write(request)
            status = await _answer(reader)
            times.append(time.perf_counter() - started)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(connections)))
    seconds = time.perf_counter() - started
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return Load(statuses.get(wanted, 0) / seconds, float(p50), float(p99), statuses)


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    await reader.readexactly(length)
    return int(head[9:12])
