"""The table of firmware."""

from __future__ import annotations

import pytest

from provisioner.netboot.firmware import identify, spell


@pytest.mark.parametrize(("codes", "arch", "kind", "loader", "http"), [
    ((), "amd64", "bios", "undionly.kpxe", False),
    ((0,), "amd64", "bios", "undionly.kpxe", False),
    ((7,), "amd64", "uefi", "snponly.efi", False),
    ((9,), "amd64", "uefi", "snponly.efi", False),
    ((6, 7), "amd64", "uefi", "snponly.efi", False),
    ((0x0B,), "arm64", "uefi", "ipxe-arm64.efi", False),
    ((0x10,), "amd64", "uefi", "snponly.efi", True),
    ((0x13,), "arm64", "uefi", "ipxe-arm64.efi", True),
])
def test_known_firmware(codes: tuple[int, ...], arch: str, kind: str, loader: str, http: bool) -> None:
    found = identify(codes)
    assert found is not None
    assert (found.arch, found.kind, found.loader, found.http) == (arch, kind, loader, http)


def test_unknown_firmware_has_a_name_for_people() -> None:
    assert identify((6, 0x29)) is None
    assert spell((6, 0x29)) == "32-bit UEFI, architecture 0x0029"
