"""Where a console's bytes come from: a unix socket, TCP, a pseudo-terminal or a serial line.

    unix:PATH or the path of a socket    QEMU's chardev, a console server
    tcp:HOST:PORT                        a terminal server's raw port; [::1] for IPv6
    /dev/ttyUSB0, /dev/pts/3             a serial line or pseudo-terminal, through pyserial, for this program alone
"""

from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path
from typing import Protocol

import serial

from provisioner.errors import DeviceError, NetworkError, NotFoundError, PrivilegeError, ProvisionerError, UsageError

CHUNK = 65536
BREAK_SECONDS = 0.25
_CONNECT_TIME = 10.0


class Port(Protocol):
    """A byte stream in both directions. ``name`` is what the user called it."""

    name: str

    def fileno(self) -> int:
        """Return a descriptor to select on."""

    def read(self) -> bytes:
        """Return what is there, up to CHUNK bytes; empty when the other side is gone. Blocks when nothing is."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``; raise DeviceError when the other side is gone."""

    def send_break(self) -> None:
        """Send a serial break; raise UsageError where there is no such thing."""

    def close(self) -> None:
        """Let go of it."""


class SocketPort:
    """A connected socket, such as ``Machine.connect()`` returns."""

    def __init__(self, connection: socket.socket, name: str = "socket") -> None:
        connection.setblocking(True)
        self._socket = connection
        self.name = name

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def read(self) -> bytes:
        """Return what is there; empty when the peer closed or vanished."""
        try:
            return self._socket.recv(CHUNK)
        except ConnectionError:
            return b""

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise DeviceError(f"{self.name} is gone: {error.strerror}") from error

    def send_break(self) -> None:
        """Refuse: a socket carries bytes only."""
        raise UsageError(f"{self.name} is a socket: it cannot carry a serial break")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class SerialPort:
    """A serial line or pseudo-terminal: eight bits, no parity, no flow control."""

    def __init__(self, path: str, baud: int) -> None:
        self.name = path
        try:
            self._line = serial.Serial(path, baud, timeout=None, exclusive=True)
        except serial.SerialException as error:
            raise _serial_trouble(path, error) from error
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{path} cannot run at {baud} baud", hint="115200 is usual") from error

    def fileno(self) -> int:
        """Return the line's descriptor."""
        return int(self._line.fileno())

    def read(self) -> bytes:
        """Return what is there; empty when the adapter or the other end of the terminal is gone."""
        try:
            first: bytes = self._line.read(1)
            waiting = min(self._line.in_waiting, CHUNK - 1) if first else 0
            return first + (self._line.read(waiting) if waiting else b"")
        except (serial.SerialException, OSError):
            return b""

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            self._line.write(data)
        except (serial.SerialException, OSError) as error:
            raise DeviceError(f"{self.name} is gone: {error}") from error

    def send_break(self) -> None:
        """Hold the line low for a quarter of a second: U-Boot and SysRq know it."""
        try:
            self._line.send_break(BREAK_SECONDS)
        except (serial.SerialException, OSError) as error:
            raise DeviceError(f"{self.name} cannot send a break: {error}") from error

    def close(self) -> None:
        """Close the line."""
        self._line.close()


def open_port(target: str, *, baud: int = 115200) -> Port:
    """Return the port that ``target`` names.

    Raises NotFoundError, PrivilegeError, DeviceError (in use), NetworkError (no answer) and UsageError.
    """
    kind, _, rest = target.partition(":")
    if kind == "unix":
        return _unix(rest)
    if kind == "tcp":
        return _tcp(rest)
    path = Path(rest if kind == "serial" else target)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise NotFoundError(f"no console {target}", hint=_candidates()) from None
    except PermissionError:
        raise PrivilegeError(f"no permission for {path}") from None
    if stat.S_ISSOCK(mode):
        return _unix(str(path))
    if stat.S_ISCHR(mode):
        return SerialPort(str(path), baud)
    raise UsageError(f"{path} is neither a socket nor a terminal", hint="unix:PATH, tcp:HOST:PORT or a device")


def _unix(path: str) -> Port:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise _socket_trouble(f"unix:{path}", error) from error
    return SocketPort(connection, f"unix:{path}")


def _tcp(address: str) -> Port:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UsageError(f"tcp:{address} is not tcp:HOST:PORT", hint="for example tcp:127.0.0.1:2001")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIME)
    except OSError as error:
        raise NetworkError(f"cannot reach tcp:{address}: {error.strerror or error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A terminal server that lost its power says nothing; the kernel asks for it.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return SocketPort(connection, f"tcp:{address}")


def _socket_trouble(name: str, error: OSError) -> ProvisionerError:
    if error.errno == errno.ENOENT:
        return NotFoundError(f"no console {name}", hint=_candidates())
    if error.errno in (errno.EACCES, errno.EPERM):
        return PrivilegeError(f"no permission for {name}")
    if error.errno == errno.ECONNREFUSED:
        return NotFoundError(f"nobody serves {name} any more", hint="the machine behind it has ended")
    return DeviceError(f"cannot open {name}: {error.strerror or error}")


def _serial_trouble(path: str, error: serial.SerialException) -> ProvisionerError:
    if error.errno == errno.EACCES:
        return PrivilegeError(f"no permission for {path}", hint="sudo usermod -aG dialout $USER, then log in again")
    if error.errno in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return DeviceError(f"{path} is in use by another program", hint=f"fuser -v {path} names it")
    return DeviceError(f"cannot open {path}: {error}")


def _candidates() -> str:
    found = [str(path) for folder in ("/dev/serial/by-id", "/dev/serial/by-path") for path in _entries(folder)]
    if not found:
        found = [str(path) for path in sorted(Path("/dev").glob("tty[UA][SCM][BM0]*"))]
    return "serial lines here: " + ", ".join(found) if found else "no serial adapter is plugged in here"


def _entries(folder: str) -> list[Path]:
    path = Path(folder)
    return sorted(path.iterdir()) if path.is_dir() else []
