"""Stages: real consoles recognised whole, however their bytes are cut, and the rules of restarts and loops."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from provisioner.console.stages import StageMachine, load
from provisioner.errors import InputError
from provisioner.model.event import Event

GOLDEN = Path(__file__).parents[1] / "golden" / "console"
STAGES = load()


def events(*pieces: bytes) -> list[Event]:
    seen: list[Event] = []
    machine = StageMachine(STAGES, seen.append, machine="m")
    for number, piece in enumerate(pieces):
        machine.feed(piece, float(number), 1000.0 + number)
    return seen


def lines(seen: Iterable[Event]) -> list[str]:
    return [" | ".join([e.stage, e.name, str(e.data.get("state", "")), e.detail]).rstrip() for e in seen]


@pytest.mark.parametrize("log", sorted(GOLDEN.glob("*.log")), ids=lambda path: path.stem)
def test_a_recorded_console_gives_its_stages_however_it_is_cut(log: Path) -> None:
    raw = log.read_bytes()
    expected = log.with_suffix(".stages").read_text().splitlines()
    assert lines(events(raw)) == expected
    assert lines(events(*(raw[at:at + 1] for at in range(len(raw))))) == expected
    chance = random.Random(log.name)
    borders = sorted({0, len(raw), *(chance.randrange(len(raw)) for _ in range(60))})
    assert lines(events(*(raw[a:b] for a, b in itertools.pairwise(borders)))) == expected


def test_every_recording_is_small_and_has_its_stages() -> None:
    for log in GOLDEN.glob("*.log"):
        assert log.stat().st_size < 60_000
        assert log.with_suffix(".stages").exists()


OURS = b"""\
provisioner: init 0.1.0 started
provisioner: onboot 000-sysctl started
provisioner: onboot 000-sysctl done
provisioner: onboot 001-format started
provisioner: onboot 001-format failed (exit 2)
provisioner: service getty started
provisioner: address eth0 10.0.2.15
provisioner: service docker failed (exit 1)
provisioner: services up
"""


def test_the_lines_of_our_own_init() -> None:
    assert lines(events(OURS.replace(b"\n", b"\r\n"))) == [
        "init | provisioner |  | 0.1.0",
        "onboot | 000-sysctl | started |",
        "onboot | 000-sysctl | done |",
        "onboot | 001-format | started |",
        "onboot | 001-format | failed | exit 2",
        "service | getty | started |",
        "address | eth0 |  | 10.0.2.15",
        "service | docker | failed | exit 1",
        "healthy | services up |  |",
    ]


def test_a_kernel_prefix_is_no_part_of_the_line_but_a_fact() -> None:
    first, second = events(b"[    1.250000] provisioner: init 1 started\n"
                           b"<6>[   12.000001][    T1] Run /init as init process\n")
    assert (first.stage, first.data["kernel_time"]) == ("init", 1.25)
    assert (second.name, second.data["kernel_time"]) == ("/init", 12.000001)


@pytest.mark.parametrize(("line", "expected"), [
    (b'time="2026-01-01T00:00:00Z" level=info msg="onboot 000-sysctl: from /containers/onboot/000-sysctl"',
     "onboot | 000-sysctl | started |"),
    (b"Welcome to LinuxKit", "init | LinuxKit |  |"),
    (b"systemd[1]: systemd 252.17-1~deb12u1 running in system mode (+PAM +AUDIT)",
     "init | systemd |  | 252.17-1~deb12u1"),
    (b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.",
     "service | ssh.service - OpenBSD Secure Shell server | started |"),
    (b"[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mx.service\x1b[0m.", "service | x.service | failed |"),
    (b"[  OK  ] Reached target \x1b[0;1;39mmulti-user.target\x1b[0m - Multi-User System.",
     "healthy | systemd |  | multi-user.target - Multi-User System."),
    (b"[   12.0] BUG: kernel NULL pointer dereference, address: 0000000000000010",
     "oops |  |  | kernel NULL pointer dereference, address: 0000000000000010"),
    (b"[   12.345678] Unable to handle kernel paging request at virtual address ffff",
     "oops |  |  | Unable to handle kernel paging request at virtual address ffff"),
    (b"[  242.000001] INFO: task kworker/u8:1:33 blocked for more than 120 seconds.",
     "hung | kworker/u8:1 |  | 120 seconds"),
    (b"[   60.000001] rcu: INFO: rcu_sched self-detected stall on CPU",
     "hung | rcu_sched |  | self-detected stall on CPU"),
    (b"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [modprobe:99]",
     "watchdog |  |  | CPU#1 stuck for 22s!"),
    (b"Memory cgroup out of memory: Killed process 812 (dockerd) total-vm:1kB", "oom | dockerd |  |"),
    (b"[    9.0] EXT4-fs error (device vda1): ext4_lookup:1855: inode #2: comm sh",
     "filesystem | vda1 |  | ext4_lookup:1855: inode #2: comm sh"),
    (b"hwmon hwmon1: Under-voltage detected! (0x00050005)",
     "undervoltage |  |  | hwmon hwmon1: Under-voltage detected! (0x00050005)"),
    (b"U-Boot SPL 2025.01 (Jan 01 2025 - 00:00:00 +0000)", "firmware | U-Boot SPL |  | 2025.01"),
    (b"BdsDxe: failed to load Boot0001 \"UEFI PXEv4\" from PciRoot(0x0): Access Denied",
     "firmware | EDK2 | failed | UEFI PXEv4"),
    (b">>Start HTTP Boot over IPv4....", "firmware | HTTP boot |  | IPv4"),
    (b"EFI stub: UEFI Secure Boot is enabled.", "loader | EFI stub |  | UEFI Secure Boot is enabled."),
])
def test_words_of_others(line: bytes, expected: str) -> None:
    assert lines(events(line + b"\r\n")) == [expected]


@pytest.mark.parametrize("line", [
    b"the words login: in a sentence\n", b"see http://ipxe.org for help\n", b"echo provisioner: services up\n",
    b"NOTICE: something BL else\n", b"Welcome to a kernel panic - not at all\n", b"U-Boot is great\n",
    b"# a comment\n", b"Oops, I did it again\n",
])
def test_words_that_only_look_alike_are_nothing(line: bytes) -> None:
    assert events(line) == []


def test_a_prompt_counts_before_its_line_ends_and_only_once() -> None:
    pieces = (b"\r\nnode1 lo", b"gin: ", b"r", b"oot\r\n", b"node1 login: ")
    assert lines(events(*pieces)) == ["login | getty |  | node1"]
    assert events(*pieces)[0].monotonic == 1.0


def test_what_breaks_into_the_line_of_a_prompt_is_seen_and_what_is_typed_there_is_not() -> None:
    seen = events(b"/ # ", b"\x1b[6n", b"[  123.456789] Kernel panic - not syncing: sysrq\r\n",
                  b"/ # ", b"echo provisioner: services up\r\n")
    assert lines(seen) == ["login | shell |  |", "panic |  |  | sysrq"]
    assert seen[1].data["kernel_time"] == 123.456789


def test_a_reset_in_the_middle_is_a_reboot_and_begins_a_new_story() -> None:
    boot = b"U-Boot SPL 2023.01 x\nU-Boot 2023.01 x\n[    0.000000] Linux version 6.1.0 (x)\n"
    seen = events(boot, boot)
    assert lines(seen) == [
        "firmware | U-Boot SPL |  | 2023.01", "firmware | U-Boot |  | 2023.01", "kernel | Linux |  | 6.1.0",
        "reboot | 2 |  | started again, seen by U-Boot SPL",
        "firmware | U-Boot SPL |  | 2023.01", "firmware | U-Boot |  | 2023.01", "kernel | Linux |  | 6.1.0"]
    assert [event.data["boot"] for event in seen] == [1, 1, 1, 2, 2, 2, 2]


def test_reboots_that_come_up_in_between_are_no_loop() -> None:
    boot = b"[    0.000000] Linux version 6.1.0 (x)\nprovisioner: services up\n"
    stages = [event.stage for event in events(*[boot] * 6)]
    assert stages.count("reboot") == 5
    assert "loop" not in stages


def test_starts_that_never_come_up_are_counted_as_a_loop() -> None:
    loops = [event.name for event in events(*[b"Linux version 6.1.0 (x)\n"] * 5) if event.stage == "loop"]
    assert loops == ["3", "4", "5"]


def test_a_machine_that_makes_up_names_does_not_fill_memory() -> None:
    machine = StageMachine(STAGES, lambda event: None)
    for number in range(10_000):
        machine.feed(b"provisioner: onboot %d started\n" % number, 0.0, 0.0)
    assert len(machine._seen) <= 4096


def test_patterns_that_cannot_work_are_named_with_their_place(tmp_path: Path) -> None:
    bad = tmp_path / "stages.yml"
    bad.write_text("order: [a]\nsettled: [a]\npatterns:\n  - {stage: a, text: x, match: '('}\n"
                   "  - {stage: b, text: x}\n  - {stage: a, text: x, wrong: 1}\n")
    with pytest.raises(InputError) as caught:
        load(bad)
    text = str(caught.value)
    assert re.search(r"stages\.yml:4:\d+: .*no regular expression", text)
    assert re.search(r"stages\.yml:6:\d+: .*wrong", text)


def test_a_stage_that_the_order_does_not_have_is_an_error(tmp_path: Path) -> None:
    bad = tmp_path / "stages.yml"
    bad.write_text("order: [a]\nsettled: []\npatterns:\n  - {stage: b, text: x}\n")
    with pytest.raises(InputError, match="`order` does not have: b"):
        load(bad)


def test_a_machine_whose_service_did_not_start_is_not_healthy() -> None:
    told = events(b"provisioner: service web failed (exit 1)\r\nprovisioner: services failed: web\r\n"
                  b"provisioner: onshutdown 000-bye started\r\nprovisioner: onshutdown 000-bye done\r\n")
    assert [(event.stage, event.name, event.detail) for event in told] == [
        ("service", "web", "exit 1"), ("degraded", "services", "web"),
        ("shutdown", "000-bye", ""), ("shutdown", "000-bye", "")]
