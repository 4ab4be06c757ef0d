"""The store of initrd segments: one compressed cpio archive per key, made once and then copied.

A stored segment is a folder ``<id>/`` with ``segment`` (the compressed archive), ``meta.json`` (sizes, digests, what
it needs) and the files that were taken out of the stream, such as the kernel. The id is a sha256 over the caller's
key, the compression with its library's version, and `WRITER`. Folders are written under another name and renamed, so
what is there is complete; bytes are checked against their digest whenever they are used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any, Self

from provisioner.archive.compress import Writer, compressor, fingerprint
from provisioner.archive.cpio import CpioWriter
from provisioner.archive.output import translated
from provisioner.errors import RefusedError
from provisioner.model.tree import Entry, Kind

WRITER = 1
"""Counts up whenever the same entries would be written as other bytes."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of a stored segment."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A stored segment: ``raw`` bytes before compression, ``missing`` the directories it needs and does not make.

    ``taken`` holds the files that were left out of the archive and kept beside it, by their path in the tree.
    """

    folder: Path
    digest: str
    size: int
    raw: int
    entries: int
    xattrs: int
    missing: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    taken: dict[str, Blob] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The compressed archive."""
        return self.folder / "segment"

    def taken_path(self, name: str) -> Path:
        """Return where a taken file lies."""
        return self.folder / _flat(name)


class SegmentStore:
    """The segments below ``root``, written with one compression ``method``."""

    def __init__(self, root: Path, method: str, level: int | None = None) -> None:
        self._root = root
        self._method = method
        self._level = level
        self._salt = f"{WRITER}\n{fingerprint(method, level)}\n"
        with translated(root, 0):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            _refuse_foreign(root)

    def find(self, key: str) -> Segment | None:
        """Return the stored segment of ``key``, or None; its bytes are still to be checked."""
        folder = self._folder(key)
        try:
            data = json.loads((folder / "meta.json").read_bytes())
            segment = _from_json(folder, data)
            sizes = {segment.taken_path(name): blob.size for name, blob in segment.taken.items()}
            if all(path.stat().st_size == size for path, size in (sizes | {segment.path: segment.size}).items()):
                return segment
        except (FileNotFoundError, KeyError, TypeError, ValueError, AttributeError):
            pass
        return None

    def forget(self, key: str) -> None:
        """Drop a segment that turned out damaged."""
        shutil.rmtree(self._folder(key), ignore_errors=True)

    def build(self, key: str, entries: Iterable[Entry], *, take: Callable[[Entry], bool],
              check: Callable[[], None] = lambda: None) -> Segment:
        """Write the segment of ``key`` and return it; ``take`` says which files are kept beside the archive.

        ``check`` is called often and may raise to stop the work.
        """
        with self.scratch() as folder:
            segment = self.write(folder, entries, take=take, check=check)
            with translated(folder, segment.size):
                (folder / "meta.json").write_text(json.dumps(_to_json(segment), sort_keys=True))
                return self._place(key, segment)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a folder in the store that is removed at the end."""
        with translated(self._root, 0):
            folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write(self, folder: Path, entries: Iterable[Entry], *, take: Callable[[Entry], bool],
              check: Callable[[], None] = lambda: None, note: bytes = b"") -> Segment:
        """Write entries as a segment into an empty ``folder``; see `build`. ``note`` goes into the trailer."""
        taken: dict[str, Blob] = {}
        with _Hashed(folder / "segment", check) as file:
            packer = Writer(compressor(self._method, self._level), file.write)
            counter = Counter(_checked(packer.write, check))
            archive = CpioWriter(counter)
            for entry in entries:
                if entry.kind is Kind.FILE and take(entry):
                    taken[entry.path] = _keep(folder / _flat(entry.path), entry.content, check)
                else:
                    archive.add(entry)
            archive.close(note)
            packer.close()
        return Segment(folder, file.digest, file.size, counter.size, archive.entries, archive.xattrs,
                       tuple(archive.missing), tuple(sorted(archive.directories)), taken)

    def _place(self, key: str, segment: Segment) -> Segment:
        """Rename the folder into place; when another process was faster, its bytes are the same."""
        folder = self._folder(key)
        with suppress(OSError):
            segment.folder.rename(folder)
            return replace(segment, folder=folder)
        if there := self.find(key):
            return there
        shutil.rmtree(folder, ignore_errors=True)
        segment.folder.rename(folder)
        return replace(segment, folder=folder)

    def _folder(self, key: str) -> Path:
        return self._root / hashlib.sha256(f"{self._salt}{key}".encode()).hexdigest()


class Counter:
    """Passes bytes on and counts them in ``size``."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self.size = 0

    def __call__(self, data: bytes) -> None:
        """Pass ``data`` on."""
        self.size += len(data)
        self._sink(data)


class _Hashed:
    """A new file with digest and size of what was written to it."""

    def __init__(self, path: Path, check: Callable[[], None]) -> None:
        self._path = path
        self._check = check
        self._hash = hashlib.sha256()
        self._file = FileIO(path, "x")
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> None:
        self._check()
        self._hash.update(data)
        with translated(self._path, self.size):
            left = memoryview(data)
            while left:
                left = left[self._file.write(left):]
        self.size += len(data)


def _checked(sink: Callable[[bytes], object], check: Callable[[], None]) -> Callable[[bytes], None]:
    """Check before each piece goes in: out of a compressor little may come for long."""
    def write(data: bytes) -> None:
        check()
        sink(data)

    return write


def _keep(path: Path, content: Iterable[bytes], check: Callable[[], None]) -> Blob:
    with _Hashed(path, check) as file:
        for chunk in content:
            file.write(chunk)
    return Blob(file.digest, file.size)


def _flat(path: str) -> str:
    return "taken-" + hashlib.sha256(path.encode()).hexdigest()[:16]


def _to_json(segment: Segment) -> dict[str, Any]:
    data = asdict(segment)
    del data["folder"]
    return data


def _from_json(folder: Path, data: dict[str, Any]) -> Segment:
    taken = {path: Blob(**blob) for path, blob in data["taken"].items()}
    return Segment(folder, **(data | {"taken": taken, "missing": tuple(data["missing"]),
                                      "directories": tuple(data["directories"])}))


def _refuse_foreign(root: Path) -> None:
    """Refuse a cache that another user could have filled."""
    state = root.stat()
    if state.st_uid not in (os.geteuid(), 0) or state.st_mode & 0o022:
        raise RefusedError(f"{root} belongs to another user or may be written by others",
                           hint="give the cache a folder of its own with PROVISIONER_CACHE")
