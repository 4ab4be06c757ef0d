"""Looks for another DHCP server on a wire before ours starts: two that give addresses on one wire harm everybody."""

from __future__ import annotations

import asyncio
import os
import socket

from provisioner.errors import ProvisionerError
from provisioner.netboot.network import Interface, udp_socket
from provisioner.protocols.dhcp import CLIENT_PORT, EVERYBODY, SERVER_PORT
from provisioner.protocols.dhcp_packet import (
    ANY,
    BROADCAST_FLAG,
    DhcpError,
    Kind,
    Op,
    Option,
    Packet,
    decode,
    encode,
)

ASKS, SECONDS = 3, 2.0  # some servers look with a ping of several seconds whether the address is free


async def other_server(interface: Interface, *, asks: int = ASKS, seconds: float = SECONDS) -> str:
    """Return the address of a DHCP server that answers on the interface, ``""`` if none does in a few seconds.

    Raises NetworkError or PrivilegeError if port 68 cannot be had for the question.
    """
    loop = asyncio.get_running_loop()
    opened = udp_socket(CLIENT_PORT, interface.name, broadcast=True)
    try:
        # A made-up machine: locally administered address, nothing asked for but an offer, which then lapses.
        question = Packet(Op.REQUEST, int.from_bytes(os.urandom(4), "big"), b"\x02" + os.urandom(5),
                          {Option.MESSAGE_TYPE: bytes([Kind.DISCOVER])}, flags=BROADCAST_FLAG)
        for _ in range(asks):
            try:
                await loop.sock_sendto(opened, encode(question), (EVERYBODY, SERVER_PORT))
                return await asyncio.wait_for(_offer(opened, question.xid), seconds)
            except TimeoutError:
                continue
            except OSError as error:
                message = f"cannot ask for DHCP servers on {interface.name}: {error.strerror}"
                raise ProvisionerError(message) from error
        return ""
    finally:
        opened.close()


async def _offer(opened: socket.socket, xid: int) -> str:
    loop = asyncio.get_running_loop()
    while True:
        data, (address, _port) = await loop.sock_recvfrom(opened, 65_535)
        try:
            packet = decode(data)
        except DhcpError:
            continue
        offers = (packet.op, packet.kind, packet.xid) == (Op.REPLY, Kind.OFFER, xid)
        if offers and packet.yiaddr != ANY:  # a proxyDHCP server offers, too, but gives no address
            return str(packet.address(Option.SERVER_ID) or address)
