"""Archives of images: an OCI layout in a tar, and what ``docker save`` writes; read in one pass, from a pipe too.

An archive with ``index.json`` is a layout (image-spec 1.1, image-layout.md; Docker 25 and newer, containerd, skopeo,
LinuxKit write it). Otherwise ``manifest.json`` lists images (moby, image/spec): configs, layers and tags; of those
an OCI manifest is made, after each layer has been held against the config's ``diff_ids``, and an index over the
platforms that share a tag. The archive itself may be compressed.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from provisioner.archive import tar
from provisioner.archive.compress import Decompressed
from provisioner.archive.stream import CHUNK, Readable
from provisioner.errors import DigestError, InputError
from provisioner.model.oci import CONFIG, INDEX, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, MANIFEST, Descriptor
from provisioner.model.tree import Entry, Kind
from provisioner.oci import manifest as documents
from provisioner.oci.layout import parse_layout_index
from provisioner.oci.reference import Reference, is_digest
from provisioner.oci.store import Store

_SMALL = documents.LIMIT
_SMALL_IN_ALL = 64 << 20
_LAYER_TYPES = {"none": LAYER_TAR, "gzip": LAYER_GZIP, "zstd": LAYER_ZSTD}


def ingest(stream: Readable, store: Store, where: str) -> tuple[Descriptor, ...]:
    """Put an archive's blobs into the store and return its images, named by their annotations; nothing is tagged.

    ``where`` is what errors call the archive. Raises InputError, ManifestError and DigestError.
    """
    content = _Content(store, where)
    for entry in tar.read(Decompressed(stream, where), where):
        content.take(entry)
    if "index.json" in content.small:
        return _layout(content)
    if "manifest.json" in content.small:
        return _docker(content)
    raise InputError(f"{where} is no image archive: it holds neither index.json nor manifest.json",
                     hint="make one with docker save, skopeo copy … oci-archive:FILE, or provisioner cache export")


@dataclass(slots=True)
class _Content:
    """What an archive held: small files in memory, large ones in the store, links to either."""

    store: Store
    where: str
    small: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, Descriptor] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    held: int = 0

    def take(self, entry: Entry) -> None:
        """Keep one entry's content."""
        if entry.kind is Kind.SYMLINK:
            self.links[entry.path] = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.target))
        elif entry.kind is Kind.HARDLINK:
            self.links[entry.path] = entry.target
        elif entry.kind is Kind.FILE:
            folder, _, name = entry.path.rpartition("/")
            if folder == "blobs/sha256" and is_digest(f"sha256:{name}"):
                self._blob(entry, Descriptor("", f"sha256:{name}", entry.size))
            elif entry.size > _SMALL or ".tar" in name or name.endswith((".tgz", ".layer")):
                self._blob(entry, None)
            else:
                self._keep(entry)

    def layer(self, path: str) -> Descriptor:
        """Return the blob that a path in manifest.json means, through the links that older Dockers write."""
        for _ in range(8):
            if path in self.large:
                return self.large[path]
            if path in self.small:
                return self.store.put(self.small[path], "")
            path = self.links.get(path, "")
        raise InputError(f"{self.where} lacks a layer that its manifest.json names", hint="make the archive again")

    def _blob(self, entry: Entry, expected: Descriptor | None) -> None:
        with self.store.writer(expected) as out:
            for chunk in entry.content:
                out.write(chunk)
        self.large[entry.path] = out.descriptor("")

    def _keep(self, entry: Entry) -> None:
        self.held += entry.size
        if self.held > _SMALL_IN_ALL:
            raise InputError(f"{self.where} is no image archive: it holds too many other files")
        self.small[entry.path] = b"".join(entry.content)


def _layout(content: _Content) -> tuple[Descriptor, ...]:
    where = f"{content.where}:index.json"
    entries = parse_layout_index(content.small["index.json"], where)
    for entry in entries:
        _check_whole(content, entry)
    return entries


