"""Machines on the boot network and the one answer to «what does it boot»."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine told about itself. ``mac`` is lower-case with colons; ``arch`` is OCI's name or empty."""

    mac: str = ""
    uuid: str = ""
    serial: str = ""
    arch: str = ""
    firmware: str = ""
    address: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class BootSpec:
    """What a machine boots: files on disk and the kernel command line. ``rule`` names the rule that decided."""

    kernel: Path
    initrd: tuple[Path, ...]
    cmdline: str
    image: str
    rule: str
    labels: tuple[tuple[str, str], ...] = field(default=())
