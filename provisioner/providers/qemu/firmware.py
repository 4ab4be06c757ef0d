"""UEFI firmware for QEMU (EDK2): where distributions put it, and a private copy of its variables.

The code is mapped read-only; the variable store is written by the machine, so each state directory has its own copy.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import ToolMissingError

PACKAGES = {"amd64": "ovmf", "arm64": "qemu-efi-aarch64"}
_PAIRS = {
    "amd64": (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
    ),
    "arm64": (
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
        ("/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"),
    ),
}


@dataclass(frozen=True, slots=True)
class Firmware:
    """A pair of flash images."""

    code: Path
    variables: Path


def find(arch: str) -> Firmware:
    """Return the UEFI firmware of ``arch``; raise ToolMissingError naming the package."""
    for code, variables in _PAIRS.get(arch, ()):
        if Path(code).is_file() and Path(variables).is_file():
            return Firmware(Path(code), Path(variables))
    raise ToolMissingError(f"no UEFI firmware for {arch}",
                           hint=f"apt-get install {PACKAGES.get(arch, 'the EDK2 package of your distribution')}")


def private(firmware: Firmware, state: Path) -> Firmware:
    """Return the firmware with the variables of ``state``; they are copied there once and kept."""
    own = state / "uefi-vars.fd"
    if not own.exists():
        fresh = own.with_suffix(".new")
        shutil.copyfile(firmware.variables, fresh)
        fresh.replace(own)
    return Firmware(firmware.code, own)
