"""DHCP conversations as transcripts: what comes in, what goes out, what is kept."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.event import Event
from provisioner.protocols.commands import Command, SaveLease, Send
from provisioner.protocols.dhcp import FullServer, NetBoot, ProxyServer
from provisioner.protocols.dhcp_client import Client
from provisioner.protocols.dhcp_packet import BROADCAST_FLAG, Kind, Op, Option, Packet, decode, encode, suboptions
from provisioner.protocols.dhcp_pool import Pool, Subnet

SERVER, RELAY, OTHER = IPv4Address("10.0.0.1"), IPv4Address("10.1.0.1"), IPv4Address("10.0.0.2")
FIRST = IPv4Address("10.0.0.100")
MAC = bytes.fromhex("525400000001")
NETS = (Subnet(IPv4Network("10.0.0.0/24"), ((FIRST, IPv4Address("10.0.0.110")),), router=SERVER, dns=(OTHER,),
               domain="lab.test", lease=600),
        Subnet(IPv4Network("10.1.0.0/24"), ((IPv4Address("10.1.0.5"), IPv4Address("10.1.0.9")),)))
SOURCE = ("0.0.0.0", 68)
UUID = b"\0" + bytes(range(16))
Options = dict[int, bytes]
BIOS: Options = {Option.VENDOR_CLASS: b"PXEClient:Arch:00000:UNDI:002001", Option.CLIENT_ARCH: b"\0\0",
                 Option.CLIENT_UUID: UUID}
UEFI: Options = {Option.VENDOR_CLASS: b"PXEClient:Arch:00007:UNDI:003000", Option.CLIENT_ARCH: b"\0\7"}
HTTP: Options = {Option.VENDOR_CLASS: b"HTTPClient:Arch:00016:UNDI:003000", Option.CLIENT_ARCH: b"\0\x10"}
IPXE: Options = BIOS | {Option.USER_CLASS: b"iPXE", Option.IPXE: bytes.fromhex("eb03011501")}


def choose(client: Client, server: IPv4Address) -> NetBoot | None:
    if client.ipxe or client.kind == "HTTPClient":
        return NetBoot(server, f"http://{server}/boot.ipxe", bios=0 in client.arches)
    return NetBoot(server, "undionly.kpxe" if 0 in client.arches else "snponly.efi", bios=0 in client.arches)


def nothing(_client: Client, _server: IPv4Address) -> NetBoot | None:
    return None


def ask(kind: Kind, options: Options | None = None, **fields: object) -> Packet:
    return replace(Packet(Op.REQUEST, 42, MAC, {Option.MESSAGE_TYPE: bytes([kind])} | (options or {})), **fields)  # type: ignore[arg-type]  # fields vary by test


def full(reserved: str = "") -> FullServer:
    kept = {"52:54:00:00:00:01": IPv4Address(reserved)} if reserved else {}
    return FullServer(SERVER, Pool(NETS, kept, frozenset({SERVER})), choose)


def sent(commands: list[Command]) -> Packet:
    datagrams = [command for command in commands if isinstance(command, Send)]
    assert len(datagrams) == 1, commands
    return decode(datagrams[0].data)


def target(commands: list[Command]) -> tuple[str, int]:
    return next((command.address, command.port) for command in commands if isinstance(command, Send))


def names(commands: list[Command]) -> list[str]:
    return [command.name for command in commands if isinstance(command, Event)]


def test_discover_offer_request_ack() -> None:
    server = full()
    offers = server.receive(encode(ask(Kind.DISCOVER, BIOS)), SOURCE, 1000.0)
    offer = sent(offers)
    assert (offer.kind, offer.yiaddr, offer.siaddr, offer.xid, offer.mac) == \
        (Kind.OFFER, FIRST, SERVER, 42, "52:54:00:00:00:01")
    assert offer.file == offer.options[Option.BOOT_FILE] == b"undionly.kpxe"
    assert offer.options[Option.TFTP_SERVER] == b"10.0.0.1"
    assert offer.options[Option.VENDOR_CLASS] == b"PXEClient"
    assert suboptions(offer.options[Option.VENDOR]) == {6: b"\x08"}
    assert offer.options[Option.CLIENT_UUID] == UUID
    assert target(offers) == ("255.255.255.255", 68)
    assert names(offers) == ["discover", "offer"]

    request = ask(Kind.REQUEST, BIOS | {Option.SERVER_ID: SERVER.packed, Option.REQUESTED_ADDRESS: FIRST.packed})
    acks = server.receive(encode(request), SOURCE, 1001.0)
    ack = sent(acks)
    assert (ack.kind, ack.yiaddr) == (Kind.ACK, FIRST)
    assert isinstance(acks[0], SaveLease), "the lease is saved before the ACK goes out"
    assert (acks[0].lease.address, acks[0].lease.mac, acks[0].lease.expires) == (str(FIRST), offer.mac, 1601.0)
    assert ack.address(Option.ROUTER) == SERVER
    assert ack.address(Option.DNS) == OTHER
    assert ack.address(Option.SUBNET_MASK) == IPv4Address("255.255.255.0")
    assert ack.options[Option.DOMAIN_NAME] == b"lab.test"
    times = [int.from_bytes(ack.options[code], "big") for code in
             (Option.LEASE_TIME, Option.RENEWAL_TIME, Option.REBINDING_TIME)]
    assert times == [600, 300, 525]


def test_ipxe_gets_the_script_and_need_not_wait_for_a_proxy() -> None:
    offer = sent(full().receive(encode(ask(Kind.DISCOVER, IPXE)), SOURCE, 0))
    assert offer.options[Option.BOOT_FILE] == offer.file == b"http://10.0.0.1/boot.ipxe"
    assert suboptions(offer.options[Option.IPXE]) == {0xB0: b"\1"}


def test_uefi_http_boot_is_told_so_or_it_would_not_listen() -> None:
    offer = sent(full().receive(encode(ask(Kind.DISCOVER, HTTP)), SOURCE, 0))
    assert offer.options[Option.VENDOR_CLASS] == b"HTTPClient"
    assert Option.VENDOR not in offer.options


def test_a_running_system_gets_an_address_and_no_boot_file() -> None:
    offer = sent(full().receive(encode(ask(Kind.DISCOVER, {Option.CLIENT_ID: b"\xff\1\2\3"})), SOURCE, 0))
    assert offer.file == b""
    assert not {Option.BOOT_FILE, Option.VENDOR_CLASS, Option.VENDOR, Option.IPXE} & set(offer.options)
    assert offer.options[Option.CLIENT_ID] == b"\xff\1\2\3"


def test_a_machine_without_an_image_gets_an_address_and_no_boot_file() -> None:
    server = replace(full(), choose=nothing)
    offer = sent(server.receive(encode(ask(Kind.DISCOVER, UEFI)), SOURCE, 0))
    assert (offer.yiaddr, offer.file) == (FIRST, b"")
    assert not {Option.BOOT_FILE, Option.VENDOR_CLASS, Option.VENDOR} & set(offer.options)


def test_a_reservation() -> None:
    assert sent(full("10.0.0.7").receive(encode(ask(Kind.DISCOVER)), SOURCE, 0)).yiaddr == IPv4Address("10.0.0.7")


def test_one_address_from_firmware_to_system_although_client_identifiers_differ() -> None:
    server = full()
    given = set()
    for identifier in (b"\0" + bytes(16), b"\1" + MAC, b"\xff\0\0\0\1"):
        request = ask(Kind.REQUEST, {Option.CLIENT_ID: identifier, Option.REQUESTED_ADDRESS: FIRST.packed})
        given.add(sent(server.receive(encode(request), SOURCE, 0)).yiaddr)
    assert given == {FIRST}


def test_a_relayed_request_is_answered_to_the_relay_with_its_option_last() -> None:
    packet = ask(Kind.DISCOVER, UEFI | {Option.RELAY_AGENT: b"\1\4eth0"}, giaddr=RELAY, hops=1)
    commands = full().receive(encode(packet), (str(RELAY), 67), 0)
    offer = sent(commands)
    assert target(commands) == (str(RELAY), 67)
    assert (offer.yiaddr, offer.giaddr) == (IPv4Address("10.1.0.5"), RELAY)
    assert offer.options[Option.RELAY_AGENT] == b"\1\4eth0"
    assert list(offer.options)[-1] == Option.RELAY_AGENT


def test_a_relay_from_an_unknown_network_gets_nothing() -> None:
    commands = full().receive(encode(ask(Kind.DISCOVER, giaddr=IPv4Address("172.16.0.1"))), SOURCE, 0)
    assert names(commands) == ["ignored"]


def test_renewal_is_answered_to_the_machine_itself() -> None:
    server = full()
    server.receive(encode(ask(Kind.REQUEST, {Option.REQUESTED_ADDRESS: FIRST.packed})), SOURCE, 0)
    commands = server.receive(encode(ask(Kind.REQUEST, ciaddr=FIRST)), (str(FIRST), 68), 300)
    assert (sent(commands).kind, target(commands)) == (Kind.ACK, (str(FIRST), 68))


def test_another_servers_offer_taken() -> None:
    server = full()
    server.receive(encode(ask(Kind.DISCOVER)), SOURCE, 0)
    request = ask(Kind.REQUEST, {Option.SERVER_ID: OTHER.packed, Option.REQUESTED_ADDRESS: FIRST.packed})
    assert names(server.receive(encode(request), SOURCE, 1)) == ["elsewhere"]
    assert server.pool.usable("52:54:00:00:00:02", FIRST, NETS[0], 2)


@pytest.mark.parametrize("options", [
    {Option.SERVER_ID: SERVER.packed, Option.REQUESTED_ADDRESS: IPv4Address("10.0.0.200").packed},
    {Option.REQUESTED_ADDRESS: IPv4Address("192.168.7.7").packed},
])
def test_a_wrong_address_is_refused_aloud(options: Options) -> None:
    commands = full().receive(encode(ask(Kind.REQUEST, options)), SOURCE, 0)
    assert sent(commands).kind == Kind.NAK
    assert sent(commands).yiaddr == IPv4Address(0)
    assert target(commands) == ("255.255.255.255", 68)


def test_a_refusal_through_a_relay_asks_it_to_broadcast() -> None:
    packet = ask(Kind.REQUEST, {Option.REQUESTED_ADDRESS: FIRST.packed}, giaddr=RELAY)
    commands = full().receive(encode(packet), (str(RELAY), 67), 0)
    assert (sent(commands).kind, target(commands)) == (Kind.NAK, (str(RELAY), 67))
    assert sent(commands).flags & BROADCAST_FLAG


def test_a_stranger_that_remembers_an_address_of_ours_that_is_not_free_hears_nothing() -> None:
    server = full()
    server.pool.bind("52:54:00:00:00:02", FIRST, 600, 0)
    assert server.receive(encode(ask(Kind.REQUEST, {Option.REQUESTED_ADDRESS: FIRST.packed})), SOURCE, 1) == []


def test_decline_and_release() -> None:
    server = full()
    server.receive(encode(ask(Kind.REQUEST, {Option.REQUESTED_ADDRESS: FIRST.packed})), SOURCE, 0)
    declined = server.receive(encode(ask(Kind.DECLINE, {Option.REQUESTED_ADDRESS: FIRST.packed})), SOURCE, 1)
    assert isinstance(declined[0], SaveLease)
    assert declined[0].lease.state == "declined"
    second = sent(server.receive(encode(ask(Kind.DISCOVER)), SOURCE, 2)).yiaddr
    assert second != FIRST
    server.receive(encode(ask(Kind.REQUEST, {Option.REQUESTED_ADDRESS: second.packed})), SOURCE, 3)
    released = server.receive(encode(ask(Kind.RELEASE, ciaddr=second)), (str(second), 68), 4)
    assert isinstance(released[0], SaveLease)
    assert (released[0].lease.state, released[0].lease.expires) == ("free", 4)
    assert server.receive(encode(ask(Kind.RELEASE, ciaddr=IPv4Address("10.0.0.105"))), SOURCE, 5) == []


def test_inform_gets_options_and_no_lease() -> None:
    commands = full().receive(encode(ask(Kind.INFORM, ciaddr=IPv4Address("10.0.0.77"))), SOURCE, 0)
    reply = sent(commands)
    assert (reply.kind, reply.yiaddr, target(commands)) == (Kind.ACK, IPv4Address(0), ("10.0.0.77", 68))
    assert reply.address(Option.ROUTER) == SERVER
    assert Option.LEASE_TIME not in reply.options


def test_an_exhausted_pool_says_so() -> None:
    server = full()
    for number in range(11):
        server.pool.bind(f"52:54:00:00:01:{number:02x}", FIRST + number, 600, 0)
    assert names(server.receive(encode(ask(Kind.DISCOVER)), SOURCE, 1)) == ["discover", "exhausted"]


def test_proxy_offers_files_and_no_address() -> None:
    commands = ProxyServer(SERVER, choose).receive(encode(ask(Kind.DISCOVER, BIOS)), SOURCE, 0)
    offer = sent(commands)
    assert (offer.kind, offer.yiaddr, offer.siaddr, offer.file) == \
        (Kind.OFFER, IPv4Address(0), SERVER, b"undionly.kpxe")
    assert suboptions(offer.options[Option.VENDOR]) == {6: b"\x08"}
    assert not {Option.SUBNET_MASK, Option.LEASE_TIME, Option.ROUTER} & set(offer.options)
    assert target(commands) == ("255.255.255.255", 68)


def test_proxy_answers_uefi_again_on_the_boot_port_at_its_source() -> None:
    proxy = ProxyServer(SERVER, choose)
    offer = sent(proxy.receive(encode(ask(Kind.DISCOVER, UEFI)), SOURCE, 0))
    assert Option.VENDOR not in offer.options
    commands = proxy.receive_boot(encode(ask(Kind.REQUEST, UEFI, ciaddr=FIRST)), (str(FIRST), 4011), 1)
    ack = sent(commands)
    assert (ack.kind, ack.file, target(commands)) == (Kind.ACK, b"snponly.efi", (str(FIRST), 4011))


def test_proxy_is_silent_to_systems_requests_and_machines_without_image() -> None:
    proxy = ProxyServer(SERVER, choose)
    assert proxy.receive(encode(ask(Kind.DISCOVER)), SOURCE, 0) == []
    assert proxy.receive(encode(ask(Kind.REQUEST, BIOS)), SOURCE, 0) == []
    silent = ProxyServer(SERVER, nothing).receive(encode(ask(Kind.DISCOVER, BIOS)), SOURCE, 0)
    assert names(silent) == ["discover"]


def test_what_is_none_of_our_business_is_left_alone() -> None:
    server = full()
    reply = replace(ask(Kind.DISCOVER), op=Op.REPLY)
    token_ring = replace(ask(Kind.DISCOVER), chaddr=bytes(16), htype=6)
    bootp = Packet(Op.REQUEST, 1, MAC)
    for packet in (reply, token_ring, bootp, ask(Kind.OFFER)):
        assert server.receive(encode(packet), SOURCE, 0) == []


def test_a_long_url_stays_in_the_option() -> None:
    url = "http://10.0.0.1/" + "x" * 150

    def far(_client: Client, server: IPv4Address) -> NetBoot | None:
        return NetBoot(server, url)

    offer = sent(replace(full(), choose=far).receive(encode(ask(Kind.DISCOVER, UEFI)), SOURCE, 0))
    assert (offer.file, offer.options[Option.BOOT_FILE]) == (b"", url.encode())


def test_scapy_agrees_with_an_ack() -> None:
    from scapy.layers.dhcp import BOOTP, DHCP

    theirs = bytes(BOOTP(op=1, chaddr=MAC, xid=9) / DHCP(options=[
        ("message-type", "request"), ("requested_addr", str(FIRST)), ("server_id", str(SERVER)),
        ("vendor_class_id", b"PXEClient:Arch:00000:UNDI:002001"), "end"]))
    data = next(command.data for command in full().receive(theirs, SOURCE, 0) if isinstance(command, Send))
    answer = BOOTP(data)
    options: dict[str, object] = dict(part for part in answer["DHCP options"].options if isinstance(part, tuple))
    assert (answer.xid, answer.yiaddr, options["message-type"]) == (9, str(FIRST), 5)
    assert options["vendor_class_id"] == b"PXEClient"
    assert (options["subnet_mask"], options["router"]) == ("255.255.255.0", str(SERVER))


@given(st.dictionaries(st.integers(1, 254), st.binary(max_size=255), max_size=8), st.sampled_from(list(Kind)),
       st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_options_whatever_upset_the_servers(options: Options, kind: Kind, giaddr: IPv4Address) -> None:
    data = encode(ask(kind, options | {Option.MESSAGE_TYPE: bytes([kind])}, giaddr=giaddr), 60_000)
    full().receive(data, SOURCE, 0)
    proxy = ProxyServer(SERVER, choose)
    proxy.receive(data, SOURCE, 0)
    proxy.receive_boot(data, SOURCE, 0)


@given(st.binary(max_size=600))
def test_noise(data: bytes) -> None:
    assert all(isinstance(command, Event) for command in full().receive(data, SOURCE, 0))
