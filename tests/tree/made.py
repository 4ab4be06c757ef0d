"""Small images in memory, made with the standard library, and trees of them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from provisioner.errors import NotFoundError
from provisioner.model.event import Event
from provisioner.model.oci import INDEX, LAYER_TAR, MANIFEST, Descriptor, Image
from provisioner.model.platform import Platform
from provisioner.model.tree import Entry, ImageTree, Kind, Part
from provisioner.spec import check, merge, parse
from provisioner.tree import assemble
from provisioner.tree.sources import Sources

AMD64 = Platform("amd64")


def member(name: str, data: bytes = b"", mode: int = 0o644, *, kind: bytes = tarfile.REGTYPE, link: str = "",
           uid: int = 0, pax: Mapping[str, str] | None = None) -> tuple[tarfile.TarInfo, bytes]:
    """Return one member of a layer; a name with a trailing slash is a directory."""
    info = tarfile.TarInfo(name)
    plain = tarfile.SYMTYPE if link and kind == tarfile.REGTYPE else kind
    info.type = tarfile.DIRTYPE if name.endswith("/") else plain
    info.mode, info.uid, info.linkname, info.size, info.mtime = mode, uid, link, len(data), 1500000000
    info.pax_headers = dict(pax or {})
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a tar of members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Shelf:
    """Blobs by digest, images by reference, and how often each blob was opened."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    roots: dict[str, Descriptor] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def put(self, data: bytes, media_type: str, platform: Platform | None = None) -> Descriptor:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return Descriptor(media_type, digest, len(data), platform)

    def add(self, reference: str, *layers: bytes, **config: Any) -> Image:
        """Add an image of uncompressed layers, the lowest first."""
        stack = tuple(self.put(layer, LAYER_TAR) for layer in layers)
        body = json.dumps({"config": config, "layers": [one.digest for one in stack], "name": reference}).encode()
        self.images[reference] = Image(reference, AMD64, self.put(body, MANIFEST), stack, {"config": config})
        return self.images[reference]

    def index(self, reference: str, children: Sequence[Descriptor]) -> Descriptor:
        """Add an index under a reference."""
        rows = [{"mediaType": one.media_type, "digest": one.digest, "size": one.size, "platform": {
            "architecture": one.platform.architecture, "os": one.platform.os}} for one in children if one.platform]
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows})
        self.roots[reference] = self.put(body.encode(), INDEX)
        return self.roots[reference]

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[io.BytesIO]:
        self.opened.append(descriptor.digest)
        if descriptor.digest not in self.blobs:
            raise NotFoundError(f"{descriptor.digest} is not in the store")
        yield io.BytesIO(self.blobs[descriptor.digest])

    def sources(self, *texts: str) -> Sources:
        """Return the sources of a spec, merged of texts, over this shelf."""
        spec = merge([parse(text, file=f"{number}.yml") for number, text in enumerate(texts)])
        assert check(spec) == []
        return Sources(spec, self.images, self.open, self.roots, self.events.append)

    def tree(self, *texts: str) -> ImageTree:
        """Assemble a tree of a spec, merged of texts."""
        spec = self.sources(*texts).spec
        return assemble(spec, self.images, self.open, name="x", platform=AMD64, roots=self.roots,
                        sink=self.events.append)


def entries(*parts: Part) -> list[Entry]:
    """Return the entries of parts, each with its content read."""
    return [Entry(e.path, e.kind, e.mode, e.uid, e.gid, e.mtime, e.size, e.target, e.device, e.xattrs,
                  (b"".join(e.content),), e.links) for part in parts for e in part.entries()]


def paths(*parts: Part) -> list[str]:
    """Return the paths of parts in their order."""
    return [entry.path for entry in entries(*parts)]


def content(found: Sequence[Entry], path: str) -> bytes:
    """Return the content of the last file at ``path``."""
    entry = [one for one in found if one.path == path and one.kind is Kind.FILE][-1]
    return b"".join(entry.content)


def final(found: Sequence[Entry]) -> dict[str, Entry]:
    """Return what a reader ends with: the last entry of each path."""
    return {entry.path: entry for entry in found}


def lines(found: Sequence[Entry]) -> list[str]:
    """Return entries as lines: path, kind, mode, and owner or target where there is one."""
    return [f"{e.path} {e.kind} {e.mode:o}" + (f" {e.uid}:{e.gid}" if e.uid or e.gid else "")
            + (f" -> {e.target}" if e.target else "") for e in found]
