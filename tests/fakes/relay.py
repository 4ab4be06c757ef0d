"""A UDP relay in front of a TFTP server that loses, doubles and delays packets by a seed, for real clients.

A client talks to the relay's port as to port 69; what the server's own port for the transfer answers comes to the
client from a port of the relay's that stands for it, so that transfer identifiers work as without a relay.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

Address = tuple[str, int]


class _Port(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self.received = received
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received(data, addr)


@dataclass
class Relay:
    """The relay; ``port`` is where clients go."""

    server: Address
    seed: int
    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.0
    port: int = 0
    dropped: int = 0
    _ports: dict[Any, _Port] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._dice = random.Random(self.seed)
        front = await self._open("front", self._from_client)
        self.port = front.transport.get_extra_info("sockname")[1]

    def stop(self) -> None:
        for port in self._ports.values():
            port.transport.close()

    async def _open(self, key: object, received: Callable[[bytes, Address], None]) -> _Port:
        if key not in self._ports:
            self._ports[key] = port = _Port(received)
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: port, local_addr=("127.0.0.1", 0))
        return self._ports[key]

    def _from_client(self, data: bytes, client: Address) -> None:
        self._soon(self._request(data, client))

    async def _request(self, data: bytes, client: Address) -> None:
        back = await self._open(client, lambda answer, tid: self._soon(self._answer(answer, tid, client)))
        self._carry(back, data, self.server)

    async def _answer(self, data: bytes, tid: Address, client: Address) -> None:
        back = self._ports[client]
        front = await self._open((client, tid), lambda packet, _client: self._carry(back, packet, tid))
        self._carry(front, data, client)

    def _carry(self, port: _Port, data: bytes, to: Address) -> None:
        for _ in range(1 + (self._dice.random() < self.duplication)):
            if self._dice.random() < self.loss:
                self.dropped += 1
                continue
            asyncio.get_running_loop().call_later(self._dice.random() * self.delay, port.transport.sendto, data, to)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextmanager
def running(relay: Relay) -> Iterator[Relay]:
    """Run a relay in a thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(relay.start(), loop).result()
    try:
        yield relay
    finally:
        loop.call_soon_threadsafe(relay.stop)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
