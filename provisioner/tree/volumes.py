"""``volumes:`` into ``containers/volumes/NAME/{lower,tmp,merged}``.

``lower`` is empty, or holds an image's files, or (``format: oci``) an image as an OCI layout. Init mounts ``lower``
with a tmpfs in ``tmp`` over it at ``merged``, which is what containers bind. LinuxKit means to mark a read-only
volume by having no ``tmp``, but its builder always makes one and its init cannot boot without; so ``tmp`` stays, and
a file ``readonly`` tells our init to mount the volume read-only.
"""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.model.spec import ImageSpec, Volume
from provisioner.model.tree import Entry, Part
from provisioner.runtime.start import UPPER
from provisioner.tree import content
from provisioner.tree.layout import layout_part
from provisioner.tree.sources import Sources, ancestors, directory, fixed_part, full_name, generated

ROOT = "containers/volumes"
READONLY = "readonly"


def mount_points(spec: ImageSpec) -> dict[str, str]:
    """Return where each volume is mounted, by name."""
    return {volume.name: f"/{ROOT}/{volume.name}/merged" for volume in spec.volumes}


def volumes(sources: Sources) -> Iterator[Part]:
    """Yield the parts of every volume: its content, and the directories to mount it."""
    for index, volume in enumerate(sources.spec.volumes):
        location = f"volumes[{index}]"
        yield _content(sources, volume, location)
        yield fixed_part(location, tuple(_frame(volume)), "linuxkit.volumes")


def _content(sources: Sources, volume: Volume, location: str) -> Part:
    lower = f"{ROOT}/{volume.name}/lower"
    if not volume.image:
        return fixed_part(location, tuple(ancestors(lower)), "empty")
    if volume.format == "oci":
        return layout_part(sources, volume, location, lower)
    image = sources.image(volume.image)
    return content.part(sources, image, location, lower, resolv=content.RESOLV_LINK, source=full_name(volume.image))


def _frame(volume: Volume) -> Iterator[Entry]:
    base = f"{ROOT}/{volume.name}"
    yield directory(f"{base}/{UPPER}")
    yield directory(f"{base}/merged")
    if volume.readonly:
        yield generated(f"{base}/{READONLY}", b"")
