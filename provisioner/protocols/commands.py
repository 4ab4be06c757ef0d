"""What a protocol asks the server to do; protocols themselves touch no socket, clock or file.

A protocol's ``receive(packet, …, now)`` and ``tick(now)`` return lists of these and of ``model.event.Event`` (whose
times the server fills in). The server carries them out in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.model.event import Event


@dataclass(frozen=True, slots=True)
class Send:
    """Send one datagram to ``address:port`` from the socket that the packet came in by."""

    data: bytes
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Burst:
    """Send datagrams in order; all but the last have one length, so that the kernel may take them in one call."""

    datagrams: tuple[bytes, ...]
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Lease:
    """One address and who has it. ``expires`` is seconds since 1970; ``state`` is bound, declined or free."""

    address: str
    mac: str
    expires: float
    state: str = "bound"
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class SaveLease:
    """Put the lease on disk, durably, before anything that follows in the list is sent (RFC 2131 section 4.1)."""

    lease: Lease


Command = Send | Burst | SaveLease | Event
