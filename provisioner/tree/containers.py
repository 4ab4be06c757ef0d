"""``onboot:``, ``onshutdown:`` and ``services:`` into ``containers/SECTION/NAME/`` (``build/image.go``, ImageBundle).

    config.json  runtime.json  rootfs/          of a read-only container
    config.json  runtime.json  lower/ tmp/ rootfs/   of another: a tmpfs laid over lower and mounted at rootfs

Onboot and onshutdown names are numbered, ``000-dhcpcd``, for init starts them in the order of their names. An image
that came before is not laid out again: the later container mounts the first one's files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from provisioner.model.spec import ImageEntry
from provisioner.model.tree import Entry, Part
from provisioner.runtime import Bundle, bundle, to_json
from provisioner.runtime.start import UPPER, with_root
from provisioner.tree import content
from provisioner.tree.sources import Sources, ancestors, directory, fixed_part, full_name, generated
from provisioner.tree.volumes import mount_points


def containers(sources: Sources) -> Iterator[Part]:
    """Yield the parts of every container: its image's files, unless they are there already, and its bundle."""
    layout = _Layout(sources)
    for section, index, entry in sources.spec.containers():
        yield from layout.container(section, index, entry)


@dataclass(slots=True)
class _Layout:
    """Where the files of each image lie, by full name, as containers are laid out."""

    sources: Sources
    placed: dict[str, str] = field(default_factory=dict)

    def container(self, section: str, index: int, entry: ImageEntry) -> Iterator[Part]:
        image, name = self.sources.image(entry.image), full_name(entry.image)
        made = bundle(entry, image, ids=self.sources.spec.ids(), volumes=mount_points(self.sources.spec))
        number = "" if section == "services" else f"{index:03d}-"
        place = f"containers/{section}/{number}{entry.name}"
        location = f"{section}[{index}]"
        shared = name in self.placed
        if not shared:
            self.placed[name] = f"{place}/{'rootfs' if made.readonly else 'lower'}"
            yield content.part(self.sources, image, location, self.placed[name], source=name)
        entries = tuple(_bundle_entries(place, made, self.placed[name], shared=shared))
        yield fixed_part(location, entries, name, image.manifest.digest)


def _bundle_entries(place: str, made: Bundle, files: str, *, shared: bool) -> Iterator[Entry]:
    if shared:
        yield from ancestors(place)
    yield generated(f"{place}/config.json", to_json(made.config).encode())
    if not made.readonly:
        yield directory(f"{place}/{UPPER}")
    if not made.readonly or shared:
        yield directory(f"{place}/rootfs")
    start = with_root(made.runtime, place, files, readonly=made.readonly)
    yield generated(f"{place}/runtime.json", to_json(start).encode())
