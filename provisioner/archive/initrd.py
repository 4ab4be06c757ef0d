"""Reads an initrd as Linux does (``init/initramfs.c``): any number of cpio archives, each plain or compressed.

Zero bytes between archives are skipped; a plain archive starts at a multiple of four; a compressed member may hold
several archives. Works on what other builders wrote, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from provisioner.archive.compress import Decompressed, detect
from provisioner.archive.cpio import MAGIC, CpioReader
from provisioner.archive.stream import CHUNK, LIMITS, Limits, Readable
from provisioner.errors import InputError
from provisioner.model.tree import Entry


@dataclass(slots=True)
class Segment:
    """One archive, or one compressed member, of an initrd; sizes and ``notes`` are known once it has been read.

    ``offset`` and ``size`` are bytes in the file, ``raw`` after decompression.
    """

    offset: int
    method: str
    size: int = 0
    raw: int = 0
    notes: list[bytes] = field(default_factory=list)


class Pushback:
    """A readable that takes bytes back; ``position`` counts what is read."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._held = b""
        self.position = 0

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""
        data = self._held or self._stream.read(max(size, CHUNK))
        self._held = data[size:]
        data = data[:size]
        self.position += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""
        self._held = data + self._held
        self.position -= len(data)

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes (fewer at the end) without taking them."""
        data = b""
        while len(data) < size and (more := self.read(size - len(data))):
            data += more
        self.unread(data)
        return data

    def skip_zeros(self) -> bool:
        """Skip zero bytes; say whether anything follows."""
        while data := self.read(CHUNK):
            if rest := data.lstrip(b"\0"):
                self.unread(rest)
                return True
        return False


def segments(stream: Readable, name: str, *, limits: Limits = LIMITS) -> Iterator[tuple[Segment, Iterator[Entry]]]:
    """Yield each segment with its entries; what was not read of them is skipped.

    Raises InputError for what is no initrd, RefusedError for hostile content.
    """
    source = Pushback(stream)
    while source.skip_zeros():
        head = source.peek(6)
        segment = Segment(source.position, detect(head))
        if segment.method == "none" and head not in MAGIC:
            raise InputError(f"{name}: neither a cpio archive nor compressed data at offset {source.position}",
                             hint=f"it starts with {head!r}")
        entries = _plain(source, segment, name, limits) if segment.method == "none" else \
            _compressed(source, segment, name, limits)
        yield segment, entries
        for _ in entries:
            pass


def _plain(source: Pushback, segment: Segment, name: str, limits: Limits) -> Iterator[Entry]:
    archive = CpioReader(source, name, limits=limits)
    yield from archive
    _finish(segment, archive)
    segment.size = source.position - segment.offset


def _compressed(source: Pushback, segment: Segment, name: str, limits: Limits) -> Iterator[Entry]:
    member = Decompressed(source, name, limits=limits, single=True)
    inner = Pushback(member)
    while inner.skip_zeros():
        archive = CpioReader(inner, name, limits=limits)
        yield from archive
        _finish(segment, archive)
    source.unread(member.rest)
    segment.raw = member.count_out
    segment.size = source.position - segment.offset


def _finish(segment: Segment, archive: CpioReader) -> None:
    segment.raw += archive.raw
    if archive.note:
        segment.notes.append(archive.note)
