"""DHCP for booting machines: a full server and a proxyDHCP server (RFC 2131, RFC 2132, PXE 2.1, UEFI 2.10 24.7).

Both are state machines: `receive` takes one datagram and returns what to do. What a machine boots is decided by the
``choose`` function that they are given; here it only becomes options. The full server gives addresses and boot files,
the proxy only boot files, beside a DHCP server that is there already: it offers on port 67 and answers requests of
UEFI firmware on port 4011.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from provisioner.model.event import Event
from provisioner.protocols.commands import Command, SaveLease, Send
from provisioner.protocols.dhcp_client import Client, describe
from provisioner.protocols.dhcp_packet import (
    ANY,
    BROADCAST_FLAG,
    MESSAGE_MAXIMUM,
    MESSAGE_MINIMUM,
    DhcpError,
    Kind,
    Op,
    Option,
    Packet,
    decode,
    encode,
    pack_suboptions,
)
from provisioner.protocols.dhcp_pool import Pool, Subnet

SERVER_PORT, CLIENT_PORT, BOOT_PORT = 67, 68, 4011
EVERYBODY = "255.255.255.255"
_BYPASS = pack_suboptions({6: b"\x08"})  # PXE 2.1 section 2.2: do not look for boot servers, take the file named here
_ONLY_HERE = pack_suboptions({0xB0: b"\x01"})  # iPXE: there is no proxyDHCP, do not wait for one


@dataclass(frozen=True, slots=True)
class NetBoot:
    """The next thing a client loads: a TFTP path on ``server``, or a URL; ``bios`` for clients without UEFI."""

    server: IPv4Address
    file: str
    bios: bool = False


Chooser = Callable[[Client, IPv4Address], NetBoot | None]


@dataclass(slots=True)
class FullServer:
    """A DHCP server on the interface that has ``address``, over a pool that several interfaces may share."""

    address: IPv4Address
    pool: Pool
    choose: Chooser

    def receive(self, data: bytes, source: tuple[str, int], now: float) -> list[Command]:
        """Take a datagram that came to port 67; ``now`` is seconds since 1970. Never raises, whatever the bytes."""
        request, problem = _request(data)
        if request is None:
            return problem
        seat = request.giaddr if request.giaddr != ANY else self.address
        subnet = self.pool.subnet(seat)
        if subnet is None:
            return [_event(request, "ignored", f"no pool for the network of {seat}")]
        handler = {
            Kind.DISCOVER: self._discover, Kind.REQUEST: self._requested, Kind.DECLINE: self._decline,
            Kind.RELEASE: self._release, Kind.INFORM: self._inform,
        }.get(request.kind) if request.kind is not None else None
        return handler(request, subnet, now) if handler else []

    def _discover(self, request: Packet, subnet: Subnet, now: float) -> list[Command]:
        client = describe(request)
        heard = _event(request, "discover", _about(client))
        address = self.pool.offer(request.mac, subnet, request.address(Option.REQUESTED_ADDRESS), now)
        if address is None:
            return [heard, _event(request, "exhausted", f"no address left in {subnet.network}")]
        return [heard, *self._grant(request, client, Kind.OFFER, address, subnet)]

    def _requested(self, request: Packet, subnet: Subnet, now: float) -> list[Command]:
        chosen = request.address(Option.SERVER_ID)
        if chosen is not None and chosen != self.address:
            self.pool.withdraw(request.mac)
            return [_event(request, "elsewhere", f"took the offer of {chosen}")]
        address = request.address(Option.REQUESTED_ADDRESS)
        if address is None:
            address = request.ciaddr
        if self.pool.usable(request.mac, address, subnet, now):
            client = describe(request)
            lease = self.pool.bind(request.mac, address, subnet.lease, now, client.hostname)
            return [SaveLease(lease), *self._grant(request, client, Kind.ACK, address, subnet)]
        known = chosen is not None or self.pool.lease(request.mac) is not None or address not in subnet.network
        if not known and request.ciaddr == ANY:
            return []  # RFC 2131 section 4.3.2, INIT-REBOOT: silent about clients of which there is no record
        return self._refuse(request, f"{address} is not free for it")

    def _decline(self, request: Packet, _subnet: Subnet, now: float) -> list[Command]:
        address = request.address(Option.REQUESTED_ADDRESS)
        lease = self.pool.decline(request.mac, address, now) if address is not None else None
        if lease is None:
            return []
        return [SaveLease(lease), _event(request, "decline", f"{address} is in use by another machine")]

    def _release(self, request: Packet, _subnet: Subnet, now: float) -> list[Command]:
        lease = self.pool.release(request.mac, request.ciaddr, now)
        return [SaveLease(lease), _event(request, "release", lease.address)] if lease else []

    def _inform(self, request: Packet, subnet: Subnet, _now: float) -> list[Command]:
        reply = self._reply(request, describe(request), Kind.ACK, subnet)
        return _send(request, reply, "inform", str(request.ciaddr))

    def _grant(self, request: Packet, client: Client, kind: Kind, address: IPv4Address,
               subnet: Subnet) -> list[Command]:
        reply = replace(self._reply(request, client, kind, subnet), yiaddr=address)
        times = {Option.LEASE_TIME: subnet.lease, Option.RENEWAL_TIME: subnet.lease // 2,
                 Option.REBINDING_TIME: subnet.lease * 7 // 8}
        options = dict(reply.options) | {code: seconds.to_bytes(4, "big") for code, seconds in times.items()}
        file = reply.options.get(Option.BOOT_FILE, b"").decode("ascii", "replace")
        return _send(request, replace(reply, options=options), kind.name.lower(), f"{address} {file}".strip(),
                     address=str(address), file=file)

    def _reply(self, request: Packet, client: Client, kind: Kind, subnet: Subnet) -> Packet:
        network = subnet.network
        options = {
            Option.SUBNET_MASK: network.netmask.packed,
            Option.BROADCAST: network.broadcast_address.packed,
            Option.ROUTER: subnet.router.packed if subnet.router else b"",
            Option.DNS: b"".join(address.packed for address in subnet.dns),
            Option.NTP: b"".join(address.packed for address in subnet.ntp),
            Option.DOMAIN_NAME: subnet.domain.encode(),
        }
        boot = self.choose(client, self.address) if client.boots else None
        reply = _boot_reply(request, client, kind, self.address, boot)
        extra = {Option.IPXE: _ONLY_HERE} if client.ipxe else {}
        if boot and boot.file and client.kind != "HTTPClient":
            extra[Option.VENDOR] = _BYPASS
        filled = {code: value for code, value in options.items() if value}
        return replace(reply, options=filled | extra | dict(reply.options))

    def _refuse(self, request: Packet, why: str) -> list[Command]:
        options = {Option.MESSAGE_TYPE: bytes([Kind.NAK]), Option.SERVER_ID: self.address.packed,
                   Option.MESSAGE: why.encode()} | _echo(request)
        reply = Packet(Op.REPLY, request.xid, request.chaddr, options, request.htype, giaddr=request.giaddr,
                       flags=request.flags | (BROADCAST_FLAG if request.giaddr != ANY else 0))
        return _send(replace(request, ciaddr=ANY), reply, "nak", why)


@dataclass(slots=True)
class ProxyServer:
    """A proxyDHCP server on the interface that has ``address``: names boot files, gives no addresses."""

    address: IPv4Address
    choose: Chooser

    def receive(self, data: bytes, source: tuple[str, int], now: float) -> list[Command]:
        """Take a datagram that came to port 67. Never raises, whatever the bytes."""
        return self._answer(data, Kind.DISCOVER, Kind.OFFER)

    def receive_boot(self, data: bytes, source: tuple[str, int], now: float) -> list[Command]:
        """Take a datagram that came to port 4011: the boot server's port of PXE 2.1, answered to its source."""
        return self._answer(data, Kind.REQUEST, Kind.ACK, source)

    def _answer(self, data: bytes, expected: Kind, kind: Kind,
                source: tuple[str, int] | None = None) -> list[Command]:
        request, problem = _request(data)
        if request is None:
            return problem
        client = describe(request)
        if request.kind != expected or not client.boots:
            return []
        name = "discover" if source is None else "boot-request"
        heard = _event(request, name, _about(client))
        boot = self.choose(client, self.address)
        if boot is None:
            return [heard]
        reply = _boot_reply(request, client, kind, self.address, boot)
        if boot.bios and client.kind == "PXEClient":
            # UEFI gets no option 43: without it firmware asks again on port 4011, which all of it can do, whereas
            # some ignores offers that tell it to bypass discovery.
            reply = replace(reply, options=dict(reply.options) | {Option.VENDOR: _BYPASS})
        done = "proxy-offer" if source is None else "boot-ack"
        return [heard, *_send(request, reply, done, boot.file, source, file=boot.file)]


