"""Output files that appear complete or not at all.

A file is written without a name (``O_TMPFILE``), so that even a killed process leaves nothing; where the file system
cannot do that, under a hidden temporary name. `Outputs.commit` gives all files of a build their names.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO, RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Self

from provisioner.archive.stream import CHUNK
from provisioner.errors import DeviceError, PrivilegeError, ProvisionerError, UsageError

STDOUT = Path("-")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutputFile:
    """A file in the making: ``size`` and `digest` are those of what was written so far."""

    def __init__(self, path: Path, file: FileIO, temporary: Path | None) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._hash = hashlib.sha256()
        self._temporary = temporary
        self._mark = (0, self._hash.copy())

    @property
    def digest(self) -> str:
        """``sha256:`` and the hexadecimal digest."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes | memoryview) -> None:
        """Append; raise DeviceError with path and bytes written when the disk is full."""
        self._hash.update(data)
        with translated(self.path, self.size):
            left = memoryview(data)
            while left:
                left = left[self._file.write(left):]
        self.size += len(data)

    def mark(self) -> None:
        """Remember this place for `rewind`."""
        self._mark = (self.size, self._hash.copy())

    def rewind(self) -> None:
        """Forget what was written since `mark`."""
        self.size, self._hash = self._mark[0], self._mark[1].copy()
        with translated(self.path, self.size):
            self._file.seek(self.size)
            self._file.truncate()

    def publish(self) -> None:
        """Give the finished file its name, in place of what was there."""
        with translated(self.path, self.size):
            if self._temporary == STDOUT:
                self._file.close()
                return
            if self._temporary is None:
                self._temporary = _hidden(self.path)
                # With a folder's number given, Python calls linkat with AT_SYMLINK_FOLLOW; without, it does not.
                os.link(f"/proc/self/fd/{self._file.fileno()}", self._temporary, src_dir_fd=self._file.fileno(),
                        follow_symlinks=True)
            self._temporary.replace(self.path)
            self._temporary = None
            self._file.close()

    def discard(self) -> None:
        """Leave nothing."""
        with suppress(OSError):
            self._file.close()
        if self._temporary not in (None, STDOUT):
            self._temporary.unlink(missing_ok=True)


class Outputs:
    """The output files of one run; leaving the context without `commit` discards them all.

    With ``only`` the run has one output and that is its path, whatever it asks for; ``-`` is standard output.
    """

    def __init__(self, only: Path | None = None) -> None:
        self._only = only
        self._files: list[OutputFile] = []
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for file in self._files:
            file.discard()
        if self._files:
            for folder in reversed(self._made):
                with suppress(OSError):
                    folder.rmdir()
        self._files = []

    def create(self, path: Path) -> OutputFile:
        """Start a file that will be called ``path``; its folder is made when missing."""
        path = self._only or path
        if path == STDOUT:
            return self._keep(OutputFile(path, FileIO(os.dup(1), "w"), STDOUT))
        with translated(path, 0):
            mode = _mode(path)
        if stat.S_ISDIR(mode):
            raise UsageError(f"{path} is a directory", hint="choose another name for the output")
        if mode and not stat.S_ISREG(mode):
            # A device or a pipe is written to as it is: a rename would put a plain file in its place.
            with translated(path, 0):
                return self._keep(OutputFile(path, FileIO(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "w"), STDOUT))
        if any(file.path == path for file in self._files):
            raise UsageError(f"two outputs would be called {path}", hint="give them different names or formats")
        with translated(path, 0):
            self._make_folder(path.parent)
            file, temporary = _open(path)
        return self._keep(OutputFile(path, file, temporary))

    def commit(self) -> None:
        """Put every file in place."""
        for file in self._files:
            file.publish()
        self._files = []

    def _keep(self, output: OutputFile) -> OutputFile:
        self._files.append(output)
        return output

    def _make_folder(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder")
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self._made.append(folder)


@contextmanager
def translated(path: Path, written: int) -> Iterator[None]:
    """Turn an OSError about ``path`` into DeviceError or PrivilegeError that names it and the bytes written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except PermissionError as error:
        raise PrivilegeError(f"{path}: {error.strerror}", hint="choose a folder that you may write to") from error
    except OSError as error:
        raise _failure(path, written, error) from error


def copy(source: RawIOBase, target: OutputFile, *, size: int, digest: str) -> bool:
    """Append ``size`` bytes of ``source`` to ``target`` in one pass and say whether they had ``digest``.

    When they had not, ``target`` is as before.
    """
    target.mark()
    check = hashlib.sha256()
    block = memoryview(bytearray(4 * CHUNK))
    left = size
    while left > 0 and (got := source.readinto(block)):
        check.update(block[:got])
        target.write(block[:got])
        left -= got
    if left == 0 and f"sha256:{check.hexdigest()}" == digest:
        return True
    target.rewind()
    return False


def _failure(path: Path, written: int, error: OSError) -> ProvisionerError:
    if error.errno in _FULL:
        return DeviceError(f"{path}: the disk is full after {written} bytes",
                           hint="make room or choose another folder")
    return DeviceError(f"{path}: {error.strerror or error}" + (f" after {written} bytes" if written else ""))


def _open(path: Path) -> tuple[FileIO, Path | None]:
    # Unbuffered: a buffer would keep a full disk secret until later, and what is written comes in large pieces.
    try:
        number = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        hidden = _hidden(path)
        return FileIO(hidden, "x+"), hidden
    return FileIO(number, "w"), None


def _mode(path: Path) -> int:
    """Return the mode of what stands at ``path``, links followed; 0 when nothing does."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.part")
