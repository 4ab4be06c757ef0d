"""Bring an image into the store from anything that can hand out blobs: a registry, a layout on disk.

Only what one platform needs is fetched: the indexes on the way, one manifest, its config and its layers. What the
store has is not fetched again; what it has but is corrupt is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from provisioner.errors import DigestError
from provisioner.model.event import Event, Sink, discard
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.oci import manifest as documents
from provisioner.oci.blobs import BlobWriter
from provisioner.oci.store import Store, wrong_platform

T = TypeVar("T")


class Source(Protocol):
    """What hands out blobs."""

    def fetch(self, descriptor: Descriptor, out: BlobWriter) -> None:
        """Write the blob's bytes from ``out.offset`` on; the writer verifies them."""


def pull(source: Source, descriptor: Descriptor, platform: Platform, store: Store, *, name: str,
         sink: Sink = discard) -> None:
    """Fill the store with the image for ``platform`` that ``descriptor`` (manifest or index) leads to.

    ``name`` is what errors and events call it. Raises PlatformError, ManifestError, DigestError, and what the
    source raises.
    """
    _Pull(source, store, name, sink).image(descriptor, platform)


class _Pull:
    def __init__(self, source: Source, store: Store, name: str, sink: Sink) -> None:
        self._source, self._store, self._name, self._sink = source, store, name, sink

    def image(self, descriptor: Descriptor, platform: Platform) -> None:
        self._indexes(descriptor, documents.DEPTH)
        chosen = self._store.select(descriptor, platform, self._name)
        parsed = documents.parse_manifest(self._read(chosen), chosen)
        config = documents.parse_config(self._read(parsed.config), parsed.config.digest)
        actual = documents.config_platform(config) or platform
        if not actual.matches(platform):
            raise wrong_platform(self._name, platform, [actual])
        for layer in dict.fromkeys(parsed.layers):
            self._need(layer)

    def _indexes(self, descriptor: Descriptor, depth: int) -> None:
        if descriptor.media_type not in documents.INDEXES or depth == 0:
            return
        for child in documents.parse_index(self._read(descriptor), descriptor):
            self._indexes(child, depth - 1)

    def _read(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > documents.LIMIT:
            raise documents.ManifestError(f"{descriptor.digest} of {self._name} has {descriptor.size} bytes; at most "
                                          f"{documents.LIMIT} are accepted for its kind")
        return _twice(lambda: self._fresh(descriptor))

    def _fresh(self, descriptor: Descriptor) -> bytes:
        if not self._store.has(descriptor.digest):
            self._bring(descriptor)
        return self._store.read(descriptor)

    def _need(self, descriptor: Descriptor) -> None:
        if not self._store.has(descriptor.digest):
            _twice(lambda: self._bring(descriptor))

    def _bring(self, descriptor: Descriptor) -> None:
        start = time.monotonic()
        with self._store.writer(descriptor, resume=True) as out:
            if out.complete:
                return
            offset = out.offset
            self._say("fetch", descriptor, {"resumed": offset})
            self._source.fetch(descriptor, out)
        self._say("fetched", descriptor, {"resumed": offset, "seconds": time.monotonic() - start})

    def _say(self, stage: str, descriptor: Descriptor, figures: Mapping[str, float]) -> None:
        self._sink(Event("oci", stage, self._name, detail=f"{descriptor.digest[:19]} {descriptor.size} bytes",
                         time=time.time(), monotonic=time.monotonic(),
                         data={"digest": descriptor.digest, "size": descriptor.size, **figures}))


def _twice(attempt: Callable[[], T]) -> T:
    """Try again once when content was corrupt: the bad copy is gone then."""
    try:
        return attempt()
    except DigestError:
        return attempt()
