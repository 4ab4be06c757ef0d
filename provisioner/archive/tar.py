"""Tar archives (POSIX.1-2017 pax, ustar, and GNU's extensions) as a stream of entries, made for hostile input.

Reads what Docker, containerd, Go, GNU tar and libarchive write: ustar with prefix, PAX headers (path, linkpath, size,
uid, gid, mtime, ``SCHILY.xattr.*`` and ``LIBARCHIVE.xattr.*``), GNU long names and base-256 numbers. Nothing is ever
unpacked, so nothing outside can be reached; names that try to (``..``, absolute, NUL, longer than Linux allows) are
refused all the same, for no honest image has them. Sparse members and multi-volume archives are refused by name.

An entry's ``links`` is 0 for a file: what links will follow is not known to a reader of streams.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from provisioner.archive.stream import CHUNK, LIMITS, Limits, Readable, drain, read_exact
from provisioner.errors import InputError, RefusedError
from provisioner.model.tree import Entry, Kind

BLOCK = 512
_EMPTY = bytes(BLOCK)
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"7": Kind.FILE, b"1": Kind.HARDLINK, b"2": Kind.SYMLINK,
          b"3": Kind.CHAR, b"4": Kind.BLOCK, b"5": Kind.DIR, b"6": Kind.FIFO}
_UNREADABLE = {b"S": "a sparse file (GNU format)", b"D": "a directory dump of an incremental GNU archive",
               b"M": "a piece of a multi-volume archive", b"N": "an old GNU long name"}
_DEVICES = (b"3", b"4")
_SLASH = ord("/")
_UNUSUAL = re.compile(rb"[\0]|\./|//|[./]$").search
_XATTR = "SCHILY.xattr."
_XATTR_LIBARCHIVE = "LIBARCHIVE.xattr."
_HARMLESS_GLOBAL = {"comment"}
Observer = Callable[[str, Mapping[str, str]], None]


def _look_away(_path: str, _records: Mapping[str, str]) -> None:
    """Be the observer of those who do not need the records."""


def read(stream: Readable, name: str, *, limits: Limits = LIMITS, observe: Observer = _look_away) -> Iterator[Entry]:
    """Yield every entry of an uncompressed tar in its order, then read the stream to its end.

    ``name`` is what errors call the archive; ``observe`` is shown each entry's path and PAX records before it comes.
    Paths come cleaned (no leading ``./``, no trailing slash); the root itself is left out. A file's content is valid
    until the next entry is asked for; what was not read is skipped. Raises InputError for a broken archive and
    RefusedError for one that asks for what it must not.
    """
    return iter(_Reader(stream, name, limits, observe))


@dataclass(slots=True)
class _Header:
    """The fields of one 512-byte header. Not frozen, for there are many and freezing takes its time."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: bytes
    link: bytes
    device: tuple[int, int]