def _check_whole(content: _Content, top: Descriptor) -> None:
    """Check that what an index names is there; of an index in an archive some platforms may be left out."""
    if not content.store.has(top.digest):
        raise DigestError(f"{content.where} lacks the blob {top.digest} that its index.json names")
    for manifest in content.store.manifests(top):
        if not content.store.has(manifest.digest):
            continue
        parsed = documents.parse_manifest(content.store.read(manifest), manifest)
        for part in (parsed.config, *parsed.layers):
            path = content.store.path(part.digest)
            if not content.store.has(part.digest) or path.stat().st_size != part.size:
                raise DigestError(f"{content.where} lacks the blob {part.digest} ({part.size} bytes) of the manifest "
                                  f"{manifest.digest}", hint="the archive is not complete; make it again")


def _docker(content: _Content) -> tuple[Descriptor, ...]:
    where = f"{content.where}:manifest.json"
    try:
        rows = json.loads(content.small["manifest.json"])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{where} is no list of images")
    named: dict[str, list[Descriptor]] = {}
    nameless: list[Descriptor] = []
    for row in rows:
        manifest = _docker_image(content, row, where)
        tags = _texts(row.get("RepoTags") or [], f"{where}: RepoTags")
        for tag in tags:
            named.setdefault(str(Reference.parse(tag)), []).append(manifest)
        if not tags:
            nameless.append(_index(content.store, [manifest]))
    images = [replace(_index(content.store, found), annotations=documents.names(tag))
              for tag, found in named.items()]
    return tuple(images + nameless)


def _docker_image(content: _Content, row: dict[str, Any], where: str) -> Descriptor:
    """Make an OCI manifest of one entry of manifest.json and return its descriptor."""
    name = row.get("Config")
    config_bytes = content.small.get(name) if isinstance(name, str) else None
    if config_bytes is None and isinstance(name, str) and name in content.large:
        config_bytes = content.store.read(content.large[name])
    if config_bytes is None:
        raise InputError(f"{where} names the config {name!r}, which is not in the archive")
    config = content.store.put(config_bytes, CONFIG)
    parsed = documents.parse_config(config_bytes, config.digest)
    rootfs = parsed.get("rootfs")
    wanted = _texts(rootfs.get("diff_ids") if isinstance(rootfs, dict) else None, f"{where}: diff_ids of {name}")
    paths = _texts(row.get("Layers") or [], f"{where}: Layers")
    if len(wanted) != len(paths):
        raise InputError(f"{where} lists {len(paths)} layers and the config {len(wanted)}")
    layers = [_layer(content, path, diff_id) for path, diff_id in zip(paths, wanted, strict=True)]
    manifest = content.store.put(documents.manifest_json(config, layers), MANIFEST)
    return replace(manifest, platform=documents.config_platform(parsed))


def _layer(content: _Content, path: str, diff_id: str) -> Descriptor:
    """Find out how a layer is compressed and hold its content against the config's digest of it."""
    blob = content.layer(path)
    digest = hashlib.sha256()
    with content.store.open(blob) as file:
        plain = Decompressed(file, f"{content.where}:{path}")
        while data := plain.read(CHUNK):
            digest.update(data)
    if f"sha256:{digest.hexdigest()}" != diff_id:
        raise DigestError(f"{content.where}: the layer {path} is not what its image's config promises ({diff_id})",
                          hint="the archive is damaged; make it again")
    if plain.method not in _LAYER_TYPES:
        raise InputError(f"{content.where}: the layer {path} is compressed with {plain.method}",
                         hint="layers are plain, gzip or zstd")
    return replace(blob, media_type=_LAYER_TYPES[plain.method])


def _index(store: Store, manifests: Iterable[Descriptor]) -> Descriptor:
    """Return an index that says which platforms the images are for."""
    return store.put(documents.index_json(list(dict.fromkeys(manifests))), INDEX)


def _texts(raw: object, where: str) -> list[str]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise InputError(f"{where} is no list of texts")
    return raw
