"""A small tree, and a place to write it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from provisioner.archive.output import Outputs
from provisioner.formats import FormatOptions
from provisioner.model.event import Event
from provisioner.model.platform import Platform
from provisioner.model.tree import Entry, ImageTree, Kind, Part

File = tuple[str, bytes]


class Source:
    """A part that counts how often it is read."""

    def __init__(self, location: str, *files: File | Entry, key: str | None = None, source: str = "") -> None:
        self.reads = 0
        self._files = files
        self.part = Part(location, self._entries, source, key, "sha256:" + "0" * 64 if source else "")

    def _entries(self) -> Iterator[Entry]:
        self.reads += 1
        for item in self._files:
            if isinstance(item, Entry):
                yield item
            else:
                yield Entry(item[0], Kind.FILE, 0o644, mtime=1, size=len(item[1]), content=(item[1],))


def sources() -> list[Source]:
    """Return a kernel, an init, a container and two files."""
    return [
        Source("kernel", Entry("boot", Kind.DIR, 0o755), ("boot/cmdline", b"console=ttyS0"),
               ("boot/kernel", b"KERNEL"),
               ("boot/ucode.cpio", b"UCODE"), ("lib/modules/6.1/a.ko", b"module"), key="kernel",
               source="acme/kernel:1"),
        Source("init[0]", Entry("bin", Kind.DIR, 0o755), Entry("etc", Kind.DIR, 0o700), ("bin/sh", b"shell" * 10_000),
               key="init", source="acme/init:1"),
        Source("onboot[0]", ("containers/onboot/000-a/config.json", b"{}"), source="acme/a:1"),
        Source("files[0]", ("etc/motd", b"hello")),
        Source("files[1]", ("etc/issue", b"bye")),
    ]


def tree(parts: Sequence[Source] | None = None, cmdline: str = "console=ttyS0") -> ImageTree:
    """Return a tree of parts."""
    return ImageTree("image", Platform("amd64"), cmdline,
                     tuple(source.part for source in (sources() if parts is None else parts)))


class Place:
    """A directory to write into, with a cache beside it; keeps the events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "out" / "image"
        self.events: list[Event] = []

    def options(self, outputs: Outputs, **more: object) -> FormatOptions:
        plain = FormatOptions(outputs, self.folder / "cache", sink=self.events.append)
        return dataclasses.replace(plain, **more)  # type: ignore[arg-type]  # the tests know the fields

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "out").iterdir())

    def details(self, stage: str) -> list[str]:
        return sorted(f"{event.name} {event.detail}" for event in self.events if event.stage == stage)
