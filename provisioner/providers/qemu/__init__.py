"""The provider ``qemu``: one object, ``Machine``, that ``provisioner run``, the demo and the tests share."""

from provisioner.providers.qemu.machine import Machine
from provisioner.providers.qemu.options import Disk, MachineOptions, Network, Publish

__all__ = ["Disk", "Machine", "MachineOptions", "Network", "Publish"]
