"""Reading and writing OCI and Docker manifests, indexes and descriptors, and nothing doubtful among them.

Sources: image-spec 1.1 (manifest.md, image-index.md, descriptor.md) and Docker's image manifest v2, schema 2. The
media type that a blob was announced with decides how it is read; a document that says otherwise about itself, or
that could be read both as index and as manifest (CVE-2021-41190), is refused. ``urls`` of descriptors are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import InputError
from provisioner.model.oci import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_TAR,
    DOCKER_MANIFEST,
    INDEX,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_ZSTD,
    MANIFEST,
    Descriptor,
)
from provisioner.model.platform import Platform
from provisioner.oci.reference import is_digest

LIMIT = 4 << 20  # bytes of a manifest, index or config
DEPTH = 3  # indexes within indexes
INDEXES = (INDEX, DOCKER_INDEX)
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
CONFIGS = (CONFIG, DOCKER_CONFIG)
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
PULLED = ("org.provisioner.pulled", "true")
"""The annotation of a name in the store that stands for what a registry said, not for what a user brought in."""
_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
LAYERS = (LAYER_TAR, LAYER_GZIP, LAYER_ZSTD, DOCKER_LAYER_GZIP, DOCKER_LAYER_TAR, DOCKER_LAYER_TAR + ".zstd",
          _FOREIGN, _FOREIGN + "+gzip", _FOREIGN + "+zstd",
          "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
          "application/vnd.docker.image.rootfs.foreign.diff.tar")
_MOST_LAYERS = 1000
_MOST_CHILDREN = 1000


class ManifestError(InputError):
    """A manifest, index or image config that must not be trusted or cannot be used."""

    kind = "manifest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed image manifest."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def parse_manifest(data: bytes, descriptor: Descriptor) -> Manifest:
    """Read an image manifest; raise ManifestError naming its digest and what is wrong."""
    raw = _document(data, descriptor, MANIFESTS, foreign=("manifests",))
    config = descriptor_from_json(raw.get("config"), f"config of manifest {descriptor.digest}")
    if config.media_type not in CONFIGS:
        kind = raw.get("artifactType") or config.media_type
        raise ManifestError(f"manifest {descriptor.digest} is no container image but holds {kind}")
    layers = raw.get("layers")
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        raise ManifestError(f"manifest {descriptor.digest} has no list of at most {_MOST_LAYERS} layers")
    read = tuple(descriptor_from_json(layer, f"layer {number} of manifest {descriptor.digest}")
                 for number, layer in enumerate(layers))
    for layer in read:
        if layer.media_type not in LAYERS:
            raise ManifestError(f"layer {layer.digest} of manifest {descriptor.digest} has the media type "
                                f"{layer.media_type}", hint="known are tar, tar+gzip and tar+zstd layers")
    return Manifest(config, read)


def parse_index(data: bytes, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    """Read an image index or Docker manifest list: its images and indexes, others (attestations) left out."""
    raw = _document(data, descriptor, INDEXES, foreign=("config", "layers"))
    children = raw.get("manifests")
    if not isinstance(children, list) or len(children) > _MOST_CHILDREN:
        raise ManifestError(f"index {descriptor.digest} has no list of at most {_MOST_CHILDREN} manifests")
    read = [descriptor_from_json(child, f"entry {number} of index {descriptor.digest}")
            for number, child in enumerate(children)]
    return tuple(child for child in read if child.media_type in INDEXES + MANIFESTS and not _attestation(child))


def parse_parts(data: bytes, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    """Read every blob that a manifest or index names, of whatever kind: what belongs to it, used by us or not."""
    if descriptor.media_type in INDEXES:
        children = _document(data, descriptor, INDEXES, foreign=("config", "layers")).get("manifests")
        raw = children if isinstance(children, list) else []
    else:
        document = _document(data, descriptor, MANIFESTS, foreign=("manifests",))
        layers = document.get("layers")
        raw = [document.get("config"), *(layers if isinstance(layers, list) else [])]
    return tuple(descriptor_from_json(part, f"a part of {descriptor.digest}") for part in raw)


def parse_config(data: bytes, digest: str) -> Mapping[str, Any]:
    """Read an image config as an object."""
    raw = _load(data, f"config {digest}")
    inner = raw.get("config")
    if inner is not None and not isinstance(inner, dict):
        raise ManifestError(f"config {digest}: 'config' is no object")
    return raw


def config_platform(config: Mapping[str, Any]) -> Platform | None:
    """Return the platform that an image config names, or None when it names none."""
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or not architecture:
        return None
    return Platform(architecture, str(config.get("os") or "linux"), str(config.get("variant") or ""))


def descriptor_from_json(raw: object, where: str) -> Descriptor:
    """Read a content descriptor; ``where`` names it in errors. Only sha256 digests are accepted."""
    if not isinstance(raw, dict):
        raise ManifestError(f"{where} is no descriptor")
    media_type, digest, size = raw.get("mediaType"), raw.get("digest"), raw.get("size")
    if not isinstance(media_type, str) or not media_type:
        raise ManifestError(f"{where} has no media type")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ManifestError(f"{where} has the digest {digest!r}", hint="sha256 in lower case is what is accepted")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestError(f"{where} has the size {size!r}")
    return Descriptor(media_type, digest, size, _platform(raw.get("platform"), where),
                      _annotations(raw.get("annotations"), where))


def descriptor_to_json(descriptor: Descriptor) -> dict[str, Any]:
    """Return a descriptor as it stands in a manifest, in the specification's order of keys."""
    raw: dict[str, Any] = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    if descriptor.platform is not None:
        raw["platform"] = platform_to_json(descriptor.platform)
    if descriptor.annotations:
        raw["annotations"] = dict(descriptor.annotations)
    return raw


