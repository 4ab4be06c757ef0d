"""What a QEMU machine is to be, as plain data, and the spellings of LinuxKit's ``run qemu`` options.

    --disk PATH,size=4G,format=qcow2    --publish 2375:2375/tcp    --networking user | none | tap,NAME | bridge,NAME
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from provisioner.errors import UsageError
from provisioner.model.platform import Platform

Boot = Literal["kernel", "net", "disk"]
ARCHITECTURES = ("amd64", "arm64")
_UNITS = {"": 1 << 30, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NAME = re.compile(r"[^\s,/]{1,15}")  # IFNAMSIZ is 16 with its NUL


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk image file: created with ``size`` bytes when it is not there, kept afterwards.

    ``path`` may be None: then the file is ``diskN.img`` in the state directory. ``format`` is ``raw``, ``qcow2`` or
    empty: qcow2 for a new file, what the file says for an old one.
    """

    path: Path | None = None
    size: int = 0
    format: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``[file=]PATH[,size=4G][,format=raw|qcow2]``; a bare size counts GiB, as LinuxKit's does."""
        path: Path | None = None
        size, kind = 0, ""
        for position, word in enumerate(text.split(",")):
            key, equals, value = word.partition("=")
            if not equals and position == 0:
                key, value = "file", word
            if key == "file" and value:
                path = Path(value)
            elif key == "size":
                size = parse_size(value)
            elif key == "format" and value in ("raw", "qcow2"):
                kind = value
            else:
                raise UsageError(f"--disk {text}: cannot use {word!r}", hint="PATH,size=4G,format=raw|qcow2")
        if path is None and not size:
            raise UsageError(f"--disk {text}: neither a path nor a size", hint="PATH,size=4G,format=raw|qcow2")
        return cls(path, size, kind)


@dataclass(frozen=True, slots=True)
class Publish:
    """A port of the machine offered on 127.0.0.1; ``host`` 0 stands for any free port."""

    host: int
    guest: int
    protocol: str = "tcp"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:GUEST[/tcp|/udp]``."""
        found = re.fullmatch(r"(\d{1,5}):(\d{1,5})(?:/(tcp|udp))?", text)
        if not found or not 0 <= int(found[1]) <= 65535 or not 1 <= int(found[2]) <= 65535:
            raise UsageError(f"--publish {text}: not HOST:GUEST[/tcp|/udp]", hint="for example 2375:2375/tcp")
        return cls(int(found[1]), int(found[2]), found[3] or "tcp")


@dataclass(frozen=True, slots=True)
class Network:
    """How the machine's network card is connected; ``name`` is the host's tap or bridge."""

    kind: Literal["user", "tap", "bridge", "none"] = "user"
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``user``, ``none``, ``tap,NAME`` or ``bridge,NAME``."""
        kind, _, name = text.partition(",")
        if kind == "user" and not name:
            return cls("user")
        if kind == "none" and not name:
            return cls("none")
        if kind == "tap" and _NAME.fullmatch(name):
            return cls("tap", name)
        if kind == "bridge" and _NAME.fullmatch(name):
            return cls("bridge", name)
        raise UsageError(f"--networking {text}: unknown", hint="user, none, tap,NAME or bridge,NAME")


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """A machine to be.

    ``boot`` is ``kernel`` (direct boot of ``kernel``, ``initrd`` and ``cmdline``), ``net`` (PXE by the firmware or
    the card's ROM) or ``disk``. ``memory`` counts MiB. ``accel`` is ``auto``, ``kvm`` or ``tcg``. ``state`` keeps
    disks, UEFI variables, sockets and QEMU's own log; without it they live in a temporary directory that goes with
    the machine. ``firmware`` is a file that replaces the board's own (U-Boot, say). ``reboot`` False ends QEMU where
    the machine would reset. ``enter`` is an argv prefix that puts QEMU into other namespaces (``("ip", "netns",
    "exec", NAME)``); it must exec, not fork. ``extra`` goes to QEMU as it stands.
    """

    boot: Boot = "kernel"
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    name: str = "machine"
    arch: str = field(default_factory=lambda: Platform.host().architecture)
    uefi: bool = False
    firmware: Path | None = None
    cpus: int = 1
    memory: int = 1024
    accel: str = "auto"
    disks: tuple[Disk, ...] = ()
    network: Network = field(default_factory=Network)
    mac: str = ""
    publish: tuple[Publish, ...] = ()
    state: Path | None = None
    reboot: bool = True
    enter: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError for what cannot be: an unknown architecture, a kernel boot without kernel, …."""
        if self.arch not in ARCHITECTURES:
            raise UsageError(f"cannot run {self.arch} machines", hint="architectures: " + ", ".join(ARCHITECTURES))
        if self.boot == "kernel" and self.kernel is None:
            raise UsageError("direct boot needs a kernel")
        if self.uefi and self.firmware is not None:
            raise UsageError("--uefi and a firmware file exclude one another")
        if self.boot == "disk" and not self.disks:
            raise UsageError("boot from disk needs a disk")
        if self.boot == "net" and self.network.kind == "none":
            raise UsageError("network boot needs a network", hint="--networking user, tap,NAME or bridge,NAME")
        if self.publish and self.network.kind != "user":
            raise UsageError(f"--publish needs --networking user, not {self.network.kind}",
                             hint="the machine has an address of its own on the tap or bridge")
        if self.accel not in ("auto", "kvm", "tcg"):
            raise UsageError(f"unknown acceleration {self.accel}", hint="auto, kvm or tcg")
        if self.mac and not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", self.mac):
            raise UsageError(f"{self.mac} is no MAC address", hint="for example 52:54:00:12:34:56")
        if self.cpus < 1 or self.memory < 32:
            raise UsageError("a machine needs at least one CPU and 32 MiB of memory")


def parse_size(text: str) -> int:
    """Return bytes for ``512M``, ``4G``, ``1T`` or a bare number of GiB."""
    found = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if not found or not int(found[1]):
        raise UsageError(f"{text!r} is no size", hint="for example 512M or 4G")
    return int(found[1]) * _UNITS[found[2].upper()]
