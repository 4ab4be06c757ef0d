"""A file tree as a stream: entries, the parts they come in, and the whole image tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from provisioner.model.platform import Platform


class Kind(StrEnum):
    """What an entry is."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHAR = "char"
    BLOCK = "block"
    FIFO = "fifo"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a tree.

    ``path`` is relative, without leading or trailing slash and without ``.`` or ``..`` parts. ``mode`` holds the
    twelve permission bits, ``mtime`` seconds since 1970, ``size`` bytes of a FILE. ``target`` is a symlink's text
    as it stands, or the path of the entry that a HARDLINK names; the FILE comes before its links. ``content`` yields
    a FILE's bytes, at most once, and only until the iterator that yielded the entry is advanced. ``links`` is how
    many paths the FILE will have in all, 0 if that is not known yet.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    content: Iterable[bytes] = ()
    links: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A run of entries with one origin, in tree order.

    ``key`` is a sha256 hex digest that identifies the entries and their content completely (never a path, time or
    environment), or None when the part is too small to be worth caching. ``source`` is the image reference or ``""``;
    ``location`` is LinuxKit's, such as ``onboot[0]``, ``services[2]``, ``kernel``, ``files[1]``. ``entries`` may be
    called again; each call yields the same stream. ``digest`` is the manifest digest that ``source`` resolved to.
    """

    location: str
    entries: Callable[[], Iterator[Entry]]
    source: str = ""
    key: str | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ImageTree:
    """Everything an output format needs, in LinuxKit's order.

    The first parts hold ``boot/`` with ``boot/cmdline``, ``boot/kernel`` and ``boot/ucode.cpio``; formats that
    deliver those beside the tree take them out of the stream.
    """

    name: str
    platform: Platform
    cmdline: str
    parts: tuple[Part, ...]