def platform_to_json(platform: Platform) -> dict[str, str]:
    """Return a platform as it stands in an index."""
    raw = {"architecture": platform.architecture, "os": platform.os}
    return raw | {"variant": platform.variant} if platform.variant else raw


def manifest_json(config: Descriptor, layers: Sequence[Descriptor],
                  annotations: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of an OCI image manifest."""
    raw: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor_to_json(config),
                           "layers": [descriptor_to_json(layer) for layer in layers]}
    if annotations:
        raw["annotations"] = dict(sorted(annotations.items()))
    return compact_json(raw)


def index_json(manifests: Sequence[Descriptor]) -> bytes:
    """Return the bytes of an OCI image index."""
    return compact_json({"schemaVersion": 2, "mediaType": INDEX,
                         "manifests": [descriptor_to_json(manifest) for manifest in manifests]})


def names(name: str) -> tuple[tuple[str, str], ...]:
    """Return the annotations by which containerd and others know an entry of a layout's index."""
    return ((IMAGE_NAME, name), (REF_NAME, name))


def compact_json(raw: object) -> bytes:
    """Return JSON without spaces, keys in the order given, as UTF-8."""
    return json.dumps(raw, separators=(",", ":"), ensure_ascii=False).encode()


def media_type_of(data: bytes, name: str) -> str:
    """Find out what a manifest without a descriptor is: by its own media type, else by its only possible reading."""
    raw = _load(data, name)
    stated = raw.get("mediaType")
    if isinstance(stated, str) and stated in INDEXES + MANIFESTS:
        return stated
    if "manifests" in raw and not {"config", "layers"} & raw.keys():
        return INDEX
    if "layers" in raw and "config" in raw and "manifests" not in raw:
        return MANIFEST
    raise ManifestError(f"{name} is neither an image manifest nor an index")


def _document(data: bytes, descriptor: Descriptor, wanted: Sequence[str], foreign: Sequence[str]) -> dict[str, Any]:
    what = descriptor.digest
    if descriptor.media_type not in wanted:
        old = "manifest.v1" in descriptor.media_type
        hint = "schema 1 is obsolete: push the image again with a current tool" if old else ""
        raise ManifestError(f"{what} has the media type {descriptor.media_type}; {' or '.join(wanted)} was expected",
                            hint=hint)
    raw = _load(data, what)
    if raw.get("schemaVersion") != 2:
        raise ManifestError(f"{what} has the schema version {raw.get('schemaVersion')!r}; 2 was expected")
    stated = raw.get("mediaType", descriptor.media_type)
    if stated != descriptor.media_type:
        raise ManifestError(f"{what} was announced as {descriptor.media_type} but says it is {stated!r}")
    for key in foreign:
        if key in raw:
            raise ManifestError(f"{what} is announced as {descriptor.media_type} but holds {key!r}: it could be read "
                                "in two ways")
    return raw


def _load(data: bytes, what: str) -> dict[str, Any]:
    if len(data) > LIMIT:
        raise ManifestError(f"{what} is larger than {LIMIT >> 20} MiB")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{what} is no JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ManifestError(f"{what} is no JSON object")
    return raw


def _platform(raw: object, where: str) -> Platform | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or not all(isinstance(raw.get(key, ""), str) for key in
                                            ("architecture", "os", "variant")):
        raise ManifestError(f"{where} has no valid platform")
    return Platform(raw.get("architecture", ""), raw.get("os", ""), raw.get("variant", ""))


def _annotations(raw: object, where: str) -> tuple[tuple[str, str], ...]:
    if raw is None:
        return ()
    if not isinstance(raw, dict) or not all(isinstance(v, str) for v in raw.values()):
        raise ManifestError(f"{where} has annotations that are no texts")
    return tuple(raw.items())


def _attestation(child: Descriptor) -> bool:
    # BuildKit keeps provenance beside the images, under the platform unknown/unknown.
    unknown = child.platform is not None and child.platform.os == "unknown"
    return unknown or dict(child.annotations).get("vnd.docker.reference.type") == "attestation-manifest"
