"""A TFTP client and a bad wire in virtual time: thousands of lossy transfers in seconds, each by its seed.

The client is written from RFC 1350 and 7440 with the usual fixed timer of a second, so that what is measured is the
server's patience, not the client's.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from provisioner.model.event import Event
from provisioner.protocols.commands import Burst, Command, Send
from provisioner.protocols.tftp import TftpServer
from provisioner.protocols.tftp_packet import Op, ack_packet, block_of, opcode, write_request

PEER = ("10.0.0.9", 2000)


@dataclass
class Client:
    """Reads one file; ``outbox`` is what it sends next, ``timer`` when it sends again."""

    name: str
    options: dict[str, str]
    timeout: float = 1.0
    got: bytearray = field(default_factory=bytearray)
    block: int = 512
    window: int = 1
    expected: int = 1
    unacknowledged: int = 0
    done: bool = False
    failed: str = ""
    last: bytes = b""
    complained: int = 0
    heard: int = 0

    def start(self) -> bytes:
        self.last = write_request(self.name, self.options)
        return self.last

    def receive(self, packet: bytes) -> bytes | None:
        kind = opcode(packet)
        if kind == Op.ERROR:
            self.failed = packet[4:].split(b"\0")[0].decode()
            return None
        if kind == Op.OACK:
            return self.accept(packet) if self.expected == 1 and not self.got else None
        if kind != Op.DATA:
            return None
        return self.data(block_of(packet) or 0, packet[4:])

    def accept(self, packet: bytes) -> bytes:
        words = packet[2:].split(b"\0")
        granted = dict(zip(words[::2], words[1::2], strict=False))
        self.block = int(granted.get(b"blksize", b"512"))
        self.window = int(granted.get(b"windowsize", b"1"))
        self.last = ack_packet(0)
        return self.last

    def data(self, number: int, payload: bytes) -> bytes | None:
        if number != self.expected & 0xFFFF:
            behind = (self.expected - 1 - number) & 0xFFFF
            if self.window == 1:
                return ack_packet(number) if behind < 2 else None  # RFC 1123: acknowledge what comes again
            again, self.heard = number <= self.heard, number
            if self.complained == self.expected and not again:
                return None  # RFC 7440 section 4: once per gap, and once more when the server has gone back
            self.complained = self.expected
            self.unacknowledged = 0
            return self.acknowledge()
        self.heard = number
        if self.done:
            return ack_packet(number)
        self.got += payload
        self.expected += 1
        self.unacknowledged += 1
        self.done = len(payload) < self.block
        if self.unacknowledged < self.window and not self.done:
            return None
        self.unacknowledged = 0
        return self.acknowledge()

    def acknowledge(self) -> bytes:
        self.last = ack_packet(self.expected - 1)
        return self.last


@dataclass
class Wire:
    """Carries packets with seeded loss, duplication and delay (which reorders) in virtual seconds."""

    server: TftpServer
    client: Client
    seed: int = 0
    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.001
    jitter: float = 0.0
    now: float = 0.0
    sent: int = 0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._queue: list[tuple[float, int, str, bytes]] = []
        self._count = itertools.count()
        self._spoken = 0.0

    def run(self, limit: float = 600.0) -> Client:
        self._put("server", self.client.start())
        while self.now < limit and not self._over():
            when, to, packet = self._next()
            self.now = max(self.now, when)
            if to == "server":
                self._to_server(packet)
            elif to == "client" and (answer := self.client.receive(packet)) is not None:
                self._speak(answer)
            elif to == "retry":
                self._speak(self.client.last)
            elif to == "tick":
                for peer, commands in self.server.tick(self.now):
                    assert peer == PEER
                    self._carry_out(commands)
        return self.client

    def _over(self) -> bool:
        return bool(self.client.failed) or (self.client.done and PEER not in self.server.transfers)

    def _next(self) -> tuple[float, str, bytes]:
        times = [(self._queue[0][0], "packet")] if self._queue else []
        times += [(transfer.deadline, "tick") for transfer in self.server.transfers.values()]
        if not self.client.done and not self.client.failed:
            times.append((self._spoken + self.client.timeout, "retry"))
        when, what = min(times)
        if what == "packet":
            when, _, to, packet = heapq.heappop(self._queue)
            return when, to, packet
        return when, what, b""

    def _speak(self, packet: bytes) -> None:
        self._spoken = self.now
        self._put("server", packet)

    def _to_server(self, packet: bytes) -> None:
        transfer = self.server.transfers.get(PEER)
        if opcode(packet) == Op.RRQ:
            self._carry_out(self.server.receive(packet, PEER, self.now))
        elif transfer is not None:
            self._carry_out(transfer.receive(packet, self.now))

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Event):
                self.events.append(command)
            elif isinstance(command, Send):
                self._put("client", command.data)
            elif isinstance(command, Burst):
                for datagram in command.datagrams:
                    self._put("client", datagram)
        transfer = self.server.transfers.get(PEER)
        if transfer is not None and transfer.finished:
            self.server.forget(PEER)

    def _put(self, to: str, packet: bytes) -> None:
        self.sent += to == "client"
        copies = 1 + (self._random.random() < self.duplication)
        for _ in range(copies):
            if self._random.random() >= self.loss:
                when = self.now + self.delay + self._random.random() * self.jitter
                heapq.heappush(self._queue, (when, next(self._count), to, packet))
