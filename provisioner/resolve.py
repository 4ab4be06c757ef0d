"""From the names in a spec to pinned images: every reference becomes a digest and all its blobs are in the store.

``provisioner/<name>`` (any tag but ``latest`` aside) is built from the component of that name when there is one;
everything else comes from the store, or else from where `oci.sources` finds it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from provisioner import components
from provisioner.errors import ProvisionerError
from provisioner.model.document import Place
from provisioner.model.event import Event, Sink, discard
from provisioner.model.oci import Descriptor, Image
from provisioner.model.platform import Platform
from provisioner.model.spec import ImageSpec, Volume
from provisioner.oci.settings import Settings
from provisioner.oci.sources import fetch
from provisioner.oci.store import Store

_COMPONENT = re.compile(r"(?:docker\.io/)?provisioner/([a-z0-9][a-z0-9._-]*)(?::latest)?")


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the references of a spec, as written, stand for.

    ``images`` are those for the platform; ``roots`` the index (or single manifest) of each ``format: oci`` volume.
    """

    images: Mapping[str, Image] = field(default_factory=dict)
    roots: Mapping[str, Descriptor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look: ``pull`` asks registries again, ``docker`` a daemon first, ``locked`` forbids successors."""

    store: Store
    pull: bool = False
    docker: bool = False
    locked: bool = False
    settings: Settings | None = None
    sink: Sink = discard

    def get(self, reference: str, platform: Platform) -> Descriptor:
        """Return what a reference stands for, complete in the store for ``platform``."""
        if (match := _COMPONENT.fullmatch(reference)) and components.exists(match[1]):
            return components.build(match[1], platform, self.store, locked=self.locked, sink=self.sink)
        return fetch(reference, platform, self.store, pull=self.pull, docker=self.docker, settings=self.settings,
                     sink=self.sink)


def resolve(spec: ImageSpec, platform: Platform, sources: Sources) -> Resolved:
    """Resolve every reference of ``spec``, each once; an error names the place in the YAML that wants the image."""
    images: dict[str, Image] = {}
    for reference, place in _references(spec):
        if reference not in images:
            with _Placed(place):
                found = sources.get(reference, platform)
                images[reference] = sources.store.image(found, platform, reference)
            image = images[reference]
            sources.sink(Event("build", "image", reference, detail=image.manifest.digest, time=time.time(),
                               monotonic=time.monotonic(), data={"platform": str(image.platform)}))
    roots = {}
    for index, volume in enumerate(spec.volumes):
        if volume.image and volume.format == "oci" and volume.image not in roots:
            with _Placed(spec.place("volumes", index, "image")):
                roots[volume.image] = _layout(spec, volume, platform, sources)
    return Resolved(images, roots)


def _references(spec: ImageSpec) -> Iterator[tuple[str, Place]]:
    if spec.kernel.image:
        yield spec.kernel.image, spec.kernel.place("image")
    for index, reference in enumerate(spec.init):
        yield reference, spec.place("init", index)
    for _, _, entry in spec.containers():
        yield entry.image, entry.place("image")
    for volume in spec.volumes:
        if volume.image and volume.format == "filesystem":
            yield volume.image, volume.place("image")


def _layout(spec: ImageSpec, volume: Volume, platform: Platform, sources: Sources) -> Descriptor:
    """Complete an index for all platforms that the volumes of this image ask for: none named means all there are."""
    same = [other for other in spec.volumes if other.image == volume.image and other.format == "oci"]
    named = {Platform.parse(text) for other in same for text in other.platforms}
    root = None
    for wanted in sorted(named) or [platform]:
        root = sources.get(volume.image, wanted)
    if root is None or all(other.platforms for other in same):
        return root or sources.get(volume.image, platform)
    for manifest in sources.store.manifests(root):
        if manifest.platform is not None:
            sources.get(volume.image, manifest.platform)
    return root


class _Placed:
    """Puts a place in the YAML before the message of an error that passes."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ProvisionerError) and self._place.file:
            error.message = f"{self._place}: {error.message}"
