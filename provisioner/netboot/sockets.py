"""The sockets and timers of the protocols: datagrams in, commands carried out, on one asyncio loop.

Whatever comes in while the loop was busy is taken in one go, leases of that batch are flushed to disk once, and then
the answers go out: that is what makes durable leases cheap.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from provisioner.errors import DeviceError
from provisioner.model.event import Event, Sink
from provisioner.netboot.network import IP_PKTINFO, udp_socket
from provisioner.protocols.commands import Burst, Command, Lease, SaveLease, Send
from provisioner.protocols.tftp import Peer, TftpServer, Transfer

_BATCH = 64
_SOL_UDP, _UDP_SEGMENT = 17, 103  # linux/udp.h
_SEGMENTS, _SEGMENTED_BYTES = 64, 65_000
_PKTINFO = struct.Struct("=i4s4s")
Datagram = tuple[bytes, Peer, str]
Receiver = Callable[[bytes, Peer, float], list[Command]]
LeaseSaver = Callable[[Iterable[Lease]], None]


def drain(opened: socket.socket) -> list[Datagram]:
    """Return what waits in a socket, a batch at most: data, sender, and the local address it was sent to."""
    batch: list[Datagram] = []
    for _ in range(_BATCH):
        try:
            data, ancillary, _flags, source = opened.recvmsg(65_535, 64)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN):
                raise
            continue  # an ICMP message about something sent earlier
        local = next((socket.inet_ntoa(_PKTINFO.unpack(info)[1]) for level, kind, info in ancillary
                      if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO)), "")
        batch.append((data, source, local))
    return batch


def send(opened: socket.socket, command: Send | Burst) -> None:
    """Send; what the network does not take now is lost, as datagrams may be, and the protocols know how to repeat."""
    peer = (command.address, command.port)
    try:
        if isinstance(command, Send):
            opened.sendto(command.data, peer)
        elif not _segmented(opened, command, peer):
            for datagram in command.datagrams:
                opened.sendto(datagram, peer)
    except OSError:
        return


def _segmented(opened: socket.socket, burst: Burst, peer: Peer) -> bool:
    """Send all datagrams in one call, the kernel cutting them apart (UDP_SEGMENT); False if it cannot."""
    size = len(burst.datagrams[0])
    if len(burst.datagrams) > _SEGMENTS or size * len(burst.datagrams) > _SEGMENTED_BYTES:
        return False
    try:
        opened.sendmsg(burst.datagrams, [(_SOL_UDP, _UDP_SEGMENT, struct.pack("=H", size))], 0, peer)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE):
            return False
        raise
    return True


@dataclass(slots=True)
class DhcpPort:
    """One bound socket that feeds a DHCP state machine; ``name`` is dhcp or boot."""

    opened: socket.socket
    receive: Receiver
    save: LeaseSaver
    sink: Sink
    name: str = "dhcp"

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        loop.add_reader(self.opened, self._readable)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop listening and close."""
        loop.remove_reader(self.opened)
        self.opened.close()

    def _readable(self) -> None:
        commands = [self.receive(data, source, time.time()) for data, source, _local in drain(self.opened)]
        leases = [command.lease for group in commands for command in group if isinstance(command, SaveLease)]
        saved = self._saved(leases)
        for group in commands:
            promises = any(isinstance(command, SaveLease) for command in group)
            for command in group if saved or not promises else []:
                if isinstance(command, Event):
                    self.sink(command)
                elif not isinstance(command, SaveLease):
                    send(self.opened, command)

    def _saved(self, leases: list[Lease]) -> bool:
        if not leases:
            return True
        try:
            self.save(leases)
        except DeviceError as error:
            self.sink(Event("dhcp", "dhcp", "unsaved", detail=error.message))
            return False
        return True


@dataclass(slots=True)
class TftpPort:
    """The TFTP server on one interface: the well-known port, and a port of its own for every transfer."""

    server: TftpServer
    opened: socket.socket
    interface: str
    sink: Sink
    done: Callable[[Transfer], None]
    name: str = "tftp"
    _sockets: dict[Peer, socket.socket] = field(default_factory=dict)
    _alarms: dict[Peer, asyncio.TimerHandle] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        self._loop = loop
        loop.add_reader(self.opened, self._requests)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop listening, end all transfers, close everything."""
        loop.remove_reader(self.opened)
        self.opened.close()
        for peer in list(self._sockets):
            self._end(peer)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs on, once started."""
        assert self._loop is not None
        return self._loop

    def _requests(self) -> None:
        for data, source, local in drain(self.opened):
            commands = self.server.receive(data, source, time.monotonic())
            if source in self.server.transfers:
                self._own_socket(source, local)
            self._carry_out(commands, source)

    def _own_socket(self, peer: Peer, local: str) -> None:
        if peer in self._sockets:
            return
        own = self._sockets[peer] = udp_socket(0, self.interface, local)
        self.loop.add_reader(own, self._packets, own, peer)

    def _packets(self, own: socket.socket, peer: Peer) -> None:
        for data, source, _local in drain(own):
            transfer = self.server.transfers.get(peer)
            if source != peer:
                self._carry_out(self.server.stray(source), peer)
            elif transfer is not None:
                self._carry_out(transfer.receive(data, time.monotonic()), peer)

    def _arm(self, peer: Peer, transfer: Transfer) -> None:
        """Wake up when the transfer is due; an alarm that is too early is left alone, it will only look again."""
        alarm = self._alarms.get(peer)
        if alarm is not None:
            if alarm.when() <= transfer.deadline:
                return
            alarm.cancel()
        self._alarms[peer] = self.loop.call_at(transfer.deadline, self._alarmed, peer)

    def _alarmed(self, peer: Peer) -> None:
        del self._alarms[peer]
        self._carry_out(self.server.transfers[peer].tick(time.monotonic()), peer)

    def _carry_out(self, commands: list[Command], peer: Peer) -> None:
        opened = self._sockets.get(peer, self.opened)
        for command in commands:
            if isinstance(command, Event):
                self.sink(command)
            elif isinstance(command, Send | Burst):
                send(opened, command)
        transfer = self.server.transfers.get(peer)
        if transfer is None:
            return
        if not transfer.finished:
            self._arm(peer, transfer)
            return
        if commands and isinstance(commands[-1], Event) and commands[-1].name in ("done", "unconfirmed"):
            self.done(transfer)
        self._end(peer)

    def _end(self, peer: Peer) -> None:
        alarm = self._alarms.pop(peer, None)
        if alarm is not None:
            alarm.cancel()
        own = self._sockets.pop(peer, None)
        if own is not None:
            self.loop.remove_reader(own)
            own.close()
        transfer = self.server.transfers.pop(peer, None)
        if transfer is not None:
            transfer.content.close()
