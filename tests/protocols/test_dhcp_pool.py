"""Addresses: who gets which, who keeps which, and when they are free again."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from provisioner.protocols.commands import Lease
from provisioner.protocols.dhcp_pool import DECLINE_SECONDS, OFFER_SECONDS, Pool, Subnet

A, B, C, D = (f"52:54:00:00:00:0{number}" for number in "1234")
FIRST, SECOND, THIRD = (IPv4Address(f"10.0.0.{number}") for number in (100, 101, 102))
OTHER = IPv4Address("10.0.0.50")
NET = Subnet(IPv4Network("10.0.0.0/24"), ((FIRST, SECOND),), lease=600)


def pool(**extra: object) -> Pool:
    return Pool((NET,), **extra)  # type: ignore[arg-type]  # keyword arguments of one test each


def test_offers_in_order_and_keeps_an_offer_for_its_machine() -> None:
    addresses = pool()
    assert addresses.offer(A, NET, None, 0) == FIRST
    assert addresses.offer(A, NET, None, 1) == FIRST
    assert addresses.offer(B, NET, None, 1) == SECOND
    assert addresses.offer(C, NET, None, 1) is None
    assert addresses.offer(C, NET, None, OFFER_SECONDS + 2) == FIRST


def test_a_machine_gets_its_former_address_back_even_when_asked_for_another() -> None:
    addresses = pool()
    addresses.bind(A, SECOND, 600, 0)
    assert addresses.offer(A, NET, None, 10_000) == SECOND
    assert addresses.offer(B, NET, SECOND, 10) == FIRST


def test_the_address_asked_for_is_given_when_free() -> None:
    assert pool().offer(A, NET, SECOND, 0) == SECOND
    assert pool().offer(A, NET, IPv4Address("192.168.1.1"), 0) == FIRST


def test_the_longest_expired_lease_is_taken_first() -> None:
    addresses = pool()
    addresses.bind(A, FIRST, 600, 100)
    addresses.bind(B, SECOND, 600, 0)
    assert addresses.offer(C, NET, None, 650) == SECOND
    assert addresses.offer(D, NET, None, 650) is None
    assert addresses.offer(C, NET, None, 675) == SECOND
    assert addresses.offer(D, NET, None, 701) == FIRST


def test_reservations_are_for_their_machine_only_and_may_lie_outside_the_ranges() -> None:
    addresses = pool(reservations={A: OTHER, B: FIRST})
    assert addresses.offer(A, NET, FIRST, 0) == OTHER
    assert addresses.offer(C, NET, FIRST, 0) == SECOND
    assert not addresses.usable(C, OTHER, NET, 0)
    assert not addresses.usable(A, SECOND, NET, 0)
    assert addresses.offer(B, NET, None, 0) == FIRST


def test_the_servers_own_address_is_never_given() -> None:
    addresses = pool(taken=frozenset({FIRST}))
    assert addresses.offer(A, NET, FIRST, 0) == SECOND
    assert addresses.offer(B, NET, None, 0) is None


def test_a_declined_address_rests() -> None:
    addresses = pool()
    addresses.bind(A, FIRST, 600, 0)
    assert addresses.decline(B, FIRST, 1) is None
    refused = addresses.decline(A, FIRST, 1)
    assert refused is not None
    assert refused.state == "declined"
    assert addresses.offer(A, NET, FIRST, 2) == SECOND
    assert addresses.usable(C, FIRST, NET, 2 + DECLINE_SECONDS)


def test_a_released_address_is_free_at_once_but_remembered() -> None:
    addresses = pool()
    addresses.bind(A, FIRST, 600, 0)
    assert addresses.release(B, FIRST, 1) is None
    assert addresses.release(A, FIRST, 1) == Lease(str(FIRST), A, 1, "free")
    assert addresses.release(A, FIRST, 2) is None
    assert addresses.usable(B, FIRST, NET, 2)
    assert addresses.offer(A, NET, None, 3) == FIRST


def test_leases_survive_through_load() -> None:
    addresses = pool()
    addresses.load([Lease(str(FIRST), A, 600.0), Lease(str(SECOND), B, 600.0, "declined")])
    assert not addresses.usable(C, FIRST, NET, 1)
    assert not addresses.usable(B, SECOND, NET, 1)
    assert addresses.offer(A, NET, None, 1) == FIRST


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["offer", "bind", "release", "decline"]),
                          st.integers(0, 400)), max_size=60))
def test_no_address_is_ever_given_to_two(steps: list[tuple[int, str, int]]) -> None:
    wide = Subnet(NET.network, ((FIRST, THIRD),))
    addresses, now, held = Pool((wide,)), 0, dict[IPv4Address, tuple[str, int]]()
    for number, what, later in steps:
        now += later
        mac = f"52:54:00:00:00:{number:02x}"
        address = addresses.offer(mac, wide, None, now)
        if what == "offer" or address is None:
            continue
        owner, until = held.get(address, (mac, 0))
        assert owner == mac or until <= now
        if what == "bind":
            addresses.bind(mac, address, 300, now)
            held[address] = (mac, now + 300)
        elif what == "release":
            addresses.release(mac, address, now)
            held.pop(address, None)
        else:
            addresses.decline(mac, address, now)
            held.pop(address, None)
