"""Answers IPv6 router solicitations with «there is no router», which saves iPXE about twenty seconds per boot.

iPXE sets up IPv4 and IPv6 at once and goes on when both are settled; where no router answers it waits for IPv6 until
its patience ends, twice when one iPXE loads another. A router advertisement (RFC 4861 section 4.2) with a lifetime of
0 and no prefix says that its sender is no router: no host changes its addresses or routes for it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

from provisioner.errors import PrivilegeError

_SOLICITATION, _ADVERTISEMENT = 133, 134
_ALL_NODES, _ALL_ROUTERS = "ff02::1", "ff02::2"
_ICMP6_FILTER = 1  # linux/icmpv6.h
_NO_ROUTER = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)  # the kernel fills the checksum in


@dataclass(slots=True)
class SolicitationPort:
    """Listens on one interface."""

    opened: socket.socket
    index: int
    name: str = "ipv6"

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        loop.add_reader(self.opened, self._readable)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop listening and close."""
        loop.remove_reader(self.opened)
        self.opened.close()

    def _readable(self) -> None:
        try:
            while data := self.opened.recv(2048):
                if data[0] == _SOLICITATION:
                    self.opened.sendto(_NO_ROUTER, (_ALL_NODES, 0, 0, self.index))
        except OSError:
            return  # nothing more to read, or no link-local address yet: solicitations are repeated


def open_port(interface: str) -> SolicitationPort:
    """Open the socket; raises PrivilegeError without CAP_NET_RAW, OSError where there is no IPv6."""
    try:
        opened = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                               socket.IPPROTO_ICMPV6)
    except PermissionError as error:
        raise PrivilegeError("no privilege for ICMPv6: CAP_NET_RAW is needed") from error
    index = socket.if_nametoindex(interface)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _only(_SOLICITATION))
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                          socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS) + struct.pack("@I", index))
    except OSError:
        opened.close()
        raise
    return SolicitationPort(opened, index)


def _only(kind: int) -> bytes:
    """Return a filter (RFC 3542 section 3.2) that blocks every type but one: a bit set blocks."""
    words = [0xFFFFFFFF] * 8
    words[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
    return struct.pack("=8I", *words)
