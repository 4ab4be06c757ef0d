"""The next step of a boot, and that no client ever walks in a circle."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provisioner.model.event import Event
from provisioner.model.machine import Machine
from provisioner.netboot import booter as module
from provisioner.netboot.booter import FORGET_SECONDS, LOADED_SECONDS, TOLD_SECONDS, Booter
from provisioner.netboot.settings import for_one_image
from provisioner.protocols.dhcp_client import Client
from provisioner.protocols.dhcp_packet import Option
from tests.netboot.conftest import ImageMaker

SERVER = IPv4Address("10.0.0.1")
MAC = "52:54:00:00:00:01"
FILES = ("undionly.kpxe", "ipxe.pxe", "snponly.efi", "ipxe-amd64.efi")
SCRIPT = "http://10.0.0.1/boot.ipxe"
BIOS = Client(MAC, "PXEClient", arches=(0,))
UEFI = Client(MAC, "PXEClient", arches=(7,))
HTTP = Client(MAC, "HTTPClient", arches=(0x10,))
OLD = Client(MAC, "PXEClient", arches=(0,), ipxe=(1, 0, 0))
OURS = Client(MAC, "PXEClient", arches=(0,), ipxe=(1, 0, 0), wants=frozenset({Option.NTP}))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def booter(make_image: ImageMaker, events: list[Event], clock: Clock) -> Booter:
    decider = for_one_image(make_image())
    return Booter(decider, {name: Path("/", name) for name in FILES}, sink=events.append, clock=clock)


def chosen(booter: Booter, client: Client) -> str:
    boot = booter.choose(client, SERVER)
    return boot.file if boot else ""


@pytest.mark.parametrize(("client", "file"), [
    (BIOS, "undionly.kpxe"), (UEFI, "snponly.efi"), (HTTP, "http://10.0.0.1/loaders/snponly.efi"),
    (OLD, "ipxe.pxe"), (OURS, SCRIPT), (Client(MAC, "PXEClient", arches=(7,), ipxe=(1, 0, 0)), "ipxe-amd64.efi"),
    (Client(MAC, "PXEClient", arches=(0,), ipxe=(1, 21, 1)), SCRIPT),
    (Client(MAC, "PXEClient", arches=(0,), ipxe=(2, 0, 0)), SCRIPT),
    (Client(MAC, "PXEClient", arches=(0,), ipxe=(0,)), "ipxe.pxe"),
])
def test_the_next_step(booter: Booter, client: Client, file: str) -> None:
    assert chosen(booter, client) == file


def test_only_bios_is_told_to_bypass_discovery(booter: Booter) -> None:
    assert [getattr(booter.choose(client, SERVER), "bios", None) for client in (BIOS, UEFI)] == [True, False]


def test_without_drivers_in_stock_an_old_ipxe_gets_the_plain_one(booter: Booter) -> None:
    booter.loaders = {"undionly.kpxe": Path("/undionly.kpxe")}
    assert chosen(booter, OLD) == "undionly.kpxe"


def test_another_port(booter: Booter) -> None:
    booter.http_port = 8080
    assert chosen(booter, OURS) == "http://10.0.0.1:8080/boot.ipxe"


def test_who_has_just_taken_our_ipxe_is_ours_whatever_it_says(booter: Booter, clock: Clock) -> None:
    assert chosen(booter, OLD) == "ipxe.pxe"
    booter.loaded(MAC, "ipxe.pxe")
    assert chosen(booter, OLD) == SCRIPT
    booter.decide(Machine(MAC))
    assert chosen(booter, OLD) == "ipxe.pxe", "it fetched its script, so this is another boot"
    booter.loaded(MAC, "ipxe.pxe")
    clock.now += LOADED_SECONDS
    assert chosen(booter, OLD) == "ipxe.pxe"


def test_other_files_and_machines_do_not_count(booter: Booter) -> None:
    booter.loaded(MAC, "autoexec.ipxe")
    booter.loaded("52:54:00:00:00:02", "ipxe.pxe")
    booter.loaded("", "ipxe.pxe")
    assert chosen(booter, OLD) == "ipxe.pxe"


def test_a_circle_ends_even_when_nobody_saw_the_transfer(booter: Booter, clock: Clock) -> None:
    answers = []
    for _ in range(12):
        answers.append(chosen(booter, OLD))
        clock.now += 5
    assert answers[0] == "ipxe.pxe"
    assert answers[-1] == SCRIPT
    assert answers == sorted(answers, reverse=True), "once given the script, always given the script"
    assert answers.count("ipxe.pxe") * 5 <= TOLD_SECONDS + 5
    clock.now += FORGET_SECONDS
    assert chosen(booter, OLD) == "ipxe.pxe"


def test_unknown_firmware_and_missing_files_are_told(booter: Booter, events: list[Event]) -> None:
    assert chosen(booter, Client(MAC, "PXEClient", arches=(0x1B,))) == ""
    assert chosen(booter, Client(MAC, "PXEClient", arches=(0x0B,))) == ""
    booter.loaders = {}
    assert chosen(booter, BIOS) == ""
    assert [(event.name, event.machine) for event in events] == \
        [("unknown-firmware", MAC), ("no-image", MAC), ("no-loader", MAC)]
    assert "RISC-V" in events[0].detail
    assert "the machine is arm64" in events[1].detail
    assert "undionly.kpxe is not there" in events[2].detail


def test_a_broken_image_is_told_and_boots_nothing(booter: Booter, events: list[Event]) -> None:
    booter.decider.images["docker"].cmdline.unlink()
    booter.decider.images["docker"].kernel.unlink()
    assert booter.decide(Machine(MAC, arch="amd64")) is None
    assert [event.name for event in events] == ["broken-image"]


def test_addresses_are_remembered_by_their_machine(booter: Booter) -> None:
    booter.decide(Machine(MAC, address="10.0.0.9"))
    assert (booter.mac_of("10.0.0.9"), booter.mac_of("10.0.0.8")) == (MAC, "")


def test_invented_machines_do_not_fill_the_memory(booter: Booter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOTES", 100)
    for number in range(1000):
        chosen(booter, replace(OLD, mac=f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"))
    assert len(booter._told) == 100
