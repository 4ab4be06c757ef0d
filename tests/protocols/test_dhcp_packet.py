"""The DHCP codec against scapy, a strict reading of the RFCs, and noise."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.protocols.dhcp_packet import (
    HEADER,
    MAGIC,
    DhcpError,
    Kind,
    Op,
    Option,
    Packet,
    decode,
    encode,
    pack_suboptions,
    suboptions,
)

MAC = bytes.fromhex("525400000001")
ADDRESSES = st.integers(0, 2**32 - 1).map(IPv4Address)
OPTIONS = st.dictionaries(st.integers(1, 254).filter(lambda code: code != 52), st.binary(min_size=1, max_size=300),
                          max_size=6)


def header(**fields: bytes) -> bytes:
    parts = {"sname": b"", "file": b""} | fields
    return HEADER.pack(1, 1, 6, 0, 7, 0, 0, b"\0" * 4, b"\0" * 4, b"\0" * 4, b"\0" * 4, MAC,
                       parts["sname"], parts["file"], MAGIC)


def test_decodes_what_scapy_writes() -> None:
    from scapy.layers.dhcp import BOOTP, DHCP

    theirs = bytes(BOOTP(op=1, chaddr=MAC, xid=0xDEADBEEF, flags=0x8000, giaddr="10.0.0.254", secs=4)
                   / DHCP(options=[("message-type", "discover"), ("requested_addr", "10.0.0.9"),
                                   ("vendor_class_id", b"PXEClient:Arch:00007:UNDI:003000"), "end"]))
    packet = decode(theirs)
    assert (packet.op, packet.kind, packet.xid, packet.mac) == (1, Kind.DISCOVER, 0xDEADBEEF, "52:54:00:00:00:01")
    assert (packet.flags, packet.secs, str(packet.giaddr)) == (0x8000, 4, "10.0.0.254")
    assert packet.address(Option.REQUESTED_ADDRESS) == IPv4Address("10.0.0.9")
    assert packet.options[Option.VENDOR_CLASS].startswith(b"PXEClient")


def test_scapy_decodes_what_we_write() -> None:
    from scapy.layers.dhcp import BOOTP

    ours = encode(Packet(Op.REPLY, 5, MAC, {Option.MESSAGE_TYPE: b"\2", Option.SERVER_ID: bytes([10, 0, 0, 1]),
                                            Option.LEASE_TIME: (3600).to_bytes(4, "big"),
                                            Option.BOOT_FILE: b"undionly.kpxe"},
                         yiaddr=IPv4Address("10.0.0.9"), siaddr=IPv4Address("10.0.0.1"), file=b"undionly.kpxe"))
    theirs = BOOTP(ours)
    options: dict[str, object] = dict(part for part in theirs["DHCP options"].options if isinstance(part, tuple))
    assert (theirs.op, theirs.yiaddr, theirs.siaddr) == (2, "10.0.0.9", "10.0.0.1")
    assert theirs.file.rstrip(b"\0") == b"undionly.kpxe"
    assert (options["message-type"], options["server_id"], options["lease_time"]) == (2, "10.0.0.1", 3600)
    assert len(ours) >= 300


@given(st.builds(Packet, st.sampled_from([1, 2]), st.integers(0, 2**32 - 1), st.binary(min_size=6, max_size=6),
                 OPTIONS, secs=st.integers(0, 65535), flags=st.integers(0, 65535), ciaddr=ADDRESSES,
                 yiaddr=ADDRESSES, siaddr=ADDRESSES, giaddr=ADDRESSES))
def test_round_trip_with_overload_and_long_options(packet: Packet) -> None:
    try:
        data = encode(packet, 1472)
    except DhcpError:
        assert sum(len(value) for value in packet.options.values()) > 1000
        return
    assert len(data) <= 1472
    assert decode(data) == packet


def test_options_spill_into_the_free_fields_when_the_packet_is_full() -> None:
    packet = Packet(Op.REPLY, 1, MAC, {code: bytes(60) for code in range(100, 106)})
    data = encode(packet, 576 - 28)
    assert len(data) <= 576 - 28
    assert decode(data).options == packet.options
    with pytest.raises(DhcpError, match="do not fit"):
        encode(Packet(Op.REPLY, 1, MAC, {code: bytes(200) for code in range(100, 106)}), 576 - 28)


@pytest.mark.parametrize(("data", "message"), [
    (b"", "too few"),
    (b"\1" * 239, "too few"),
    (b"\3" + header()[1:], "neither request nor reply"),
    (header()[:2] + b"\x11" + header()[3:], "17 bytes"),
    (header()[:236] + b"abcd", "no DHCP magic"),
    (header() + b"\x35", "option 53 runs past"),
    (header() + b"\x35\x05\1", "option 53 runs past"),
    (header(file=b"\x43\xff") + b"\x34\1\1\xff", "option 67 runs past"),
])
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(DhcpError, match=message):
        decode(data)


def test_overload_within_overload_means_nothing() -> None:
    packet = decode(header(file=b"\x34\1\2\x0c\2ab\xff", sname=b"host") + b"\x34\1\1\xff")
    assert packet.options == {Option.HOST_NAME: b"ab"}
    assert (packet.file, packet.sname) == (b"", b"host")


def test_a_packet_without_end_mark_is_read() -> None:
    assert decode(header() + b"\x35\1\1").kind == Kind.DISCOVER


@given(st.binary(max_size=700))
def test_noise_is_an_error_and_nothing_else(data: bytes) -> None:
    for attempt in (data, header() + data):
        try:
            packet = decode(attempt)
        except DhcpError:
            continue
        assert packet.op in (1, 2)


@given(st.dictionaries(st.integers(1, 254), st.binary(min_size=1, max_size=40)))
def test_suboptions_round_trip(options: dict[int, bytes]) -> None:
    assert suboptions(pack_suboptions(options)) == options


@given(st.binary(max_size=300))
def test_suboptions_of_noise(data: bytes) -> None:
    assert isinstance(suboptions(data), dict)
