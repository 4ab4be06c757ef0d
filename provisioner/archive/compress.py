"""Compression: one reader for what the world sends, deterministic writers for what the kernel takes.

Reading: gzip (RFC 1952, several members), zstd (RFC 8878, several frames), xz (several streams), or plain bytes,
recognised by their first bytes. Output is bounded in ratio and window, so a bomb stops early.

Writing, for initrds (Linux ``init/initramfs.c`` and ``lib/decompress_*.c``):

* gzip: the header is ten bytes written here with time 0; the kernel skips no header field but the file name.
* xz: the integrity check must be CRC32, the only one the kernel's decoder is built with.
* zstd: one frame of at most a 128 MiB window; the frame's content size is left out as it is not known before.

Compressed bytes depend on the compressing library's version; `fingerprint` names it for cache keys.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from provisioner.archive.stream import CHUNK, LIMITS, Limits, Readable
from provisioner.errors import InputError, RefusedError

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
_BLOCK = 1 << 20
_BITE = 1024

METHODS: dict[str, int] = {"gzip": 8, "zstd": 12, "xz": 6, "none": 0}
"""The methods a writer knows, with their levels."""


class Compressor(Protocol):
    """A push compressor: bytes in, some bytes out, the rest from `flush`."""

    def compress(self, data: bytes, /) -> bytes:
        """Take bytes and return what is ready."""

    def flush(self) -> bytes:
        """Return the rest."""


class _Gzip:
    """One gzip member without name or time."""

    def __init__(self, level: int) -> None:
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -15, 8)
        self._crc = 0
        self._size = 0
        self._head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def compress(self, data: bytes) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        head, self._head = self._head, b""
        return head + self._deflate.compress(data)

    def flush(self) -> bytes:
        tail = self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._head + self._deflate.flush() + tail


class _Plain:
    """No compression, padded to four bytes so that the next archive starts where the kernel looks for it."""

    def __init__(self) -> None:
        self._size = 0

    def compress(self, data: bytes) -> bytes:
        self._size += len(data)
        return data

    def flush(self) -> bytes:
        return bytes(-self._size % 4)


class Writer:
    """Compresses what is written to ``sink`` in blocks of one size, so that output never depends on chunking."""

    def __init__(self, compressor: Compressor, sink: Callable[[bytes], object]) -> None:
        self._compressor = compressor
        self._sink = sink
        self._pending: list[bytes] = []
        self._held = 0

    def write(self, data: bytes) -> None:
        """Take bytes of any number."""
        self._pending.append(data)
        self._held += len(data)
        if self._held >= CHUNK:
            joined = b"".join(self._pending)
            whole = len(joined) - len(joined) % CHUNK
            for at in range(0, whole, CHUNK):
                self._emit(self._compressor.compress(joined[at:at + CHUNK]))
            self._pending = [joined[whole:]]
            self._held = len(joined) - whole

    def close(self) -> None:
        """Write what is left; the sink stays open."""
        self._emit(self._compressor.compress(b"".join(self._pending)))
        self._pending, self._held = [], 0
        self._emit(self._compressor.flush())

    def _emit(self, data: bytes) -> None:
        if data:
            self._sink(data)


def compressor(method: str, level: int | None = None) -> Compressor:
    """Return a deterministic compressor: gzip, zstd, xz or none; raise InputError for another name."""
    chosen = METHODS.get(method, 0) if level is None else level
    if method == "gzip":
        return _Gzip(chosen)
    if method == "none":
        return _Plain()
    if method == "xz":
        import lzma

        return lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, preset=chosen)
    if method == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=chosen, write_content_size=False, write_checksum=True).compressobj()
    raise InputError(f"no compression method {method!r}", hint=f"one of {', '.join(METHODS)}")


def fingerprint(method: str, level: int | None = None) -> str:
    """Return a text that changes whenever `compressor` would give other bytes for the same input."""
    chosen = METHODS[method] if level is None else level
    if method == "zstd":
        import zstandard

        return f"zstd {chosen} {'.'.join(map(str, zstandard.ZSTD_VERSION))}"
    return f"{method} {chosen} {zlib.ZLIB_RUNTIME_VERSION if method == 'gzip' else ''}".strip()


def detect(head: bytes) -> str:
    """Return the method that the first bytes (six are enough) belong to; ``none`` when they are of no known one."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if head.startswith(XZ_MAGIC):
        return "xz"
    if head.startswith(ZSTD_MAGIC) or (head[1:4] == _SKIPPABLE and head[:1] and head[0] & 0xF0 == 0x50):
        return "zstd"
    return "none"


