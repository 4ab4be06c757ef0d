"""Entries for the writers' tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from provisioner.model.tree import Entry, Kind

ENTRIES = (
    (Entry("dir", Kind.DIR, 0o755, mtime=1), b""),
    (Entry("dir/file", Kind.FILE, 0o4711, 1000, 100, 1492533000, xattrs=(("user.a", b"\x00b"),), links=2), b"hello"),
    (Entry("dir/again", Kind.HARDLINK, 0o4711, 1000, 100, 1492533000, target="dir/file", links=2), b""),
    (Entry("dir/empty", Kind.FILE), b""),
    (Entry("link", Kind.SYMLINK, 0o777, target="/dir/file"), b""),
    (Entry("null", Kind.CHAR, 0o666, device=(1, 3)), b""),
    (Entry("disk", Kind.BLOCK, 0o660, device=(8, 1)), b""),
    (Entry("pipe", Kind.FIFO, 0o600), b""),
    (Entry("naïve-" + "n" * 120, Kind.FILE, 0o644), b"long\n"),
)


def stream() -> Iterator[Entry]:
    """Yield the entries with their content."""
    for entry, body in ENTRIES:
        yield filled(entry, body) if entry.kind is Kind.FILE else entry


def filled(entry: Entry, body: bytes) -> Entry:
    """Return a file with content."""
    return dataclasses.replace(entry, size=len(body), content=(body,))
