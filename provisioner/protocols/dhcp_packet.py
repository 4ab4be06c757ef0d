"""DHCP packets: bytes to `Packet` and back (RFC 2131 section 2, RFC 2132, option overload, RFC 3396 long options).

Only the form is judged here, not the meaning. Everything wrong with a packet is a `DhcpError`; nothing else is
raised, whatever the bytes are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address

MAGIC = b"\x63\x82\x53\x63"
HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
BOOTP_MINIMUM = 300  # RFC 1542 section 2.1: old relays and clients drop shorter ones
MESSAGE_MINIMUM = 576 - 28  # RFC 2131 section 2: every client takes a datagram of 576 bytes; 28 are IP and UDP
MESSAGE_MAXIMUM = 1500 - 28
BROADCAST_FLAG = 0x8000
ANY = IPv4Address(0)
_PAD, _END, _OVERLOAD = 0, 255, 52


class DhcpError(ValueError):
    """The bytes are no DHCP packet, or the packet cannot be put into bytes."""


class Op(IntEnum):
    """The BOOTP operation."""

    REQUEST = 1
    REPLY = 2


class Kind(IntEnum):
    """The DHCP message type, option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """The options that the server reads or writes."""

    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    BROADCAST = 28
    NTP = 42
    VENDOR = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETER_LIST = 55
    MESSAGE = 56
    MAXIMUM_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    RELAY_AGENT = 82
    CLIENT_ARCH = 93
    CLIENT_NDI = 94
    CLIENT_UUID = 97
    IPXE = 175


@dataclass(frozen=True, slots=True)
class Packet:
    """A DHCP message. ``chaddr`` has the length that the header's hlen says; ``options`` maps code to value."""

    op: int
    xid: int
    chaddr: bytes
    options: Mapping[int, bytes] = field(default_factory=dict)
    htype: int = 1
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: IPv4Address = ANY
    yiaddr: IPv4Address = ANY
    siaddr: IPv4Address = ANY
    giaddr: IPv4Address = ANY
    sname: bytes = b""
    file: bytes = b""

    @property
    def kind(self) -> Kind | None:
        """The message type; None for plain BOOTP or a type unknown."""
        value = self.options.get(Option.MESSAGE_TYPE, b"")
        return Kind(value[0]) if len(value) == 1 and value[0] in Kind._value2member_map_ else None

    @property
    def mac(self) -> str:
        """The hardware address, lower case with colons."""
        return self.chaddr.hex(":")

    def address(self, option: int) -> IPv4Address | None:
        """Return an option's value as an address; None when absent or not of four bytes."""
        value = self.options.get(option, b"")
        return IPv4Address(value) if len(value) == 4 else None


def decode(data: bytes) -> Packet:
    """Read a packet; raise DhcpError when it is none."""
    if len(data) < HEADER.size:
        raise DhcpError(f"{len(data)} bytes are too few for a DHCP packet ({HEADER.size})")
    (op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr,
     chaddr, sname, file, magic) = HEADER.unpack_from(data)
    if op not in (Op.REQUEST, Op.REPLY):
        raise DhcpError(f"operation {op} is neither request nor reply")
    if hlen > len(chaddr):
        raise DhcpError(f"hardware address of {hlen} bytes, at most {len(chaddr)} fit")
    if magic != MAGIC:
        raise DhcpError("no DHCP magic")
    options: dict[int, bytearray] = {}
    _collect(data[HEADER.size:], options)
    overload = bytes(options.pop(_OVERLOAD, b""))[:1]
    if overload in (b"\1", b"\3"):
        _collect(file, options)
        file = b""
    if overload in (b"\2", b"\3"):
        _collect(sname, options)
        sname = b""
    options.pop(_OVERLOAD, None)  # an overload within an overloaded field means nothing
    return Packet(op, xid, chaddr[:hlen], {code: bytes(value) for code, value in options.items()}, htype, hops, secs,
                  flags, IPv4Address(ciaddr), IPv4Address(yiaddr), IPv4Address(siaddr), IPv4Address(giaddr),
                  sname.partition(b"\0")[0], file.partition(b"\0")[0])


def encode(packet: Packet, limit: int = MESSAGE_MINIMUM) -> bytes:
    """Write a packet of at most ``limit`` bytes, spilling options into ``file`` and ``sname`` where these are free.

    Raises DhcpError when a field or the options do not fit.
    """
    for name, value, room in (("chaddr", packet.chaddr, 16), ("sname", packet.sname, 63), ("file", packet.file, 127)):
        if len(value) > room:
            raise DhcpError(f"{name} of {len(value)} bytes, at most {room} fit")
    options, file, sname = _place(packet, limit)
    head = HEADER.pack(packet.op, packet.htype, len(packet.chaddr), packet.hops, packet.xid, packet.secs,
                       packet.flags, packet.ciaddr.packed, packet.yiaddr.packed, packet.siaddr.packed,
                       packet.giaddr.packed, packet.chaddr, sname, file, MAGIC)
    return (head + options).ljust(BOOTP_MINIMUM, b"\0")


def suboptions(value: bytes) -> dict[int, bytes]:
    """Read encapsulated options (43, 82, 175); what is malformed ends the reading, firmware being what it is."""
    found: dict[int, bytearray] = {}
    with suppress(DhcpError):
        _collect(value, found)
    return {code: bytes(data) for code, data in found.items()}


def pack_suboptions(options: Mapping[int, bytes]) -> bytes:
    """Write encapsulated options with their end mark."""
    return b"".join(_chunks(options)) + bytes([_END])


def _collect(area: bytes, into: dict[int, bytearray]) -> None:
    at = 0
    while at < len(area) and (code := area[at]) != _END:
        if code == _PAD:
            at += 1
            continue
        if at + 1 >= len(area) or at + 2 + area[at + 1] > len(area):
            raise DhcpError(f"option {code} runs past its end")
        into.setdefault(code, bytearray()).extend(area[at + 2:at + 2 + area[at + 1]])  # RFC 3396: parts add up
        at += 2 + area[at + 1]


def _chunks(options: Mapping[int, bytes]) -> Iterator[bytes]:
    for code in sorted(options, key=_rank):
        value = options[code]
        for start in range(0, len(value) or 1, 255):
            part = value[start:start + 255]
            yield bytes([code, len(part)]) + part


def _rank(code: int) -> tuple[int, int]:
    # The type first, for dumb clients and for the eye; the relay's option last (RFC 3046 section 2.1).
    first: dict[int, int] = {Option.MESSAGE_TYPE: 0, Option.SERVER_ID: 1, Option.RELAY_AGENT: 9}
    return first.get(code, 5), code


def _place(packet: Packet, limit: int) -> tuple[bytes, bytes, bytes]:
    room = limit - HEADER.size - 1
    chunks = list(_chunks(packet.options))
    if sum(map(len, chunks)) <= room:
        return b"".join(chunks) + bytes([_END]), packet.file, packet.sname
    areas = [(0, room - 3), (1, 0 if packet.file else 127), (2, 0 if packet.sname else 63)]
    filled = {0: b"", 1: b"", 2: b""}
    for chunk in chunks:
        for area, size in areas:
            if len(filled[area]) + len(chunk) <= size:
                filled[area] += chunk
                break
        else:
            raise DhcpError(f"the options do not fit into {limit} bytes")
    overload = (1 if filled[1] else 0) | (2 if filled[2] else 0)
    options = filled[0] + bytes([_OVERLOAD, 1, overload, _END])
    file = filled[1] + bytes([_END]) if filled[1] else packet.file
    sname = filled[2] + bytes([_END]) if filled[2] else packet.sname
    return options, file, sname
