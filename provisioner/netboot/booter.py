"""Chooses the next step of a client's boot: our iPXE first, then the script, and never in a circle.

    firmware (PXE)          → our iPXE by TFTP           firmware (HTTP boot) → our iPXE by HTTP
    iPXE older than ours    → our iPXE by TFTP, once     iPXE as new as ours  → the script by HTTP

The iPXE built into network cards and QEMU is often years old, so it is only used to load ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from provisioner.errors import ProvisionerError
from provisioner.model.event import Event, Sink, discard
from provisioner.model.machine import BootSpec, Machine
from provisioner.netboot import firmware
from provisioner.netboot.decide import Decider
from provisioner.protocols.dhcp import NetBoot
from provisioner.protocols.dhcp_client import Client
from provisioner.protocols.dhcp_packet import Option

OUR_IPXE = (1, 21, 1)
LOADED_SECONDS = 60.0  # so long after it took our iPXE a client that looks like an older one is taken for ours
NOTES = 16_384  # machines remembered; the oldest is forgotten, since anybody can invent another MAC
TOLD_SECONDS, FORGET_SECONDS = 30.0, 180.0  # so long an older one is sent to ours; after that it may be sent again
_Value = TypeVar("_Value")


@dataclass(slots=True)
class Booter:
    """Carries decisions to the protocols; ``loaders`` are the boot files there are, by name.

    ``decider`` may be replaced at any time. ``clock`` is monotonic, in seconds.
    """

    decider: Decider
    loaders: Mapping[str, Path]
    http_port: int = 80
    sink: Sink = discard
    clock: Callable[[], float] = time.monotonic
    _loaded: dict[str, float] = field(default_factory=dict)
    _told: dict[str, float] = field(default_factory=dict)
    _macs: dict[str, str] = field(default_factory=dict)

    def choose(self, client: Client, server: IPv4Address) -> NetBoot | None:
        """Return what a DHCP client loads next from ``server``; None leaves it to others. A ``dhcp.Chooser``."""
        kind = firmware.identify(client.arches)
        if kind is None:
            self._tell(client, "unknown-firmware", f"no boot file for {firmware.spell(client.arches)}")
            return None
        machine = Machine(client.mac, client.uuid, arch=kind.arch, firmware=kind.kind, name=client.hostname)
        if not self.decider.may_boot(machine):
            self._tell(client, "no-image", self.decider.refusal(machine))
            return None
        if client.ipxe and not self._outdated(client):
            return NetBoot(server, f"{self.url(server)}/boot.ipxe", bios=kind.kind == "bios")
        loader = kind.native if client.ipxe and kind.native in self.loaders else kind.loader
        if loader not in self.loaders:
            self._tell(client, "no-loader", f"the boot file {loader} is not there")
            return None
        file = f"{self.url(server)}/loaders/{loader}" if kind.http else loader
        return NetBoot(server, file, bios=kind.kind == "bios")

    def decide(self, machine: Machine) -> BootSpec | None:
        """Return what a machine boots, telling of broken images instead of raising."""
        self._loaded.pop(machine.mac, None)
        self._told.pop(machine.mac, None)
        if machine.address and machine.mac:
            _note(self._macs, machine.address, machine.mac)
        try:
            return self.decider.decide(machine)
        except ProvisionerError as error:
            self.sink(Event("netboot", "http", "broken-image", machine.mac, error.message))
            return None

    def loaded(self, mac: str, file: str) -> None:
        """Note that a client took one of our boot files whole."""
        if mac and file in self.loaders:
            _note(self._loaded, mac, self.clock())
            self._told.pop(mac, None)

    def mac_of(self, address: str) -> str:
        """Return the MAC of a client that asked for its script from this address, ``""`` if none did."""
        return self._macs.get(address, "")

    def url(self, server: IPv4Address | str) -> str:
        """Return the URL of the HTTP server at an address, without a slash at its end."""
        return f"http://{server}" if self.http_port == 80 else f"http://{server}:{self.http_port}"

    def _outdated(self, client: Client) -> bool:
        """Whether a client's own iPXE shall load ours; no client is sent there in a circle, whatever it says.

        Distributions build iPXE so that it calls itself 1.0.0, whatever it is; but since July 2023 it asks for NTP.
        """
        if client.ipxe >= OUR_IPXE or Option.NTP in client.wants:
            return False
        now = self.clock()
        if now - self._loaded.get(client.mac, -LOADED_SECONDS) < LOADED_SECONDS:
            return False
        if now - self._told.get(client.mac, -FORGET_SECONDS) >= FORGET_SECONDS:
            _note(self._told, client.mac, now)
        return now - self._told[client.mac] < TOLD_SECONDS

    def _tell(self, client: Client, name: str, detail: str) -> None:
        self.sink(Event("netboot", "dhcp", name, client.mac, detail))


def _note(notes: dict[str, _Value], key: str, value: _Value) -> None:
    notes.pop(key, None)
    notes[key] = value
    if len(notes) > NOTES:
        del notes[next(iter(notes))]
