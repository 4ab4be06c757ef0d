"""``init:`` images, unpacked over one another into the root, and the package databases they bring made one.

Each Alpine image brings its own ``lib/apk/db/installed``; the last would hide the others, so that a merged one
follows when there are several (``moby/apk_tarwriter.go``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from provisioner.model.oci import Image
from provisioner.model.tree import Entry, Kind, Part
from provisioner.oci.layers import flatten
from provisioner.tree.content import RESOLV_LINK, image_entries
from provisioner.tree.sources import Sources, cache_key, full_name

DATABASE = "lib/apk/db/installed"


def init(sources: Sources) -> Iterator[Part]:
    """Yield a part for each image of ``init``, and one for the merged package database."""
    images = [sources.image(reference) for reference in sources.spec.init]
    databases = _Databases(sources)
    for index, (reference, image) in enumerate(zip(sources.spec.init, images, strict=True)):
        yield _part(sources, databases, image, index, full_name(reference))
    if len(images) > 1:
        key = cache_key("apk", [image.manifest.digest for image in images])
        yield Part("init", lambda: databases.merged(images), "LINUXKIT.apkinit", key)


def _part(sources: Sources, databases: _Databases, image: Image, index: int, name: str) -> Part:
    def entries() -> Iterator[Entry]:
        return databases.noting(image, image_entries(sources, image, "", resolv=RESOLV_LINK))

    key = cache_key("content", image.manifest.digest, "", RESOLV_LINK)
    return Part(f"init[{index}]", entries, name, key, image.manifest.digest)


@dataclass(slots=True)
class _Databases:
    """The databases seen while images were written; an image that came from a cache is asked once more."""

    sources: Sources
    seen: dict[str, bytes | None] = field(default_factory=dict)

    def noting(self, image: Image, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Pass ``entries`` on and keep the database among them."""
        kept: list[bytes] = []
        held = False
        for entry in entries:
            if entry.path == DATABASE and entry.kind is Kind.FILE:
                held = True
                yield dataclasses.replace(entry, content=_keeping(entry.content, kept))
            else:
                yield entry
        self.seen[image.manifest.digest] = b"".join(kept) if held else None

    def merged(self, images: list[Image]) -> Iterator[Entry]:
        """Yield the merged database if there are several."""
        found = [data for image in images if (data := self._of(image)) is not None]
        if len(found) > 1:
            data = b"".join(one + b"\n\n" for one in found)
            yield Entry(DATABASE, Kind.FILE, 0o644, size=len(data), content=(data,))

    def _of(self, image: Image) -> bytes | None:
        digest = image.manifest.digest
        if digest not in self.seen:
            self.seen[digest] = None
            for entry in flatten(self.sources.open_blob, image.layers):
                if entry.path == DATABASE and entry.kind is Kind.FILE:
                    self.seen[digest] = b"".join(entry.content)
        return self.seen[digest]


def _keeping(content: Iterable[bytes], kept: list[bytes]) -> Iterator[bytes]:
    for chunk in content:
        kept.append(chunk)
        yield chunk
