"""A load generator for one address: requests at their own times (an open loop), or as fast as answers come.

In an open loop a request has its time whether the one before was answered or not, and its latency counts from that time, so
that a server that stalls is not spared the requests that it would have had to answer meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop

CONNECTIONS = 64


@dataclass(frozen=True)
class Measured:
    """Latencies in seconds of the requests answered with 200, the number of others, and the answered requests a second."""

    latencies: np.ndarray
    failed: int
    rate: float

    def quantile(self, share: float) -> float:
        """A quantile of the latencies in milliseconds."""
        return float(np.quantile(self.latencies, share) * 1000)


class _Connection:
    """A connection that is kept open."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def request(self, body: bytes) -> bytes:
        head = f"POST {self._parts.path} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def ask(self, request: bytes) -> int:
        """Send a request, and return the status of its answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        await reader.readexactly(length)
        if b"connection: close" in lines:
            writer.close()
            self._streams = None
        return int(head.split(b" ", 2)[1])


def run(loop: Coroutine[Any, Any, Measured]) -> Measured:
    """Run a load on an event loop that costs the machine little, for generator and server share it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(loop)


async def open_loop(url: str, bodies: Sequence[bytes], rate: float, seconds: float) -> Measured:
    """Ask at a given rate."""
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(_Connection(url))
    latencies: list[float] = []
    failed = 0

    async def one(number: int, due: float) -> None:
        nonlocal failed
        connection = await free.get()
        try:
            status = await connection.ask(connection.request(bodies[number % len(bodies)]))
        except (OSError, EOFError):
            status, connection = 0, _Connection(url)
        free.put_nowait(connection)
        if status == 200:
            latencies.append(time.perf_counter() - due)
        else:
            failed += 1

    begun, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    return Measured(np.array(latencies), failed, len(latencies) / (time.perf_counter() - begun))


async def closed_loop(url: str, bodies: Sequence[bytes], clients: int, seconds: float) -> Measured:
    """Some clients ask again as soon as they are answered."""
    latencies: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal failed
        connection, asked = _Connection(url), number
        while time.perf_counter() < end:
            begun = time.perf_counter()
            try:
                status = await connection.ask(connection.request(bodies[asked % len(bodies)]))
            except (OSError, EOFError):
                status, connection = 0, _Connection(url)
            asked += clients
            if status == 200:
                latencies.append(time.perf_counter() - begun)
            else:
                failed += 1

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return Measured(np.array(latencies), failed, len(latencies) / (time.perf_counter() - begun))
