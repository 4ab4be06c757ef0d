"""Ports of every kind, with an independent party at the other end: socat's work done by plain sockets and ptys."""

from __future__ import annotations

import os
import pty
import socket
import stat
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.console.port import SerialPort, SocketPort, open_port
from provisioner.errors import DeviceError, NetworkError, NotFoundError, UsageError


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A raw pseudo-terminal: its machine end and the path of the other."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    yield master, path
    try:
        os.close(master)
    except OSError:
        return  # the test pulled the plug


def serve(listener: socket.socket, script: bytes) -> threading.Thread:
    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(script)
            connection.sendall(connection.recv(100).upper())

    thread = threading.Thread(target=talk)
    thread.start()
    return thread


def read_all(port: SocketPort | SerialPort, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = port.read()
        assert piece, f"ended after {got!r}"
        got += piece
    return got


@pytest.mark.parametrize("spelling", ["unix:{}", "{}"])
def test_a_unix_socket(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = serve(listener, b"\x00\xff boot\r\n")
        port = open_port(spelling.format(path))
        assert isinstance(port, SocketPort)
        assert read_all(port, 8) == b"\x00\xff boot\r\n"
        port.write(b"hello")
        assert read_all(port, 5) == b"HELLO"
        assert port.read() == b""
        thread.join()
        with pytest.raises(UsageError, match="cannot carry a serial break"):
            port.send_break()
        port.close()


def test_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = serve(listener, b"login: ")
        port = open_port(f"tcp:127.0.0.1:{listener.getsockname()[1]}")
        assert isinstance(port, SocketPort)
        assert read_all(port, 7) == b"login: "
        port.write(b"root")
        assert read_all(port, 4) == b"ROOT"
        thread.join()
        port.close()


def test_a_pseudo_terminal_carries_every_byte(terminal: tuple[int, str]) -> None:
    master, path = terminal
    port = open_port(path)
    assert isinstance(port, SerialPort)
    every = bytes(range(256)) * 8
    os.write(master, every)
    assert read_all(port, len(every)) == every
    port.write(every)
    got = b""
    while len(got) < len(every):
        got += os.read(master, 4096)
    assert got == every
    port.close()


def test_a_serial_line_belongs_to_one_program(terminal: tuple[int, str]) -> None:
    _, path = terminal
    port = open_port(path)
    with pytest.raises(DeviceError, match="in use by another program"):
        open_port(path)
    port.close()


def test_a_pulled_adapter_is_an_end_not_a_crash(terminal: tuple[int, str]) -> None:
    master, path = terminal
    port = open_port(path)
    os.close(master)
    assert port.read() == b""
    port.close()


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no console /dev/ttyUSB99"):
        open_port("/dev/ttyUSB99")
    with pytest.raises(NotFoundError, match="no console unix:"):
        open_port(f"unix:{tmp_path}/none")
    with pytest.raises(UsageError, match="neither a socket nor a terminal"):
        open_port(str(tmp_path))


def test_a_socket_whose_server_ended(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    with pytest.raises(NotFoundError, match="nobody serves"):
        open_port(str(path))


@pytest.mark.parametrize("bad", ["tcp:", "tcp:host", "tcp:host:port", "tcp:host:0", "tcp::80", "tcp:h:99999"])
def test_spellings_that_are_no_address(bad: str) -> None:
    with pytest.raises(UsageError, match="is not tcp:HOST:PORT"):
        open_port(bad)


def test_a_tcp_port_that_nobody_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    with pytest.raises(NetworkError, match=f"cannot reach tcp:127.0.0.1:{number}"):
        open_port(f"tcp:127.0.0.1:{number}")


def test_a_speed_that_no_line_has(terminal: tuple[int, str]) -> None:
    with pytest.raises(UsageError, match="baud"):
        open_port(terminal[1], baud=-5)
