"""``files:`` into entries of the root, with LinuxKit's rules (``build/build.go``, filesystem).

The mode is 0600, or 0700 of a directory, unless given. Parents that are missing are made with the file's owner and
its mode, plus ``x`` for each class that may do anything; so ``path: etc/app/key`` without a mode makes ``etc/app``
0700. LinuxKit does so with directories that are there too, and turns ``/etc`` into 0700; here a directory that the
sections before are known to make keeps its mode. ``source`` is relative to the working directory; ``~/`` is the
user's home.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provisioner.archive.stream import CHUNK
from provisioner.errors import InputError, Problem
from provisioner.model.spec import FileEntry, ImageEntry, ImageSpec
from provisioner.model.tree import Entry, Kind, Part
from provisioner.model.values import parse_octal
from provisioner.runtime import id_number
from provisioner.spec import to_json, to_yaml
from provisioner.tree.content import DIRECTORIES
from provisioner.tree.sources import MTIME, Sources, full_name


def files(sources: Sources, known: frozenset[str]) -> Iterator[Part]:
    """Yield a part per file. ``known`` are directories that are there already. Raises InputError for all at once."""
    spec = sources.spec
    made = set(known)
    if spec.init:
        made.update(DIRECTORIES)
    writer = _Writer(spec, spec.ids(), made)
    parts: list[Part] = []
    for index, item in enumerate(spec.files):
        entries = writer.entries(item)
        if entries:
            parts.append(Part(f"files[{index}]", _again(entries), "linuxkit.files"))
    if writer.problems:
        raise InputError(problems=writer.problems)
    return iter(parts)


def _again(makers: tuple[Callable[[], Entry], ...]) -> Callable[[], Iterator[Entry]]:
    return lambda: (make() for make in makers)


def metadata(spec: ImageSpec, kind: str) -> bytes:
    """Return the merged YAML (or JSON) with images by their full names, for ``metadata: yaml``."""
    def named(entries: tuple[ImageEntry, ...]) -> tuple[ImageEntry, ...]:
        return tuple(entry.model_copy(update={"image": full_name(entry.image)}) for entry in entries)

    image = spec.kernel.image
    full = spec.model_copy(update={
        "kernel": spec.kernel.model_copy(update={"image": full_name(image)}) if image else spec.kernel,
        "init": tuple(map(full_name, spec.init)),
        "onboot": named(spec.onboot), "onshutdown": named(spec.onshutdown), "services": named(spec.services),
    })
    return (to_yaml(full) if kind == "yaml" else to_json(full)).encode()


@dataclass(slots=True)
class _Writer:
    """Makes entries one file after the other; ``made`` are the directories that are there."""

    spec: ImageSpec
    ids: Mapping[str, int]
    made: set[str]
    problems: list[Problem] = field(default_factory=list)

    def entries(self, item: FileEntry) -> tuple[Callable[[], Entry], ...]:
        """Return makers of the file's entries, its missing parents first; none for a file that is not wanted."""
        path = posixpath.normpath("/" + item.path).strip("/")
        mode = parse_octal(item.mode) & 0o7777 if item.mode else 0o700 if item.directory else 0o600
        uid, gid = id_number(item.uid, self.ids), id_number(item.gid, self.ids)
        maker = self._maker(item, path, mode, uid, gid)
        if maker is None or not path:
            return ()
        parents = []
        steps = path.split("/")[:-1]
        for parent in ("/".join(steps[:count]) for count in range(1, len(steps) + 1)):
            if parent not in self.made:
                self.made.add(parent)
                parents.append(Entry(parent, Kind.DIR, _searchable(mode), uid, gid, MTIME))
        self.made.add(path)
        return (*((lambda entry=entry: entry) for entry in parents), maker)

    def _maker(self, item: FileEntry, path: str, mode: int, uid: int, gid: int) -> Callable[[], Entry] | None:
        if item.directory:
            return lambda: Entry(path, Kind.DIR, mode, uid, gid, MTIME)
        if item.symlink:
            return lambda: Entry(path, Kind.SYMLINK, 0o777, uid, gid, MTIME, target=item.symlink)
        if item.contents is None and item.source:
            return self._from_disk(item, path, mode, uid, gid)
        data = item.contents.encode() if item.contents is not None else metadata(self.spec, item.metadata)
        return lambda: Entry(path, Kind.FILE, mode, uid, gid, MTIME, len(data), content=(data,))

    def _from_disk(self, item: FileEntry, path: str, mode: int, uid: int, gid: int) -> Callable[[], Entry] | None:
        source = Path(item.source)
        if item.source.startswith("~/") and len(item.source) > 2:
            source = Path.home() / item.source[2:]
        try:
            found = source.stat()
        except OSError as error:
            if not item.optional:
                self.problems.append(item.problem(f"cannot read {source}: {error.strerror}", "source",
                                                  hint=f"it is looked for from {Path.cwd()}"))
            return None
        if not stat.S_ISREG(found.st_mode) and str(source) != os.devnull:
            self.problems.append(item.problem(f"{source} is no regular file", "source"))
            return None
        if not os.access(source, os.R_OK):
            self.problems.append(item.problem(f"cannot read {source}: Permission denied", "source"))
            return None
        size = found.st_size
        return lambda: Entry(path, Kind.FILE, mode, uid, gid, MTIME, size, content=_chunks(source, size))


def _chunks(source: Path, size: int) -> Iterator[bytes]:
    left = size
    with source.open("rb") as file:
        while left and (chunk := file.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
        if left or file.read(1):
            raise InputError(f"{source} changed while it was read", hint="build again when it is at rest")


def _searchable(mode: int) -> int:
    return mode | sum(bit for bit in (0o100, 0o010, 0o001) if mode & (bit * 7))
