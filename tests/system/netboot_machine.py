"""One machine that boots from the network in a lab; called by ``inside.run_inside``."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from provisioner import components, data
from provisioner.model.event import Event
from provisioner.netboot.server import BootServer, serving
from provisioner.netboot.settings import Settings, from_file
from provisioner.oci.store import Store
from provisioner.providers.qemu import Machine, MachineOptions, Network
from tests.netboot.scenarios import dnsmasq

MAC = "52:54:00:00:00:01"
UUID = "00112233-4455-6677-8899-aabbccddeeff"
SERIAL = "SN42"
SECONDS = 600.0


def boot(machines: str, folder: str, firmware: str, mode: str, arch: str) -> None:
    """Boot from the firmware's first packet to our own init's last word; print what the server told as JSON."""
    loaders = components.bootloaders(Store(data.cache_dir() / "oci"))
    events: list[Event] = []
    file = Path(machines)
    settings = Settings(("br0",), loaders, mode, leases=Path(folder, "leases.db"))  # type: ignore[arg-type]  # a mode
    identity = ("-uuid", UUID, "-smbios", f"type=1,serial={SERIAL}")
    options = MachineOptions(boot="net", arch=arch, uefi=firmware == "uefi", memory=1024, accel="tcg", mac=MAC,
                             network=Network("tap", "tap0"), extra=identity)
    with ExitStack() as stack:
        if mode != "full":
            stack.enter_context(dnsmasq(Path(folder)))
        stack.enter_context(serving(BootServer(settings, from_file(file), events.append, file)))
        machine = stack.enter_context(Machine(options))
        machine.wait_console(b"provisioner: services up", timeout=SECONDS)
        console = machine.transcript.decode(errors="replace")
    told = [asdict(event) | {"data": dict(event.data)} for event in events]
    sys.stdout.write(json.dumps({"events": told, "console": console}))
