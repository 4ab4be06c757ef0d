"""Entries of a component as an uncompressed tar."""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.archive.tarwrite import TarWriter
from provisioner.components.pool import Sink
from provisioner.model.tree import Entry


def write(entries: Iterable[Entry], sink: Sink) -> None:
    """Write ``entries`` and the archive's end into ``sink``."""
    writer = TarWriter(sink.write)
    for entry in entries:
        writer.add(entry)
    writer.close()