class _Reader:
    def __init__(self, stream: Readable, name: str, limits: Limits, observe: Observer) -> None:
        self._stream = stream
        self._name = name
        self._limits = limits
        self._observe = observe
        self._left = 0
        self._padding = 0
        self._count = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._entry()) is not None:
            if entry.path:
                yield entry
        drain(self._stream)

    def _entry(self) -> Entry | None:
        """Read headers up to the next member and return it; None at the end."""
        records: dict[str, str] = {}
        long: dict[bytes, bytes] = {}
        while (header := self._header()) is not None:
            if header.type == b"x":
                records.update(self._records(header))
            elif header.type == b"g":
                self._refuse_globals(self._records(header))
            elif header.type in (b"L", b"K"):
                long[header.type] = self._extended(header).rstrip(b"\0")
            elif header.type == b"V":
                self._extended(header)
            else:
                return self._member(header, records, long)
        if records or long:
            raise self._broken("a long name or PAX header stands before the end")
        return None

    def _header(self) -> _Header | None:
        self._skip()
        block = self._stream.read(BLOCK)
        if not block:
            return None  # many writers leave out the two empty blocks
        if len(block) < BLOCK:
            block += read_exact(self._stream, BLOCK - len(block), self._name)
        if block == _EMPTY:
            return None
        self._count += 1
        if self._count > self._limits.entries:
            raise RefusedError(f"{self._name}: more than {self._limits.entries} entries",
                               hint="no machine image needs so many; is this the right image?")
        fields = _FIELDS.unpack(block)
        if not _sum_is_right(block, self._number(fields[6], "checksum")):
            raise self._broken("a header's checksum is wrong")
        name = fields[0].partition(b"\0")[0]
        prefix = fields[15].partition(b"\0")[0]
        if prefix and fields[9] == b"ustar\0":
            name = prefix + b"/" + name
        number, kind = self._number, fields[7]
        device = (number(fields[13], "device"), number(fields[14], "device")) if kind in _DEVICES else (0, 0)
        link = fields[8].partition(b"\0")[0]
        return _Header(name, number(fields[1], "mode") & 0o7777, number(fields[2], "uid"), number(fields[3], "gid"),
                       number(fields[4], "size"), number(fields[5], "time"), kind, link, device)

    def _number(self, field: bytes, label: str) -> int:
        try:
            return _integer(field)
        except ValueError:
            raise self._broken(f"{label} is no octal number: {field!r}") from None

    def _extended(self, header: _Header) -> bytes:
        if not 0 <= header.size <= self._limits.extended:
            raise RefusedError(f"{self._name}: a header of {header.size} bytes",
                               hint=f"at most {self._limits.extended} are read")
        data = read_exact(self._stream, header.size, self._name)
        self._left, self._padding = 0, -header.size % BLOCK
        return data

    def _records(self, header: _Header) -> dict[str, str]:
        """Read a PAX header's ``length key=value`` lines."""
        data = self._extended(header)
        records: dict[str, str] = {}
        at = 0
        while at < len(data):
            digits, space, _ = data[at:at + 12].partition(b" ")
            length = int(digits) if digits.isdigit() else 0
            key, equals, value = data[at + len(digits) + 1:at + length - 1].partition(b"=")
            if not (space and equals and at + length <= len(data) and data[at + length - 1:at + length] == b"\n"):
                raise self._broken("a PAX header's record is malformed")
            records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
            at += length
        return records

    def _refuse_globals(self, records: Mapping[str, str]) -> None:
        if strange := sorted(set(records) - _HARMLESS_GLOBAL):
            raise RefusedError(f"{self._name}: a global PAX header sets {', '.join(strange)} for all that follows",
                               hint="container layers must not have one")

    def _member(self, header: _Header, records: Mapping[str, str], long: Mapping[bytes, bytes]) -> Entry:
        if records or long:
            header = self._amended(header, records, long)
        path = clean_path(header.name, self._name, self._limits)
        kind = self._kind(header, records)
        size = header.size if kind is Kind.FILE else 0
        if size < 0:
            raise RefusedError(f"{self._name}: {path}: negative size {size}")
        self._left, self._padding = size, -size % BLOCK
        if not (0 <= header.uid < 1 << 32 and 0 <= header.gid < 1 << 32):
            raise self._broken(f"{path}: owner {header.uid}:{header.gid} is out of range")
        self._observe(path, records)
        if kind is Kind.FILE or kind is Kind.DIR:
            return Entry(path, kind, header.mode, header.uid, header.gid, header.mtime, size,
                         xattrs=self._xattrs(records, path) if records else (),
                         content=self._content(self._count) if size else (), links=0 if kind is Kind.FILE else 1)
        return Entry(path, kind, header.mode, header.uid, header.gid, header.mtime, 0,
                     self._target(kind, header.link, path), self._device(kind, header, path),
                     self._xattrs(records, path))

    def _amended(self, header: _Header, records: Mapping[str, str], long: Mapping[bytes, bytes]) -> _Header:
        """Return a header with what PAX records and GNU long names say in its fields' place."""
        return _Header(
            _raw(records.get("path"), long.get(b"L"), header.name), header.mode,
            self._integer(records, "uid", header.uid), self._integer(records, "gid", header.gid),
            self._integer(records, "size", header.size), self._mtime(records, header.mtime), header.type,
            _raw(records.get("linkpath"), long.get(b"K"), header.link), header.device)

    def _kind(self, header: _Header, records: Mapping[str, str]) -> Kind:
        raw = header.name
        sparse = bool(records) and any(key.startswith("GNU.sparse.") for key in records)
        if header.type in _UNREADABLE or sparse:
            what = _UNREADABLE.get(header.type, "a sparse file (PAX format)")
            raise RefusedError(f"{self._name}: {_show(raw)} is {what}", hint="write the archive without it")
        kind = _KINDS.get(header.type)
        if kind is None:
            raise RefusedError(f"{self._name}: {_show(raw)} is of the unknown type {header.type!r}")
        return Kind.DIR if kind is Kind.FILE and raw.endswith(b"/") else kind

    def _target(self, kind: Kind, raw: bytes, path: str) -> str:
        if kind is Kind.HARDLINK:
            target = clean_path(raw.lstrip(b"/"), f"{self._name}: hard link {path}", self._limits)
            if not target:
                raise RefusedError(f"{self._name}: {path} is a hard link to nothing")
            return target
        if kind is not Kind.SYMLINK:
            return ""
        if not raw or b"\0" in raw or len(raw) > self._limits.path:
            raise RefusedError(f"{self._name}: symlink {path} has an empty, overlong or NUL target")
        return raw.decode("utf-8", "surrogateescape")

    def _device(self, kind: Kind, header: _Header, path: str) -> tuple[int, int]:
        if kind not in (Kind.CHAR, Kind.BLOCK):
            return (0, 0)
        if not all(0 <= number < 1 << 20 for number in header.device):
            raise self._broken(f"{path}: device number {header.device} is out of range")
        return header.device

    def _xattrs(self, records: Mapping[str, str], path: str) -> tuple[tuple[str, bytes], ...]:
        found = {}
        for key, value in records.items():
            if key.startswith(_XATTR):
                found[key.removeprefix(_XATTR)] = value.encode("utf-8", "surrogateescape")
            elif key.startswith(_XATTR_LIBARCHIVE):
                found.setdefault(*self._libarchive(key, value, path))
        return tuple(sorted(found.items()))

    def _libarchive(self, key: str, value: str, path: str) -> tuple[str, bytes]:
        import base64
        from urllib.parse import unquote

        try:
            padded = value + "=" * (-len(value) % 4)
            return unquote(key.removeprefix(_XATTR_LIBARCHIVE)), base64.b64decode(padded, validate=True)
        except ValueError:
            raise self._broken(f"{path}: {key} is no base64") from None

    def _integer(self, records: Mapping[str, str], key: str, default: int) -> int:
        text = records.get(key)
        if not text:
            return default
        if not text.removeprefix("-").isdecimal() or len(text) > 20:
            raise self._broken(f"PAX record {key} is no number: {text[:40]!r}")
        return int(text)

    def _mtime(self, records: Mapping[str, str], default: int) -> int:
        text = records.get("mtime")
        if not text:
            return default
        try:
            return math.floor(float(text))
        except (ValueError, OverflowError):
            raise self._broken(f"PAX record mtime is no time: {text[:40]!r}") from None

    def _content(self, number: int) -> Iterator[bytes]:
        while self._left and number == self._count:
            data = self._stream.read(min(self._left, CHUNK))
            if not data:
                raise self._broken(f"ends {self._left} bytes before its content does")
            self._left -= len(data)
            yield data

    def _skip(self) -> None:
        left = self._left + self._padding
        self._left = self._padding = 0
        while left:
            data = self._stream.read(min(left, CHUNK))
            if not data:
                raise self._broken(f"ends {left} bytes before its content does")
            left -= len(data)

    def _broken(self, why: str) -> InputError:
        return InputError(f"{self._name}: not a sound tar archive: {why}", hint="fetch or make it again")


