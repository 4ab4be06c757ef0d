"""What goes into a component's image: selected package files, the recipe's own, links, users, licences; sorted.

In the layout ``merged`` (containers) ``/bin``, ``/sbin`` and ``/lib*`` are links into ``/usr``. In the layout
``split`` (images laid over each other into the machine's root, the ``init:`` list) no top-level name is a link:
those of several images, a kernel's ``/lib/modules`` and LinuxKit's own init can lie together, and only the dynamic
linker gets a link at the path that programs name.

Every image carries the control data and the licence of each package that has a part in it, where image scanners look:
``var/lib/dpkg/status.d/<package>`` and ``usr/share/doc/<package>/copyright``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from provisioner.components.pool import MERGED, Pool, PoolFile, merged
from provisioner.components.recipe import Added, Component, Recipe
from provisioner.components.select import Selection, matching
from provisioner.errors import InputError
from provisioner.model.tree import Entry, Kind

MTIME = 1492533000
"""2017-04-18T16:30:00Z, the time that LinuxKit gives to what it makes: every image has the same."""

_ROOT = "root:x:0:0:root:/root:/bin/sh\n"
_NOBODY = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"


@dataclass(frozen=True, slots=True)
class Lazy:
    """A file's content, read from the pool when it is iterated; any number of times."""

    pool: Pool
    files: tuple[PoolFile, ...]

    def __iter__(self) -> Iterator[bytes]:
        for file in self.files:
            yield from self.pool.chunks(file)


@dataclass(slots=True)
class Contents:
    """Entries by path, with the rules that keep them a sound tree."""

    layout: str
    entries: dict[str, Entry] = field(default_factory=dict)

    def put(self, entry: Entry) -> None:
        """Add or replace an entry; its path is moved into /usr in the merged layout."""
        path = merged(entry.path) if self.layout == "merged" else entry.path
        self.entries[path] = replace(entry, path=path, mtime=MTIME)

    def link(self, path: str, target: str) -> None:
        """Add a symlink."""
        self.put(Entry(path, Kind.SYMLINK, 0o777, target=target))

    def text(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self.put(Entry(path, Kind.FILE, mode, size=len(content), content=(content,)))

    def finish(self) -> list[Entry]:
        """Return all entries with missing folders, parents first. Raises InputError where a file is a folder."""
        if self.layout == "merged":
            for name in MERGED:
                if any(path.startswith(f"usr/{name}/") for path in self.entries):
                    self.entries[name] = Entry(name, Kind.SYMLINK, 0o777, mtime=MTIME, target=f"usr/{name}")
        for path in list(self.entries):
            for parent in PurePosixPath(path).parents:
                name = str(parent)
                if name != ".":
                    made = self.entries.setdefault(name, Entry(name, Kind.DIR, 0o755, mtime=MTIME))
                    if made.kind is not Kind.DIR:
                        raise InputError(f"{path} lies below {name}, which is a {made.kind}",
                                         hint="change files, links or move in the recipe")
        return [entry for _, entry in sorted(self.entries.items())]


def assemble(component: Component, recipe: Recipe, pool: Pool, selection: Selection,
             packages: Iterable[str]) -> list[Entry]:
    """Return the image's entries. ``recipe`` is filled in for the architecture of the pool."""
    made = Contents(recipe.layout)
    for package in sorted(packages):
        _papers(made, pool, package)
    moved = dict(recipe.move)
    joined = {path for item in recipe.join for part in item.parts for path in matching(part, selection.files)}
    for path, file in selection.files.items():
        if path not in joined:
            made.put(_entry(moved.pop(path, path), pool, file))
    if moved:
        raise InputError(f"{component.name}: move names {', '.join(sorted(moved))}, which is not in the image",
                         hint="name a path that keep selects")
    if recipe.layout == "split":
        for interpreter in selection.interpreters:
            made.link(interpreter, "/" + pool.trace(merged(interpreter))[-1].path)
    for item in recipe.join:
        parts = [selection.files[path] for part in item.parts for path in matching(part, selection.files)]
        files = tuple(part for part in parts if part.kind is Kind.FILE)
        made.put(Entry(item.path, Kind.FILE, size=sum(part.size for part in files), content=Lazy(pool, files)))
    _own(made, component, recipe)
    return made.finish()


def _own(made: Contents, component: Component, recipe: Recipe) -> None:
    """Put what the recipe itself brings: users, links, the files tree and the files list."""
    if recipe.users or recipe.layout == "merged":
        lines = [f"{u.name}:x:{u.uid}:{u.gid}::{u.home}:{u.shell}\n" for u in recipe.users]
        made.text("etc/passwd", "".join([_ROOT, *lines, _NOBODY]).encode())
        groups = [f"{u.name}:x:{u.gid}:\n" for u in recipe.users]
        made.text("etc/group", "".join(["root:x:0:\n", "tty:x:5:\n", *groups, "nogroup:x:65534:\n"]).encode())
    for links in recipe.links:
        for name in links.names:
            made.link(f"{links.at}/{name}", links.target)
    for path, content in component.files.items():
        if isinstance(content, str):
            made.link(path, content)
        else:
            made.text(path, content, 0o755 if content.startswith(b"#!") else 0o644)
    for added in recipe.files:
        made.put(_added(added))


def _added(added: Added) -> Entry:
    mode = int(added.mode, 8) if added.mode else None
    if added.symlink is not None:
        return Entry(added.path, Kind.SYMLINK, 0o777, added.uid, added.gid, target=added.symlink)
    if added.directory:
        return Entry(added.path, Kind.DIR, 0o755 if mode is None else mode, added.uid, added.gid)
    content = (added.contents or "").encode()
    default = 0o755 if content.startswith(b"#!") else 0o644
    return Entry(added.path, Kind.FILE, default if mode is None else mode, added.uid, added.gid, size=len(content),
                 content=(content,))


def _entry(path: str, pool: Pool, file: PoolFile) -> Entry:
    content = Lazy(pool, (file,)) if file.kind is Kind.FILE else ()
    return Entry(path, file.kind, 0o777 if file.kind is Kind.SYMLINK else file.mode, size=file.size,
                 target=file.target, content=content)


def _papers(made: Contents, pool: Pool, package: str) -> None:
    made.text(f"var/lib/dpkg/status.d/{package}", pool.control[package].encode())
    if licence := licence_of(pool, package):
        made.put(_entry(f"usr/share/doc/{package}/copyright", pool, licence))


def licence_of(pool: Pool, package: str) -> PoolFile | None:
    """Return the package's copyright file, which may lie in the folder of another package."""
    trail = pool.trace(f"usr/share/doc/{package}/copyright")
    return trail[-1] if trail and trail[-1].kind is Kind.FILE else None
