"""Opens what is served and nothing else: a directory that no name, link or race leads out of.

Linux resolves the path itself with openat2(2) and RESOLVE_BENEATH; where the kernel is older than 5.6 or forbids the
call, every link is resolved first and the result compared with the root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SYS_OPENAT2 = 437  # one number on every architecture (linux/asm-generic/unistd.h)
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(slots=True)
class OpenFile:
    """A regular file open for reading at any offset; fits ``protocols.tftp.Content``."""

    descriptor: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes at ``offset``."""
        return os.pread(self.descriptor, length, offset)

    def close(self) -> None:
        """Close it; closing twice is nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(frozen=True, slots=True)
class Tree:
    """What may be served by name: single ``files``, and everything below a ``root`` if there is one."""

    files: Mapping[str, Path] = field(default_factory=dict)
    root: Path | None = None

    def open(self, name: str) -> OpenFile:
        """Open a relative name; raises FileNotFoundError, PermissionError or another OSError."""
        if (path := self.files.get(name)) is not None:
            return regular(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        if self.root is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return regular(open_beneath(self.root, name))


def regular(descriptor: int) -> OpenFile:
    """Wrap an open descriptor; close it and raise PermissionError unless it is a regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise PermissionError(errno.EACCES, "no regular file")
    return OpenFile(descriptor, status.st_size)


def open_beneath(root: Path, name: str) -> int:
    """Open ``name`` below ``root`` for reading, links included; raise OSError, also if it leads out of ``root``."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not make the server wait
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
        opened = int(_libc.syscall(ctypes.c_long(_SYS_OPENAT2), ctypes.c_long(base), os.fsencode(name),
                                   ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))))
        if opened >= 0:
            return opened
        code = ctypes.get_errno()
    finally:
        os.close(base)
    if code not in (errno.ENOSYS, errno.EPERM):
        raise OSError(code, os.strerror(code), name)
    return _open_resolved(root, name, flags)


def _open_resolved(root: Path, name: str, flags: int) -> int:
    top = root.resolve(strict=True)
    try:
        path = (top / name).resolve(strict=True)
    except RuntimeError as error:  # how pathlib spells a loop of links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from error
    if not path.is_relative_to(top):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return os.open(path, flags | os.O_NOFOLLOW)
