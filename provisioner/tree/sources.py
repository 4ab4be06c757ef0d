"""What the sections draw from, and the small entries they all make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from provisioner.archive.stream import Readable
from provisioner.errors import NotFoundError
from provisioner.model.event import Sink, discard
from provisioner.model.oci import Descriptor, Image
from provisioner.model.spec import ImageSpec
from provisioner.model.tree import Entry, Kind, Part

# LinuxKit's constant for what it generates: 2017-04-18T16:30:00Z. Content is identity, a clock would spoil it.
MTIME = 1492533000
# Part of every cache key: raise it when the rules of this room change what comes out.
RULES = 1

OpenBlob = Callable[[Descriptor], AbstractContextManager[Readable]]


@dataclass(frozen=True, slots=True)
class Sources:
    """A spec with everything that it names.

    ``images`` maps references as written in the YAML to pinned images, ``roots`` those of ``format: oci`` volumes
    to the descriptor that the reference names (an index, or a manifest). ``open_blob`` opens any of their blobs.
    """

    spec: ImageSpec
    images: Mapping[str, Image]
    open_blob: OpenBlob
    roots: Mapping[str, Descriptor] = field(default_factory=dict)
    sink: Sink = discard
    decompress_kernel: bool = False

    def image(self, reference: str) -> Image:
        """Return the image of a reference of the YAML; raise NotFoundError if it was not resolved."""
        if reference not in self.images:
            raise NotFoundError(f"the image {reference} was not resolved")
        return self.images[reference]


def cache_key(*facts: object) -> str:
    """Return the sha256 in hex over some facts and the version of this room's rules."""
    return hashlib.sha256(json.dumps([RULES, *facts], separators=(",", ":")).encode()).hexdigest()


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """Return a directory that no image brought."""
    return Entry(path, Kind.DIR, mode, uid, gid, MTIME)


def generated(path: str, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    """Return a file with the bytes ``data``."""
    return Entry(path, Kind.FILE, mode, uid, gid, MTIME, len(data), content=(data,))


def fixed_part(location: str, entries: tuple[Entry, ...], source: str = "", digest: str = "") -> Part:
    """Return a small part whose entries are all known; it needs no cache."""
    return Part(location, lambda: iter(entries), source, None, digest)


def ancestors(path: str) -> Iterator[Entry]:
    """Yield the directories from the root to ``path``, itself included; none for the root."""
    parts = path.split("/") if path else []
    return (directory("/".join(parts[:count])) for count in range(1, len(parts) + 1))


class Chunks:
    """A readable over chunks of bytes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._held = chunk
        piece, self._held = self._held[:size], self._held[size:]
        return piece


def full_name(reference: str) -> str:
    """Return a reference with registry and organisation, the tag as written: LinuxKit's name for it in a tree.

    Two spellings of one image, ``redis`` and ``redis:latest``, are two names, and are laid out twice.
    """
    parts = reference.split("/")
    if len(parts) == 1:
        return f"docker.io/library/{reference}"
    if len(parts) == 2 and not any(char in parts[0] for char in ".:") and parts[0] != "localhost":
        return f"docker.io/{reference}"
    return reference
