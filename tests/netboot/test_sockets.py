"""Sockets and timers: what is sent leaves as asked, and no promise is made that is not on disk."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from typing import Self

import pytest

from provisioner.errors import DeviceError
from provisioner.model.event import Event
from provisioner.netboot import sockets
from provisioner.netboot.network import udp_socket
from provisioner.netboot.sockets import DhcpPort, TftpPort, drain, send
from provisioner.protocols.commands import Burst, Command, Lease, SaveLease, Send
from provisioner.protocols.tftp import Content, Text, TftpServer
from provisioner.protocols.tftp_packet import Code, Op, ack_packet, data_packet, write_request

LEASE = Lease("10.0.0.9", "52:54:00:00:00:01", 1.0)


def receive_all(opened: socket.socket, count: int) -> list[bytes]:
    opened.settimeout(10)
    return [opened.recv(65_535) for _ in range(count)]


@pytest.mark.parametrize(("count", "size", "last"), [(64, 516, 10), (1, 100, 100), (65, 516, 516), (60, 1472, 4),
                                                     (3, 60_000, 7)])
@pytest.mark.parametrize("offload", [True, False])
def test_a_burst_arrives_as_its_datagrams(monkeypatch: pytest.MonkeyPatch, count: int, size: int, last: int,
                                          offload: bool) -> None:
    if not offload:
        monkeypatch.setattr(sockets, "_UDP_SEGMENT", 99)  # an option that no kernel knows
    datagrams = [bytes([number]) * size for number in range(count - 1)] + [b"z" * last]
    with udp_socket(0, "", "127.0.0.1") as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        other.bind(("127.0.0.1", 0))
        send(one, Burst(tuple(datagrams), *other.getsockname()))
        assert receive_all(other, count) == datagrams


def test_where_a_datagram_was_sent_to_is_known() -> None:
    with udp_socket(0) as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"x", ("127.0.0.5", one.getsockname()[1]))
        deadline = time.monotonic() + 10
        while not (got := drain(one)):
            assert time.monotonic() < deadline
        data, source, local = got[0]
        assert (data, source[0], local) == (b"x", "127.0.0.1", "127.0.0.5")
        assert drain(one) == []


def test_what_cannot_be_sent_is_lost_and_no_more() -> None:
    with udp_socket(0) as one:
        send(one, Send(b"x", "255.255.255.255", 9))  # without SO_BROADCAST the kernel refuses
        send(one, Send(b"x" * 70_000, "127.0.0.1", 9))


class Disk:
    def __init__(self) -> None:
        self.saved: list[Lease] = []
        self.full = False

    def save(self, leases: Iterable[Lease]) -> None:
        if self.full:
            raise DeviceError("disk full")
        self.saved += leases


@pytest.mark.parametrize("full", [False, True])
def test_no_acknowledgement_without_a_lease_on_disk(full: bool) -> None:
    disk, events = Disk(), list[Event]()
    disk.full = full
    with udp_socket(0, "", "127.0.0.1") as one, udp_socket(0, "", "127.0.0.1") as client:
        def receive(data: bytes, source: tuple[str, int], _now: float) -> list[Command]:
            answer: list[Command] = [Send(b"answer to " + data, *source), Event("dhcp", "dhcp", data.decode())]
            return [SaveLease(LEASE), *answer] if data == b"request" else answer

        port = DhcpPort(one, receive, disk.save, events.append)
        for word in (b"discover", b"request"):
            client.sendto(word, one.getsockname())
        deadline = time.monotonic() + 10
        got: list[bytes] = []
        while len(got) < 2 - full and time.monotonic() < deadline:
            port._readable()
            got += [data for data, _source, _local in drain(client)]
    assert got == [b"answer to discover"] + [b"answer to request"] * (not full)
    assert disk.saved == [LEASE] * (not full)
    assert ("unsaved" in [event.name for event in events]) == full


class Conversation:
    """A TFTP server on loopback and a client socket, on one loop."""

    def __init__(self, data: bytes) -> None:
        def opened(_name: str, _client: str) -> Content:
            return Text(data)

        self.events: list[Event] = []
        self.taken: list[str] = []
        self.port = TftpPort(TftpServer(opened), udp_socket(0, "", "127.0.0.1"), "", self.events.append,
                             lambda transfer: self.taken.append(transfer.request.name))
        self.client = udp_socket(0, "", "127.0.0.1")

    async def __aenter__(self) -> Self:
        self.port.start(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.port.stop(asyncio.get_running_loop())
        self.client.close()

    async def next(self) -> tuple[bytes, tuple[str, int]]:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recvfrom(self.client, 65_535), 10)

    def say(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        self.client.sendto(data, to or self.port.opened.getsockname())


def test_every_transfer_has_a_port_of_its_own_and_lost_packets_come_again() -> None:
    async def talk() -> None:
        async with Conversation(b"x" * 600) as talk:
            talk.say(write_request("f"))
            packet, tid = await talk.next()
            assert packet == data_packet(1, b"x" * 512)
            assert tid[1] != talk.port.opened.getsockname()[1]
            again, same = await talk.next()  # nothing was acknowledged: it comes again by itself
            assert (again, same) == (packet, tid)
            talk.say(ack_packet(1), tid)
            packets = {(await talk.next())[0] for _ in range(3)}
            assert data_packet(2, b"x" * 88) in packets
            talk.say(ack_packet(2), tid)
            while not talk.taken:
                await asyncio.sleep(0.005)
            assert talk.taken == ["f"]
            assert not talk.port._sockets
            assert not talk.port._alarms

    asyncio.run(talk())


def test_a_stranger_at_a_transfers_port_gets_error_five_and_the_transfer_goes_on() -> None:
    async def talk() -> None:
        async with Conversation(b"short") as talk:
            talk.say(write_request("f"))
            _, tid = await talk.next()
            with udp_socket(0, "", "127.0.0.1") as stranger:
                stranger.sendto(ack_packet(1), tid)
                answer, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(stranger, 600), 10)
            assert answer[:4] == bytes([0, Op.ERROR, 0, Code.UNKNOWN_TID])
            assert not talk.taken
            talk.say(ack_packet(1), tid)
            while not talk.taken:
                await asyncio.sleep(0.005)

    asyncio.run(talk())


def test_stopping_in_the_middle_closes_everything() -> None:
    async def talk() -> None:
        async with Conversation(b"x" * 6000) as talk:
            talk.say(write_request("f"))
            await talk.next()
        assert not talk.port._sockets
        assert not talk.port.server.transfers
        await asyncio.sleep(0.4)  # an alarm that was forgotten would ring now

    asyncio.run(talk())
