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

from provisioner.errors import ProvisionerError
from provisioner.model.event import Event, Sink, discard
from provisioner.model.machine import BootSpec, Machine
from provisioner.netboot import firmware
from provisioner.netboot.decide import Decider
from provisioner.protocols.dhcp import NetBoot
from provisioner.protocols.dhcp_client import Client

OUR_IPXE = (1, 21, 1)
CHAIN_SECONDS = 60.0  # how long after it took our iPXE a client that says it is an older one is taken for ours


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
    _chained: dict[str, float] = field(default_factory=dict)
    _macs: dict[str, str] = field(default_factory=dict)

    def choose(self, client: Client, server: IPv4Address) -> NetBoot | None:
        """Return what a DHCP client loads next from ``server``; None leaves it to others. A ``dhcp.Chooser``."""
        kind = firmware.identify(client.arches)
        if kind is None:
            self._tell(client, "unknown-firmware", f"no boot file for {firmware.spell(client.arches)}")
            return None
        machine = Machine(client.mac, client.uuid, arch=kind.arch, firmware=kind.kind, name=client.hostname)
        if not self.decider.may_boot(machine):
            return None
        if client.ipxe and not self._outdated(client):
            return NetBoot(server, f"{self.url(server)}/boot.ipxe", bios=kind.kind == "bios")
        if kind.loader not in self.loaders:
            self._tell(client, "no-loader", f"the boot file {kind.loader} is not there")
            return None
        file = f"{self.url(server)}/loaders/{kind.loader}" if kind.http else kind.loader
        return NetBoot(server, file, bios=kind.kind == "bios")

    def decide(self, machine: Machine) -> BootSpec | None:
        """Return what a machine boots, telling of broken images instead of raising."""
        self._chained.pop(machine.mac, None)
        if machine.address and machine.mac:
            self._macs[machine.address] = machine.mac
        try:
            return self.decider.decide(machine)
        except ProvisionerError as error:
            self.sink(Event("netboot", "http", "broken-image", machine.mac, error.message))
            return None

    def loaded(self, mac: str, file: str) -> None:
        """Note that a client took one of our boot files whole."""
        if mac and file in self.loaders:
            self._chained[mac] = self.clock()

    def mac_of(self, address: str) -> str:
        """Return the MAC of a client that asked for its script from this address, ``""`` if none did."""
        return self._macs.get(address, "")

    def url(self, server: IPv4Address | str) -> str:
        """Return the URL of the HTTP server at an address, without a slash at its end."""
        return f"http://{server}" if self.http_port == 80 else f"http://{server}:{self.http_port}"

    def _outdated(self, client: Client) -> bool:
        if client.ipxe >= OUR_IPXE or client.ipxe == (0,):
            return False
        return self.clock() - self._chained.get(client.mac, -CHAIN_SECONDS) >= CHAIN_SECONDS

    def _tell(self, client: Client, name: str, detail: str) -> None:
        self.sink(Event("netboot", "dhcp", name, client.mac, detail))
