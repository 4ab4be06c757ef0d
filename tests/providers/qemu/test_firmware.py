"""UEFI firmware: found where distributions put it, its variables private and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import ToolMissingError
from provisioner.providers.qemu import firmware
from provisioner.providers.qemu.firmware import Firmware


def test_the_first_complete_pair_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("only-code.fd", "code.fd", "vars.fd"):
        (tmp_path / name).write_bytes(b"x")
    pairs = ((f"{tmp_path}/only-code.fd", f"{tmp_path}/none.fd"), (f"{tmp_path}/code.fd", f"{tmp_path}/vars.fd"))
    monkeypatch.setattr(firmware, "_PAIRS", {"amd64": pairs})
    assert firmware.find("amd64") == Firmware(tmp_path / "code.fd", tmp_path / "vars.fd")


@pytest.mark.parametrize(("arch", "package"), [("amd64", "ovmf"), ("arm64", "qemu-efi-aarch64")])
def test_missing_firmware_names_its_package(arch: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "_PAIRS", {})
    with pytest.raises(ToolMissingError) as caught:
        firmware.find(arch)
    assert caught.value.hint == f"apt-get install {package}"


def test_variables_are_copied_once_and_kept(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_bytes(b"fresh")
    own = firmware.private(Firmware(Path("code"), template), tmp_path)
    assert own.variables.read_bytes() == b"fresh"
    own.variables.write_bytes(b"boot order")
    assert firmware.private(Firmware(Path("code"), template), tmp_path).variables.read_bytes() == b"boot order"
    assert template.read_bytes() == b"fresh"
