"""A network of its own for machines under test: a namespace with a bridge and taps, gone with the process.

    with entered(Lab(taps=1, forwards={2375: ("10.99.0.100", 2375)})) as lab: …

An ordinary user gets a user and a network namespace; root gets a plain network namespace, which also works in a
chroot, where the kernel refuses user namespaces. Nothing of the host's network is touched and nothing needs to be
undone: the kernel removes the namespace when its last process ends. A forward listens on the host's loopback (its
socket is made before the namespace is entered) and carries connections to a machine inside.

    python -m provisioner.netboot.lab [--taps N] [--forward PORT:ADDRESS:PORT] COMMAND…      runs a command inside
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

from provisioner import process
from provisioner.errors import NetworkError, PrivilegeError, ProvisionerError, UsageError
from provisioner.netboot.network import bind_error

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_ADDRESS = IPv4Interface("10.99.0.1/24")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Lab:
    """The plan of a lab: ``bridge`` has ``address``, and taps ``tap0``, ``tap1``, … are its ports.

    ``forwards`` maps a TCP port on the host's 127.0.0.1 (0 for any) to an address and port inside.
    """

    bridge: str = "br0"
    address: IPv4Interface = _ADDRESS
    taps: int = 1
    forwards: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    def tap(self, number: int = 0) -> str:
        """Return a tap's name."""
        return f"tap{number}"


@dataclass(frozen=True, slots=True)
class Entered:
    """A lab that this process is in. ``ports`` maps each forward as planned to the port that it has got."""

    plan: Lab
    ports: Mapping[int, int]


@contextlib.contextmanager
def entered(plan: Lab) -> Iterator[Entered]:
    """Enter the lab with this thread, for good; forwards last as long as the context.

    Call it from the main thread before any other is started, since the kernel moves single threads into network
    namespaces and only single-threaded processes into user namespaces. Raises PrivilegeError when the kernel
    refuses, NetworkError when a port is taken, ToolMissingError without iproute2.
    """
    process.find("ip")
    listening = {port: _listen(port) for port in plan.forwards}
    ports = {port: opened.getsockname()[1] for port, opened in listening.items()}
    try:
        _unshare()
        _build(plan)
        with _forwarding([(listening[port], target) for port, target in plan.forwards.items()]):
            yield Entered(plan, ports)
    finally:
        for opened in listening.values():
            opened.close()


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and _call_unshare(_CLONE_NEWNET) == 0:
        return
    if (code := _call_unshare(_CLONE_NEWUSER | _CLONE_NEWNET)) != 0:
        raise PrivilegeError(f"the kernel refuses a network namespace: {os.strerror(code)}", hint=_hint(code))
    _map_ids(uid, gid)


def _call_unshare(flags: int) -> int:
    return 0 if _libc.unshare(flags) == 0 else ctypes.get_errno()


def _map_ids(uid: int, gid: int) -> None:
    # user_namespaces(7): without setgroups denied, an unprivileged process may not map its group.
    me = Path("/proc/self")
    (me / "setgroups").write_text("deny")
    (me / "uid_map").write_text(f"0 {uid} 1")
    (me / "gid_map").write_text(f"0 {gid} 1")


def _hint(code: int) -> str:
    if code == errno.EINVAL:
        return "it must be entered before the program starts threads"
    if code == errno.ENOSPC:
        return "user namespaces are limited: sysctl user.max_user_namespaces"
    return "run it as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 " \
           "kernel.apparmor_restrict_unprivileged_userns=0"


def _build(plan: Lab) -> None:
    bridge = plan.bridge
    commands = [
        ["link", "set", "lo", "up"],
        # Without a forward delay of 0 a bridge drops what a machine sends in its first 15 seconds.
        ["link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
        ["address", "add", str(plan.address), "dev", bridge],
        ["link", "set", bridge, "up"],
    ]
    for number in range(plan.taps):
        commands.append(["tuntap", "add", plan.tap(number), "mode", "tap"])
        commands.append(["link", "set", plan.tap(number), "master", bridge, "up"])
    for command in commands:
        try:
            process.run(["ip", *command])
        except process.ProgramError as error:
            raise NetworkError(f"cannot build the lab network: ip {' '.join(command)}: {error.message}",
                               hint=_device_hint(command)) from error


def _device_hint(command: Sequence[str]) -> str:
    if "tap" in command and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun must be readable and writable: chmod 666 /dev/net/tun, or modprobe tun"
    return "the kernel needs the modules bridge and tun"


def _listen(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", port))
        opened.listen(16)
    except OSError as error:
        opened.close()
        raise bind_error(error, "tcp", port) from error
    opened.setblocking(False)
    return opened


@contextlib.contextmanager
def _forwarding(pairs: list[tuple[socket.socket, tuple[str, int]]]) -> Iterator[None]:
    if not pairs:
        yield
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="forward", daemon=True)
    thread.start()
    servers = [asyncio.run_coroutine_threadsafe(_serve(opened, target), loop).result() for opened, target in pairs]
    try:
        yield
    finally:
        for server in servers:
            loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(opened: socket.socket, target: tuple[str, int]) -> asyncio.Server:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*target)
        except OSError:
            writer.transport.abort()  # the machine is not up yet: say so by a reset
            return
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            writer.close()
            inner_writer.close()

    return await asyncio.start_server(carry, sock=opened)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way; the end of one way is passed on, the other way goes on (docker attach needs that)."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        return
    writer.transport.abort()


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def main(argv: Sequence[str]) -> int:
    """Run a command inside a lab and return its exit code."""
    taps, forwards, rest = 1, dict[int, tuple[str, int]](), list(argv)
    while rest and rest[0].startswith("--"):
        name, value = rest.pop(0), rest.pop(0) if rest else ""
        if name == "--taps" and value.isdigit():
            taps = int(value)
        elif name == "--forward" and len(parts := value.split(":")) == 3:
            forwards[int(parts[0])] = (parts[1], int(parts[2]))
        else:
            raise UsageError(f"bad option {name} {value}")
    if not rest:
        raise UsageError("name a command to run in the lab")
    with entered(Lab(taps=taps, forwards=forwards)):
        child = process.spawn(rest, stdin=sys.stdin, stdout=None, stderr=None)
        try:
            return child.wait()
        finally:
            process.stop(child)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ProvisionerError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
