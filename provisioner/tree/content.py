"""An image's files below a prefix, with LinuxKit's drops and replacements (``build/image.go``, ImageTar).

Dropped: ``.dockerenv``, ``Dockerfile``, ``dev/console``, ``etc/hostname``, which docker leaves behind. Replaced by
constants: ``etc/hosts``, ``dev/pts``, ``dev/shm``, and ``etc/resolv.conf`` (in the root and in volumes by a link to
``/run/resolvconf``). Added when the image has none: ``dev``, ``etc``, ``etc/mtab``, ``proc``, ``sys``. LinuxKit gives
those directories 0755 and root even where the image says otherwise; here the image is obeyed.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterator

from provisioner.model.oci import Image
from provisioner.model.tree import Entry, Kind, Part
from provisioner.oci.layers import flatten
from provisioner.tree.sources import MTIME, Sources, ancestors, cache_key, directory, generated

RESOLV_LINK = "/run/resolvconf/resolv.conf"
DROPPED = frozenset({".dockerenv", "Dockerfile", "dev/console", "etc/hostname"})
HOSTS = b"""\
127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
RESOLV = b"\n# no resolv.conf configured\n"
REPLACED = {"etc/hosts": HOSTS, "etc/resolv.conf": RESOLV}
DIRECTORIES = ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys")
NEEDED = ("dev", "dev/pts", "dev/shm", "etc", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys")
WATCHED = frozenset({"dev", "etc", "etc/mtab", "proc", "sys"})
_ALWAYS_NEW = frozenset({"dev/pts", "dev/shm"})


def part(sources: Sources, image: Image, location: str, prefix: str, *, resolv: str = "", source: str = "") -> Part:
    """Return the part that holds an image's files below ``prefix``, the directories down to it first."""
    def entries() -> Iterator[Entry]:
        yield from ancestors(prefix)
        yield from image_entries(sources, image, prefix, resolv=resolv)

    key = cache_key("content", image.manifest.digest, prefix, resolv)
    return Part(location, entries, source or image.reference, key, image.manifest.digest)


def image_entries(sources: Sources, image: Image, prefix: str, *, resolv: str = "") -> Iterator[Entry]:
    """Yield an image's files below ``prefix`` (empty for the root), what must be there added at the end."""
    below = f"{prefix}/" if prefix else ""
    seen: dict[str, Entry] = {}
    for entry in flatten(sources.open_blob, image.layers):
        if entry.path in WATCHED:
            seen[entry.path] = entry
        if (made := _filtered(entry, seen)) is not None:
            target = below + made.target if made.kind is Kind.HARDLINK else made.target
            yield dataclasses.replace(made, path=below + made.path, target=target) if below else made
    yield from _missing(seen, below, resolv)


def _filtered(entry: Entry, seen: dict[str, Entry]) -> Entry | None:
    """Return what an image's entry becomes; None when it is dropped. What other paths are links to stays."""
    if entry.path in _ALWAYS_NEW and entry.kind is Kind.DIR:
        return None
    linked = entry.kind is Kind.FILE and entry.links > 1
    if entry.path in DROPPED:
        return entry if linked else None
    if entry.path in REPLACED and entry.kind is not Kind.DIR:
        if not linked:
            return None
        seen[entry.path] = entry
        return dataclasses.replace(generated(entry.path, REPLACED[entry.path]), links=entry.links)
    return entry


def _missing(seen: dict[str, Entry], below: str, resolv: str) -> Iterator[Entry]:
    for path in NEEDED:
        if path in seen:
            continue
        place = below + _resolved(path, seen)
        if path == "etc/mtab":
            yield Entry(place, Kind.SYMLINK, 0o777, mtime=MTIME, target="/proc/mounts")
        elif path == "etc/resolv.conf" and resolv:
            yield Entry(place, Kind.SYMLINK, 0o777, mtime=MTIME, target=resolv)
        elif path in REPLACED:
            yield generated(place, REPLACED[path])
        else:
            yield directory(place)


def _resolved(path: str, seen: dict[str, Entry]) -> str:
    """Return where ``path`` is when its directory is a symbolic link, so that none need be followed later."""
    top, _, rest = path.partition("/")
    link = seen.get(top)
    if not rest or link is None or link.kind is not Kind.SYMLINK:
        return path
    return posixpath.normpath(f"/{link.target}").lstrip("/") + f"/{rest}"
