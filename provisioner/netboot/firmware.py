"""Which first boot file which firmware takes, by the architecture codes of DHCP option 93.

The codes are IANA's registry «Processor Architecture Types» (RFC 5970 section 3.3). The boot files are Debian's iPXE.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Firmware:
    """A kind of firmware: OCI's name of its architecture, bios or uefi, and whether it boots over HTTP.

    ``loader`` is the iPXE that uses the firmware's own network driver. ``native`` is the one with drivers, for
    clients that are an (old) iPXE already: ours has a driver for their card then, which is up to ten times as fast.
    """

    arch: str
    kind: str
    loader: str
    native: str
    http: bool = False


_X64 = Firmware("amd64", "uefi", "snponly.efi", "ipxe-amd64.efi")
_ARM64 = Firmware("arm64", "uefi", "ipxe-arm64.efi", "ipxe-arm64.efi")
FIRMWARE: dict[int, Firmware] = {
    0x00: Firmware("amd64", "bios", "undionly.kpxe", "ipxe.pxe"),
    0x07: _X64,
    0x09: _X64,  # registered as EFI byte code, sent by x64 firmware since RFC 4578 had the two swapped
    0x0B: _ARM64,
    0x10: Firmware("amd64", "uefi", "snponly.efi", "ipxe-amd64.efi", http=True),
    0x13: Firmware("arm64", "uefi", "ipxe-arm64.efi", "ipxe-arm64.efi", http=True),
}
NAMES = {0x06: "32-bit UEFI", 0x0A: "32-bit ARM UEFI", 0x0F: "32-bit UEFI over HTTP", 0x12: "32-bit ARM over HTTP",
         0x1B: "64-bit RISC-V UEFI", 0x27: "64-bit LoongArch UEFI"}


def identify(arches: tuple[int, ...]) -> Firmware | None:
    """Return the first kind known among a client's codes; a client that sends none is a BIOS."""
    return next((FIRMWARE[code] for code in arches or (0,) if code in FIRMWARE), None)


def spell(arches: tuple[int, ...]) -> str:
    """Name codes for people."""
    return ", ".join(NAMES.get(code, f"architecture 0x{code:04x}") for code in arches)
