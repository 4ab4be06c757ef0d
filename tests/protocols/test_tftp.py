"""TFTP as transcripts, and thousands of transfers over bad wires in virtual time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.event import Event
from provisioner.protocols.commands import Burst, Command, Send
from provisioner.protocols.tftp import Content, Limits, RoundTrip, Text, TftpServer, Transfer, clean_name
from provisioner.protocols.tftp_packet import (
    Code,
    Op,
    TftpError,
    ack_packet,
    data_packet,
    error_packet,
    oack_packet,
    write_request,
)
from tests.fakes.tftp import Client, Wire

PEER = ("10.0.0.9", 2000)
FILE = bytes(range(256)) * 8  # 2048 bytes: four blocks of 512, and an empty fifth


class Opener:
    """Serves one file under every name and counts what is open."""

    def __init__(self, data: bytes = FILE) -> None:
        self.data, self.names, self.open = data, list[str](), 0

    def __call__(self, name: str, _client: str) -> Content:
        self.names.append(name)
        if name == "missing":
            raise TftpError(Code.NOT_FOUND, "not found")
        self.open += 1
        return Counted(self.data, self)


class Counted(Text):
    def __init__(self, data: bytes, opener: Opener) -> None:
        super().__init__(data)
        self.opener, self.closed = opener, False

    def close(self) -> None:
        self.opener.open -= not self.closed
        self.closed = True


def server(data: bytes = FILE, **limits: float) -> TftpServer:
    return TftpServer(Opener(data), Limits(**limits))  # type: ignore[arg-type]  # limits vary by test


def begin(tftp: TftpServer, **options: str) -> tuple[Transfer, list[bytes]]:
    commands = tftp.receive(write_request("f", options), PEER, 0.0)
    return tftp.transfers[PEER], packets(commands)


def packets(commands: list[Command]) -> list[bytes]:
    found: list[bytes] = []
    for command in commands:
        if isinstance(command, Send):
            found.append(command.data)
        elif isinstance(command, Burst):
            found += command.datagrams
    return found


def events(commands: list[Command]) -> list[str]:
    return [command.name for command in commands if isinstance(command, Event)]


def block(number: int, size: int = 512) -> bytes:
    return data_packet(number, FILE[(number - 1) * size:number * size])


def test_a_plain_transfer_ends_with_an_empty_block() -> None:
    transfer, first = begin(server())
    assert first == [block(1)]
    for number in range(1, 5):
        assert packets(transfer.receive(ack_packet(number), 0.001)) == [block(number + 1)]
    done = transfer.receive(ack_packet(5), 0.002)
    assert events(done) == ["done"]
    assert isinstance(done[-1], Event)
    assert done[-1].data["bytes"] == 2048
    assert transfer.finished


def test_options_are_granted_as_asked_and_never_larger() -> None:
    _, first = begin(server(), blksize="65464", tsize="0", timeout="3", windowsize="200", unknown="1")
    assert first == [oack_packet({"blksize": "1468", "timeout": "3", "tsize": "2048", "windowsize": "64"})]
    _, first = begin(server(), blksize="1024")
    assert first == [oack_packet({"blksize": "1024"})]


@pytest.mark.parametrize("options", [{"blksize": "7"}, {"blksize": "abc"}, {"blksize": "-8"}, {"blksize": "65465"},
                                     {"timeout": "0"}, {"timeout": "256"}, {"windowsize": "0"}, {"blksize": "٨٨"},
                                     {"windowsize": "65536"}, {"blksize": "9" * 400}, {"": ""}])
def test_bad_values_are_as_if_not_asked(options: dict[str, str]) -> None:
    assert begin(server(), **options)[1] == [block(1)]


def test_a_lost_packet_is_sent_again_after_the_measured_time_and_not_before() -> None:
    transfer, _ = begin(server())
    transfer.receive(ack_packet(1), 0.004)
    assert transfer.deadline == pytest.approx(0.004 + 0.015)
    assert transfer.tick(0.018) == []
    assert packets(transfer.tick(0.0191)) == [block(2)]
    assert transfer.deadline > 0.0191 + 0.029, "backed off"


def test_duplicate_acks_are_never_answered() -> None:
    transfer, _ = begin(server())
    assert packets(transfer.receive(ack_packet(1), 0.001)) == [block(2)]
    for moment in (0.002, 0.5, 5.0):
        assert transfer.receive(ack_packet(1), moment) == []
    assert transfer.receive(ack_packet(0), 0.01) == []
    assert transfer.receive(ack_packet(3), 0.01) == [], "of a block never sent"


def test_the_repeated_request_is_the_same_transfer() -> None:
    opener = Opener()
    tftp = TftpServer(opener)
    request = write_request("f", {"tsize": "0"})
    tftp.receive(request, PEER, 0.0)
    assert tftp.receive(request, PEER, 0.1) == [], "the answer is still on its way"
    assert packets(tftp.receive(request, PEER, 1.0)) == [oack_packet({"tsize": "2048"})]
    tftp.transfers[PEER].receive(ack_packet(0), 1.1)
    assert tftp.receive(request, PEER, 9.0) == [], "the transfer goes on, the repetition is late"
    assert len(opener.names) == opener.open == 1


def test_another_request_from_the_same_port_takes_its_place() -> None:
    opener = Opener()
    tftp = TftpServer(opener)
    tftp.receive(write_request("f"), PEER, 0.0)
    tftp.receive(write_request("g"), PEER, 0.1)
    assert (opener.names, opener.open, tftp.transfers[PEER].request.name) == (["f", "g"], 1, "g")


def test_a_window_is_sent_at_once_after_the_first_ack_only() -> None:
    transfer, first = begin(server(), windowsize="3")
    assert first == [oack_packet({"windowsize": "3"})]
    assert packets(transfer.receive(ack_packet(0), 0.001)) == [block(1), block(2), block(3)]
    assert packets(transfer.receive(ack_packet(3), 0.002)) == [block(4), block(5)]


def test_an_ack_inside_the_window_goes_back_to_the_gap_once() -> None:
    transfer, _ = begin(server(), windowsize="4")
    transfer.receive(ack_packet(0), 0.001)
    assert packets(transfer.receive(ack_packet(2), 0.002)) == [block(3), block(4), block(5)]
    assert transfer.receive(ack_packet(2), 0.0021) == [], "its duplicate"
    assert packets(transfer.receive(ack_packet(2), 0.050)) == [block(3), block(4), block(5)], "lost again"


def test_an_unanswered_request_costs_five_datagrams() -> None:
    transfer, first = begin(server())
    sent, now = len(first), 0.0
    for _ in range(1000):
        now += 0.05
        commands = transfer.tick(now)
        sent += len(packets(commands))
        if transfer.finished:
            assert events(commands) == ["lost"]
            break
    assert transfer.finished
    assert sent == 5


def test_silence_in_the_middle_ends_the_transfer() -> None:
    opener = Opener()
    tftp = TftpServer(opener)
    tftp.receive(write_request("f"), PEER, 0.0)
    transfer = tftp.transfers[PEER]
    transfer.receive(ack_packet(1), 0.001)
    now, names = 0.001, list[str]()
    while not transfer.finished:
        now = transfer.deadline
        names += events(transfer.tick(now))
    assert 30 < now < 45
    assert (names, opener.open) == (["lost"], 0)


def test_after_some_quick_tries_it_falls_silent_for_clients_that_wait_for_that() -> None:
    transfer, _ = begin(server())
    transfer.receive(ack_packet(1), 0.001)
    moments = [0.001]
    while moments[-1] < 20:
        moments.append(transfer.deadline)
        transfer.tick(moments[-1])
    gaps = [round(after - before, 3) for before, after in itertools.pairwise(moments)]
    assert gaps[:7] == [0.015, 0.03, 0.06, 0.12, 0.24, 0.48, 0.96]
    assert set(gaps[7:]) == {6.0}


def test_a_client_that_vanishes_after_the_last_block_has_the_file() -> None:
    transfer, _ = begin(server(b"short"))
    assert transfer.last == 1
    transfer, _ = begin(server(b"x" * 600))
    transfer.receive(ack_packet(1), 0.001)
    names = list[str]()
    while not transfer.finished:
        names += events(transfer.tick(transfer.deadline))
    assert names == ["unconfirmed"]


def test_firmware_that_only_wants_the_size_is_no_failure() -> None:
    transfer, _ = begin(server(), tsize="0")
    assert events(transfer.receive(error_packet(Code.OPTIONS, "aborted"), 0.01)) == ["probe"]
    transfer, _ = begin(server())
    assert events(transfer.receive(error_packet(Code.FULL, "disk full"), 0.01)) == ["aborted"]
    assert transfer.receive(ack_packet(1), 0.02) == []


def test_refusals() -> None:
    tftp = server()
    for request, code in ((write_request("missing"), Code.NOT_FOUND), (write_request("../etc/passwd"), Code.ACCESS),
                          (b"\0\2f\0octet\0", Code.ACCESS), (b"\0\1f\0mail\0", Code.ILLEGAL),
                          (b"\0\1" + b"x" * 600 + b"\0octet\0", Code.ACCESS)):
        answer = packets(tftp.receive(request, PEER, 0.0))
        assert [packet[:4] for packet in answer] == [bytes([0, Op.ERROR, 0, code])]
        assert not tftp.transfers
    assert tftp.receive(error_packet(Code.NOT_FOUND, ""), PEER, 0.0) == [], "errors are never answered"
    assert tftp.receive(ack_packet(1), PEER, 0.0) == []


def test_a_stray_packet_gets_error_five_and_harms_nothing() -> None:
    assert packets(server().stray(("10.0.0.66", 9)))[0][:4] == bytes([0, Op.ERROR, 0, Code.UNKNOWN_TID])


def test_sessions_are_capped_per_client_and_in_all() -> None:
    opener = Opener()
    tftp = TftpServer(opener, Limits(transfers=10, per_client=4))
    for number in range(100):
        tftp.receive(write_request("f"), ("10.0.0.9", number), 0.0)
    assert len(tftp.transfers) == opener.open == 4
    for number in range(100):
        commands = tftp.receive(write_request("f"), (f"10.0.1.{number}", 7), 0.0)
    assert len(tftp.transfers) == opener.open == 10
    assert (events(commands), packets(commands)) == (["busy"], [])


def test_netascii() -> None:
    commands = server(b"a\nb\rc").receive(write_request("f", mode="netascii"), PEER, 0.0)
    assert packets(commands) == [data_packet(1, b"a\r\nb\r\0c")]
    large = server(bytes((1 << 20) + 1)).receive(write_request("f", mode="netascii"), PEER, 0.0)
    assert packets(large)[0][:4] == bytes([0, Op.ERROR, 0, Code.ILLEGAL])


def test_a_file_that_shrinks_is_an_error_to_the_client() -> None:
    class Shrinking(Text):
        @property
        def size(self) -> int:
            return 5000

    tftp = TftpServer(lambda _name, _client: Shrinking(b"x" * 600))
    tftp.receive(write_request("f"), PEER, 0.0)
    answer = tftp.transfers[PEER].receive(ack_packet(1), 0.1)
    assert packets(answer)[0][:2] == bytes([0, Op.ERROR])
    assert events(answer) == ["failed"]


@pytest.mark.parametrize(("name", "clean"), [
    ("/boot/ipxe.efi", "boot/ipxe.efi"), ("boot\\x64\\wdsnbp.com", "boot/x64/wdsnbp.com"), ("./a//b", "a/b"),
    ("a..b", "a..b"),
])
def test_clean_names(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize("name", ["", "/", "..", "a/../b", "..\\..\\x", "/../x", "a\nb", "a\x1bb", "x" * 600, "./.."])
def test_names_that_cannot_be_served(name: str) -> None:
    with pytest.raises(TftpError):
        clean_name(name)


@given(st.text(max_size=60))
def test_no_name_leads_out(name: str) -> None:
    try:
        clean = clean_name(name)
    except TftpError:
        return
    assert not clean.startswith("/")
    assert ".." not in clean.split("/")


def test_the_estimator_follows_rfc_6298() -> None:
    trip = RoundTrip()
    trip.sample(0.1)
    assert trip.timeout == pytest.approx(0.1 + 4 * 0.05)
    trip.back_off()
    assert trip.timeout == pytest.approx(0.6)
    trip.settle()
    assert trip.timeout == pytest.approx(0.3)
    for _ in range(100):
        trip.sample(0.001)
    assert trip.timeout == 0.015
    trip.sample(90.0)
    assert trip.timeout == 1.0


def test_block_numbers_wrap() -> None:
    data = random.Random(1).randbytes(70_000 * 8 + 3)
    client = Wire(server(data), Client("f", {"blksize": "8", "windowsize": "64"})).run()
    assert bytes(client.got) == data


@pytest.mark.parametrize("window", ["", "1", "4", "64"])
@pytest.mark.parametrize(("loss", "duplication", "jitter"), [(0, 0, 0), (0.05, 0, 0), (0.2, 0.05, 0.0005),
                                                             (0.05, 0.3, 0.01), (0, 1.0, 0)])
def test_bad_wires(loss: float, duplication: float, jitter: float, window: str) -> None:
    options = {"blksize": "64"} | ({"windowsize": window} if window else {})
    for seed in range(12):
        data = random.Random(seed).randbytes(seed * 997)
        opener = Opener(data)
        wire = Wire(TftpServer(opener), Client("f", options), seed, loss, duplication, jitter=jitter)
        client = wire.run()
        assert client.done, (seed, wire.events)
        assert bytes(client.got) == data, seed
        assert opener.open == 0


def test_loss_costs_milliseconds_not_seconds() -> None:
    data = bytes(1428 * 700)  # a boot loader of a megabyte
    for seed in range(5):
        wire = Wire(server(data), Client("f", {"blksize": "1428"}), seed, loss=0.05, delay=0.0005)
        assert bytes(wire.run().got) == data
        assert wire.now < 4, "a server with a timer of one second needs more than a minute for this"


def test_a_wire_that_becomes_slower_is_learnt() -> None:
    wire = Wire(server(bytes(512 * 400)), Client("f", {}), delay=0.0005)

    def slow(to: str, packet: bytes, put: Callable[[str, bytes], None] = wire._put) -> None:
        wire.delay = 0.05 if len(wire.client.got) > 20_000 else 0.0005
        put(to, packet)

    wire._put = slow  # type: ignore[method-assign]  # a wire of its own kind
    wire.run()
    assert wire.sent < 450, "spurious repetitions end as soon as the round trip is known"


def test_duplicated_packets_do_not_double_the_traffic() -> None:
    data = bytes(512 * 400)
    wire = Wire(server(data), Client("f", {}), duplication=1.0)
    wire.run()
    assert wire.sent <= 405, "Sorcerer's Apprentice"


@given(st.lists(st.binary(max_size=80), max_size=12), st.sampled_from([{}, {"windowsize": "8"}, {"tsize": "0"}]))
def test_noise_to_a_transfer(datagrams: list[bytes], options: dict[str, str]) -> None:
    tftp = server()
    transfer, _ = begin(tftp, **options)
    for number, data in enumerate(datagrams):
        transfer.receive(data, number * 0.01)
        transfer.receive(b"\0\4" + data, number * 0.01)
        transfer.tick(number * 0.5)


@given(st.binary(max_size=600))
def test_noise_to_the_server(data: bytes) -> None:
    opener = Opener()
    tftp = TftpServer(opener)
    for attempt in (data, b"\0\1" + data):
        tftp.receive(attempt, PEER, 0.0)
    assert opener.open == len(tftp.transfers) <= 1
