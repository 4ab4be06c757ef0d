"""The record of a console: every byte as it came, and beside it when it came.

``FILE`` holds the raw bytes and nothing else. ``FILE.index`` has a line for each piece that was read:

    # provisioner console index 1: offset length monotonic wall
    0 86 1131.567815 1795508782.218637
    gap 512 1131.6 1795508782.3

``offset`` and ``length`` count bytes of FILE, ``monotonic`` and ``wall`` seconds (CLOCK_MONOTONIC, since 1970). A
``gap`` line tells how many bytes could not be written, because the disk was full. Both files are appended to with
unbuffered writes: what was read is in the file, also when this program is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from provisioner.errors import DeviceError, InputError

HEADER = "# provisioner console index 1: offset length monotonic wall\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """One read: ``length`` bytes of the log at ``offset``, when they came, or a gap where they are missing."""

    offset: int
    length: int
    monotonic: float
    wall: float
    gap: bool = False


class RawLog:
    """Appends to a log and its index. ``lost`` counts bytes that found no room, ``trouble`` says why."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self.trouble = ""
        self._raw = -1
        self._index = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = _append(path)
            self._index = _append(index_of(path))
            self._offset = os.fstat(self._raw).st_size
            if not os.fstat(self._index).st_size:
                os.write(self._index, HEADER.encode())
        except OSError as error:
            self.close()
            raise DeviceError(f"cannot write the log {path}: {error.strerror}") from error

    def write(self, data: bytes, monotonic: float, wall: float) -> None:
        """Append ``data``. A full disk is no error: what did not fit is counted, and a later write tries again."""
        begin = self._offset
        try:
            self._append(data)
            if self.lost:
                self._note(f"gap {self.lost} {monotonic:.6f} {wall:.6f}\n")
                self.lost, self.trouble = 0, ""
        except OSError as error:
            self.lost += len(data) - (self._offset - begin)
            self.trouble = error.strerror or "cannot write"
        if self._offset > begin:
            self._note(f"{begin} {self._offset - begin} {monotonic:.6f} {wall:.6f}\n")

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._raw, view)
            self._offset += written
            view = view[written:]

    def _note(self, line: str) -> None:
        try:
            os.write(self._index, line.encode())
        except OSError as error:
            self.trouble = error.strerror or "cannot write"

    def close(self) -> None:
        """Close both files."""
        for descriptor in (self._raw, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._raw = self._index = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def index_of(log: Path) -> Path:
    """Return the path of a log's index."""
    return log.with_name(log.name + ".index")


def read_index(log: Path) -> Iterator[Piece]:
    """Yield the pieces of a log in order; a last line that a kill cut short is left out.

    Raises InputError with the line number for anything else that is no index line.
    """
    path = index_of(log)
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        if line.startswith("#") or not line.endswith("\n"):
            continue
        words = line.split()
        try:
            if words[0] == "gap":
                yield Piece(0, int(words[1]), float(words[2]), float(words[3]), gap=True)
            else:
                yield Piece(int(words[0]), int(words[1]), float(words[2]), float(words[3]))
        except (ValueError, IndexError) as error:
            raise InputError(f"{path}:{number}: not a line of a console index") from error


def _append(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
