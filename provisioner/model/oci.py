"""OCI content as plain data (image-spec 1.1): descriptors and resolved images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.model.platform import Platform

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER_TAR + "+gzip"
LAYER_ZSTD = LAYER_TAR + "+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
CONFIG_LABEL = "org.mobyproject.config"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A content descriptor: ``digest`` is ``sha256:<64 hex>``, ``size`` in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def hex(self) -> str:
        """The hexadecimal part of the digest."""
        return self.digest.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Image:
    """One platform's image, pinned: what a reference resolved to. ``config`` is the parsed config blob."""

    reference: str
    platform: Platform
    manifest: Descriptor
    layers: tuple[Descriptor, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def process(self) -> Mapping[str, Any]:
        """The ``config`` object of the image config: Entrypoint, Cmd, Env, WorkingDir, Labels, User."""
        return self.config.get("config") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        """The image's labels."""
        return self.process.get("Labels") or {}