class Decompressed:
    """A readable over what a compressed source holds, with ratio and window guarded.

    ``count_in`` and ``count_out`` are the bytes taken and given so far. With ``single`` it ends after one member
    (one gzip member, xz stream or zstd frame) and ``rest`` then holds what was read of the source beyond it.
    """

    def __init__(self, source: Readable, name: str, *, limits: Limits = LIMITS, head: bytes = b"",
                 single: bool = False) -> None:
        self._source = source
        self._name = name
        self._limits = limits
        self._single = single
        self._head = head or source.read(CHUNK)
        self.method = detect(self._head)
        self.count_in = 0
        self.count_out = 0
        self.rest = b""
        self._chunks = self._members() if self.method != "none" else iter(self._input, b"")
        self._held = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; raise InputError for corrupt data and RefusedError for a bomb."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._count(len(chunk))
            if len(chunk) <= size:
                return chunk
            self._held = memoryview(chunk)
        piece = self._held[:size]
        self._held = self._held[len(piece):]
        return bytes(piece)

    def _count(self, size: int) -> None:
        self.count_out += size
        limits = self._limits
        if self.method != "none" and self.count_out > max(limits.free, limits.ratio * self.count_in):
            raise RefusedError(
                f"{self._name}: {self.count_in} compressed bytes have become more than {self.count_out}",
                hint=f"more than {limits.ratio} times is taken for a decompression bomb")

    def _input(self) -> bytes:
        head, self._head = self._head, b""
        data = head or self._source.read(CHUNK)
        self.count_in += len(data)
        return data

    def _more(self) -> bytes:
        data = self._input()
        if not data:
            raise self._corrupt("it ends too early")
        return data

    def _corrupt(self, why: object) -> InputError:
        return InputError(f"{self._name}: corrupt {self.method} data: {why}", hint="fetch it again")

    def _members(self) -> Iterator[bytes]:
        member = {"gzip": self._gzip_member, "xz": self._xz_member, "zstd": self._zstd_member}[self.method]
        data = self._input()
        while data:
            unused = yield from member(data)
            if self._single:
                self.rest = unused
                return
            data = self._next_member(unused)

    def _next_member(self, unused: bytes) -> bytes:
        """Return the bytes from the next member on, past zero padding; none at the end."""
        data = unused.lstrip(b"\0")
        while len(data) < len(XZ_MAGIC) and (more := self._input()):
            data = (data + more).lstrip(b"\0")
        if data and detect(data) != self.method:
            raise self._corrupt("other data follows")
        return data

    def _gzip_member(self, data: bytes) -> Generator[bytes, None, bytes]:
        member = zlib.decompressobj(31)
        while not member.eof:
            try:
                out = member.decompress(data, _BLOCK)
            except zlib.error as error:
                raise self._corrupt(error) from error
            if out:
                yield out
            data = member.unconsumed_tail
            if not data and not member.eof and len(out) < _BLOCK:
                data = self._more()
        return member.unused_data

    def _xz_member(self, data: bytes) -> Generator[bytes, None, bytes]:
        import lzma

        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=self._limits.window * 2)
        while not stream.eof:
            try:
                out = stream.decompress(data, _BLOCK)
            except lzma.LZMAError as error:
                raise self._corrupt(error) from error
            if out:
                yield out
            data = self._more() if stream.needs_input and not stream.eof else b""
        return stream.unused_data

    def _zstd_member(self, data: bytes) -> Generator[bytes, None, bytes]:
        import zstandard

        frame = zstandard.ZstdDecompressor(max_window_size=self._limits.window).decompressobj()
        while True:
            # Four bytes may become 128 KiB: small bites keep what one call returns within bounds.
            for at in range(0, len(data), _BITE):
                try:
                    out = frame.decompress(data[at:at + _BITE])
                except zstandard.ZstdError as error:
                    raise self._corrupt(error) from error
                if out:
                    yield out
                if frame.eof:
                    return frame.unused_data + data[at + _BITE:]
            data = self._more()
