"""What every format gets beside the tree, and the names that formats deliver beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.archive.output import OutputFile, Outputs
from provisioner.model.artifact import Artifact
from provisioner.model.event import Event, Sink, discard
from provisioner.model.tree import Entry, ImageTree

KERNEL = "boot/kernel"
CMDLINE = "boot/cmdline"
UCODE = "boot/ucode.cpio"
BESIDE = frozenset((KERNEL, CMDLINE, UCODE))
"""The files of a tree that an initrd leaves out, because firmware or boot loader gets them separately."""


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """How to write: into ``outputs``, with ``cache`` for reusable pieces, ``compress`` for initrds.

    ``jobs`` is how many pieces are compressed at a time.
    """

    outputs: Outputs
    cache: Path
    compress: str = "gzip"
    level: int | None = None
    jobs: int = 2
    sink: Sink = discard

    def tell(self, stage: str, name: str = "", detail: str = "", data: Mapping[str, object] | None = None) -> None:
        """Report progress."""
        self.sink(Event("build", stage, name, detail=detail, time=time.time(), monotonic=time.monotonic(),
                        data=data or {}))


def suffixed(target: Path, suffix: str) -> Path:
    """Return the target's name with ``suffix`` appended (``docker.v1`` becomes ``docker.v1-kernel``)."""
    return target.with_name(target.name + suffix)


def artifact(file: OutputFile, role: str, name: str, tree: ImageTree) -> Artifact:
    """Describe a finished output file."""
    return Artifact(file.path, role, name, tree.platform, file.digest, file.size)


def beside(entry: Entry) -> bool:
    """Whether an entry is delivered beside an initrd."""
    return entry.path in BESIDE
