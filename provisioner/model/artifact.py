"""What a build leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provisioner.model.platform import Platform


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished file: ``role`` is kernel, initrd, cmdline, tar, …; ``digest`` is ``sha256:…``; ``size`` bytes."""

    path: Path
    role: str
    format: str
    platform: Platform
    digest: str
    size: int
