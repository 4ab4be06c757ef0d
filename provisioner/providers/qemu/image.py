"""The files of an image that boots directly: ``PREFIX-kernel``, ``PREFIX-initrd.img``, ``PREFIX-cmdline``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import InputError, NotFoundError
from provisioner.model.platform import Platform

# Where a kernel says what it is: Documentation/arch/x86/boot.rst and Documentation/arch/arm64/booting.rst.
_MAGIC = {"amd64": (0x202, b"HdrS"), "arm64": (0x38, b"ARM\x64")}
_GZIP = b"\x1f\x8b"
CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}


@dataclass(frozen=True, slots=True)
class DirectBoot:
    """What QEMU is given; ``initrd`` may be None."""

    kernel: Path
    initrd: Path | None
    cmdline: str
    arch: str


def direct_boot(prefix: str, arch: str = "") -> DirectBoot:
    """Find the files below ``prefix``; raise NotFoundError naming what is missing, InputError for the wrong arch."""
    kernel = Path(f"{prefix}-kernel")
    if not kernel.is_file():
        raise NotFoundError(f"no image {prefix}: there is no file {kernel}",
                            hint=_near(prefix) or "provisioner build makes one")
    made_for = kernel_arch(kernel)
    wanted = Platform.parse(arch).architecture if arch else made_for
    if made_for and wanted != made_for:
        raise InputError(f"{kernel} is for {made_for}, not for {wanted}", hint=f"provisioner build --arch {wanted} …")
    initrd, cmdline = Path(f"{prefix}-initrd.img"), Path(f"{prefix}-cmdline")
    words = cmdline.read_text(errors="replace").strip() if cmdline.is_file() else ""
    return DirectBoot(kernel, initrd if initrd.is_file() else None, words, wanted or Platform.host().architecture)


def with_console(cmdline: str, arch: str) -> str:
    """Return ``cmdline`` with the serial line of QEMU's board as the last console if it names it nowhere.

    One YAML serves several boards; without its board's console a machine boots, but in silence.
    """
    device = CONSOLES[arch]
    named = any(word.split(",")[0] == f"console={device}" for word in cmdline.split())
    return cmdline if named else f"{cmdline} console={device}".strip()


def kernel_arch(kernel: Path) -> str:
    """Return the architecture a kernel file is made for, or an empty string."""
    with kernel.open("rb") as file:
        head = file.read(0x210)
    for arch, (offset, magic) in _MAGIC.items():
        if head[offset:offset + len(magic)] == magic:
            return arch
    # The only compressed kernel that QEMU itself unpacks is arm64's Image.gz.
    return "arm64" if head.startswith(_GZIP) else ""


def _near(prefix: str) -> str:
    base = Path(prefix)
    folder = base.parent
    found = sorted(path.name.removesuffix("-kernel") for path in folder.glob("*-kernel")) if folder.is_dir() else []
    return f"images in {folder}: {', '.join(found)}" if found else ""
