"""Reading a console: nothing lost, stages told, waiters woken."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.console.capture import Capture
from provisioner.console.log import RawLog, read_index
from provisioner.console.port import SocketPort
from provisioner.console.stages import load
from provisioner.errors import ProvisionerError
from provisioner.model.event import Event

STAGES = load()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, SocketPort]]:
    """A machine's end and ours."""
    machine, ours = socket.socketpair()
    with machine:
        yield machine, SocketPort(ours, "m")


def test_every_byte_is_logged_before_it_is_looked_at(pair: tuple[socket.socket, SocketPort], tmp_path: Path) -> None:
    machine, port = pair
    path = tmp_path / "log"
    chance = random.Random(8)
    data = chance.randbytes(2_000_000)
    behind: list[int] = []
    watched = hashlib.sha256()

    def watch(piece: bytes) -> None:
        watched.update(piece)
        behind.append(path.stat().st_size)

    capture = Capture(port, log=RawLog(path), stages=STAGES, watch=watch)

    def send() -> None:
        machine.sendall(data)
        machine.close()

    sender = threading.Thread(target=send)
    sender.start()
    capture.run()
    sender.join()
    capture.stop()
    assert path.read_bytes() == data
    assert watched.digest() == hashlib.sha256(data).digest()
    assert behind[-1] == len(data) == capture.bytes_read
    pieces = list(read_index(path))
    assert sum(piece.length for piece in pieces) == len(data)
    assert [p.monotonic for p in pieces] == sorted(p.monotonic for p in pieces)


def test_a_waiter_gets_the_event_whether_it_came_before_or_comes_after(
        pair: tuple[socket.socket, SocketPort]) -> None:
    machine, port = pair
    heard: list[Event] = []
    with Capture(port, stages=STAGES, sink=heard.append, machine="node1") as capture:
        capture.start()
        machine.sendall(b"provisioner: init 0.1 started\r\n")
        assert capture.wait("init", timeout=20).detail == "0.1"
        assert capture.wait("init", "provisioner", timeout=20).machine == "node1"
        machine.sendall(b"provisioner: service a started\r\nprovisioner: service b started\r\n")
        assert capture.wait("service", "b", timeout=20).name == "b"
    assert [event.stage for event in heard] == ["init", "service", "service"]
    assert all(event.monotonic > 0 and event.time > 1e9 for event in heard)


def test_waiting_in_vain_says_what_the_machine_said_last(pair: tuple[socket.socket, SocketPort]) -> None:
    machine, port = pair
    with Capture(port, stages=STAGES, machine="node1") as capture:
        capture.start()
        machine.sendall(b"sulking\r\n")
        while not capture.tail():
            pass
        with pytest.raises(ProvisionerError, match=r"node1 did not reach healthy within 0\.01 s.*\nsulking"):
            capture.wait("healthy", timeout=0.01)
        machine.close()
        with pytest.raises(ProvisionerError, match="before its console ended"):
            capture.wait("healthy", timeout=20)


@pytest.mark.parametrize(("said", "why"), [
    (b"[    1.661619] Kernel panic - not syncing: VFS: no root\r\n", "the kernel panicked: VFS: no root"),
    (b"provisioner: services failed: docker web\r\n", "these services did not start: docker web"),
])
def test_what_cannot_come_any_more_ends_the_waiting_at_once(pair: tuple[socket.socket, SocketPort], said: bytes,
                                                            why: str) -> None:
    machine, port = pair
    with Capture(port, stages=STAGES) as capture:
        capture.start()
        machine.sendall(said)
        with pytest.raises(ProvisionerError, match=why):
            capture.wait("healthy", timeout=20)


def test_join_waits_for_the_end(pair: tuple[socket.socket, SocketPort]) -> None:
    machine, port = pair
    with Capture(port) as capture:
        capture.start()
        with pytest.raises(ProvisionerError, match=r"m goes on after 0\.01 s"):
            capture.join(0.01)
        machine.close()
        capture.join(20)


def test_stop_ends_a_quiet_reader_and_may_come_again(pair: tuple[socket.socket, SocketPort]) -> None:
    capture = Capture(pair[1])
    capture.start()
    capture.stop()
    capture.stop()
    assert capture.ended


def test_a_log_on_a_full_disk_is_told_once_and_the_view_goes_on(pair: tuple[socket.socket, SocketPort],
                                                                 tmp_path: Path) -> None:
    heard: list[Event] = []
    log = RawLog(tmp_path / "log")
    capture = Capture(pair[1], log=log, stages=STAGES, sink=heard.append)
    log.trouble = "No space left on device"
    capture._tell_log_trouble(log)
    capture._tell_log_trouble(log)
    capture.feed(b"provisioner: init 1 started\n")
    capture.stop()
    told = [(event.stage, event.name) for event in heard]
    assert told[0] == ("log", "failed")
    assert "No space left" in heard[0].detail
    assert ("init", "provisioner") in told