def _request(data: bytes) -> tuple[Packet | None, list[Command]]:
    try:
        packet = decode(data)
    except DhcpError as error:
        return None, [Event("dhcp", "dhcp", "malformed", detail=str(error))]
    if packet.op != Op.REQUEST or packet.kind is None or len(packet.chaddr) != 6:
        return None, []  # replies of others, plain BOOTP, and links that are no Ethernet
    return packet, []


def _boot_reply(request: Packet, client: Client, kind: Kind, server: IPv4Address, boot: NetBoot | None) -> Packet:
    """Build the reply's frame with the boot file in every place that some firmware reads it from."""
    options = {Option.MESSAGE_TYPE: bytes([kind]), Option.SERVER_ID: server.packed} | _echo(request)
    reply = Packet(Op.REPLY, request.xid, request.chaddr, options, request.htype, flags=request.flags,
                   ciaddr=request.ciaddr, giaddr=request.giaddr)
    if boot is None:
        return reply
    if client.kind:
        options[Option.VENDOR_CLASS] = client.kind.encode()
    if uuid := request.options.get(Option.CLIENT_UUID):
        options[Option.CLIENT_UUID] = uuid
    options[Option.TFTP_SERVER] = str(boot.server).encode()  # no trailing NUL: the Raspberry Pi takes it for a name
    options[Option.BOOT_FILE] = boot.file.encode()
    header = boot.file.encode() if len(boot.file) <= 127 else b""
    return replace(reply, siaddr=boot.server, file=header)


