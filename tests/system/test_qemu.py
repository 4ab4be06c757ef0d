"""An image of ours in real QEMU by direct kernel boot: one boot per architecture, many assertions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner import data
from provisioner.console.capture import Capture
from provisioner.console.log import RawLog, read_index
from provisioner.console.port import SocketPort
from provisioner.console.stages import load
from provisioner.console.timeline import Timeline
from provisioner.providers.qemu import Disk, Machine, MachineOptions, Network, firmware
from provisioner.providers.qemu.image import direct_boot, with_console

pytestmark = pytest.mark.system
LIMIT = 600.0


@dataclass(frozen=True)
class Booted:
    """A machine that came up."""

    machine: Machine
    capture: Capture
    timeline: Timeline
    log: Path
    arch: str

    def type(self, line: bytes) -> None:
        """Type a line on the console's shell."""
        self.capture.port.write(line + b"\r")


@pytest.fixture(scope="module", params=["amd64", "arm64"])
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    arch = request.param
    folder = tmp_path_factory.mktemp(f"boot-{arch}")
    yaml = data.find("examples", "minimal.yml")
    subprocess.run([sys.executable, "-m", "provisioner", "build", str(yaml), "--arch", arch, "--dir", str(folder)],
                   check=True, stdout=subprocess.DEVNULL)
    image = direct_boot(f"{folder}/minimal")
    assert image.arch == arch
    timeline = Timeline()
    options = MachineOptions(kernel=image.kernel, initrd=image.initrd, cmdline=with_console(image.cmdline, arch),
                             arch=arch, name=f"minimal-{arch}", disks=(Disk(size=64 << 20),))
    log = folder / "console.log"
    with Machine(options, sink=timeline) as machine:
        port = SocketPort(machine.connect())
        with Capture(port, log=RawLog(log), stages=load(), sink=timeline) as capture:
            capture.start()
            capture.wait("login", timeout=LIMIT)
            yield Booted(machine, capture, timeline, log, arch)


def test_every_stage_of_the_boot_is_seen_in_order(booted: Booted) -> None:
    assert booted.capture.wait("healthy", timeout=LIMIT).name == "services up"
    seen = [event.stage for event in booted.capture.events]
    wanted = ["kernel", "init", "onboot", "address", "service", "healthy"]
    assert [seen.index(stage) for stage in wanted] == sorted(seen.index(stage) for stage in wanted)
    assert {"panic", "oops", "hung", "reboot", "loop"}.isdisjoint(seen)
    times = [event.monotonic for event in booted.capture.events]
    assert times == sorted(times)
    assert times[0] >= booted.machine.powered_on > 0


def test_the_timeline_starts_with_power_on_and_measures_each_step(booted: Booted) -> None:
    rows = {(row.stage, row.name): row for row in booted.timeline.rows()}
    assert rows["onboot", "000-dhcpcd"].took is not None
    assert not rows["onboot", "000-dhcpcd"].failed
    assert rows["address", "eth0"].detail == "10.0.2.15"
    assert all(row.at >= 0 for row in rows.values())
    assert "healthy" in booted.timeline.table()


def test_the_shell_answers_and_the_disk_is_there(booted: Booted) -> None:
    machine = {"amd64": b"x86_64", "arm64": b"aarch64"}[booted.arch]
    booted.type(b"echo $((6*7))-$(uname -m)-$(cat /sys/block/vda/size)")
    wanted = b"42-%s-131072" % machine
    while wanted not in booted.log.read_bytes():
        assert not booted.capture.ended


def test_the_log_is_whole_and_its_index_fits(booted: Booted) -> None:
    size = sum(piece.length for piece in read_index(booted.log))
    raw = booted.log.read_bytes()
    assert size <= len(raw)
    assert b"Linux version 6" in raw
    assert (b"SeaBIOS" in raw) == (booted.arch == "amd64")


def test_an_orderly_shutdown_ends_qemu_and_says_why(booted: Booted) -> None:
    """Keep this one last: it ends the machine."""
    booted.type(b"poweroff")
    assert booted.machine.wait(LIMIT) == 0
    assert booted.machine.reason == "guest-shutdown"
    assert booted.capture.wait("shutdown", "power off", timeout=LIMIT)
    booted.capture.join(LIMIT)
    assert booted.capture.bytes_read == booted.log.stat().st_size


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_uefi_firmware_boots_and_remembers(arch: str, tmp_path: Path) -> None:
    """EDK2 finds nothing on an empty disk, says so, and keeps its variables in the state directory."""
    options = MachineOptions(boot="disk", arch=arch, uefi=True, memory=256, network=Network("none"),
                             disks=(Disk(size=1 << 20),), state=tmp_path)
    with Machine(options) as machine:
        machine.wait_console(b"BdsDxe: failed to load", timeout=LIMIT)
    template = firmware.find(arch).variables.read_bytes()
    kept = (tmp_path / "uefi-vars.fd").read_bytes()
    assert len(kept) == len(template)
    assert kept != template
