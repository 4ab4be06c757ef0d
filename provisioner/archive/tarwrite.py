"""Writes tar archives whose bytes depend on the entries alone (POSIX.1-2017 pax over ustar).

No user or group names, no clock, no process id. A PAX header is written only where ustar cannot hold a value: names
over 100 bytes or outside ASCII, sizes over 8 GiB, owners over 2097151, times before 1970, extended attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from provisioner.errors import InputError
from provisioner.model.tree import Entry, Kind

BLOCK = 512
_TYPES = {Kind.FILE: b"0", Kind.HARDLINK: b"1", Kind.SYMLINK: b"2", Kind.CHAR: b"3", Kind.BLOCK: b"4", Kind.DIR: b"5",
          Kind.FIFO: b"6"}
_NONE: Mapping[str, str] = MappingProxyType({})


class TarWriter:
    """Writes entries to ``sink`` as they come; `close` writes the two empty blocks at the end."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink

    def add(self, entry: Entry, records: Mapping[str, str] = _NONE) -> None:
        """Write one entry, with further PAX ``records``; raise InputError when its content has another size."""
        name = _bytes(entry.path) + (b"/" if entry.kind is Kind.DIR else b"")
        target = _bytes(entry.target)
        pax = {key.encode(): _bytes(value) for key, value in records.items()}
        short = _short(pax, b"path", name)
        link = _short(pax, b"linkpath", target)
        size = entry.size if entry.kind is Kind.FILE else 0
        numbers = [_number(pax, key, value, width) for key, value, width in
                   ((b"", entry.mode, 8), (b"uid", entry.uid, 8), (b"gid", entry.gid, 8), (b"size", size, 12),
                    (b"mtime", entry.mtime, 12))]
        pax.update((b"SCHILY.xattr." + _bytes(key), value) for key, value in entry.xattrs)
        if pax:
            self._extended(name, pax)
        self._sink(_header(short, numbers, _TYPES[entry.kind], link, entry.device))
        if entry.kind is Kind.FILE:
            self._content(entry)

    def close(self) -> None:
        """End the archive; the sink stays open."""
        self._sink(bytes(2 * BLOCK))

    def _content(self, entry: Entry) -> None:
        left = entry.size
        for chunk in entry.content:
            left -= len(chunk)
            self._sink(chunk)
        if left:
            raise InputError(f"{entry.path}: content differs by {-left} bytes from its size of {entry.size}")
        if padding := -entry.size % BLOCK:
            self._sink(bytes(padding))

    def _extended(self, name: bytes, pax: Mapping[bytes, bytes]) -> None:
        data = b"".join(_record(key, value) for key, value in sorted(pax.items()))
        folder, _, base = name.rstrip(b"/").rpartition(b"/")
        label = (folder + b"/" if folder else b"") + b"PaxHeaders/" + base
        self._sink(_header(label[:100], [b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % len(data),
                                         b"00000000000\0"], b"x", b"", (0, 0)))
        self._sink(data + bytes(-len(data) % BLOCK))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _short(pax: dict[bytes, bytes], key: bytes, value: bytes) -> bytes:
    """Return what fits into a header's 100 bytes; note the whole value in ``pax`` if that is not all."""
    if len(value) > 100 or not value.isascii():
        pax[key] = value
    return value[:100]


def _number(pax: dict[bytes, bytes], key: bytes, value: int, width: int) -> bytes:
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    pax[key] = b"%d" % value
    return b"%0*o\0" % (width - 1, 0)


def _record(key: bytes, value: bytes) -> bytes:
    """Return a PAX record, whose length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _header(name: bytes, numbers: list[bytes], kind: bytes, link: bytes, device: tuple[int, int]) -> bytes:
    mode, uid, gid, size, mtime = numbers
    major, minor = (b"%07o\0" % number for number in device)
    head = name.ljust(100, b"\0") + mode + uid + gid + size + mtime
    tail = kind + link.ljust(100, b"\0") + b"ustar\0" + b"00" + bytes(64) + major + minor + bytes(155 + 12)
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * 32) + tail
