"""cpio archives in the form «newc», the one that Linux unpacks (``Documentation/driver-api/early-userspace``).

Writing: inode numbers count up from 1 within an archive, so that bytes depend on the entries alone. The kernel keeps
the table of hard links per archive; a file that has several paths carries its content at the first of them and the
rest have size 0, which the kernel, GNU cpio and libarchive all link. The format has no room for extended attributes,
for files of 4 GiB and more, and for times outside 1970 to 2106.

Notes: the trailer may have a body. The kernel skips it and other readers stop at the trailer, so it carries facts
about the archive that do not belong to the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from provisioner.archive.stream import CHUNK, LIMITS, Limits, Readable, read_exact
from provisioner.archive.tar import clean_path
from provisioner.errors import InputError, RefusedError
from provisioner.model.tree import Entry, Kind

TRAILER = "TRAILER!!!"
MAGIC = (b"070701", b"070702")
_HEADER = 110
_MODES = {Kind.FILE: 0o100000, Kind.HARDLINK: 0o100000, Kind.DIR: 0o040000, Kind.SYMLINK: 0o120000,
          Kind.CHAR: 0o020000, Kind.BLOCK: 0o060000, Kind.FIFO: 0o010000}
_KINDS = {0o100000: Kind.FILE, 0o040000: Kind.DIR, 0o120000: Kind.SYMLINK, 0o020000: Kind.CHAR, 0o060000: Kind.BLOCK,
          0o010000: Kind.FIFO}
_LIMIT = 1 << 32


class CpioWriter:
    """Writes one archive to ``sink``.

    ``directories`` are those written so far; ``missing`` those that were needed before they were written, in order;
    ``entries`` and ``xattrs`` count what was written and what had extended attributes that the format cannot keep.
    """

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._inode = 0
        self._files: dict[str, tuple[int, Entry, int]] = {}
        self.directories: set[str] = set()
        self.missing: dict[str, None] = {}
        self.entries = 0
        self.xattrs = 0

    def add(self, entry: Entry) -> None:
        """Write one entry; raise InputError for one that the format cannot hold."""
        self._note_parents(entry)
        self.entries += 1
        self.xattrs += bool(entry.xattrs)
        if entry.kind is Kind.HARDLINK:
            self._link(entry)
            return
        self._inode += 1
        links = {Kind.DIR: 2, Kind.FILE: entry.links or 2}.get(entry.kind, 1)
        if entry.kind is Kind.FILE:
            if links > 1:
                self._files[entry.path] = (self._inode, entry, links)
            self._head(entry, self._inode, links, entry.size)
            self._content(entry)
            return
        body = entry.target.encode("utf-8", "surrogateescape") if entry.kind is Kind.SYMLINK else b""
        self._head(entry, self._inode, links, len(body))
        self._sink(body + bytes(-len(body) % 4))

    def close(self, note: bytes = b"") -> None:
        """Write the trailer with a ``note``; the sink stays open."""
        end = Entry(TRAILER, Kind.FILE, 0, size=len(note))
        self._head(end, 0, 1, len(note))
        self._sink(note + bytes(-len(note) % 4))

    def _note_parents(self, entry: Entry) -> None:
        if entry.kind is Kind.DIR:
            self.directories.add(entry.path)
        parent = entry.path.rpartition("/")[0]
        needed = []
        while parent and parent not in self.directories and parent not in self.missing:
            needed.append(parent)
            parent = parent.rpartition("/")[0]
        self.missing.update(dict.fromkeys(reversed(needed)))

    def _link(self, entry: Entry) -> None:
        if entry.target not in self._files:
            raise InputError(f"{entry.path}: is a hard link to {entry.target}, which is not before it in its archive",
                             hint="an initrd cannot link across image parts; make it a symbolic link")
        inode, file, links = self._files[entry.target]
        self._head(Entry(entry.path, Kind.FILE, file.mode, file.uid, file.gid, file.mtime), inode, links, 0)

    def _content(self, entry: Entry) -> None:
        left = entry.size
        for chunk in entry.content:
            left -= len(chunk)
            self._sink(chunk)
        if left:
            raise InputError(f"{entry.path}: content differs by {-left} bytes from its size of {entry.size}")
        if padding := -entry.size % 4:
            self._sink(bytes(padding))

    def _head(self, entry: Entry, inode: int, links: int, size: int) -> None:
        if size >= _LIMIT:
            raise InputError(f"{entry.path}: {size} bytes, and a cpio archive holds files below 4 GiB only",
                             hint="keep such data on a disk, or use a format that is not an initrd")
        name = entry.path.encode("utf-8", "surrogateescape") + b"\0"
        mode = _MODES[entry.kind] | entry.mode if entry.path != TRAILER else _MODES[Kind.FILE] * bool(size)
        fields = (inode, mode, entry.uid, entry.gid, links, min(max(entry.mtime, 0), _LIMIT - 1), size, 0, 0,
                  *entry.device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self._sink(head + bytes(-len(head) % 4))


class CpioReader:
    """Reads one archive, up to its trailer; ``note`` then holds the trailer's body.

    Iterate to get entries; the same limits and refusals as for tar hold, but absolute names are taken as relative,
    as the kernel does in its root.
    """

    def __init__(self, stream: Readable, name: str, *, limits: Limits = LIMITS) -> None:
        self._stream = stream
        self._name = name
        self._limits = limits
        self._left = 0
        self._padding = 0
        self._count = 0
        self._first: dict[tuple[int, int, int], str] = {}
        self.raw = 0
        self.note = b""

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._entry()) is not None:
            if entry.path:
                yield entry

    def _entry(self) -> Entry | None:
        self._skip()
        fields = self._fields(self._take(_HEADER))
        inode, mode, uid, gid, links, mtime, size, major, minor, rmajor, rminor, length, _ = fields
        if not 1 < length <= self._limits.path + 2:
            raise RefusedError(f"{self._name}: a name of {length} bytes")
        raw = self._take(length + -(_HEADER + length) % 4)[:length].split(b"\0")[0]
        if raw == TRAILER.encode():
            self.note = self._take(min(size, self._limits.extended))
            self._take(-size % 4)
            return None
        self._count += 1
        if self._count > self._limits.entries:
            raise RefusedError(f"{self._name}: more than {self._limits.entries} entries")
        path = clean_path(raw.lstrip(b"/"), self._name, self._limits)
        kind = _KINDS.get(mode & 0o170000)
        if kind is None:
            raise RefusedError(f"{self._name}: {path} is of the unknown type {mode:o}")
        self._left, self._padding = size, -size % 4
        target = self._symlink(size) if kind is Kind.SYMLINK else ""
        if kind is Kind.FILE and links > 1:
            first = self._first.setdefault((major, minor, inode), path)
            if first != path and not size:
                kind, target = Kind.HARDLINK, first
        content = self._content(self._count) if kind is Kind.FILE else ()
        return Entry(path, kind, mode & 0o7777, uid, gid, mtime, size if kind is Kind.FILE else 0, target,
                     (rmajor, rminor), (), content, links if kind is not Kind.DIR else 1)

    def _fields(self, head: bytes) -> list[int]:
        if head[:6] not in MAGIC:
            raise InputError(f"{self._name}: no cpio header (newc) where one must be: {head[:6]!r}")
        try:
            return [int(head[at:at + 8], 16) for at in range(6, _HEADER, 8)]
        except ValueError:
            raise InputError(f"{self._name}: a cpio header's field is no hexadecimal number") from None

    def _symlink(self, size: int) -> str:
        if size > self._limits.path:
            raise RefusedError(f"{self._name}: a symbolic link's target of {size} bytes")
        target = self._take(size).decode("utf-8", "surrogateescape")
        self._left = 0
        return target

    def _content(self, number: int) -> Iterator[bytes]:
        while self._left and number == self._count:
            data = self._take(min(self._left, CHUNK))
            self._left -= len(data)
            yield data

    def _skip(self) -> None:
        while self._left:
            self._left -= len(self._take(min(self._left, CHUNK)))
        self._take(self._padding)
        self._padding = 0

    def _take(self, size: int) -> bytes:
        data = read_exact(self._stream, size, self._name) if size else b""
        self.raw += len(data)
        return data
