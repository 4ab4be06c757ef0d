"""What went wrong when QEMU did not start: its last words as one of our errors."""

from __future__ import annotations

import os
import re

from provisioner.errors import DeviceError, NetworkError, PrivilegeError, ProvisionerError
from provisioner.providers.qemu.options import MachineOptions


def explain(log: str, options: MachineOptions) -> ProvisionerError:
    """Turn QEMU's last words into an error of ours."""
    words = "\n".join(line.removeprefix("qemu-system-x86_64: ").removeprefix("qemu-system-aarch64: ")
                      for line in log.strip().splitlines()[-6:])
    if taken := re.search(r"Could not set up host forwarding rule '(tcp|udp):127\.0\.0\.1:(\d+)-", log):
        return NetworkError(f"port {taken[2]}/{taken[1]} of 127.0.0.1 is taken",
                            hint="publish another port, or 0 for any free one")
    if "/dev/net/tun" in log or "bridge helper failed" in log:
        return PrivilegeError(f"cannot connect the machine to {options.network.name}: {words}",
                              hint=_network_hint(options))
    if "Failed to get" in log and "lock" in log:
        return DeviceError(f"a disk is in use by another process: {words}")
    return ProvisionerError(f"QEMU did not start: {words or 'it said nothing'}")


def _network_hint(options: MachineOptions) -> str:
    name = options.network.name
    if options.network.kind == "bridge":
        return (f"as root: mkdir -p /etc/qemu; echo 'allow {name}' >> /etc/qemu/bridge.conf; "
                "chmod u+s /usr/lib/qemu/qemu-bridge-helper")
    user = os.environ.get("USER", "you")
    return f"as root: ip tuntap add dev {name} mode tap user {user}; or run with CAP_NET_ADMIN"