@lru_cache(1 << 12)
def _integer(field: bytes) -> int:
    """Read octal text, or GNU's base-256 when the top bit is set; raise ValueError for anything else."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    text = field.strip(b" \0")
    return int(text, 8) if text else 0


def clean_path(raw: bytes, name: str, limits: Limits = LIMITS) -> str:
    """Return an archive's path as `Entry` wants it, ``""`` for the root; raise RefusedError for a hostile one."""
    if raw and len(raw) <= limits.name and raw.isascii() and raw[0] != _SLASH and not _UNUSUAL(raw):
        return raw.decode()
    if b"\0" in raw:
        raise RefusedError(f"{name}: {_show(raw)} holds a NUL byte")
    if raw.startswith(b"/"):
        raise RefusedError(f"{name}: {_show(raw)} is absolute", hint="names in an archive are relative to its root")
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise RefusedError(f"{name}: {_show(raw)} leads out of the archive")
    path = b"/".join(parts)
    if len(path) > limits.path or any(len(part) > limits.name for part in parts):
        raise RefusedError(f"{name}: {_show(raw)} is longer than Linux allows",
                           hint=f"{limits.path} bytes in all, {limits.name} between slashes")
    return path.decode("utf-8", "surrogateescape")


def _raw(record: str | None, long: bytes | None, short: bytes) -> bytes:
    if record:
        return record.encode("utf-8", "surrogateescape")
    return short if long is None else long


def _show(raw: bytes) -> str:
    text = ascii(raw[:120])[1:]
    return f"{text}…" if len(raw) > 120 else text


def _sum_is_right(block: bytes, wanted: int) -> bool:
    """Check a header's sum, taken with its own field as blanks; old writers summed signed bytes."""
    unsigned = sum(block) - sum(block[148:156]) + 256
    if unsigned == wanted:
        return True
    rest = block[:148] + block[156:]
    return unsigned - 256 * sum(1 for byte in rest if byte > 127) == wanted
