"""Who has which address: subnets, ranges, reservations and leases, in memory (RFC 2131 section 4.3.1).

A client is known by its hardware address alone, not by option 61: firmware, iPXE and the system that boots send three
different client identifiers, and one machine shall keep one address on its way up. Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from provisioner.protocols.commands import Lease

OFFER_SECONDS = 30.0
DECLINE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Subnet:
    """A network that the server gives addresses for. ``ranges`` are inclusive pairs; ``lease`` is in seconds."""

    network: IPv4Network
    ranges: tuple[tuple[IPv4Address, IPv4Address], ...] = ()
    router: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    ntp: tuple[IPv4Address, ...] = ()
    domain: str = ""
    lease: int = 3600

    def holds(self, address: IPv4Address) -> bool:
        """Whether one of the ranges has the address."""
        return any(low <= address <= high for low, high in self.ranges)

    def addresses(self) -> Iterator[IPv4Address]:
        """Yield the addresses of the ranges in order."""
        for low, high in self.ranges:
            yield from map(IPv4Address, range(int(low), int(high) + 1))


@dataclass(slots=True)
class Pool:
    """The state of all addresses. ``taken`` are addresses never given away: the server's own, the routers'."""

    subnets: tuple[Subnet, ...]
    reservations: Mapping[str, IPv4Address] = field(default_factory=dict)
    taken: frozenset[IPv4Address] = frozenset()
    _leases: dict[IPv4Address, Lease] = field(default_factory=dict)
    _by_mac: dict[str, IPv4Address] = field(default_factory=dict)
    _offers: dict[IPv4Address, tuple[str, float]] = field(default_factory=dict)
    _fresh: dict[Subnet, Iterator[IPv4Address]] = field(default_factory=dict)

    def load(self, leases: Iterable[Lease]) -> None:
        """Take over leases read from disk."""
        for lease in leases:
            self._remember(lease)

    def subnet(self, address: IPv4Address) -> Subnet | None:
        """Return the subnet that an address (of the interface or the relay) lies in."""
        return next((subnet for subnet in self.subnets if address in subnet.network), None)

    def lease(self, mac: str) -> Lease | None:
        """Return the lease that the machine has or had."""
        address = self._by_mac.get(mac)
        return self._leases.get(address) if address is not None else None

    def usable(self, mac: str, address: IPv4Address, subnet: Subnet, now: float) -> bool:
        """Whether ``mac`` may have ``address`` now."""
        if (reserved := self._reserved(mac, subnet)) is not None:
            return address == reserved and not self._declined(address, now)
        if address in self.taken or address in self.reservations.values() or not subnet.holds(address):
            return False
        offered_to, until = self._offers.get(address, ("", 0.0))
        if offered_to != mac and until > now:
            return False
        lease = self._leases.get(address)
        return lease is None or lease.expires <= now or (lease.mac == mac and lease.state == "bound")

    def offer(self, mac: str, subnet: Subnet, wanted: IPv4Address | None, now: float) -> IPv4Address | None:
        """Choose an address and hold it for half a minute; None when there is none left.

        The order is RFC 2131 section 4.3.1's: reservation, current or former address, the one asked for, an unused
        one, the one that expired first.
        """
        for address in self._candidates(mac, subnet, wanted):
            if self.usable(mac, address, subnet, now):
                self._offers[address] = (mac, now + OFFER_SECONDS)
                return address
        return None

    def bind(self, mac: str, address: IPv4Address, seconds: float, now: float, hostname: str = "") -> Lease:
        """Give the address to the machine for ``seconds``."""
        self._offers.pop(address, None)
        lease = Lease(str(address), mac, now + seconds, "bound", hostname)
        self._remember(lease)
        return lease

    def withdraw(self, mac: str) -> None:
        """Forget offers made to a machine that took another server's."""
        for address in [address for address, (owner, _until) in self._offers.items() if owner == mac]:
            del self._offers[address]

    def release(self, mac: str, address: IPv4Address, now: float) -> Lease | None:
        """End a lease early; the machine gets the same address again while nobody else needs it."""
        lease = self._leases.get(address)
        if lease is None or lease.mac != mac or lease.state != "bound":
            return None
        self._leases[address] = lease = replace(lease, expires=now, state="free")
        return lease

    def decline(self, mac: str, address: IPv4Address, now: float) -> Lease | None:
        """Set aside an address that somebody else on the wire uses; None if it was not this machine's to refuse."""
        lease = self._leases.get(address)
        if (lease is None or lease.mac != mac) and self._offers.get(address, ("",))[0] != mac:
            return None
        self._offers.pop(address, None)
        if self._by_mac.get(mac) == address:
            del self._by_mac[mac]
        self._leases[address] = lease = Lease(str(address), mac, now + DECLINE_SECONDS, "declined")
        return lease

    def _remember(self, lease: Lease) -> None:
        address = IPv4Address(lease.address)
        before = self._leases.get(address)
        if before is not None and self._by_mac.get(before.mac) == address:
            del self._by_mac[before.mac]
        self._leases[address] = lease
        if lease.state != "declined":
            self._by_mac[lease.mac] = address

    def _reserved(self, mac: str, subnet: Subnet) -> IPv4Address | None:
        address = self.reservations.get(mac)
        return address if address is not None and address in subnet.network else None

    def _declined(self, address: IPv4Address, now: float) -> bool:
        lease = self._leases.get(address)
        return lease is not None and lease.state == "declined" and lease.expires > now

    def _candidates(self, mac: str, subnet: Subnet, wanted: IPv4Address | None) -> Iterator[IPv4Address]:
        if (reserved := self._reserved(mac, subnet)) is not None:
            yield reserved
            return
        yield from (address for address, (owner, _until) in self._offers.items() if owner == mac)
        if (former := self._by_mac.get(mac)) is not None:
            yield former
        if wanted is not None:
            yield wanted
        fresh = self._fresh.setdefault(subnet, subnet.addresses())
        yield from (address for address in fresh if address not in self._leases)
        yield from sorted((address for address in self._leases if subnet.holds(address)),
                          key=lambda address: self._leases[address].expires)
        yield from subnet.addresses()  # those offered once and never taken
