"""The files of a direct boot, found by their prefix."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import InputError, NotFoundError
from provisioner.providers.qemu.image import DirectBoot, direct_boot, kernel_arch, with_console

X86 = bytes(0x202) + b"HdrS" + bytes(100)
ARM = bytes(0x38) + b"ARM\x64" + bytes(600)


def test_all_three_files(tmp_path: Path) -> None:
    (tmp_path / "docker-kernel").write_bytes(X86)
    (tmp_path / "docker-initrd.img").write_bytes(b"i")
    (tmp_path / "docker-cmdline").write_text("console=ttyS0 quiet\n")
    assert direct_boot(f"{tmp_path}/docker") == DirectBoot(
        tmp_path / "docker-kernel", tmp_path / "docker-initrd.img", "console=ttyS0 quiet", "amd64")


def test_a_kernel_alone_will_do(tmp_path: Path) -> None:
    (tmp_path / "x-kernel").write_bytes(ARM)
    assert direct_boot(f"{tmp_path}/x") == DirectBoot(tmp_path / "x-kernel", None, "", "arm64")
    assert direct_boot(f"{tmp_path}/x", "aarch64").arch == "arm64"


def test_a_missing_image_names_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "minimal-kernel").write_bytes(X86)
    with pytest.raises(NotFoundError) as caught:
        direct_boot(f"{tmp_path}/docker")
    assert "docker-kernel" in caught.value.message
    assert caught.value.hint == f"images in {tmp_path}: minimal"


def test_the_wrong_architecture_is_said_with_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "x-kernel").write_bytes(ARM)
    with pytest.raises(InputError, match="is for arm64, not for amd64"):
        direct_boot(f"{tmp_path}/x", "amd64")


@pytest.mark.parametrize(("head", "arch"), [(X86, "amd64"), (ARM, "arm64"), (b"\x1f\x8b" + bytes(600), "arm64"),
                                            (b"short", "")])
def test_kernels_say_what_they_are_for(tmp_path: Path, head: bytes, arch: str) -> None:
    (tmp_path / "k").write_bytes(head)
    assert kernel_arch(tmp_path / "k") == arch


@pytest.mark.parametrize(("cmdline", "arch", "expected"), [
    ("console=tty0 console=ttyS0", "amd64", "console=tty0 console=ttyS0"),
    ("console=ttyS0,115200n8 quiet", "amd64", "console=ttyS0,115200n8 quiet"),
    ("console=tty0 console=ttyS0", "arm64", "console=tty0 console=ttyS0 console=ttyAMA0"),
    ("", "amd64", "console=ttyS0"),
])
def test_the_boards_serial_line_is_a_console(cmdline: str, arch: str, expected: str) -> None:
    assert with_console(cmdline, arch) == expected
