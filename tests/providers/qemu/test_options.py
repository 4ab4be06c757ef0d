"""The spellings of LinuxKit's options, and machines that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import UsageError
from provisioner.providers.qemu.options import Disk, MachineOptions, Network, Publish, parse_size

K = Path("kernel")


@pytest.mark.parametrize(("text", "disk"), [
    ("a.img", Disk(Path("a.img"))),
    ("a.img,size=4G", Disk(Path("a.img"), 4 << 30)),
    ("file=a.img,size=512M,format=raw", Disk(Path("a.img"), 512 << 20, "raw")),
    ("size=1,format=qcow2", Disk(None, 1 << 30, "qcow2")),
])
def test_disks(text: str, disk: Disk) -> None:
    assert Disk.parse(text) == disk


@pytest.mark.parametrize("text", ["", "a.img,size=", "a.img,size=-1G", "a.img,format=vmdk", "a.img,colour=red",
                                  "a.img,b.img", "format=raw", "a.img,size=0"])
def test_disks_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        Disk.parse(text)


@pytest.mark.parametrize(("text", "size"), [("1", 1 << 30), ("512M", 512 << 20), ("4g", 4 << 30), ("2GiB", 2 << 30),
                                            ("8K", 8192), ("1TB", 1 << 40)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_published_ports() -> None:
    assert Publish.parse("2375:2375") == Publish(2375, 2375, "tcp")
    assert Publish.parse("0:53/udp") == Publish(0, 53, "udp")
    for bad in ("2375", "a:b", "70000:1", "1:0", "1:2/sctp", "1:2:3", ""):
        with pytest.raises(UsageError, match="not HOST:GUEST"):
            Publish.parse(bad)


def test_networks() -> None:
    assert Network.parse("user") == Network("user")
    assert Network.parse("none") == Network("none")
    assert Network.parse("tap,tap0") == Network("tap", "tap0")
    assert Network.parse("bridge,br0") == Network("bridge", "br0")
    for bad in ("", "tap", "tap,", "user,x", "vde,x", "tap,a b", "tap,a,script=x", "tap,0123456789abcdef"):
        with pytest.raises(UsageError, match="unknown"):
            Network.parse(bad)


@pytest.mark.parametrize(("options", "why"), [
    (MachineOptions(arch="m68k", kernel=K), "cannot run m68k"),
    (MachineOptions(), "needs a kernel"),
    (MachineOptions(boot="disk"), "needs a disk"),
    (MachineOptions(boot="net", network=Network("none")), "needs a network"),
    (MachineOptions(kernel=K, publish=(Publish(1, 2),), network=Network("tap", "t")), "needs --networking user"),
    (MachineOptions(kernel=K, accel="hvf"), "unknown acceleration"),
    (MachineOptions(kernel=K, mac="52:54"), "no MAC"),
    (MachineOptions(kernel=K, cpus=0), "at least one CPU"),
    (MachineOptions(kernel=K, memory=1), "32 MiB"),
    (MachineOptions(kernel=K, uefi=True, firmware=K), "exclude one another"),
])
def test_machines_that_cannot_be(options: MachineOptions, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        options.check()
