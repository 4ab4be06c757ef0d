"""A machine's life in real QEMU, with no more guest than SeaBIOS: it looks for a disk to boot and says so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from provisioner import process
from provisioner.errors import (
    NetworkError,
    NotFoundError,
    ProvisionerError,
    RefusedError,
    ToolMissingError,
    UsageError,
)
from provisioner.model.event import Event
from provisioner.providers.qemu import Disk, Machine, MachineOptions, Network, Publish

pytestmark = pytest.mark.tool
HELLO = b"SeaBIOS (version"
LAST = b"No bootable device."


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Emulation, and a place of its own for temporary directories."""
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("PROVISIONER_ACCEL", "tcg")
    return folder


def bios(**more: object) -> MachineOptions:
    base: dict[str, object] = {"boot": "disk", "arch": "amd64", "memory": 64, "disks": (Disk(size=1 << 20),),
                               "network": Network("none")}
    return MachineOptions(**(base | more))  # type: ignore[arg-type]  # a mixture of fields, checked by the class


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_the_first_byte_is_read_and_nothing_is_left(scratch: Path) -> None:
    heard: list[Event] = []
    with Machine(bios(), sink=heard.append) as machine:
        pid = machine.pid
        assert machine.running
        assert not machine.powered_on
        assert machine.console.stat().st_mode & 0o777 == 0o600
        first = machine.wait_console(HELLO, timeout=60)
        assert first == b"\x1bc\x1b[?7l\x1b[2J\x1b[0m" + HELLO
        assert LAST not in first
        assert machine.wait_console(LAST, timeout=60).endswith(LAST)
        assert machine.powered_on
        assert machine.transcript.startswith(first)
    assert gone(pid)
    assert list(scratch.iterdir()) == []
    assert [(event.stage, event.name) for event in heard] == [("accel", "tcg"), ("power", "on")]
    assert machine.reason == "host-qmp-quit"


def test_markers_that_came_in_one_piece_are_found_one_by_one() -> None:
    with Machine(bios()) as machine:
        machine.wait_console(LAST, timeout=60)
        machine.transcript += b"one two"
        assert machine.wait_console(b"one", timeout=1).endswith(b"one")
        assert machine.wait_console(b"two", b"three", timeout=1) == b" two"


def test_waiting_in_vain_shows_the_last_lines() -> None:
    with Machine(bios(name="node1")) as machine:
        machine.wait_console(LAST, timeout=60)
        with pytest.raises(ProvisionerError, match="node1 did not print 'login:' within") as caught:
            machine.wait_console(b"login:", timeout=0.05)
        assert LAST.decode() in caught.value.message
        machine.stop()
        with pytest.raises(ProvisionerError):
            machine.connect()


def test_a_machine_that_ends_ends_the_waiting() -> None:
    with Machine(bios()) as machine:
        machine.wait_console(HELLO, timeout=60)
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(ProvisionerError, match="before the machine ended"):
            machine.wait_console(b"login:", timeout=60)
        assert machine.wait(60) == -signal.SIGKILL
        assert not machine.running


def test_state_is_kept_and_belongs_to_one_machine(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Machine(bios(state=state)) as first:
        mac = first.mac
        assert (state / "disk0.img").exists()
        with pytest.raises(RefusedError, match="another machine runs"):
            Machine(bios(state=state)).start()
        assert first.running
    assert sorted(file.name for file in state.iterdir()) == ["disk0.img", "lock", "qemu.log"]
    with Machine(bios(state=state)) as second:
        assert second.mac == mac
    with Machine(bios(mac="52:54:00:AA:BB:CC")) as third:
        assert third.mac == "52:54:00:aa:bb:cc"


def test_a_state_directory_too_deep_for_a_socket(tmp_path: Path, scratch: Path) -> None:
    state = tmp_path / ("d" * 100) / "s"
    with Machine(bios(state=state)) as machine:
        assert len(str(machine.console)) < 108
        machine.wait_console(HELLO, timeout=60)
    assert list(scratch.iterdir()) == []


def test_published_ports_are_on_loopback_and_a_taken_one_is_named() -> None:
    with Machine(bios(network=Network("user"), publish=(Publish(0, 80), Publish(0, 53, "udp")))) as machine:
        assert set(machine.ports) == {80, 53}
        socket.create_connection(("127.0.0.1", machine.ports[80]), 20).close()
        with pytest.raises(NetworkError, match=f"port {machine.ports[80]}/tcp of 127.0.0.1 is taken"):
            Machine(bios(network=Network("user"), publish=(Publish(machine.ports[80], 80),))).start()


def test_only_one_reader_gets_the_console() -> None:
    with Machine(bios()) as machine:
        reader = machine.connect()
        data = b""
        while HELLO not in data:
            data += reader.recv(1000)
        reader.close()
        again = machine.connect()
        again.close()


def test_reset_starts_again_and_the_power_button_reaches_the_guest() -> None:
    with Machine(bios()) as machine:
        machine.wait_console(LAST, timeout=60)
        machine.reset()
        machine.wait_console(HELLO, timeout=60)
        machine.powerdown()
        assert machine.running  # SeaBIOS has no ears


def test_no_reboot_ends_where_it_would_reset() -> None:
    with Machine(bios(reboot=False)) as machine:
        machine.wait_console(LAST, timeout=60)
        machine.reset()
        assert machine.wait(60) == 0
        assert machine.reason == "host-qmp-system-reset"
        with pytest.raises(ProvisionerError, match="was not started"):
            Machine(bios()).wait()


def test_still_running_is_an_error_when_it_should_have_ended() -> None:
    with Machine(bios()) as machine, pytest.raises(ProvisionerError, match="still runs"):
        machine.wait(0.01)


def test_what_is_missing_is_named_before_anything_starts(tmp_path: Path, scratch: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError):
        Machine(MachineOptions())
    with pytest.raises(NotFoundError, match=r"no file .*none"):
        Machine(MachineOptions(kernel=tmp_path / "none", arch="amd64")).start()
    with pytest.raises(NotFoundError, match="no disk image"):
        Machine(bios(disks=(Disk(tmp_path / "none"),))).start()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process, "_SEARCH", ())
    with pytest.raises(ToolMissingError) as caught:
        Machine(bios(disks=(), boot="net", network=Network("user"))).start()
    assert caught.value.hint == "apt-get install qemu-system-x86"
    assert list(scratch.iterdir()) == []


def test_words_of_qemu_that_nobody_foresaw_are_passed_on(scratch: Path) -> None:
    with pytest.raises(ProvisionerError, match="QEMU did not start: -nonsense: invalid option"):
        Machine(bios(extra=("-nonsense",))).start()
    assert list(scratch.iterdir()) == []


def test_a_killed_parent_takes_its_machine_along(tmp_path: Path) -> None:
    script = ("import sys, time\nfrom provisioner.providers.qemu import *\n"
              "m = Machine(MachineOptions(boot='net', arch='amd64', memory=64))\nm.start()\n"
              "print(m.pid, flush=True)\ntime.sleep(600)\n")
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE,
                              env=os.environ | {"TMPDIR": str(tmp_path)})
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(600):
        if gone(pid):
            break
        time.sleep(0.05)
    assert gone(pid)
