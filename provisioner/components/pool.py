"""The files of a set of Debian packages, read straight from their archives (deb(5)) into one spool file on disk.

No maintainer script runs and nothing is unpacked into a tree: an index holds each path's place in the spool, so that
memory does not grow with the packages. Paths are those of a merged /usr: ``lib/x`` is ``usr/lib/x``.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from provisioner.archive import compress, tar
from provisioner.components.apt import Package
from provisioner.errors import InputError
from provisioner.model.tree import Entry, Kind
from provisioner.oci.blobs import disk_errors

MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
_CHUNK = 1 << 18
_LINKS = 40


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


@dataclass(frozen=True, slots=True)
class PoolFile:
    """A path of a package: ``offset`` and ``size`` are its place in the spool, ``target`` a symlink's text."""

    path: str
    package: str
    kind: Kind
    mode: int
    size: int = 0
    offset: int = 0
    target: str = ""


class Pool(AbstractContextManager["Pool"]):
    """An index over packages. Use it as a context manager: the spool goes with it."""

    def __init__(self, folder: Path) -> None:
        with disk_errors(folder, 0):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self.files: dict[str, PoolFile] = {}
        self.control: dict[str, str] = {}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        with suppress(OSError):     # what a full disk did not take was reported when it was written
            self._spool.close()

    def add(self, package: Package, deb: Path) -> None:
        """Read one package. Raises InputError when it is none, DeviceError when the disk is full."""
        with deb.open("rb") as stream:
            for name, member in members(stream, package.path):
                where = f"{package.path}: {name}"
                if name.startswith("control.tar"):
                    self._add_control(package, where, member)
                elif name.startswith("data.tar"):
                    self._add_data(package, where, member)
        if package.name not in self.control:
            raise InputError(f"{package.path} is not a Debian package: it has no control file")

    def _add_control(self, package: Package, name: str, member: BinaryIO) -> None:
        for entry in tar.read(compress.Decompressed(member, name), name):
            if entry.path == "control":
                self.control[package.name] = b"".join(entry.content).decode()

    def _add_data(self, package: Package, name: str, member: BinaryIO) -> None:
        for entry in tar.read(compress.Decompressed(member, name), name):
            path = merged(entry.path)
            if not path:
                continue
            made = self._file(package.name, path, entry)
            if made.kind is not Kind.DIR or path not in self.files:
                self.files[path] = made

    def _file(self, package: str, path: str, entry: Entry) -> PoolFile:
        mode = entry.mode & 0o1777      # set-id programs have no use where every process is root or confined
        if entry.kind is Kind.HARDLINK:
            return replace(self.files[merged(entry.target)], path=path)
        if entry.kind is not Kind.FILE:
            return PoolFile(path, package, entry.kind, mode, target=entry.target)
        return replace(self.append(path, package, entry.content), mode=mode)

    def append(self, path: str, package: str, content: Iterable[bytes]) -> PoolFile:
        """Put more content into the spool and return its place; the index does not change."""
        def write(sink: Sink) -> None:
            for chunk in content:
                sink.write(chunk)

        return self.append_from(path, package, write)

    def append_from(self, path: str, package: str, write: Callable[[Sink], object]) -> PoolFile:
        """Let ``write`` write into the spool and return the place of what it wrote."""
        with disk_errors(self._folder / path, 0):
            start = self._spool.seek(0, os.SEEK_END)
            write(self._spool)
            self._spool.flush()
        return PoolFile(path, package, Kind.FILE, 0o644, self._spool.tell() - start, start)

    def chunks(self, file: PoolFile) -> Iterator[bytes]:
        """Yield the bytes of a regular file."""
        self._spool.flush()
        place, end = file.offset, file.offset + file.size
        while place < end:
            chunk = os.pread(self._spool.fileno(), min(_CHUNK, end - place), place)
            if not chunk:
                raise InputError(f"{file.path} ends early in the spool")
            place += len(chunk)
            yield chunk

    def read(self, file: PoolFile) -> bytes:
        """Return the bytes of a regular file."""
        return b"".join(self.chunks(file))

    def open(self, file: PoolFile) -> BinaryIO:
        """Return a seekable stream over a regular file."""
        self._spool.flush()
        return io.BufferedReader(_Slice(self._spool.fileno(), file.offset, file.size), 1 << 14)

    def trace(self, path: str) -> list[PoolFile]:
        """Return the symlinks on the way from ``path`` to what it names, and that last; empty for a dead end."""
        seen: list[PoolFile] = []
        for _ in range(_LINKS):
            link = next((self.files[head] for head in _heads(path) if self._is_link(head)), None)
            if link is None:
                return [*seen, self.files[path]] if path in self.files else []
            seen.append(link)
            path = merged(join(link.path, link.target) + path[len(link.path):])
        raise InputError(f"{path}: too many symbolic links")

    def _is_link(self, path: str) -> bool:
        return path in self.files and self.files[path].kind is Kind.SYMLINK


class _Slice(io.RawIOBase):
    """A read-only window of a file, addressed with pread so that windows do not disturb each other."""

    def __init__(self, handle: int, start: int, size: int) -> None:
        self._handle, self._start, self._size, self._place = handle, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # Buffer is 3.12's name
        count = max(0, min(len(buffer), self._size - self._place))
        chunk = os.pread(self._handle, count, self._start + self._place)
        buffer[:len(chunk)] = chunk
        self._place += len(chunk)
        return len(chunk)


def members(stream: BinaryIO, name: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yield (name, stream) of each member of a ``.deb``, an ar archive (ar(5)); read each before the next."""
    if stream.read(8) != b"!<arch>\n":
        raise InputError(f"{name} is not a Debian package: no ar archive")
    while header := stream.read(60):
        if len(header) < 60 or header[58:] != b"`\n":
            raise InputError(f"{name} is not a Debian package: broken ar header")
        size = int(header[48:58])
        start = stream.tell()
        member = io.BufferedReader(_Slice(stream.fileno(), start, size), _CHUNK)
        yield header[:16].decode().rstrip().rstrip("/"), member
        stream.seek(start + size + size % 2)


def merged(path: str) -> str:
    """Return a path as it stands where /bin, /sbin and /lib* are links into /usr; no leading slash or dot."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(["usr", *parts] if parts and parts[0] in MERGED else parts)


def join(link: str, target: str) -> str:
    """Return the path that a symlink at ``link`` with the text ``target`` names, without ``..``."""
    parts = [] if target.startswith("/") else link.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _heads(path: str) -> Iterator[str]:
    for index, letter in enumerate(path):
        if letter == "/":
            yield path[:index]
    yield path