def _echo(request: Packet) -> dict[int, bytes]:
    # RFC 3046: the relay's option goes back as it came; RFC 6842: so does the client's identifier.
    return {code: request.options[code] for code in (Option.CLIENT_ID, Option.RELAY_AGENT) if code in request.options}


def _send(request: Packet, reply: Packet, name: str, detail: str, source: tuple[str, int] | None = None,
          **figures: str) -> list[Command]:
    asked = int.from_bytes(request.options.get(Option.MAXIMUM_SIZE, b"")[:2], "big")
    try:
        data = encode(reply, max(MESSAGE_MINIMUM, min(asked - 28, MESSAGE_MAXIMUM)))
    except DhcpError as error:
        return [_event(request, "unanswered", str(error))]
    address, port = source or _destination(request)
    return [Send(data, address, port), _event(request, name, detail, **figures)]


def _destination(request: Packet) -> tuple[str, int]:
    """RFC 2131 section 4.1; a client without an address gets broadcasts, it cannot answer ARP yet."""
    if request.giaddr != ANY:
        return str(request.giaddr), SERVER_PORT
    if request.ciaddr != ANY:
        return str(request.ciaddr), CLIENT_PORT
    return EVERYBODY, CLIENT_PORT


def _event(request: Packet, name: str, detail: str = "", **figures: str) -> Event:
    return Event("dhcp", "dhcp", name, request.mac, detail, data=figures)


def _about(client: Client) -> str:
    ipxe = "iPXE " + ".".join(map(str, client.ipxe)) if client.ipxe else ""
    return " ".join(word for word in (client.vendor_class, ipxe, client.hostname) if word)
