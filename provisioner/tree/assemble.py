"""The sections in LinuxKit's order."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.model.event import Sink, discard
from provisioner.model.oci import Descriptor, Image
from provisioner.model.platform import Platform
from provisioner.model.spec import ImageSpec
from provisioner.model.tree import ImageTree
from provisioner.tree.containers import containers
from provisioner.tree.files import files
from provisioner.tree.init import init
from provisioner.tree.kernel import kernel
from provisioner.tree.sources import OpenBlob, Sources
from provisioner.tree.volumes import volumes


def assemble(spec: ImageSpec, images: Mapping[str, Image], open_blob: OpenBlob, *, name: str, platform: Platform,
             roots: Mapping[str, Descriptor] | None = None, sink: Sink = discard,
             decompress_kernel: bool = False) -> ImageTree:
    """Return the tree of a checked ``spec``.

    ``images`` has every reference as written in the YAML, pinned for ``platform``; ``roots`` the top descriptor (the
    index, not one platform's manifest) of each ``format: oci`` volume's reference; ``open_blob`` opens any blob of
    them and verifies it when it is read to its end. ``decompress_kernel`` unpacks the kernel that the kernel's file
    holds compressed, for loaders that cannot. Raises InputError for labels, values and sources that do not fit.
    The parts read their images when they are iterated, each as often as it is iterated.
    """
    sources = Sources(spec, images, open_blob, roots or {}, sink, decompress_kernel)
    parts = [*kernel(sources), *init(sources), *volumes(sources), *containers(sources)]
    parts += files(sources, _known_directories(spec))
    return ImageTree(name, platform, spec.kernel.cmdline if spec.kernel.image else "", tuple(parts))


def _known_directories(spec: ImageSpec) -> frozenset[str]:
    """Return the directories that the sections before ``files`` make for sure; those of images are not known."""
    known = {"boot"} if spec.kernel.image else set()
    places = [f"containers/{section}" for section, entries in (
        ("onboot", spec.onboot), ("onshutdown", spec.onshutdown), ("services", spec.services),
        ("volumes", spec.volumes)) if entries]
    return frozenset(known | set(places) | ({"containers"} if places else set()))
