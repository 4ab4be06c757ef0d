"""Machines with nothing but a network card, from their firmware's first packet to our own image's services.

The firmware is SeaBIOS with QEMU's iPXE ROM, and EDK2 without one; the other DHCP server is dnsmasq.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner import data
from tests.netboot.inside import run_inside
from tests.system.netboot_machine import MAC, SERIAL, UUID

pytestmark = pytest.mark.system
BASE = {"amd64": "minimal-amd64", "arm64": "minimal-arm64"}


@dataclass(frozen=True)
class Boot:
    """What the server told and what the machine wrote on its console."""

    events: list[dict[str, Any]]
    console: str

    def of(self, source: str) -> list[str]:
        """The names of a source's events up to the kernel, starts and probes left out."""
        names = [event["name"] for event in self.events[:self.last("initrd") + 1] if event["source"] == source]
        return [name for name in names if not name.endswith("start") and name != "probe"]

    def one(self, source: str, name: str) -> dict[str, Any]:
        return next(event for event in self.events if (event["source"], event["name"]) == (source, name))

    def last(self, name: str) -> int:
        return max(number for number, event in enumerate(self.events) if event["name"] == name)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    argv = [sys.executable, "-m", "provisioner", "build", str(data.find("examples", "minimal.yml")),
            "--arch", "amd64,arm64", "--dir", str(folder)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return folder


def boot(images: Path, folder: Path, firmware: str, mode: str, match: str, arch: str = "amd64") -> Boot:
    machines = images / f"machines-{folder.name}.yml"
    machines.write_text(f"default: {{image: {{{arch}: {BASE[arch]}}}, append: rule=default}}\nmachines:\n"
                        f"  - {{match: {match}, image: {BASE[arch]}, append: rule=chosen}}\n")
    said = json.loads(run_inside("boot", str(machines), str(folder), firmware, mode, arch, taps=1,
                                 module="tests.system.netboot_machine", timeout=900))
    return Boot(said["events"], said["console"])


def check(done: Boot, images: Path, arch: str = "amd64") -> None:
    """What holds for every way: the whole image over HTTP, the right rule, our own init and services."""
    for role, file in (("kernel", "kernel"), ("initrd", "initrd.img")):
        event = done.one("http", role)
        assert event["data"]["bytes"] == (images / f"{BASE[arch]}-{file}").stat().st_size
        assert event["machine"] == MAC
    assert "rule=chosen" in next(line for line in done.console.splitlines() if "ommand line:" in line)
    assert "provisioner: onboot 000-dhcpcd done" in done.console
    assert "provisioner: service getty started" in done.console
    assert not {"missing", "broken-image", "malformed", "refused"} & {event["name"] for event in done.events}


def test_bios_loads_our_ipxe_over_its_own_and_boots(images: Path, tmp_path: Path) -> None:
    done = boot(images, tmp_path, "bios", "full", f"{{serial: {SERIAL}}}")
    check(done, images)
    assert done.of("dhcp") == ["discover", "offer", "ack"] * 2
    assert [event["data"]["file"] for event in done.events if event["name"] == "done"] == ["ipxe.pxe"]
    assert done.of("http") == ["script", "script", "kernel", "initrd"]
    assert "iPXE 1.0.0" in done.one("dhcp", "discover")["detail"], "the ROM's own"
    address = done.one("dhcp", "ack")["data"]["address"]
    assert f"provisioner: address eth0 {address}" in done.console, "one address from firmware to system"


def test_uefi_without_any_ipxe_boots(images: Path, tmp_path: Path) -> None:
    done = boot(images, tmp_path, "uefi", "full", f"{{uuid: {UUID}}}")
    check(done, images)
    assert [event["data"]["file"] for event in done.events if event["name"] == "done"] == \
        ["snponly.efi", "autoexec.ipxe"]
    assert done.of("dhcp") == ["discover", "offer", "ack"] * 2


@pytest.mark.parametrize(("firmware", "mode"), [("bios", "auto"), ("uefi", "proxy")])
def test_beside_another_dhcp_server(images: Path, tmp_path: Path, firmware: str, mode: str) -> None:
    done = boot(images, tmp_path, firmware, mode, f'{{mac: "{MAC}", arch: amd64}}')
    check(done, images)
    assert not {"offer", "ack", "nak"} & set(done.of("dhcp"))
    assert done.of("dhcp").count("proxy-offer") >= 2
    assert ("boot-ack" in done.of("dhcp")) == (firmware == "uefi"), "UEFI asks again on port 4011"
    leases = (tmp_path / "leases").read_text()
    assert f"{MAC} 10.99.0." in leases, "the address is the other server's"


def test_arm64_uefi_boots(images: Path, tmp_path: Path) -> None:
    done = boot(images, tmp_path, "uefi", "full", "{arch: arm64}", "arm64")
    check(done, images, "arm64")
    assert "ipxe-arm64.efi" in [event["data"].get("file") for event in done.events if event["name"] == "done"]
