"""Entries of a component as an uncompressed tar (POSIX.1-2017, pax for long names), the same bytes everywhere."""

from __future__ import annotations

import tarfile  # noqa: TID251 - headers only, until archive/ writes tar
from collections.abc import Iterable

from provisioner.components.pool import Sink
from provisioner.model.tree import Entry, Kind

_TYPES = {Kind.FILE: tarfile.REGTYPE, Kind.DIR: tarfile.DIRTYPE, Kind.SYMLINK: tarfile.SYMTYPE}


def write(entries: Iterable[Entry], sink: Sink) -> None:
    """Write files, folders and symlinks."""
    for entry in entries:
        head = tarfile.TarInfo(entry.path)
        head.type, head.mode, head.uid, head.gid = _TYPES[entry.kind], entry.mode, entry.uid, entry.gid
        head.mtime, head.size, head.linkname = entry.mtime, entry.size, entry.target
        sink.write(head.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        for chunk in entry.content:
            sink.write(chunk)
        sink.write(bytes(-entry.size % 512))
    sink.write(bytes(1024))
