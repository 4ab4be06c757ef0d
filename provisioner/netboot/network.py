"""The host's network as the boot server sees it: interfaces, neighbours, and who holds a port."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from provisioner.errors import DeviceError, NetworkError, NotFoundError, PrivilegeError

_SIOCGIFADDR, _SIOCGIFNETMASK, _SIOCGIFMTU, _SIOCGIFFLAGS = 0x8915, 0x891B, 0x8921, 0x8913  # linux/sockios.h
_IFF_UP = 1
IP_PKTINFO = 8  # linux/in.h; Python 3.11 does not name it
_HINT = ("run as root, or start it by systemd/provisioner.service, which has the capability, or give it to the "
         "interpreter: setcap cap_net_bind_service+ep \"$(readlink -f $(command -v python3))\"")


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface that is up and has an IPv4 address; ``mtu`` in bytes."""

    name: str
    address: IPv4Interface
    mtu: int

    @property
    def ip(self) -> IPv4Address:
        """The address without its prefix length."""
        return self.address.ip


def interface(name: str) -> Interface:
    """Look an interface up; raises NotFoundError when it is missing, NetworkError when down or without an address."""
    names = [known for _index, known in socket.if_nameindex()]
    if name not in names:
        raise NotFoundError(f"there is no interface {name}", hint=f"there are: {', '.join(names)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        flags = struct.unpack_from("H", _ask(asking, _SIOCGIFFLAGS, name), 16)[0]
        if not flags & _IFF_UP:
            raise NetworkError(f"the interface {name} is down", hint=f"ip link set {name} up")
        try:
            address = socket.inet_ntoa(_ask(asking, _SIOCGIFADDR, name)[20:24])
            mask = socket.inet_ntoa(_ask(asking, _SIOCGIFNETMASK, name)[20:24])
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise NetworkError(f"the interface {name} has no IPv4 address",
                               hint=f"ip address add 10.99.0.1/24 dev {name}") from error
        mtu = struct.unpack_from("i", _ask(asking, _SIOCGIFMTU, name), 16)[0]
    return Interface(name, IPv4Interface(f"{address}/{mask}"), mtu)


def udp_socket(port: int, interface_name: str = "", address: str = "", *, broadcast: bool = False) -> socket.socket:
    """Open a UDP socket bound to a port, on one interface only when that is named; port 0 takes a free one.

    Raises NetworkError naming the process that holds the port, PrivilegeError naming the capability.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if interface_name:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface_name.encode() + b"\0")
        if broadcast:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        opened.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        opened.bind((address, port))
    except OSError as error:
        opened.close()
        raise bind_error(error, "udp", port) from error
    return opened


def bind_error(error: OSError, protocol: str, port: int) -> NetworkError | PrivilegeError | DeviceError:
    """Explain why a port could not be bound."""
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(protocol, port)
        return NetworkError(f"{protocol.upper()} port {port} is in use{f' by {holder}' if holder else ''}",
                            hint="stop that program, or serve on another interface or port")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PrivilegeError(f"no privilege to bind {protocol.upper()} port {port}: CAP_NET_BIND_SERVICE is needed",
                              hint=_HINT)
    return DeviceError(f"cannot bind {protocol.upper()} port {port}: {error.strerror}")


def port_holder(protocol: str, port: int, proc: Path = Path("/proc")) -> str:
    """Name the process that is bound to a local port, ``name (pid N)``; ``""`` if it cannot be seen."""
    inodes = set()
    for table in (protocol, protocol + "6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and (protocol == "udp" or fields[3] == "0A"):
                inodes.add(f"socket:[{fields[9]}]")
    return next((f"{_comm(folder)} (pid {folder.name})" for folder in sorted(proc.glob("[0-9]*"))
                 if _holds(folder / "fd", inodes)), "")


def neighbour(address: str, proc: Path = Path("/proc")) -> str:
    """Return the MAC of a machine on a wire of ours from the kernel's ARP table, ``""`` if it is not there."""
    try:
        lines = (proc / "net" / "arp").read_text().splitlines()[1:]
    except OSError:
        return ""
    rows = (line.split() for line in lines)
    return next((row[3] for row in rows if row[0] == address and row[3] != "00:00:00:00:00:00"), "")


def _ask(asking: socket.socket, request: int, name: str) -> bytes:
    return fcntl.ioctl(asking, request, struct.pack("256s", name.encode()[:15]))


def _holds(folder: Path, inodes: set[str]) -> bool:
    try:
        return any(_label(link) in inodes for link in folder.iterdir())
    except OSError:
        return False  # another user's process


def _label(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""  # closed in the meantime


def _comm(folder: Path) -> str:
    try:
        return (folder / "comm").read_text().strip()
    except OSError:
        return "a process"
